#ifndef PITH_CORE_SOURCE_RECONCILE_H_
#define PITH_CORE_SOURCE_RECONCILE_H_

#include <sys/stat.h>

#include <cstdint>
#include <optional>

#include "absl/time/time.h"

#include "core/base/file_stamp.h"

namespace pith {

// What is to be done about a document and its file, decided without reading the
// file. docs/sources.md has the reasons.

// The coarsest times of change that file systems keep (FAT's): a file changed
// within it may be changed once more and keep its time.
inline constexpr absl::Duration kTimestampGrain = absl::Seconds(2);

// The stamp of a file that was looked at no earlier than at `now`.
FileStamp StampOf(const struct stat& status, absl::Time now);

// Whether a file that was stamped as `recorded` when its text was read has the
// same text still: settled then, and same size, time and inode. The device does
// not count: some file systems get another number at each mount.
bool IsUnchanged(const FileStamp& recorded, const FileStamp& found);

// A document whose file a scan did not find, or found to hold no text.
struct GoneDocument {
  // As recorded; nullopt if the text came from no file.
  std::optional<FileStamp> stamp;
  // It, or a directory above it, is there but could not be read.
  bool unreadable = false;
  // Of the nearest directory above the file that is there; nullopt if that
  // cannot be found out.
  std::optional<uint64_t> device_there;
  // The same scan found the file of some document with the same recorded
  // device.
  bool device_seen = false;
};

enum class GoneVerdict {
  kDelete,
  kKeepUnreadable,
  // The file system that it was on is not there.
  kKeepUnmounted,
};

GoneVerdict JudgeGone(const GoneDocument& document);

}  // namespace pith

#endif  // PITH_CORE_SOURCE_RECONCILE_H_
