#include "core/base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "glog/logging.h"

#include "core/base/status_macros.h"
#include "core/base/string_view.h"

namespace pith {
namespace fs = std::filesystem;

namespace {

constexpr int kLockTries = 5;
constexpr useconds_t kLockPauseMicros = 5000;

absl::Status WriteAll(int fd, std::string_view content, const fs::path& path) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0) {
      if (errno == EINTR) {
        continue;
      }
      return ErrnoStatus(errno, "write", path);
    }
    content.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

struct OpenFile {
  UniqueFd fd;
  struct stat info = {};
};

absl::StatusOr<OpenFile> OpenForReading(const fs::path& path) {
  OpenFile file = {.fd = UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC))};
  if (!file.fd.valid()) {
    return ErrnoStatus(errno, "open", path);
  }
  if (::fstat(file.fd.get(), &file.info) != 0) {
    return ErrnoStatus(errno, "stat", path);
  }
  return file;
}

absl::Status VisitAll(
    const OpenFile& file, const fs::path& path,
    absl::FunctionRef<absl::Status(std::string_view bytes)> visit) {
  std::array<char, 1 << 16> buffer;
  while (true) {
    const ssize_t count = ::read(file.fd.get(), buffer.data(), buffer.size());
    if (count < 0) {
      if (errno == EINTR) {
        continue;
      }
      return ErrnoStatus(errno, "read", path);
    }
    if (count == 0) {
      return absl::OkStatus();
    }
    PITH_RETURN_IF_ERROR(
        visit(std::string_view(buffer.data(), static_cast<size_t>(count))));
  }
}

absl::StatusOr<std::string> ReadAll(const OpenFile& file, const fs::path& path,
                                    uint64_t max_bytes) {
  std::string content;
  if (file.info.st_size > 0) {
    content.reserve(std::min<uint64_t>(static_cast<uint64_t>(file.info.st_size),
                                       max_bytes));
  }
  // Read to the end rather than to st_size: the file may grow, and special
  // files report none.
  const absl::Status visited =
      VisitAll(file, path, [&](std::string_view bytes) -> absl::Status {
        if (content.size() + bytes.size() > max_bytes) {
          return absl::ResourceExhaustedError(
              absl::StrCat("read ", path.string(), ": more than the limit of ",
                           max_bytes, " bytes"));
        }
        content.append(bytes);
        return absl::OkStatus();
      });
  PITH_RETURN_IF_ERROR(visited);
  return content;
}

}  // namespace

UniqueFd& UniqueFd::operator=(UniqueFd&& other) noexcept {
  if (this != &other) {
    UniqueFd old(std::exchange(fd_, other.release()));
  }
  return *this;
}

UniqueFd::~UniqueFd() {
  if (fd_ >= 0) {
    ::close(fd_);
  }
}

int UniqueFd::release() {
  return std::exchange(fd_, -1);
}

absl::Status ErrnoStatus(int error_number, std::string_view action,
                         const fs::path& path) {
  const std::string message =
      absl::StrCat(AbslView(action), " ", path.string(), ": ",
                   std::generic_category().message(error_number));
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
      return absl::ResourceExhaustedError(message);
    case EINVAL:
    case EISDIR:
    case ENAMETOOLONG:
      return absl::InvalidArgumentError(message);
    default:
      return absl::InternalError(message);
  }
}

absl::StatusOr<std::string> ReadFile(const fs::path& path, uint64_t max_bytes) {
  PITH_ASSIGN_OR_RETURN(const OpenFile file, OpenForReading(path));
  return ReadAll(file, path, max_bytes);
}

absl::StatusOr<std::string> ReadPrivateFile(const fs::path& path,
                                            uint64_t max_bytes) {
  // Of what is read, whatever `path` leads to a moment later.
  PITH_ASSIGN_OR_RETURN(const OpenFile file, OpenForReading(path));
  const struct stat& info = file.info;
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return absl::FailedPreconditionError(
        absl::StrFormat("read %s: its mode is %03o, others have access: "
                        "chmod 600",
                        path.string(), info.st_mode & ALLPERMS));
  }
  if (info.st_uid != ::geteuid() && info.st_uid != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("read ", path.string(), ": it belongs to user ",
                     info.st_uid, ", not to user ", ::geteuid(), " or root"));
  }
  return ReadAll(file, path, max_bytes);
}

absl::Status WriteFileAtomically(const fs::path& path,
                                 std::string_view content) {
  std::string temporary = absl::StrCat(path.string(), ".XXXXXX");
  UniqueFd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd.valid()) {
    return ErrnoStatus(errno, "create", temporary);
  }
  absl::Status status = WriteAll(fd.get(), content, temporary);
  if (status.ok() && ::fsync(fd.get()) != 0) {
    status = ErrnoStatus(errno, "fsync", temporary);
  }
  if (status.ok() && ::rename(temporary.c_str(), path.c_str()) != 0) {
    status = ErrnoStatus(errno, "rename", temporary);
  }
  if (!status.ok()) {
    ::unlink(temporary.c_str());
    return status;
  }
  return SyncPath(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

absl::Status VisitFile(
    const fs::path& path,
    absl::FunctionRef<absl::Status(std::string_view bytes)> visit) {
  PITH_ASSIGN_OR_RETURN(const OpenFile file, OpenForReading(path));
  return VisitAll(file, path, visit);
}

absl::StatusOr<NewFile> NewFile::Create(const fs::path& path) {
  UniqueFd fd(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd.valid()) {
    return ErrnoStatus(errno, "create", path);
  }
  return NewFile(std::move(fd), path);
}

absl::Status NewFile::Write(std::string_view bytes) {
  return WriteAll(fd_.get(), bytes, path_);
}

absl::Status NewFile::Sync() {
  if (::fsync(fd_.get()) != 0) {
    return ErrnoStatus(errno, "fsync", path_);
  }
  return absl::OkStatus();
}

absl::Status SyncPath(const fs::path& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    return ErrnoStatus(errno, "open", path);
  }
  if (::fsync(fd.get()) != 0) {
    return ErrnoStatus(errno, "fsync", path);
  }
  return absl::OkStatus();
}

