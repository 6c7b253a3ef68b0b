#ifndef PITH_CORE_INDEX_MANIFEST_H_
#define PITH_CORE_INDEX_MANIFEST_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "core/base/hash.h"

namespace pith {

// A segment file, as it was when it was published.
struct SegmentRef {
  uint64_t number = 0;
  // At most 2^32 - 1.
  uint64_t passages = 0;
  uint64_t file_bytes = 0;
  ContentHash codebook;

  friend bool operator==(const SegmentRef&, const SegmentRef&) = default;
};

// Which segments a collection has. What is not named here is garbage.
struct Manifest {
  // The number of the next segment to be written; numbers are not reused.
  uint64_t next_segment = 1;
  // In ascending order of number, all below next_segment.
  std::vector<SegmentRef> segments;

  friend bool operator==(const Manifest&, const Manifest&) = default;
};

// Bytes for the store's manifest (docs/index_format.md) and back. Decoding
// fails with kDataLoss for bytes that no encoder writes and with
// kFailedPrecondition for a newer version.
std::string EncodeManifest(const Manifest& manifest);
absl::StatusOr<Manifest> DecodeManifest(std::string_view bytes);

}  // namespace pith

#endif  // PITH_CORE_INDEX_MANIFEST_H_
