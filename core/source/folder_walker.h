#ifndef PITH_CORE_SOURCE_FOLDER_WALKER_H_
#define PITH_CORE_SOURCE_FOLDER_WALKER_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>

#include "absl/status/status.h"

#include "core/base/file_stamp.h"

namespace pith {

// Why a file or directory below a source is not indexed.
enum class SkipReason {
  kHidden,      // name starts with a dot
  kIgnored,     // a .gitignore or .pithignore rule matches
  kNotRegular,  // socket, device, pipe
  kSymlink,     // links are not followed
  kEmpty,
  kTooLarge,  // more than FolderWalkOptions::max_file_bytes
  kBinary,    // by content
  kNotUtf8,
  kUnreadable,  // permission or I/O; `detail` has the system's words
};
// For programs and people: hidden, ignored, not_regular, symlink, empty,
// too_large, binary, not_utf8, unreadable.
std::string_view SkipReasonName(SkipReason reason);

struct FolderWalkOptions {
  uint64_t max_file_bytes = uint64_t{32} << 20;
};

// Called in a deterministic order: a directory's files by name, then its
// subdirectories by name.
struct WalkVisitor {
  // A file that may hold text: regular, readable size, not ignored. Its content
  // has not been looked at. False stops the walk.
  std::function<bool(const std::filesystem::path& path, const FileStamp& stamp)>
      file;
  // A skipped file or a directory that is not entered. `detail` is empty or
  // names the rule, size or system error.
  std::function<void(const std::filesystem::path& path, SkipReason reason,
                     std::string_view detail)>
      skipped;
  // A directory that is entered, before its entries are read. May be null.
  std::function<void(const std::filesystem::path& path)> directory;
};

// Visits every file below `root` (a directory, or one file, which is visited
// whatever ignore rules say; absolute and without . or ..). Honours .gitignore
// and .pithignore as git does: each file's rules hold for its directory and
// below, later rules win over earlier ones, the deeper file over the shallower,
// .pithignore over .gitignore; a directory that is ignored is not entered.
// Ignore files of the directories above `root` count up to the one that holds
// .git, as in git. A directory with an ignore file that cannot be read is not
// entered, as one that cannot be read itself; for those above, `root` is not.
// kNotFound, kPermissionDenied or what else the system says if `root` cannot be
// entered; kCancelled if the visitor stopped the walk.
absl::Status WalkFolder(const std::filesystem::path& root,
                        const FolderWalkOptions& options,
                        const WalkVisitor& visitor);

// As WalkFolder, but visits only what lies at or below `top`, which is `root`
// or a path below it. Nothing if `top` is not there, or if a directory above it
// is not entered, which is then said to be skipped.
absl::Status WalkBelow(const std::filesystem::path& root,
                       const std::filesystem::path& top,
                       const FolderWalkOptions& options,
                       const WalkVisitor& visitor);

}  // namespace pith

#endif  // PITH_CORE_SOURCE_FOLDER_WALKER_H_
