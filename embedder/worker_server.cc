#include "embedder/worker_server.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>

#include <cerrno>
#include <chrono>
#include <iostream>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/resource_quota.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "grpcpp/server_posix.h"

#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "embedder/worker_protocol.h"

namespace pith {
namespace {

// Of one connection: one running, one waiting behind it after its caller gave
// up on the first, and a GetModel.
constexpr int kMaxConcurrentCalls = 4;
// Of calls over TCP, whoever makes them; beyond, gRPC says RESOURCE_EXHAUSTED.
constexpr int kMaxThreads = 64;
// What messages of calls over TCP may take, whoever makes them: gRPC reads a
// request before its token is looked at. Beyond, it ends idle connections, then
// calls. The largest response fits beside the requests of all threads.
constexpr size_t kMaxCallBytes =
    kMaxWorkerMessageBytes + 2 * kMaxThreads * size_t{kMaxWorkerRequestBytes};
// A connection without calls is closed. Daemons close theirs sooner unless
// --idle-unload says otherwise; then it is made again with the next batch.
constexpr int kMaxIdleMs = 15 * 60'000;
// A caller that does not answer a ping is gone, whatever it had begun.
constexpr int kPingIntervalMs = 60'000;
constexpr int kPingTimeoutMs = 20'000;
// Callers ask so often whether the worker is still there.
constexpr int kMinPingIntervalMs = 5'000;
// For what runs. Idle connections last until then.
constexpr std::chrono::seconds kGoodbye(1);

absl::StatusOr<LoadedEngine> LoadAndWarm(LoadEngine load) {
  PITH_ASSIGN_OR_RETURN(LoadedEngine model, load());
  PITH_RETURN_IF_ERROR(
      model.engine->Embed({.ids = {0, 0}, .offsets = {0, 2}}).status());
  return model;
}

std::string Shown(const HostPort& address, int port) {
  return absl::StrContains(address.host, ':')
             ? absl::StrCat("[", address.host, "]:", port)
             : absl::StrCat(address.host, ":", port);
}

}  // namespace

absl::Status ServeOnSocket(int fd, LoadEngine load) {
  // Also covers a parent that dies while the model is being loaded. What it
  // missed before this line, poll() below sees.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  EmbedderServiceImpl service(LoadAndWarm(load));

  // gRPC owns `fd` from here on and closes it when the connection ends.
  const UniqueFd watched(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!watched.valid() || fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("use descriptor ", fd, " as a socket"));
  }
  grpc::ServerBuilder builder;
  builder.RegisterService(&service);
  builder.SetMaxReceiveMessageSize(kMaxWorkerMessageBytes);
  builder.SetMaxSendMessageSize(kMaxWorkerMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                             kMaxConcurrentCalls);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) {
    return absl::InternalError(
        absl::StrCat("start gRPC server on descriptor ", fd));
  }
  grpc::AddInsecureChannelFromFd(server.get(), fd);

  pollfd closed = {.fd = watched.get(), .events = POLLRDHUP, .revents = 0};
  while (poll(&closed, 1, -1) < 0 && errno == EINTR) {
  }
  server->Shutdown();
  return absl::OkStatus();
}

absl::Status CheckTcpOptions(const TcpOptions& options) {
  const HostPort& address = options.address;
  if (!address.is_address() || !address.port) {
    return absl::InvalidArgumentError(
        absl::StrCat("listen on ", address.host,
                     ": an IP address and a port are needed, such as "
                     "127.0.0.1:7070"));
  }
  if (options.certificate.empty() != options.key.empty()) {
    return absl::InvalidArgumentError(
        "TLS needs a certificate and its key, and there is only one of them");
  }
  if (!address.is_loopback() &&
      (options.access.token.empty() || options.certificate.empty())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "listen on ", Shown(address, *address.port),
        ": other machines reach this address, so a token and TLS are needed"));
  }
  return absl::OkStatus();
}

absl::Status ServeOnTcp(const TcpOptions& options, LoadEngine load) {
  // Blocked in every thread, of which there are none yet; awaited below.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  PITH_ASSIGN_OR_RETURN(LoadedEngine model, LoadAndWarm(load));
  EmbedderServiceImpl service(std::move(model), options.access);

  std::shared_ptr<grpc::ServerCredentials> credentials =
      grpc::InsecureServerCredentials();
  if (!options.certificate.empty()) {
    grpc::SslServerCredentialsOptions ssl;
    ssl.pem_key_cert_pairs = {{options.key, options.certificate}};
    credentials = grpc::SslServerCredentials(ssl);
  }
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  builder.RegisterService(&service);
  builder.SetMaxReceiveMessageSize(kMaxWorkerRequestBytes);
  builder.SetMaxSendMessageSize(kMaxWorkerMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                             kMaxConcurrentCalls);
  // Else two workers could have one address.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(
      GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
      kMinPingIntervalMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kMaxIdleMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kPingIntervalMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Else gRPC stops after two that no data came between.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.SetResourceQuota(grpc::ResourceQuota("calls")
                               .SetMaxThreads(kMaxThreads)
                               .Resize(kMaxCallBytes));
  int port = 0;
  builder.AddListeningPort(Shown(options.address, *options.address.port),
                           std::move(credentials), &port);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    return absl::UnavailableError(absl::StrCat(
        "listen on ", Shown(options.address, *options.address.port),
        ": gRPC refuses the address, which may be taken, or the certificate "
        "or key"));
  }
  std::cout << "listening on " << Shown(options.address, port) << std::endl;

  int received = 0;
  sigwait(&signals, &received);
  LOG(INFO) << "stopping on signal " << received;
  server->Shutdown(std::chrono::system_clock::now() + kGoodbye);
  return absl::OkStatus();
}

}  // namespace pith
