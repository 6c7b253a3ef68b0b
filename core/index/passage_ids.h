#ifndef PITH_CORE_INDEX_PASSAGE_IDS_H_
#define PITH_CORE_INDEX_PASSAGE_IDS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "core/base/ids.h"
#include "core/graph/graph.h"

namespace pith {

// Which passage each node of a segment is. A passage takes as many bits as the
// largest document number less the smallest and the largest serial need: 20 to
// 34 for a million passages. Immutable, thread-safe.
class PassageIds {
 public:
  // Of no node.
  PassageIds() : PassageIds(std::span<const PassageId>()) {}
  // Node i is ids[i]. They are distinct, and at most 2^32 - 1.
  explicit PassageIds(std::span<const PassageId> ids);

  size_t size() const { return size_; }
  // `node` is below size().
  PassageId operator[](NodeId node) const;

  size_t memory_bytes() const { return sizeof(*this) + bits_.capacity(); }

  // Bytes for a segment file (docs/index_format.md) and back. kDataLoss if they
  // are not what Encode writes for distinct passages.
  std::string Encode() const;
  static absl::StatusOr<PassageIds> Decode(std::string_view bytes);

  friend bool operator==(const PassageIds&, const PassageIds&) = default;

 private:
  // Makes this, which is empty, that of `ids`.
  void Pack(std::span<const PassageId> ids);

  // One node after another, lowest bits first, serials below documents; enough
  // zeros follow for a load of eight bytes at the last one.
  std::vector<uint8_t> bits_;
  size_t size_ = 0;
  // The smallest document number.
  uint64_t base_ = 0;
  int document_bits_ = 0;
  int serial_bits_ = 0;
};

}  // namespace pith

#endif  // PITH_CORE_INDEX_PASSAGE_IDS_H_
