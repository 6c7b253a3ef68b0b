#ifndef PITH_CORE_INDEX_SEGMENT_DIRECTORY_H_
#define PITH_CORE_INDEX_SEGMENT_DIRECTORY_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "core/base/hash.h"
#include "core/index/manifest.h"
#include "core/index/segment.h"
#include "core/index/segment_file.h"

namespace pith {

// The segment and codebook files of one collection, in a directory that exists
// and may hold other files. Each is written once and durable when its write
// returns; a codebook is named by the hash of its bytes. Thread-safe, but for
// RemoveUnreferenced, which knows nothing of a write that is going on.
//
// What the manifest names and is missing or not what was written is kDataLoss;
// every message has the file's path.
class SegmentDirectory {
 public:
  explicit SegmentDirectory(std::filesystem::path directory)
      : directory_(std::move(directory)) {}

  // Returns what the manifest is to say of it. A file of that number is
  // replaced.
  absl::StatusOr<SegmentRef> WriteSegment(uint64_t number,
                                          const SegmentContent& content) const;
  absl::StatusOr<SegmentContent> ReadSegment(const SegmentRef& segment) const;
  // The segment with its codebook, which is to be of `dimension`, and is that
  // of one of `loaded` if they have the same.
  absl::StatusOr<std::shared_ptr<const Segment>> LoadSegment(
      const SegmentRef& ref, int dimension,
      std::span<const std::shared_ptr<const Segment>> loaded) const;

  // `hash` is that of `bytes`.
  absl::Status WriteCodebook(const ContentHash& hash,
                             std::string_view bytes) const;
  absl::StatusOr<std::string> ReadCodebook(const ContentHash& hash) const;

  // Puts what `manifest` names into `directory`, which exists, too: the same
  // files where the file system allows, else copies. Durable.
  absl::Status CopyTo(const std::filesystem::path& directory,
                      const Manifest& manifest) const;

  // Removes segments, codebooks and what unfinished writes of them left, less
  // what `manifest` names. Leaves whatever else lies there.
  absl::Status RemoveUnreferenced(const Manifest& manifest) const;

 private:
  const std::filesystem::path directory_;
};

}  // namespace pith

#endif  // PITH_CORE_INDEX_SEGMENT_DIRECTORY_H_
