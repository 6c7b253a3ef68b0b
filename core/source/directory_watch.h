#ifndef PITH_CORE_SOURCE_DIRECTORY_WATCH_H_
#define PITH_CORE_SOURCE_DIRECTORY_WATCH_H_

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "core/base/file.h"
#include "core/base/mutex.h"

namespace pith {

// Hints of inotify(7) about directories, each watched by itself and not those
// below it. Thread-safe, but for Wait.
class DirectoryWatch {
 public:
  // `max_directories`: watched at most; nullopt: as many as the system grants.
  // kResourceExhausted if the user has too many instances.
  static absl::StatusOr<std::unique_ptr<DirectoryWatch>> Create(
      std::optional<size_t> max_directories);

  // Watches `directory`, under this path if it was watched under another; a
  // link to one only if `is_root`. Changes made after the return are heard of.
  // kResourceExhausted at the limit of watches, kNotFound, kPermissionDenied
  // and others as the system says.
  absl::Status Add(const std::string& directory, bool is_root)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // No longer watches `path` and the directories below it.
  void RemoveBelow(const std::string& path) ABSL_LOCKS_EXCLUDED(mutex_);

  size_t directories() const ABSL_LOCKS_EXCLUDED(mutex_);

  struct Changes {
    // Files and directories that may have come, gone or changed, with all that
    // is below them. Hidden ones are not among them; for an ignore file, its
    // directory is.
    std::vector<std::string> paths;
    // More has changed than could be told.
    bool lost = false;
  };
  // Waits until something has changed, Wake was called or `timeout` is over.
  // For one thread.
  absl::StatusOr<Changes> Wait(absl::Duration timeout)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Ends one Wait, the present or the next.
  void Wake();

 private:
  DirectoryWatch(UniqueFd inotify, UniqueFd wake,
                 std::optional<size_t> max_directories)
      : inotify_(std::move(inotify)),
        wake_(std::move(wake)),
        max_directories_(max_directories) {}

  void RemoveLocked(std::map<std::string, int>::iterator entry)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RemoveBelowLocked(const std::string& path)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Take(std::string_view events, Changes& changes)
      ABSL_LOCKS_EXCLUDED(mutex_);

  const UniqueFd inotify_;
  const UniqueFd wake_;
  const std::optional<size_t> max_directories_;

  mutable Mutex mutex_;
  // Watch descriptors; two maps that agree.
  std::map<std::string, int> by_path_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<int, std::string> by_watch_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pith

#endif  // PITH_CORE_SOURCE_DIRECTORY_WATCH_H_
