#ifndef PITH_CORE_BASE_FILE_H_
#define PITH_CORE_BASE_FILE_H_

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace pith {

// Owns a file descriptor.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept;
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd();

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release();

 private:
  int fd_ = -1;
};

// "open /a/b: No such file or directory", with the status code that fits
// `error_number`.
absl::Status ErrnoStatus(int error_number, std::string_view action,
                         const std::filesystem::path& path);

// The whole file. kNotFound, kPermissionDenied, or kResourceExhausted if it is
// larger than `max_bytes`.
absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path,
                                     uint64_t max_bytes = UINT64_MAX);

// ReadFile for keys and passwords. kFailedPrecondition, and nothing is read, if
// anyone but its owner has access to the file, or the owner is neither this
// process's user nor root.
absl::StatusOr<std::string> ReadPrivateFile(const std::filesystem::path& path,
                                            uint64_t max_bytes);

// Replaces `path` by `content`, or leaves it as it was: temporary file, fsync,
// rename, fsync of the directory.
absl::Status WriteFileAtomically(const std::filesystem::path& path,
                                 std::string_view content);

// Calls `visit` with the file's bytes in order, some at a time, until it
// returns a status that is not OK; returns that status.
absl::Status VisitFile(
    const std::filesystem::path& path,
    absl::FunctionRef<absl::Status(std::string_view bytes)> visit);

// A file that did not exist and is written piece by piece.
class NewFile {
 public:
  static absl::StatusOr<NewFile> Create(const std::filesystem::path& path);
  absl::Status Write(std::string_view bytes);
  // What was written is durable, once the directory is, too.
  absl::Status Sync();

 private:
  NewFile(UniqueFd fd, const std::filesystem::path& path)
      : fd_(std::move(fd)), path_(path) {}
  UniqueFd fd_;
  std::filesystem::path path_;
};

// Makes a file's bytes, or a directory's entries, durable.
absl::Status SyncPath(const std::filesystem::path& path);

// A file, or a directory and all that is in it; nothing if it does not exist.
absl::Status RemoveTree(const std::filesystem::path& path);

// As rename(2), and durable on return.
absl::Status RenameDurably(const std::filesystem::path& from,
                           const std::filesystem::path& to);

// Creates `path` and its parents, mode 0700 for those that are new, which are
// durable on return.
absl::Status CreatePrivateDirectories(const std::filesystem::path& path);

// Sum of the sizes on disk (allocated blocks) of all files below `directory`.
absl::StatusOr<uint64_t> DirectoryBytes(const std::filesystem::path& directory);

// An exclusive flock() on a file that holds the owner's pid. Released on
// destruction, which empties the file, or when the process dies. A symbolic
// link is an error: it could lead to a file that is not to be emptied.
class FileLock {
 public:
  FileLock(FileLock&&) = default;
  FileLock& operator=(FileLock&& other) noexcept;
  ~FileLock();

  // kFailedPrecondition naming the owner's pid if another process holds it.
  static absl::StatusOr<FileLock> Acquire(const std::filesystem::path& path);

  // The pid of the process that holds the lock at `path`, or nullopt if none
  // does.
  static absl::StatusOr<std::optional<pid_t>> Owner(
      const std::filesystem::path& path);

 private:
  explicit FileLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace pith

#endif  // PITH_CORE_BASE_FILE_H_
