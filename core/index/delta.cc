#include "core/index/delta.h"

#include <algorithm>
#include <utility>

#include "glog/logging.h"

namespace pith {

Delta::Delta(size_t code_bytes)
    : code_bytes_(code_bytes), dead_(std::make_shared<std::vector<bool>>()) {}

void Delta::Append(PassageId passage, std::string_view code) {
  CHECK_EQ(code.size(), code_bytes_);
  const size_t offset = used_ % DeltaBlock::kSlots;
  if (offset == 0) {
    blocks_.push_back(std::make_shared<DeltaBlock>(code_bytes_));
  }
  DeltaBlock& block = *blocks_.back();
  std::copy(
      code.begin(), code.end(),
      block.codes.begin() + static_cast<std::ptrdiff_t>(offset * code_bytes_));
  block.passages[offset] = passage;
  CHECK(slots_.emplace(passage, static_cast<uint32_t>(used_)).second);
  ++used_;
}

void Delta::Erase(PassageId passage) {
  const auto found = slots_.find(passage);
  if (found == slots_.end()) {
    return;
  }
  if (dead_is_shared_) {
    dead_ = std::make_shared<std::vector<bool>>(*dead_);
    dead_is_shared_ = false;
  }
  if (dead_->size() <= found->second) {
    dead_->resize(used_);
  }
  (*dead_)[found->second] = true;
  slots_.erase(found);
}

std::shared_ptr<const DeltaSnapshot> Delta::Snapshot() {
  // Half of the slots dead: a rewrite costs what has been appended since the
  // last one, so it is linear over the delta's life.
  if (used_ >= DeltaBlock::kSlots && slots_.size() * 2 < used_) {
    DropDeadSlots();
  }
  auto snapshot = std::make_shared<DeltaSnapshot>();
  snapshot->blocks_.assign(blocks_.begin(), blocks_.end());
  snapshot->dead_ = dead_;
  snapshot->code_bytes_ = code_bytes_;
  snapshot->slots_ = used_;
  snapshot->live_ = slots_.size();
  snapshot->memory_bytes_ = MemoryBytes();
  dead_is_shared_ = true;
  return snapshot;
}

void Delta::DropDeadSlots() {
  const auto old_blocks = std::exchange(blocks_, {});
  const size_t old_used = std::exchange(used_, 0);
  const auto old_dead =
      std::exchange(dead_, std::make_shared<std::vector<bool>>());
  dead_is_shared_ = false;
  slots_.clear();
  for (size_t slot = 0; slot < old_used; ++slot) {
    if (slot < old_dead->size() && (*old_dead)[slot]) {
      continue;
    }
    const DeltaBlock& block = *old_blocks[slot / DeltaBlock::kSlots];
    const size_t offset = slot % DeltaBlock::kSlots;
    Append(block.passages[offset],
           {reinterpret_cast<const char*>(block.codes.data()) +
                offset * code_bytes_,
            code_bytes_});
  }
}

size_t Delta::MemoryBytes() const {
  const size_t block_bytes =
      DeltaBlock::kSlots * (code_bytes_ + sizeof(PassageId));
  // flat_hash_map: a slot and a control byte for each bucket.
  return blocks_.size() * block_bytes +
         slots_.bucket_count() * (sizeof(std::pair<PassageId, uint32_t>) + 1);
}

}  // namespace pith
