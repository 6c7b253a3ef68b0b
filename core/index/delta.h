#ifndef PITH_CORE_INDEX_DELTA_H_
#define PITH_CORE_INDEX_DELTA_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

#include "core/base/ids.h"

namespace pith {

// Codes that lie one after another in memory, with their passages. A slot is
// written once, before the snapshot that covers it is published.
struct DeltaBlock {
  static constexpr size_t kSlots = 1024;

  explicit DeltaBlock(size_t code_bytes)
      : codes(kSlots * code_bytes), passages(kSlots) {}

  std::vector<uint8_t> codes;
  std::vector<PassageId> passages;
};

// Passages not yet sealed, at one moment. Immutable.
class DeltaSnapshot {
 public:
  // Codes in all blocks, dead ones included.
  size_t slots() const { return slots_; }
  size_t live() const { return live_; }

  // Calls visit(codes, passages, first_slot) for each block's used part.
  template <typename Visit>
  void ForEachBlock(Visit visit) const {
    for (size_t first = 0; first < slots_; first += DeltaBlock::kSlots) {
      const DeltaBlock& block = *blocks_[first / DeltaBlock::kSlots];
      const size_t used = std::min(DeltaBlock::kSlots, slots_ - first);
      visit(std::span<const uint8_t>(block.codes).first(used * code_bytes_),
            std::span<const PassageId>(block.passages).first(used), first);
    }
  }

  bool IsDead(size_t slot) const {
    return slot < dead_->size() && (*dead_)[slot];
  }
  // `slot` is below slots().
  std::span<const uint8_t> Code(size_t slot) const {
    const DeltaBlock& block = *blocks_[slot / DeltaBlock::kSlots];
    return std::span<const uint8_t>(block.codes)
        .subspan(slot % DeltaBlock::kSlots * code_bytes_, code_bytes_);
  }
  // Of the delta when the snapshot was taken.
  size_t memory_bytes() const { return memory_bytes_; }

 private:
  friend class Delta;

  std::vector<std::shared_ptr<const DeltaBlock>> blocks_;
  // Slots that were erased; shorter than slots_ if no later one was.
  std::shared_ptr<const std::vector<bool>> dead_;
  size_t code_bytes_ = 0;
  size_t slots_ = 0;
  size_t live_ = 0;
  size_t memory_bytes_ = 0;
};

// Builds snapshots. One thread writes; snapshots may be read by any.
class Delta {
 public:
  explicit Delta(size_t code_bytes);

  // `passage` is not in the delta; `code` has code_bytes bytes.
  void Append(PassageId passage, std::string_view code);
  // No effect if `passage` is not in the delta.
  void Erase(PassageId passage);
  bool Contains(PassageId passage) const { return slots_.contains(passage); }

  // Everything appended and not erased so far.
  std::shared_ptr<const DeltaSnapshot> Snapshot();

 private:
  size_t MemoryBytes() const;
  // Rewrites the blocks without their dead slots.
  void DropDeadSlots();

  const size_t code_bytes_;
  std::vector<std::shared_ptr<DeltaBlock>> blocks_;
  size_t used_ = 0;
  absl::flat_hash_map<PassageId, uint32_t> slots_;
  std::shared_ptr<std::vector<bool>> dead_;
  // Whether a snapshot shares dead_, which must then be copied to change.
  bool dead_is_shared_ = false;
};

}  // namespace pith

#endif  // PITH_CORE_INDEX_DELTA_H_
