#include "clients/cli/daemon.h"

// glibc 2.36 declares these functions without C linkage.
extern "C" {
#include <sys/pidfd.h>
}

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "google/protobuf/wrappers.pb.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/create_channel_posix.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "grpcpp/support/channel_arguments.h"

#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace pith::cli {
namespace fs = std::filesystem;

namespace {

// pithd's exit status when another process owns the data directory.
constexpr int kExitLocked = 3;

constexpr absl::Duration kPollInterval = absl::Milliseconds(20);
// A daemon that lost the race for the lock may have lost it to one that is
// going away, so another is tried after a while.
constexpr absl::Duration kRespawnInterval = absl::Milliseconds(500);

// grpc_health_v1 HealthCheckResponse.ServingStatus.SERVING.
constexpr int kServing = 1;

// A connected socket. kNotFound if nothing listens there.
//
// The connection is made here rather than by gRPC: the reason of a failure is
// exact, nothing backs off while a daemon starts, and the path is no URI.
absl::StatusOr<UniqueFd> ConnectSocket(const fs::path& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) {
    return ErrnoStatus(errno, "create a socket for", path);
  }
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  // ResolveStandardPaths has checked the length.
  std::memcpy(address.sun_path, path.c_str(), path.native().size());
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address),
                sizeof address) != 0) {
    if (errno == ECONNREFUSED || errno == ENOENT) {
      return absl::NotFoundError(
          absl::StrCat("no daemon listens on ", path.string()));
    }
    return ErrnoStatus(errno, "connect to", path);
  }
  if (::fcntl(fd.get(), F_SETFL, O_NONBLOCK) != 0) {
    return ErrnoStatus(errno, "make non-blocking", path);
  }
  return fd;
}

std::shared_ptr<grpc::Channel> ChannelOver(UniqueFd fd) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  return grpc::CreateCustomInsecureChannelFromFd("pith", fd.release(),
                                                 arguments);
}

// Whether the daemon answers its health check with SERVING.
//
// The messages of grpc.health.v1, which Debian does not package, have one field
// each, and on the wire they are those of these wrappers.
absl::StatusOr<bool> IsServing(const std::shared_ptr<grpc::Channel>& channel,
                               absl::Time deadline) {
  using google::protobuf::Int32Value;
  using google::protobuf::StringValue;
  grpc::TemplatedGenericStub<StringValue, Int32Value> stub(channel);
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(deadline));
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareUnaryCall(
      &context, "/grpc.health.v1.Health/Check", StringValue(), &queue);
  Int32Value response;
  grpc::Status status;
  call->StartCall();
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  if (!status.ok()) {
    return FromGrpc(status);
  }
  return response.value() == kServing;
}

absl::Status NotInTime(const StandardPaths& paths) {
  return WithHint(
      absl::DeadlineExceededError(absl::StrCat(
          "the daemon on ", paths.socket.string(), " is not serving after ",
          absl::FormatDuration(kStartTimeout))),
      absl::StrCat("its log, if pith started it: ", paths.log.string()));
}

// A channel over `fd` once the daemon behind it serves.
absl::StatusOr<std::shared_ptr<grpc::Channel>> WaitUntilServing(
    UniqueFd fd, const StandardPaths& paths, absl::Time deadline) {
  auto channel = ChannelOver(std::move(fd));
  while (absl::Now() < deadline) {
    const absl::StatusOr<bool> serving = IsServing(channel, deadline);
    if (!serving.ok()) {
      return absl::IsDeadlineExceeded(serving.status()) ? NotInTime(paths)
                                                        : serving.status();
    }
    if (*serving) {
      return channel;
    }
    absl::SleepFor(kPollInterval);
  }
  return NotInTime(paths);
}

absl::StatusOr<fs::path> FindDaemon(const DaemonOptions& options) {
  for (const fs::path& directory : options.program_directories) {
    if (fs::path program = directory / "pithd";
        ::access(program.c_str(), X_OK) == 0) {
      return program;
    }
  }
  return WithHint(absl::NotFoundError("no pithd beside pith or on PATH"),
                  "install pithd, or start it yourself");
}

