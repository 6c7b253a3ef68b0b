#include "core/index/vector_cache.h"

#include <algorithm>
#include <iterator>

#include "glog/logging.h"

#include "core/base/float16.h"

namespace pith {
namespace {

// What an entry of a common model takes; the sketch is for as many keys as fit.
constexpr size_t kTypicalEntryBytes = 1024;

// As Caffeine, whose authors tried many traces.
constexpr size_t kWindowPart = 100;
constexpr size_t kProtectedPercent = 80;

}  // namespace

size_t VectorCache::EntryBytes(size_t dimension) {
  // A list's node, a slot of a hash table that is half full, and what the
  // allocator adds to two pieces.
  constexpr size_t kOverhead = sizeof(Entry) + 2 * sizeof(void*) +
                               2 * (sizeof(ContentHash) + sizeof(void*) + 1) +
                               size_t{2} * 16;
  return kOverhead + dimension * sizeof(uint16_t);
}

VectorCache::VectorCache(size_t max_bytes)
    : max_bytes_(max_bytes),
      frequencies_(max_bytes / kTypicalEntryBytes),
      max_entry_bytes_(max_bytes -
                       std::min(max_bytes, frequencies_.memory_bytes())),
      max_window_bytes_(max_entry_bytes_ / kWindowPart),
      max_protected_bytes_((max_entry_bytes_ - max_window_bytes_) *
                           kProtectedPercent / 100) {}

bool VectorCache::Find(const ContentHash& key, std::span<float> out) {
  MutexLock lock(mutex_);
  ++counted_.lookups;
  frequencies_.Add(key);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) {
    return false;
  }
  ++counted_.hits;
  const Entries::iterator entry = found->second;
  CHECK_EQ(entry->elements.size(), out.size());
  std::transform(entry->elements.begin(), entry->elements.end(), out.begin(),
                 F16ToFloat);
  MoveTo(entry->part == kWindow ? kWindow : kProtected, entry);
  while (part_bytes_[kProtected] > max_protected_bytes_) {
    MoveTo(kProbation, std::prev(parts_[kProtected].end()));
  }
  return true;
}

void VectorCache::Insert(const ContentHash& key, std::span<const float> vector,
                         double cost) {
  MutexLock lock(mutex_);
  // Of two threads that found nothing both insert.
  if (by_key_.contains(key)) {
    return;
  }
  if (EntryBytes(vector.size()) > max_entry_bytes_ - max_window_bytes_) {
    ++counted_.rejections;
    return;
  }
  Entries& window = parts_[kWindow];
  window.push_front({.key = key, .cost = cost});
  window.front().elements.resize(vector.size());
  std::transform(vector.begin(), vector.end(), window.front().elements.begin(),
                 F16FromFloat);
  part_bytes_[kWindow] += window.front().bytes();
  by_key_.emplace(key, window.begin());
  while (part_bytes_[kWindow] > max_window_bytes_) {
    Admit(std::prev(window.end()));
  }
}

double VectorCache::Worth(const Entry& entry) const {
  return frequencies_.Estimate(entry.key) * entry.cost;
}

void VectorCache::MoveTo(Part part, Entries::iterator entry) {
  part_bytes_[entry->part] -= entry->bytes();
  part_bytes_[part] += entry->bytes();
  parts_[part].splice(parts_[part].begin(), parts_[entry->part], entry);
  entry->part = part;
}

void VectorCache::Erase(Entries::iterator entry) {
  part_bytes_[entry->part] -= entry->bytes();
  by_key_.erase(entry->key);
  parts_[entry->part].erase(entry);
}

void VectorCache::Admit(Entries::iterator candidate) {
  const size_t bytes = candidate->bytes();
  const size_t free = max_entry_bytes_ - max_window_bytes_ -
                      part_bytes_[kProbation] - part_bytes_[kProtected];
  std::vector<Entries::iterator> victims;
  size_t victim_bytes = 0;
  double victim_worth = 0;
  for (const Part part : {kProbation, kProtected}) {
    for (auto it = parts_[part].end();
         it != parts_[part].begin() && free + victim_bytes < bytes;) {
      victims.push_back(--it);
      victim_bytes += it->bytes();
      victim_worth += Worth(*it);
    }
  }
  if (!victims.empty() &&
      Worth(*candidate) * static_cast<double>(victim_bytes) <=
          victim_worth * static_cast<double>(bytes)) {
    ++counted_.rejections;
    Erase(candidate);
    return;
  }
  for (const Entries::iterator victim : victims) {
    ++counted_.evictions;
    Erase(victim);
  }
  MoveTo(kProbation, candidate);
}

VectorCache::Status VectorCache::status() const {
  MutexLock lock(mutex_);
  Status status = counted_;
  status.entries = by_key_.size();
  status.bytes =
      part_bytes_[kWindow] + part_bytes_[kProbation] + part_bytes_[kProtected];
  if (max_entry_bytes_ > 0) {
    status.bytes += frequencies_.memory_bytes();
  }
  status.max_bytes = max_bytes_;
  return status;
}

}  // namespace pith
