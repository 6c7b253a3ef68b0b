#ifndef PITH_CORE_SOURCE_SKIPPED_FILES_H_
#define PITH_CORE_SOURCE_SKIPPED_FILES_H_

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/file_stamp.h"

namespace pith {

// What scans of one source did not index, and why, so that it can be told and
// a file that holds no text is not read again until it changes. Bounded:
// entries beyond kMaxEntries are only counted, and their files are read again
// each time.
class SkippedFiles {
 public:
  static constexpr size_t kMaxEntries = 100'000;

  struct Entry {
    std::string reason;
    std::string detail;
    // Of a file that was skipped for what is in it.
    std::optional<FileStamp> stamp;
  };

  // All paths of one reason.
  struct Group {
    std::string reason;
    size_t count = 0;
    // The first by name, and what is known of it.
    std::string example;
    std::string detail;
  };

  void Add(std::string path, Entry entry);

  // Null unless `path` was skipped for its content and has not changed since.
  const Entry* FindUnchanged(const std::string& path,
                             const FileStamp& stamp) const;

  // Replaces what is known at or below `tops` by `found`. Of paths that are
  // only counted it is not known where they lie: they stay.
  void Replace(std::span<const std::string> tops, SkippedFiles found);

  size_t count() const;
  // By reason.
  std::vector<Group> Groups() const;

 private:
  std::map<std::string, Entry> entries_;
  // Beyond kMaxEntries, by reason.
  std::map<std::string, size_t> unlisted_;
};

}  // namespace pith

#endif  // PITH_CORE_SOURCE_SKIPPED_FILES_H_
