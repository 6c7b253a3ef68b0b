#ifndef PITH_CORE_BASE_FILE_STAMP_H_
#define PITH_CORE_BASE_FILE_STAMP_H_

#include <cstdint>

namespace pith {

// What a file system says of a regular file without its content being read.
struct FileStamp {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t bytes = 0;
  // Time of the last change of content, in nanoseconds since 1970.
  int64_t mtime_ns = 0;
  // The file had been left alone for so long when it was stamped that a later
  // change gets another time. Otherwise an equal stamp says nothing.
  bool settled = false;

  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};

}  // namespace pith

#endif  // PITH_CORE_BASE_FILE_STAMP_H_
