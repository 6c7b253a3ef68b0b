#ifndef PITH_SERVER_LISTENER_H_
#define PITH_SERVER_LISTENER_H_

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <thread>

#include "absl/status/statusor.h"
#include "grpcpp/server_builder.h"

#include "core/base/file.h"

namespace pith {

// Reason of the status when another process owns the data directory or socket.
inline constexpr char kAlreadyRunningReason[] = "ALREADY_RUNNING";

// The daemon's Unix socket. Only processes of the daemon's own user get in: the
// socket's mode is 0600, and each peer's credentials are checked. gRPC's own
// "unix:" listener is not used: it creates the file with mode 755 and lets a
// second server steal the path.
class Listener {
 public:
  // Binds `path` and creates its directory, mode 0700. kFailedPrecondition if
  // another process listens there; what a dead one left behind is replaced.
  static absl::StatusOr<std::unique_ptr<Listener>> Bind(
      const std::filesystem::path& path);

  // Takes over a listening Unix socket that the service manager made (systemd's
  // LISTEN_FDS).
  static absl::StatusOr<std::unique_ptr<Listener>> Adopt(UniqueFd socket);

  // Stops accepting; removes the socket file if it is the one made here.
  ~Listener();

  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // Hands connections to `acceptor` from now on. Called once.
  void Serve(
      std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor);

 private:
  Listener(UniqueFd socket, std::filesystem::path path,
           std::optional<FileLock> lock);
  void Run();

  const UniqueFd socket_;
  // Empty if the socket is not ours to remove.
  const std::filesystem::path path_;
  const std::optional<FileLock> lock_;
  // Which file was made at path_.
  dev_t device_ = 0;
  ino_t inode_ = 0;
  // Written to when accepting has to end.
  UniqueFd stop_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::thread thread_;
};

}  // namespace pith

#endif  // PITH_SERVER_LISTENER_H_
