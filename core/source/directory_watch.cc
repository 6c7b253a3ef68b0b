#include "core/source/directory_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"

#include "core/source/path_order.h"

namespace pith {
namespace {

// Not IN_MODIFY: a file that is held open and written to is found by the next
// reconcile.
constexpr uint32_t kEvents =
    IN_ATTRIB | IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM |
    IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK;

bool IsIgnoreFile(std::string_view name) {
  return name == ".gitignore" || name == ".pithignore";
}

}  // namespace

absl::StatusOr<std::unique_ptr<DirectoryWatch>> DirectoryWatch::Create(
    std::optional<size_t> max_directories) {
  UniqueFd inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!inotify.valid()) {
    if (errno == EMFILE) {
      return absl::ResourceExhaustedError(
          "inotify_init1: the limit of open files or of inotify instances "
          "(fs.inotify.max_user_instances) is reached");
    }
    return ErrnoStatus(errno, "inotify_init1", "");
  }
  UniqueFd wake(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!wake.valid()) {
    return ErrnoStatus(errno, "eventfd", "");
  }
  return std::unique_ptr<DirectoryWatch>(
      new DirectoryWatch(std::move(inotify), std::move(wake), max_directories));
}

absl::Status DirectoryWatch::Add(const std::string& directory, bool is_root) {
  MutexLock lock(mutex_);
  const auto known = by_path_.find(directory);
  if (max_directories_ && by_path_.size() >= *max_directories_ &&
      known == by_path_.end()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("watch ", directory, ": ", by_path_.size(),
                     " folders are watched already, the configured limit"));
  }
  const int watch =
      ::inotify_add_watch(inotify_.get(), directory.c_str(),
                          is_root ? kEvents : kEvents | IN_DONT_FOLLOW);
  if (watch < 0) {
    if (errno == ENOSPC) {
      return absl::ResourceExhaustedError(
          absl::StrCat("watch ", directory,
                       ": the system's limit of inotify watches "
                       "(fs.inotify.max_user_watches) is reached with ",
                       by_path_.size(), " of them here"));
    }
    return ErrnoStatus(errno, "watch", directory);
  }
  if (known != by_path_.end()) {
    if (known->second == watch) {
      return absl::OkStatus();
    }
    RemoveLocked(known);
  }
  // It may have been moved here.
  if (const auto old = by_watch_.find(watch); old != by_watch_.end()) {
    by_path_.erase(old->second);
  }
  by_path_[directory] = watch;
  by_watch_[watch] = directory;
  return absl::OkStatus();
}

void DirectoryWatch::RemoveLocked(std::map<std::string, int>::iterator entry) {
  // Fails if the directory is gone.
  (void)::inotify_rm_watch(inotify_.get(), entry->second);
  by_watch_.erase(entry->second);
  by_path_.erase(entry);
}

void DirectoryWatch::RemoveBelowLocked(const std::string& path) {
  if (const auto found = by_path_.find(path); found != by_path_.end()) {
    RemoveLocked(found);
  }
  const std::string below = PrefixBelow(path);
  for (auto it = by_path_.lower_bound(below);
       it != by_path_.end() && it->first.starts_with(below);) {
    RemoveLocked(it++);
  }
}

void DirectoryWatch::RemoveBelow(const std::string& path) {
  MutexLock lock(mutex_);
  RemoveBelowLocked(path);
}

size_t DirectoryWatch::directories() const {
  MutexLock lock(mutex_);
  return by_path_.size();
}

absl::StatusOr<DirectoryWatch::Changes> DirectoryWatch::Wait(
    absl::Duration timeout) {
  std::array<pollfd, 2> ready = {
      pollfd{.fd = inotify_.get(), .events = POLLIN, .revents = 0},
      pollfd{.fd = wake_.get(), .events = POLLIN, .revents = 0}};
  const timespec limit = absl::ToTimespec(timeout);
  if (::ppoll(ready.data(), ready.size(),
              timeout == absl::InfiniteDuration() ? nullptr : &limit,
              nullptr) < 0 &&
      errno != EINTR) {
    return ErrnoStatus(errno, "poll inotify", "");
  }
  uint64_t wakes = 0;
  // Fails if nobody called Wake.
  (void)!::read(wake_.get(), &wakes, sizeof(wakes));
  Changes changes;
  std::array<char, 64 << 10> buffer;
  while (true) {
    const ssize_t bytes = ::read(inotify_.get(), buffer.data(), buffer.size());
    if (bytes <= 0) {
      if (bytes < 0 && errno != EAGAIN && errno != EINTR) {
        return ErrnoStatus(errno, "read inotify", "");
      }
      break;
    }
    Take({buffer.data(), static_cast<size_t>(bytes)}, changes);
    if (static_cast<size_t>(bytes) < buffer.size() / 2) {
      break;
    }
  }
  std::sort(changes.paths.begin(), changes.paths.end());
  changes.paths.erase(std::unique(changes.paths.begin(), changes.paths.end()),
                      changes.paths.end());
  return changes;
}

void DirectoryWatch::Take(std::string_view events, Changes& changes) {
  MutexLock lock(mutex_);
  while (events.size() >= sizeof(inotify_event)) {
    inotify_event event;
    std::memcpy(&event, events.data(), sizeof(event));
    // Padded with NULs.
    const std::string_view name(
        events.data() + sizeof(event),
        ::strnlen(events.data() + sizeof(event), event.len));
    events.remove_prefix(sizeof(event) + event.len);
    if ((event.mask & (IN_Q_OVERFLOW | IN_UNMOUNT)) != 0) {
      changes.lost = true;
    }
    const auto found = by_watch_.find(event.wd);
    if (found == by_watch_.end()) {
      continue;
    }
    const std::string directory = found->second;
    if ((event.mask & IN_IGNORED) != 0) {
      by_path_.erase(directory);
      by_watch_.erase(found);
      continue;
    }
    if (name.empty() || IsIgnoreFile(name)) {
      changes.paths.push_back(directory);
      continue;
    }
    if (name.starts_with('.')) {
      continue;
    }
    std::string path = JoinPath(directory, name);
    if ((event.mask & IN_ISDIR) != 0 && (event.mask & IN_MOVED_FROM) != 0) {
      RemoveBelowLocked(path);
    }
    changes.paths.push_back(std::move(path));
  }
}

void DirectoryWatch::Wake() {
  const uint64_t one = 1;
  // Fails only if as many as fit have been written and not read.
  (void)!::write(wake_.get(), &one, sizeof(one));
}

}  // namespace pith