// Starts pithd in a session of its own, printing to the end of the log. It
// keeps the working directory, for paths in its arguments.
absl::StatusOr<pid_t> SpawnDaemon(const DaemonOptions& options) {
  PITH_ASSIGN_OR_RETURN(const fs::path program, FindDaemon(options));
  std::vector<std::string> arguments = {
      program.string(), "--data-dir", options.paths.data_directory.string(),
      "--socket", options.paths.socket.string()};
  arguments.insert(arguments.end(), options.arguments.begin(),
                   options.arguments.end());
  std::vector<char*> argv;
  for (std::string& argument : arguments) {
    argv.push_back(argument.data());
  }
  argv.push_back(nullptr);

  sigset_t none;
  sigset_t all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID |
                                              POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null",
                                     O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO,
                                     options.paths.log.c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  ::posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, program.c_str(), &actions, &attributes,
                                  argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    return ErrnoStatus(error, "start", program);
  }
  return pid;
}

// The last lines that were appended to the log after `offset`.
std::string LogSince(const fs::path& log, uint64_t offset) {
  constexpr size_t kLines = 10;
  constexpr size_t kMaxBytes = 4096;
  UniqueFd fd(::open(log.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info;
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) {
    return "";
  }
  const auto size = static_cast<uint64_t>(info.st_size);
  offset = std::max(offset, size > kMaxBytes ? size - kMaxBytes : 0);
  std::string text(kMaxBytes, '\0');
  const ssize_t count =
      ::pread(fd.get(), text.data(), text.size(), static_cast<off_t>(offset));
  text.resize(count > 0 ? static_cast<size_t>(count) : 0);
  std::vector<std::string> lines =
      absl::StrSplit(text, '\n', absl::SkipEmpty());
  if (lines.size() > kLines) {
    lines.erase(lines.begin(), lines.end() - kLines);
  }
  return absl::StrJoin(lines, "\n");
}

uint64_t FileSize(const fs::path& path) {
  std::error_code error;
  const uintmax_t size = fs::file_size(path, error);
  return error ? 0 : size;
}

absl::Status DiedAtOnce(int wait_status, const std::string& log) {
  return absl::InternalError(
      absl::StrCat("start pithd: it ended at once with ",
                   WIFSIGNALED(wait_status)
                       ? absl::StrCat("signal ", WTERMSIG(wait_status))
                       : absl::StrCat("exit status ", WEXITSTATUS(wait_status)),
                   log.empty() ? "" : absl::StrCat(":\n", log)));
}

// The wait status of a child that has ended, or ends within `patience`.
std::optional<int> WaitStatus(pid_t child, absl::Duration patience) {
  const absl::Time deadline = absl::Now() + patience;
  while (true) {
    int wait_status = 0;
    if (::waitpid(child, &wait_status, WNOHANG) == child) {
      return wait_status;
    }
    if (absl::Now() >= deadline) {
      return std::nullopt;
    }
    absl::SleepFor(kPollInterval);
  }
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> StartAndConnect(
    const DaemonOptions& options) {
  const StandardPaths& paths = options.paths;
  PITH_RETURN_IF_ERROR(CreatePrivateDirectories(paths.data_directory));
  const absl::Time deadline = absl::Now() + kStartTimeout;
  bool has_child = false;
  pid_t child = 0;
  absl::Time next_spawn = absl::InfinitePast();
  uint64_t log_offset = 0;
  while (absl::Now() < deadline) {
    if (!has_child && absl::Now() >= next_spawn) {
      log_offset = FileSize(paths.log);
      PITH_ASSIGN_OR_RETURN(child, SpawnDaemon(options));
      has_child = true;
      next_spawn = absl::Now() + kRespawnInterval;
    }
    absl::Duration patience = absl::ZeroDuration();
    absl::StatusOr<UniqueFd> fd = ConnectSocket(paths.socket);
    if (fd.ok()) {
      auto channel = WaitUntilServing(*std::move(fd), paths, deadline);
      if (channel.ok() || !absl::IsUnavailable(channel.status())) {
        return channel;
      }
      // It hung up: this one failed after it had begun to listen, or it was
      // an earlier one on its way out.
      patience = absl::Seconds(1);
    } else if (!absl::IsNotFound(fd.status())) {
      return fd.status();
    }
    if (has_child) {
      if (const auto wait_status = WaitStatus(child, patience)) {
        if (!WIFEXITED(*wait_status) ||
            WEXITSTATUS(*wait_status) != kExitLocked) {
          return DiedAtOnce(*wait_status, LogSince(paths.log, log_offset));
        }
        // Another process starts or runs a daemon here: wait for that one.
        has_child = false;
      }
    }
    absl::SleepFor(kPollInterval);
  }
  const absl::StatusOr<std::optional<pid_t>> owner = DaemonPid(paths);
  if (!has_child && owner.ok() && owner->has_value()) {
    return WithHint(
        absl::UnavailableError(absl::StrCat(
            "process ", **owner, " owns ", paths.data_directory.string(),
            " but does not answer on ", paths.socket.string())),
        "it may have been started with another --socket");
  }
  return NotInTime(paths);
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::Channel>> Connect(
    const DaemonOptions& options) {
  absl::StatusOr<UniqueFd> fd = ConnectSocket(options.paths.socket);
  absl::Status status = fd.status();
  if (fd.ok()) {
    auto channel = WaitUntilServing(*std::move(fd), options.paths,
                                    absl::Now() + kStartTimeout);
    if (channel.ok()) {
      return channel;
    }
    status = channel.status();
  }
  // UNAVAILABLE: the one that listens is about to end.
  if (options.may_start &&
      (absl::IsNotFound(status) || absl::IsUnavailable(status))) {
    return StartAndConnect(options);
  }
  if (absl::IsNotFound(status)) {
    return WithHint(absl::UnavailableError(status.message()),
                    "start one: pith daemon start, with the same --data-dir or "
                    "--socket");
  }
  return status;
}

absl::StatusOr<std::optional<pid_t>> DaemonPid(const StandardPaths& paths) {
  return FileLock::Owner(paths.lock);
}

absl::StatusOr<bool> StopDaemon(const StandardPaths& paths) {
  PITH_ASSIGN_OR_RETURN(const std::optional<pid_t> pid, DaemonPid(paths));
  if (!pid.has_value()) {
    return false;
  }
  UniqueFd process(::pidfd_open(*pid, 0));
  if (!process.valid()) {
    if (errno == ESRCH) {
      return true;
    }
    return ErrnoStatus(errno, absl::StrCat("stop process ", *pid, " of"),
                       paths.data_directory);
  }
  // The descriptor may be of a later process with the same number, unless the
  // lock is still held by that number now.
  PITH_ASSIGN_OR_RETURN(const std::optional<pid_t> owner, DaemonPid(paths));
  if (owner != pid) {
    return true;
  }
  if (::pidfd_send_signal(process.get(), SIGTERM, nullptr, 0) != 0 &&
      errno != ESRCH) {
    return ErrnoStatus(errno, absl::StrCat("stop process ", *pid, " of"),
                       paths.data_directory);
  }
  pollfd ended = {.fd = process.get(), .events = POLLIN, .revents = 0};
  const absl::Time deadline = absl::Now() + kStopTimeout;
  while (true) {
    const int64_t left = absl::ToInt64Milliseconds(deadline - absl::Now());
    const int ready =
        ::poll(&ended, 1, static_cast<int>(std::max<int64_t>(left, 0)));
    if (ready > 0) {
      return true;
    }
    if (ready == 0 || errno != EINTR) {
      return absl::DeadlineExceededError(absl::StrCat(
          "daemon process ", *pid, " still runs ",
          absl::FormatDuration(kStopTimeout), " after it was asked to stop"));
    }
  }
}

}  // namespace pith::cli
