#ifndef PITH_CLIENTS_CLI_DAEMON_H_
#define PITH_CLIENTS_CLI_DAEMON_H_

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"

#include "clients/cli/rpc_status.h"
#include "core/base/paths.h"

// The daemon as the command line sees it: found, started, stopped, called.
namespace pith::cli {

// Largest message in either direction; a document's text may have 64 MiB.
inline constexpr int kMaxMessageBytes = 80 << 20;

// How long a unary call may take. Loading a model is part of some.
inline constexpr absl::Duration kCallTimeout = absl::Minutes(1);

// How long a daemon may take until it serves, and until it has stopped.
inline constexpr absl::Duration kStartTimeout = absl::Seconds(10);
inline constexpr absl::Duration kStopTimeout = absl::Seconds(30);

struct DaemonOptions {
  StandardPaths paths;
  // Whether Connect starts a daemon if none runs.
  bool may_start = true;
  // Folders where pithd is looked for, first match wins.
  std::vector<std::filesystem::path> program_directories;
  // Given to pithd after --data-dir and --socket.
  std::vector<std::string> arguments;
};

// A channel to a daemon that serves, started if need be and allowed. Several
// processes may do this at the same moment: one daemon wins, all get it.
//
// kUnavailable: none runs and none may be started, or the one that owns the
// data directory does not answer. kDeadlineExceeded: it is not serving within
// kStartTimeout. kNotFound: there is no pithd. kInternal: it ended at once; the
// message has the end of its log. kPermissionDenied: the socket is another
// user's.
absl::StatusOr<std::shared_ptr<grpc::Channel>> Connect(
    const DaemonOptions& options);

// The pid of the daemon that owns the data directory, if one does.
absl::StatusOr<std::optional<pid_t>> DaemonPid(const StandardPaths& paths);

// Asks the daemon to end and waits until it has; false if none ran.
// kDeadlineExceeded if it still runs after kStopTimeout.
absl::StatusOr<bool> StopDaemon(const StandardPaths& paths);

// Makes one unary call: `method` is the stub's member function.
template <typename Response, typename Stub, typename Method, typename Request>
absl::StatusOr<Response> Call(Stub& stub, Method method, const Request& request,
                              absl::Duration timeout = kCallTimeout) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  Response response;
  const grpc::Status status = (stub.*method)(&context, request, &response);
  if (!status.ok()) {
    return FromGrpc(status);
  }
  return response;
}

}  // namespace pith::cli

#endif  // PITH_CLIENTS_CLI_DAEMON_H_
