#include "core/index/vector_cache.h"

#include <algorithm>

namespace pith {
namespace {

// List node, hash slot and allocation headers of one entry.
constexpr size_t kEntryOverhead = 96;

}  // namespace

VectorCache::VectorCache(size_t max_bytes, size_t dimension)
    : max_entries_(max_bytes / (dimension * sizeof(float) + kEntryOverhead)) {}

bool VectorCache::Find(PassageId passage, std::span<float> out) {
  MutexLock lock(mutex_);
  const auto found = by_passage_.find(passage);
  if (found == by_passage_.end()) {
    return false;
  }
  entries_.splice(entries_.begin(), entries_, found->second);
  std::copy(found->second->second.begin(), found->second->second.end(),
            out.begin());
  return true;
}

void VectorCache::Insert(PassageId passage, std::span<const float> vector) {
  if (max_entries_ == 0) {
    return;
  }
  MutexLock lock(mutex_);
  if (by_passage_.contains(passage)) {
    return;
  }
  entries_.emplace_front(passage,
                         std::vector<float>(vector.begin(), vector.end()));
  by_passage_[passage] = entries_.begin();
  if (entries_.size() > max_entries_) {
    by_passage_.erase(entries_.back().first);
    entries_.pop_back();
  }
}

}  // namespace pith
