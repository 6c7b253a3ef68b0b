#include "server/listener.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"

#include "core/base/reason.h"
#include "core/base/status_macros.h"
#include "core/base/thread_name.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

constexpr int kBacklog = 64;

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> Listener::Bind(const fs::path& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.native().size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "socket path ", path.string(), " has ", path.native().size(),
        " bytes, the limit is ", sizeof(address.sun_path) - 1));
  }
  std::memcpy(address.sun_path, path.c_str(), path.native().size());
  PITH_RETURN_IF_ERROR(CreatePrivateDirectories(path.parent_path()));

  // Whoever holds the lock owns the path, so that a file found there is left
  // over from a process that died.
  fs::path lock_path = path;
  lock_path += ".lock";
  absl::StatusOr<FileLock> lock = FileLock::Acquire(lock_path);
  if (!lock.ok()) {
    const absl::Status status =
        Annotate(lock.status(), absl::StrCat("listen on ", path.string()));
    return absl::IsFailedPrecondition(status)
               ? WithReason(status, kAlreadyRunningReason)
               : status;
  }
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) {
    return ErrnoStatus(errno, "make socket", path);
  }
  struct stat info;
  if (::lstat(path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode)) {
      return absl::FailedPreconditionError(absl::StrCat(
          "listen on ", path.string(), ": there is a file that is no socket"));
    }
    if (::unlink(path.c_str()) != 0) {
      return ErrnoStatus(errno, "remove", path);
    }
  }
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address),
             sizeof(address)) != 0) {
    return ErrnoStatus(errno, "bind", path);
  }
  // Before listen(): until then nobody can connect, whatever the mode.
  if (::chmod(path.c_str(), 0600) != 0) {
    return ErrnoStatus(errno, "change mode of", path);
  }
  if (::listen(socket.get(), kBacklog) != 0) {
    return ErrnoStatus(errno, "listen on", path);
  }
  if (::lstat(path.c_str(), &info) != 0) {
    return ErrnoStatus(errno, "stat", path);
  }
  std::unique_ptr<Listener> listener(
      new Listener(std::move(socket), path, *std::move(lock)));
  listener->device_ = info.st_dev;
  listener->inode_ = info.st_ino;
  return listener;
}

absl::StatusOr<std::unique_ptr<Listener>> Listener::Adopt(UniqueFd socket) {
  int listening = 0;
  socklen_t size = sizeof(listening);
  sockaddr_storage address = {};
  socklen_t address_size = sizeof(address);
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_ACCEPTCONN, &listening,
                   &size) != 0 ||
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address),
                    &address_size) != 0 ||
      listening == 0 || address.ss_family != AF_UNIX) {
    return absl::InvalidArgumentError(absl::StrCat(
        "inherited descriptor ", socket.get(), " is no listening Unix socket"));
  }
  return std::unique_ptr<Listener>(
      new Listener(std::move(socket), "", std::nullopt));
}

Listener::Listener(UniqueFd socket, fs::path path, std::optional<FileLock> lock)
    : socket_(std::move(socket)),
      path_(std::move(path)),
      lock_(std::move(lock)),
      stop_(::eventfd(0, EFD_CLOEXEC)) {}

Listener::~Listener() {
  if (thread_.joinable()) {
    const uint64_t one = 1;
    CHECK_EQ(::write(stop_.get(), &one, sizeof(one)),
             static_cast<ssize_t>(sizeof(one)));
    thread_.join();
  }
  // A service manager may have put a socket of its own there meanwhile.
  struct stat info;
  if (!path_.empty() && ::lstat(path_.c_str(), &info) == 0 &&
      info.st_dev == device_ && info.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
}

void Listener::Serve(
    std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor) {
  acceptor_ = std::move(acceptor);
  thread_ = std::thread([this] { Run(); });
}

void Listener::Run() {
  SetThreadName("listener");
  std::array<pollfd, 2> events = {
      pollfd{.fd = socket_.get(), .events = POLLIN, .revents = 0},
      pollfd{.fd = stop_.get(), .events = POLLIN, .revents = 0}};
  while (true) {
    if (::poll(events.data(), events.size(), -1) < 0) {
      if (errno == EINTR) {
        continue;
      }
      LOG(ERROR) << "poll " << path_ << ": " << std::strerror(errno);
      return;
    }
    if (events[1].revents != 0) {
      return;
    }
    UniqueFd connection(::accept4(socket_.get(), nullptr, nullptr,
                                  SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!connection.valid()) {
      if (errno == EMFILE || errno == ENFILE) {
        // The connection stays in the backlog; without a pause this would spin.
        LOG(ERROR) << "accept on " << path_ << ": " << std::strerror(errno);
        ::poll(&events[1], 1, 100);
      }
      continue;
    }
    ucred peer = {};
    socklen_t size = sizeof(peer);
    if (::getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) !=
            0 ||
        peer.uid != ::geteuid()) {
      LOG(WARNING) << "refused a connection of user " << peer.uid
                   << ", process " << peer.pid;
      continue;
    }
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters
        parameters;
    parameters.listener_fd = socket_.get();
    parameters.fd = connection.release();
    acceptor_->HandleNewConnection(&parameters);
  }
}

}  // namespace pith
