#include "embedder/worker.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/create_channel_posix.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"

#include "core/base/file.h"
#include "core/base/host_port.h"
#include "core/base/reason.h"
#include "core/base/status_macros.h"
#include "core/base/vector_math.h"
#include "core/index/embedder.h"
#include "embedder/worker_protocol.h"

namespace pith {
namespace {

// Where the worker finds its socket: the first descriptor after the standard
// ones.
constexpr int kWorkerFd = 3;

// How far from 1 the norm of a worker's vector may be. Workers normalise in
// f32, so a sound one is far closer; RotatedCodec, which sums the squares in
// another order, CHECKs that it is within 1 %.
constexpr float kNormTolerance = 0.005F;

// A peer that does not answer a ping within this is lost; asked while a call
// runs. Workers allow it (worker_server.cc).
constexpr int kPingIntervalMs = 20'000;
constexpr int kPingTimeoutMs = 10'000;

// The daemon's environment with BLAS set to one thread: the worker's own
// threads share the work, and OpenBLAS built on pthreads would start as many as
// there are cores for each of them.
std::vector<std::string> WorkerEnvironment() {
  constexpr std::string_view kBlasThreads = "OPENBLAS_NUM_THREADS=";
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!std::string_view(*entry).starts_with(kBlasThreads)) {
      environment.emplace_back(*entry);
    }
  }
  environment.push_back(absl::StrCat(std::string(kBlasThreads), "1"));
  return environment;
}

// Enough of a fingerprint to tell two apart.
std::string Shortened(const std::string& fingerprint) {
  constexpr size_t kShown = 12;
  return fingerprint.empty() ? "(none)" : fingerprint.substr(0, kShown);
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& string : strings) {
    pointers.push_back(string.data());
  }
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Worker>> Worker::Spawn(
    const std::filesystem::path& executable,
    const std::vector<std::string>& arguments) {
  const auto failure = [&](int error) {
    return absl::UnavailableError(absl::StrCat("start model worker ",
                                               executable.string(), ": ",
                                               std::strerror(error)));
  };
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return failure(errno);
  }
  UniqueFd ours(ends[0]);
  const UniqueFd theirs(ends[1]);
  if (fcntl(ours.get(), F_SETFL, O_NONBLOCK) != 0) {
    return failure(errno);
  }

  std::vector<std::string> command = {executable.string()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  command.insert(command.end(), {"--fd", absl::StrCat(kWorkerFd)});
  std::vector<std::string> environment = WorkerEnvironment();

  // A process group of its own: an interrupt typed at the daemon's terminal
  // must not kill the worker under requests that are being finished. No blocked
  // signals: the daemon's threads block those that its main thread waits for.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setpgroup(&attributes, 0);
  sigset_t no_signals;
  sigemptyset(&no_signals);
  posix_spawnattr_setsigmask(&attributes, &no_signals);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null",
                                   O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, theirs.get(), kWorkerFd);
  posix_spawn_file_actions_addclosefrom_np(&actions, kWorkerFd + 1);
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, executable.c_str(), &actions, &attributes,
                  Pointers(command).data(), Pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    return failure(error);
  }
  return std::unique_ptr<Worker>(new Worker(pid, ours.release()));
}

absl::Status CheckRemoteWorker(const RemoteWorker& worker) {
  const std::optional<HostPort> address = ParseHostPort(worker.address);
  if (!address || !address->port || *address->port == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("remote worker ", worker.address, ": not HOST:PORT"));
  }
  if (worker.root_certificates.empty() && !address->is_loopback()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "remote worker ", worker.address,
        ": it is on another machine, so TLS and its root certificates are "
        "needed"));
  }
  return absl::OkStatus();
}

std::unique_ptr<Worker> Worker::Connect(const RemoteWorker& remote,
                                        const std::string& fingerprint) {
  return std::unique_ptr<Worker>(new Worker(remote, fingerprint));
}

Worker::Worker(pid_t pid, int fd) : pid_(pid), name_(absl::StrCat(pid)) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxWorkerMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxWorkerMessageBytes);
  stub_ = v1::EmbedderService::NewStub(
      grpc::CreateCustomInsecureChannelFromFd("pith-embedder", fd, arguments));
}

Worker::Worker(const RemoteWorker& remote, const std::string& fingerprint)
    : name_(remote.address), token_(remote.token), fingerprint_(fingerprint) {
  std::shared_ptr<grpc::ChannelCredentials> credentials =
      grpc::InsecureChannelCredentials();
  if (!remote.root_certificates.empty()) {
    grpc::SslCredentialsOptions ssl;
    ssl.pem_root_certs = remote.root_certificates;
    credentials = grpc::SslCredentials(ssl);
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxWorkerMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxWorkerMessageBytes);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kPingIntervalMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingTimeoutMs);
  // A connection of its own, with no memory of earlier failures: the owner
  // decides when to try again.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // To the loopback interface there may be no TLS, and a proxy is elsewhere.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  stub_ = v1::EmbedderService::NewStub(grpc::CreateCustomChannel(
      absl::StrCat("dns:///", remote.address), credentials, arguments));
}

