// Preloaded into a process, makes it die, and its files fail, where a test says
// so. Below every library that writes, so that RocksDB's files and ours meet
// the same disk. Linux, glibc.
//
// The environment variable PITH_FAULTS is a list of KEY=VALUE, separated by
// semicolons:
//
//   root=DIR        files below this alone are touched
//   report=FILE     where the counts of Report go, which outlive the process
//   seed=N          of what is left to chance
//   kill=WHEN,OPERATION,PART,N
//                   the process is killed "before" or "after" the N-th
//                   operation, from 1, on a path with PART in it: create,
//                   write, sync (of a file), syncdir, rename, remove, or any
//   kill_after_us=N the process is killed after so long
//   power=1         with the process, what was not synced dies: see LosePower
//   fail=OPERATION,PART,ERRNO,FROM,COUNT
//                   operations FROM to FROM + COUNT - 1 fail with ERRNO; writes
//                   do half of what they are to. ERRNO 0: they say so.

#include "tests/crash/faults.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace pith {
namespace {

template <typename Function>
Function* Real(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}
#define PITH_REAL(name) \
  static decltype(::name)* const real = pith::Real<decltype(::name)>(#name)

struct KillPoint {
  bool after = false;
  std::string operation;
  std::string part;
  uint64_t count = 1;
};

struct FailurePoint {
  std::string operation;
  std::string part;
  int error = 0;
  uint64_t from = 1;
  uint64_t count = 1;
};

// A change of a directory that a crash may undo.
struct EntryChange {
  enum class Kind { kCreate, kRename, kRemove } kind;
  std::string path;
  // Where a renamed file was.
  std::string from;
  // A link to the file that was replaced or removed; empty if none was.
  std::string saved;
};

std::string DirectoryOf(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

class Faults {
 public:
  Faults() {
    const char* text = std::getenv("PITH_FAULTS");
    if (text == nullptr) {
      return;
    }
    std::istringstream list(text);
    for (std::string item; std::getline(list, item, ';');) {
      Set(item.substr(0, item.find('=')), item.substr(item.find('=') + 1));
    }
    // Not for those that this process starts.
    ::unsetenv("PITH_FAULTS");
    ::unsetenv("LD_PRELOAD");
    active_ = true;
    if (kill_after_us_) {
      std::thread([this] {
        std::this_thread::sleep_for(std::chrono::microseconds(*kill_after_us_));
        const std::lock_guard lock(mutex_);
        Die();
      }).detach();
    }
  }

  bool Touches(const std::string& path) const {
    return active_ && path.starts_with(root_);
  }
  // The path that `fd` was opened with; empty if it is not touched.
  std::string PathOf(int fd) {
    if (!active_ || fd < 0 || fd >= kMaxFd || !tracked_[fd]) {
      return "";
    }
    return paths_[fd];
  }

  // Called with `mutex` held, before and after an operation.
  int Before(const std::string& operation, const std::string& path) {
    ++report_->operations;
    CountKill(/*after=*/false, operation, path);
    if (failure_ &&
        Matches(failure_->operation, failure_->part, operation, path)) {
      const uint64_t number = ++failure_matches_;
      if (number >= failure_->from &&
          number < failure_->from + failure_->count) {
        ++report_->failures;
        return failure_->error != 0 ? failure_->error : kShort;
      }
    }
    return 0;
  }
  void After(const std::string& operation, const std::string& path) {
    CountKill(/*after=*/true, operation, path);
  }

  void Opened(int fd, const std::string& path, bool created) {
    if (fd >= kMaxFd) {
      return;
    }
    paths_[fd] = path;
    tracked_[fd] = true;
    if (created) {
      synced_[path] = 0;
      changes_[DirectoryOf(path)].push_back(
          {.kind = EntryChange::Kind::kCreate, .path = path});
    } else if (!synced_.contains(path)) {
      // What was there before is on disk.
      synced_[path] = Size(path);
    }
  }
  void Closed(int fd) {
    if (fd >= 0 && fd < kMaxFd) {
      tracked_[fd] = false;
    }
  }
  void Synced(const std::string& path) {
    struct stat info;
    if (::stat(path.c_str(), &info) != 0) {
      return;
    }
    if (!S_ISDIR(info.st_mode)) {
      synced_[path] = info.st_size;
      return;
    }
    for (const EntryChange& change : changes_[path]) {
      Forget(change);
    }
    changes_.erase(path);
  }
  void Truncated(const std::string& path) {
    synced_[path] = std::min<off_t>(synced_[path], Size(path));
  }
  // Before a file is replaced or removed: what brings it back.
  std::string Save(const std::string& path) {
    if (!power_) {
      return "";
    }
    std::string saved = root_ + "-saved-" + std::to_string(next_saved_++);
    ::unlinkat(AT_FDCWD, saved.c_str(), 0);
    return ::linkat(AT_FDCWD, path.c_str(), AT_FDCWD, saved.c_str(), 0) == 0
               ? saved
               : "";
  }
  void Renamed(const std::string& from, const std::string& to,
               const std::string& saved) {
    if (const auto entry = synced_.find(from); entry != synced_.end()) {
      synced_[to] = entry->second;
      synced_.erase(from);
    }
    for (int fd = 0; fd < kMaxFd; ++fd) {
      if (tracked_[fd] && paths_[fd] == from) {
        paths_[fd] = to;
      }
    }
    changes_[DirectoryOf(to)].push_back({.kind = EntryChange::Kind::kRename,
                                         .path = to,
                                         .from = from,
                                         .saved = saved});
  }
  void Removed(const std::string& path, const std::string& saved) {
    synced_.erase(path);
    changes_[DirectoryOf(path)].push_back(
        {.kind = EntryChange::Kind::kRemove, .path = path, .saved = saved});
  }

  std::mutex& mutex() { return mutex_; }

  // What Before returns for a write that is to be short.
  static constexpr int kShort = -1;

 private:
  static constexpr int kMaxFd = 65536;

  void Set(const std::string& key, const std::string& value) {
    std::vector<std::string> words;
    std::istringstream list(value);
    for (std::string word; std::getline(list, word, ',');) {
      words.push_back(word);
    }
    if (key == "root") {
      root_ = value;
    } else if (key == "report") {
      const int fd = ::open(value.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
      if (fd < 0 || ::ftruncate(fd, sizeof(FaultReport)) != 0) {
        std::abort();
      }
      report_ = static_cast<FaultReport*>(::mmap(nullptr, sizeof(FaultReport),
                                                 PROT_READ | PROT_WRITE,
                                                 MAP_SHARED, fd, 0));
      ::close(fd);
    } else if (key == "seed") {
      random_.seed(static_cast<uint32_t>(std::stoul(value)));
    } else if (key == "power") {
      power_ = value == "1";
    } else if (key == "kill_after_us") {
      kill_after_us_ = std::stoul(value);
    } else if (key == "kill" && words.size() == 4) {
      kill_ = KillPoint{.after = words[0] == "after",
                        .operation = words[1],
                        .part = words[2],
                        .count = std::stoul(words[3])};
    } else if (key == "fail" && words.size() == 5) {
      failure_ = FailurePoint{.operation = words[0],
                              .part = words[1],
                              .error = std::stoi(words[2]),
                              .from = std::stoul(words[3]),
                              .count = std::stoul(words[4])};
    } else {
      std::abort();
    }
  }

  static bool Matches(const std::string& wanted, const std::string& part,
                      const std::string& operation, const std::string& path) {
    return (wanted == "any" || wanted == operation) &&
           path.find(part) != std::string::npos;
  }
  void CountKill(bool after, const std::string& operation,
                 const std::string& path) {
    if (kill_ && kill_->after == after &&
        Matches(kill_->operation, kill_->part, operation, path) &&
        ++kill_matches_ == kill_->count) {
      report_->reached = 1;
      Die();
    }
  }

  [[noreturn]] void Die() {
    if (power_) {
      LosePower();
    }
    ++report_->kills;
    ::kill(::getpid(), SIGKILL);
    while (true) {
      ::pause();
    }
  }

  static off_t Size(const std::string& path) {
    struct stat info;
    return ::stat(path.c_str(), &info) == 0 ? info.st_size : 0;
  }
  static void Forget(const EntryChange& change) {
    if (!change.saved.empty()) {
      ::unlinkat(AT_FDCWD, change.saved.c_str(), 0);
    }
  }

  // Leaves what a disk may have: of each directory's changes since it was last
  // synced, in their order, some first ones; of each file's bytes, those that
  // were synced and some of the rest. That a file grew before its bytes were
  // there, and ends with zeros, is left out: ext4 in its default mode, XFS and
  // btrfs do not let it happen.
  void LosePower() {
    ++report_->power_losses;
    for (auto& [directory, changes] : changes_) {
      const size_t kept = random_() % (changes.size() + 1);
      for (size_t i = changes.size(); i-- > 0;) {
        if (i >= kept) {
          Undo(changes[i]);
          ++report_->undone_entries;
        } else {
          Forget(changes[i]);
        }
      }
    }
    for (const auto& [path, synced] : synced_) {
      const off_t size = Size(path);
      if (size <= synced) {
        continue;
      }
      const off_t kept =
          synced + static_cast<off_t>(random_() %
                                      static_cast<uint64_t>(size - synced + 1));
      if (kept == size) {
        continue;
      }
      ++report_->cut_files;
      (void)!::truncate(path.c_str(), kept);
    }
  }
  void Undo(const EntryChange& change) {
    switch (change.kind) {
      case EntryChange::Kind::kCreate:
        ::unlinkat(AT_FDCWD, change.path.c_str(), 0);
        synced_.erase(change.path);
        break;
      case EntryChange::Kind::kRename:
        ::renameat(AT_FDCWD, change.path.c_str(), AT_FDCWD,
                   change.from.c_str());
        if (const auto entry = synced_.find(change.path);
            entry != synced_.end()) {
          synced_[change.from] = entry->second;
          synced_.erase(change.path);
        }
        break;
      case EntryChange::Kind::kRemove:
        break;
    }
    if (!change.saved.empty()) {
      ::renameat(AT_FDCWD, change.saved.c_str(), AT_FDCWD, change.path.c_str());
    }
  }

  std::atomic<bool> active_ = false;
  std::string root_;
  FaultReport* report_ = new FaultReport;
  std::mt19937_64 random_;
  bool power_ = false;
  std::optional<KillPoint> kill_;
  std::optional<uint64_t> kill_after_us_;
  std::optional<FailurePoint> failure_;
  uint64_t kill_matches_ = 0;
  uint64_t failure_matches_ = 0;

  // Held through each operation, so that one that is killed finds no other
  // under way.
  std::mutex mutex_;
  std::array<std::atomic<bool>, kMaxFd> tracked_ = {};
  std::array<std::string, kMaxFd> paths_;
  // Bytes of each file that are on disk.
  std::map<std::string, off_t> synced_;
  // By directory, since it was last synced.
  std::map<std::string, std::vector<EntryChange>> changes_;
  uint64_t next_saved_ = 0;
};

// Null until it knows what to do.
std::atomic<Faults*> installed = nullptr;

// Before main().
__attribute__((constructor)) void Install() {
  installed = new Faults;
}

template <typename Open>
int OpenTracked(const char* path, int flags, const Open& open) {
  Faults* const faults = installed;
  if (faults == nullptr || path == nullptr || !faults->Touches(path)) {
    return open();
  }
  const std::lock_guard lock(faults->mutex());
  struct stat info;
  const bool creates = (flags & O_CREAT) != 0 && ::lstat(path, &info) != 0;
  if (creates) {
    if (const int error = faults->Before("create", path); error > 0) {
      errno = error;
      return -1;
    }
  }
  const int fd = open();
  // What is only read is of no interest, but directories are opened for that
  // to be synced.
  if (fd >= 0 && (creates || (flags & (O_WRONLY | O_RDWR)) != 0 ||
                  (::fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)))) {
    faults->Opened(fd, path, creates);
    if (creates) {
      faults->After("create", path);
    }
  }
  return fd;
}

template <typename Write>
ssize_t WriteTracked(int fd, size_t size, const Write& write) {
  Faults* const faults = installed;
  const std::string path = faults == nullptr ? "" : faults->PathOf(fd);
  if (path.empty()) {
    return write(size);
  }
  const std::lock_guard lock(faults->mutex());
  const int error = faults->Before("write", path);
  const ssize_t written = write(error != 0 && size > 1 ? size / 2 : size);
  if (error > 0) {
    errno = error;
    return -1;
  }
  faults->After("write", path);
  return written;
}

template <typename Sync>
int SyncTracked(int fd, const Sync& sync) {
  Faults* const faults = installed;
  const std::string path = faults == nullptr ? "" : faults->PathOf(fd);
  if (path.empty()) {
    return sync();
  }
  const std::lock_guard lock(faults->mutex());
  struct stat info;
  const char* const operation =
      ::fstat(fd, &info) == 0 && S_ISDIR(info.st_mode) ? "syncdir" : "sync";
  if (const int error = faults->Before(operation, path); error > 0) {
    errno = error;
    return -1;
  }
  // The real one would only take time: the process dies, not the machine.
  faults->Synced(path);
  faults->After(operation, path);
  return 0;
}

template <typename Remove>
int RemoveTracked(const char* path, const Remove& remove) {
  Faults* const faults = installed;
  struct stat info;
  if (faults == nullptr || !faults->Touches(path) ||
      ::lstat(path, &info) != 0 || !S_ISREG(info.st_mode)) {
    return remove();
  }
  const std::lock_guard lock(faults->mutex());
  if (const int error = faults->Before("remove", path); error > 0) {
    errno = error;
    return -1;
  }
  const std::string saved = faults->Save(path);
  const int result = remove();
  if (result == 0) {
    faults->Removed(path, saved);
    faults->After("remove", path);
  }
  return result;
}

mode_t ModeArgument(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

}  // namespace
}  // namespace pith

extern "C" {

int open(const char* path, int flags, ...) {
  PITH_REAL(open);
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = pith::ModeArgument(flags, arguments);
  va_end(arguments);
  return pith::OpenTracked(path, flags,
                           [&] { return real(path, flags, mode); });
}

int open64(const char* path, int flags, ...) {
  PITH_REAL(open64);
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = pith::ModeArgument(flags, arguments);
  va_end(arguments);
  return pith::OpenTracked(path, flags,
                           [&] { return real(path, flags, mode); });
}

int mkostemp(char* pattern, int flags) {
  PITH_REAL(mkostemp);
  pith::Faults* const faults = pith::installed;
  if (faults == nullptr || !faults->Touches(pattern)) {
    return real(pattern, flags);
  }
  const std::lock_guard lock(faults->mutex());
  if (const int error = faults->Before("create", pattern); error > 0) {
    errno = error;
    return -1;
  }
  const int fd = real(pattern, flags);
  if (fd >= 0) {
    faults->Opened(fd, pattern, /*created=*/true);
    faults->After("create", pattern);
  }
  return fd;
}

int close(int fd) {
  PITH_REAL(close);
  pith::Faults* const faults = pith::installed;
  if (faults != nullptr && !faults->PathOf(fd).empty()) {
    const std::lock_guard lock(faults->mutex());
    faults->Closed(fd);
    return real(fd);
  }
  return real(fd);
}

ssize_t write(int fd, const void* bytes, size_t size) {
  PITH_REAL(write);
  return pith::WriteTracked(
      fd, size, [&](size_t count) { return real(fd, bytes, count); });
}

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  PITH_REAL(pwrite);
  return pith::WriteTracked(
      fd, size, [&](size_t count) { return real(fd, bytes, count, offset); });
}

int fsync(int fd) {
  PITH_REAL(fsync);
  return pith::SyncTracked(fd, [&] { return real(fd); });
}

int fdatasync(int fd) {
  PITH_REAL(fdatasync);
  return pith::SyncTracked(fd, [&] { return real(fd); });
}

int ftruncate(int fd, off_t size) noexcept {
  PITH_REAL(ftruncate);
  pith::Faults* const faults = pith::installed;
  const std::string path = faults == nullptr ? "" : faults->PathOf(fd);
  if (path.empty()) {
    return real(fd, size);
  }
  const std::lock_guard lock(faults->mutex());
  const int result = real(fd, size);
  faults->Truncated(path);
  return result;
}

int rename(const char* from, const char* to) noexcept {
  PITH_REAL(rename);
  pith::Faults* const faults = pith::installed;
  struct stat info;
  if (faults == nullptr || !faults->Touches(to) || ::lstat(from, &info) != 0 ||
      !S_ISREG(info.st_mode)) {
    return real(from, to);
  }
  const std::lock_guard lock(faults->mutex());
  if (const int error = faults->Before("rename", to); error > 0) {
    errno = error;
    return -1;
  }
  const std::string saved = faults->Save(to);
  const int result = real(from, to);
  if (result == 0) {
    faults->Renamed(from, to, saved);
    faults->After("rename", to);
  }
  return result;
}

int unlink(const char* path) noexcept {
  PITH_REAL(unlink);
  return pith::RemoveTracked(path, [&] { return real(path); });
}

int remove(const char* path) noexcept {
  PITH_REAL(remove);
  return pith::RemoveTracked(path, [&] { return real(path); });
}

}  // extern "C"