absl::Status RemoveTree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  return error ? ErrnoStatus(error.value(), "remove", path) : absl::OkStatus();
}

absl::Status RenameDurably(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    return ErrnoStatus(errno, "rename", from);
  }
  return SyncPath(to.has_parent_path() ? to.parent_path() : fs::path("."));
}

absl::Status CreatePrivateDirectories(const fs::path& path) {
  if (path.empty()) {
    return absl::InvalidArgumentError("create directory: the path is empty");
  }
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    return absl::OkStatus();
  }
  if (path.has_parent_path() && path.parent_path() != path) {
    PITH_RETURN_IF_ERROR(CreatePrivateDirectories(path.parent_path()));
  }
  if (::mkdir(path.c_str(), 0700) != 0) {
    const int error_number = errno;
    if (error_number != EEXIST || !fs::is_directory(path, ignored)) {
      return ErrnoStatus(error_number, "create directory", path);
    }
  }
  return SyncPath(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

absl::StatusOr<uint64_t> DirectoryBytes(const fs::path& directory) {
  uint64_t total = 0;
  std::error_code error;
  fs::recursive_directory_iterator it(directory, error);
  for (; !error && it != fs::recursive_directory_iterator();
       it.increment(error)) {
    struct stat info;
    // A file that vanished since the listing (a compaction ended) counts as
    // nothing.
    if (::lstat(it->path().c_str(), &info) == 0 && S_ISREG(info.st_mode)) {
      total += static_cast<uint64_t>(info.st_blocks) * 512;
    }
  }
  if (error) {
    return ErrnoStatus(error.value(), "list", directory);
  }
  return total;
}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  const FileLock released(
      std::exchange(fd_, std::exchange(other.fd_, UniqueFd())));
  return *this;
}

FileLock::~FileLock() {
  // Until the next owner has written its pid, Owner() must not find this one.
  if (fd_.valid() && ::ftruncate(fd_.get(), 0) != 0) {
    PLOG(WARNING) << "empty a lock file before its release";
  }
}

absl::StatusOr<FileLock> FileLock::Acquire(const fs::path& path) {
  UniqueFd fd(
      ::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd.valid()) {
    return ErrnoStatus(errno, "open", path);
  }
  // Owner() holds a shared lock for a moment; what outlasts a few tries is an
  // owner.
  int result = ::flock(fd.get(), LOCK_EX | LOCK_NB);
  for (int i = 1; i < kLockTries && result != 0 && errno == EWOULDBLOCK; ++i) {
    ::usleep(kLockPauseMicros);
    result = ::flock(fd.get(), LOCK_EX | LOCK_NB);
  }
  if (result != 0) {
    if (errno != EWOULDBLOCK) {
      return ErrnoStatus(errno, "lock", path);
    }
    const absl::StatusOr<std::string> pid = ReadFile(path, 64);
    return absl::FailedPreconditionError(
        absl::StrCat("lock ", path.string(), ": held by process ",
                     pid.ok() && !pid->empty() ? *pid : "(unknown)"));
  }
  const std::string pid = absl::StrCat(::getpid());
  if (::ftruncate(fd.get(), 0) != 0) {
    return ErrnoStatus(errno, "truncate", path);
  }
  PITH_RETURN_IF_ERROR(WriteAll(fd.get(), pid, path));
  return FileLock(std::move(fd));
}

absl::StatusOr<std::optional<pid_t>> FileLock::Owner(const fs::path& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) {
    if (errno == ENOENT) {
      return std::nullopt;
    }
    return ErrnoStatus(errno, "open", path);
  }
  // The file is empty for a moment after an owner took the lock and before it
  // releases it.
  std::string text;
  for (int i = 0; i < kLockTries && text.empty(); ++i) {
    if (i > 0) {
      ::usleep(kLockPauseMicros);
    }
    // A shared lock is refused only while an owner holds the exclusive one.
    if (::flock(fd.get(), LOCK_SH | LOCK_NB) == 0) {
      return std::nullopt;
    }
    if (errno != EWOULDBLOCK) {
      return ErrnoStatus(errno, "lock", path);
    }
    PITH_ASSIGN_OR_RETURN(text, ReadFile(path, 64));
  }
  pid_t pid = 0;
  if (!absl::SimpleAtoi(text, &pid)) {
    return absl::InternalError(absl::StrCat("read ", path.string(), ": \"",
                                            text, "\" is not a process id"));
  }
  return pid;
}

}  // namespace pith