Worker::~Worker() {
  if (!pid_) {
    return;
  }
  kill(*pid_, SIGKILL);
  int status = 0;
  while (waitpid(*pid_, &status, 0) < 0 && errno == EINTR) {
  }
}

void Worker::Interrupt() {
  if (pid_) {
    kill(*pid_, SIGKILL);
  }
  MutexLock lock(mutex_);
  interrupted_ = true;
  if (running_ != nullptr) {
    running_->TryCancel();
  }
}

absl::Status Worker::Call(
    std::string_view action, absl::Duration timeout,
    absl::FunctionRef<grpc::Status(grpc::ClientContext*)> call) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  if (!token_.empty()) {
    context.AddMetadata("authorization", absl::StrCat("Bearer ", token_));
  }
  {
    MutexLock lock(mutex_);
    if (interrupted_) {
      return absl::UnavailableError("shutting down");
    }
    running_ = &context;
  }
  const grpc::Status status = call(&context);
  {
    MutexLock lock(mutex_);
    running_ = nullptr;
  }
  const auto& metadata = context.GetServerTrailingMetadata();
  if (const auto found = metadata.find(kInstanceKey); found != metadata.end()) {
    instance_.assign(found->second.data(), found->second.size());
  }
  if (status.ok()) {
    return absl::OkStatus();
  }
  // The codes of absl::Status and grpc::Status are the same numbers.
  return metadata.contains(kModelErrorMark)
             ? absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                            status.error_message())
             : Lost(action, status);
}

absl::Status Worker::Lost(std::string_view action,
                          const grpc::Status& status) const {
  const std::string message = status.error_message();
  if (pid_) {
    return absl::UnavailableError(absl::StrCat(
        std::string(action), ": model worker ", name_, " is lost: ", message));
  }
  if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) {
    return WithReason(absl::ResourceExhaustedError(absl::StrCat(
                          "model worker ", name_, " is busy: ", message)),
                      kWorkerBusyReason);
  }
  const bool is_refused =
      status.error_code() == grpc::StatusCode::UNAUTHENTICATED;
  return WithReason(
      absl::UnavailableError(absl::StrCat(
          std::string(action), ": model worker ", name_,
          is_refused ? " refuses this daemon: " : " cannot be reached: ",
          message)),
      kModelUnreachableReason);
}

absl::StatusOr<v1::GetModelResponse> Worker::GetModel(absl::Duration timeout) {
  v1::GetModelResponse response;
  PITH_RETURN_IF_ERROR(Call(pid_ ? "load model" : "connect", timeout,
                            [&](grpc::ClientContext* context) {
                              return stub_->GetModel(context, {}, &response);
                            }));
  if (!pid_ && response.fingerprint() != fingerprint_) {
    return absl::FailedPreconditionError(absl::StrCat(
        "model worker ", name_, " runs a model with fingerprint ",
        Shortened(response.fingerprint()), ", not ", Shortened(fingerprint_)));
  }
  return response;
}

absl::StatusOr<Matrix> Worker::Embed(const PackedTokens& tokens, int dimension,
                                     absl::Duration timeout) {
  v1::EmbedTokensRequest request;
  request.mutable_token_ids()->Add(tokens.ids.begin(), tokens.ids.end());
  for (size_t i = 0; i < tokens.size(); ++i) {
    request.add_text_lengths(tokens.offsets[i + 1] - tokens.offsets[i]);
  }
  request.set_fingerprint(fingerprint_);
  v1::EmbedTokensResponse response;
  PITH_RETURN_IF_ERROR(
      Call("embed", timeout, [&](grpc::ClientContext* context) {
        return stub_->EmbedTokens(context, request, &response);
      }));
  Matrix vectors(tokens.size(), static_cast<size_t>(dimension));
  const std::span<std::byte> bytes = std::as_writable_bytes(vectors.values());
  if (response.vectors().size() != bytes.size()) {
    return absl::InternalError(absl::StrCat(
        "model worker ", name_, " answered with ", response.vectors().size(),
        " bytes for ", tokens.size(), " vectors of ", dimension));
  }
  std::memcpy(bytes.data(), response.vectors().data(), bytes.size());
  for (size_t i = 0; i < vectors.rows(); ++i) {
    const float norm = Norm(vectors.row(i));
    // Written so that a NaN is caught, too.
    if (!(std::abs(norm - 1) <= kNormTolerance)) {
      return absl::InternalError(absl::StrCat(
          "model worker ", name_, " answered with a vector of norm ", norm,
          ", not 1, for text ", i, " of ", tokens.size()));
    }
  }
  return vectors;
}

}  // namespace pith
