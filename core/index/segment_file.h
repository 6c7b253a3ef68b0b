#ifndef PITH_CORE_INDEX_SEGMENT_FILE_H_
#define PITH_CORE_INDEX_SEGMENT_FILE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "core/base/hash.h"
#include "core/index/passage_ids.h"

namespace pith {

inline constexpr size_t kMaxCodeBytes = size_t{1} << 16;

// What a segment file holds.
struct SegmentContent {
  // Of the codebook that the codes are read with.
  ContentHash codebook;
  // 1 to kMaxCodeBytes.
  size_t code_bytes = 0;
  PassageIds passages;
  // Of one node after another, code_bytes each.
  std::vector<uint8_t> codes;
  // Opaque here; nullopt for a segment that is scanned.
  std::optional<std::string> graph;
  // How many nodes came and went since the graph was built from nothing.
  uint32_t changed_nodes = 0;
  // MeasureScoreSlope of `codes`; positive. nullopt of few, and of a file of
  // version 1 or 2.
  std::optional<float> score_slope;

  friend bool operator==(const SegmentContent&,
                         const SegmentContent&) = default;
};

// A segment file's bytes (docs/index_format.md) and back. Decoding fails with
// kDataLoss for bytes that no encoder writes and with kFailedPrecondition for
// an intact file of a newer version; messages name `name`. It takes no
// more memory than some ten times `bytes`, whatever they say.
std::string EncodeSegment(const SegmentContent& content);
absl::StatusOr<SegmentContent> DecodeSegment(std::string_view bytes,
                                             std::string_view name);

}  // namespace pith

#endif  // PITH_CORE_INDEX_SEGMENT_FILE_H_
