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
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel_posix.h"
#include "grpcpp/support/channel_arguments.h"

#include "core/base/file.h"
#include "core/base/vector_math.h"
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

// The codes of absl::Status and grpc::Status are the same numbers. A connection
// that breaks is UNAVAILABLE; a worker that does not answer in time is as good
// as dead.
absl::Status FromGrpc(const grpc::Status& status, std::string_view action,
                      pid_t pid) {
  const bool lost = status.error_code() == grpc::StatusCode::UNAVAILABLE ||
                    status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED;
  const std::string message = status.error_message();
  return lost ? absl::UnavailableError(absl::StrCat(std::string(action),
                                                    ": model worker ", pid,
                                                    " is lost: ", message))
              : absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                             message);
}

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

Worker::Worker(pid_t pid, int fd) : pid_(pid) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxWorkerMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxWorkerMessageBytes);
  stub_ = v1::EmbedderService::NewStub(
      grpc::CreateCustomInsecureChannelFromFd("pith-embedder", fd, arguments));
}

Worker::~Worker() {
  kill(pid_, SIGKILL);
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
}

absl::StatusOr<v1::GetModelResponse> Worker::GetModel(absl::Duration timeout) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  v1::GetModelResponse response;
  const grpc::Status status = stub_->GetModel(&context, {}, &response);
  if (!status.ok()) {
    return FromGrpc(status, "load model", pid_);
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
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  v1::EmbedTokensResponse response;
  const grpc::Status status = stub_->EmbedTokens(&context, request, &response);
  if (!status.ok()) {
    return FromGrpc(status, "embed", pid_);
  }
  Matrix vectors(tokens.size(), static_cast<size_t>(dimension));
  const std::span<std::byte> bytes = std::as_writable_bytes(vectors.values());
  if (response.vectors().size() != bytes.size()) {
    return absl::InternalError(absl::StrCat(
        "model worker ", pid_, " answered with ", response.vectors().size(),
        " bytes for ", tokens.size(), " vectors of ", dimension));
  }
  std::memcpy(bytes.data(), response.vectors().data(), bytes.size());
  for (size_t i = 0; i < vectors.rows(); ++i) {
    const float norm = Norm(vectors.row(i));
    // Written so that a NaN is caught, too.
    if (!(std::abs(norm - 1) <= kNormTolerance)) {
      return absl::InternalError(absl::StrCat(
          "model worker ", pid_, " answered with a vector of norm ", norm,
          ", not 1, for text ", i, " of ", tokens.size()));
    }
  }
  return vectors;
}

}  // namespace pith
