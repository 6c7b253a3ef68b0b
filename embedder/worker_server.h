#ifndef PITH_EMBEDDER_WORKER_SERVER_H_
#define PITH_EMBEDDER_WORKER_SERVER_H_

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "core/base/host_port.h"
#include "embedder/embedder_service.h"

namespace pith {

using LoadEngine = absl::FunctionRef<absl::StatusOr<LoadedEngine>()>;

// Loads the model, has it embed a first text, and serves it on the connected
// socket `fd` until the other end is closed. If it cannot be loaded, callers
// are told so. The process is killed when its parent dies.
absl::Status ServeOnSocket(int fd, LoadEngine load);

struct TcpOptions {
  // Port 0: the kernel chooses one.
  HostPort address;
  EmbedderServiceImpl::Access access;
  // PEM; both or neither. With them, connections use TLS.
  std::string certificate;
  std::string key;
};

// kInvalidArgument unless the address may be listened on: one, not a name, with
// a port; and only the loopback interface's without a token and TLS.
absl::Status CheckTcpOptions(const TcpOptions& options);

// Loads the model, has it embed a first text, says on standard output where it
// listens, and serves any number of callers until SIGTERM or SIGINT. The
// options have been checked.
absl::Status ServeOnTcp(const TcpOptions& options, LoadEngine load);

}  // namespace pith

#endif  // PITH_EMBEDDER_WORKER_SERVER_H_
