#include "core/source/reconcile.h"

namespace pith {

FileStamp StampOf(const struct stat& status, absl::Time now) {
  return {.device = status.st_dev,
          .inode = status.st_ino,
          .bytes = static_cast<uint64_t>(status.st_size),
          .mtime_ns = status.st_mtim.tv_sec * int64_t{1'000'000'000} +
                      status.st_mtim.tv_nsec,
          .settled =
              absl::TimeFromTimespec(status.st_mtim) + kTimestampGrain < now};
}

bool IsUnchanged(const FileStamp& recorded, const FileStamp& found) {
  return recorded.settled && recorded.bytes == found.bytes &&
         recorded.mtime_ns == found.mtime_ns && recorded.inode == found.inode;
}

GoneVerdict JudgeGone(const GoneDocument& document) {
  if (document.unreadable || !document.device_there) {
    return GoneVerdict::kKeepUnreadable;
  }
  if (document.stamp && document.stamp->device != *document.device_there &&
      !document.device_seen) {
    return GoneVerdict::kKeepUnmounted;
  }
  return GoneVerdict::kDelete;
}

}  // namespace pith
