#ifndef PITH_CORE_INDEX_VECTOR_CACHE_H_
#define PITH_CORE_INDEX_VECTOR_CACHE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"

#include "core/base/hash.h"
#include "core/base/mutex.h"
#include "core/index/frequency_sketch.h"

namespace pith {

// Exact vectors that searches needed, as f16, in memory alone. The key is a
// hash of all that a vector follows from, so that an entry never goes stale and
// serves every collection.
//
// A new entry passes through a small window; when it falls out of that, it gets
// into the main part only in place of entries that are worth less a byte, worth
// being how often a vector was asked for lately times what it costs to have it
// again. So a vector that is asked for once does not push out what is asked for
// often. The main part is a segmented LRU. Source: Einziger, Friedman, Manes,
// "TinyLFU", arXiv 1512.00727, section 4 (W-TinyLFU), with costs.
//
// Thread-safe.
class VectorCache {
 public:
  struct Status {
    uint64_t lookups = 0;
    uint64_t hits = 0;
    // Entries that others replaced, and those that replaced none.
    uint64_t evictions = 0;
    uint64_t rejections = 0;
    size_t entries = 0;
    // Of entries and all that is kept about them; at most max_bytes.
    size_t bytes = 0;
    size_t max_bytes = 0;
  };

  // Keeps nothing if `max_bytes` is zero.
  explicit VectorCache(size_t max_bytes);

  // Copies the vector of `key`, which has out.size() elements, to `out` and
  // returns true, or returns false.
  bool Find(const ContentHash& key, std::span<float> out);

  // Offers a vector that Find did not have. `cost` is what it took to get it,
  // in any unit that is the same for all.
  void Insert(const ContentHash& key, std::span<const float> vector,
              double cost);

  Status status() const;

  // What an entry of `dimension` counts as.
  static size_t EntryBytes(size_t dimension);

 private:
  enum Part : size_t { kWindow, kProbation, kProtected, kPartCount };
  struct Entry {
    ContentHash key;
    double cost = 0;
    Part part = kWindow;
    std::vector<uint16_t> elements;

    size_t bytes() const { return EntryBytes(elements.size()); }
  };
  // Most recently used first.
  using Entries = std::list<Entry>;

  // What `entry` is worth.
  double Worth(const Entry& entry) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Makes `entry` the most recently used of `part`.
  void MoveTo(Part part, Entries::iterator entry)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Erase(Entries::iterator entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Moves what the window has in excess to the main part, or drops it.
  void Admit(Entries::iterator candidate) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t max_bytes_;

  mutable Mutex mutex_;
  FrequencySketch frequencies_ ABSL_GUARDED_BY(mutex_);
  // Bytes that entries may take in all, in the window, and in the protected
  // part of the rest.
  const size_t max_entry_bytes_;
  const size_t max_window_bytes_;
  const size_t max_protected_bytes_;
  std::array<Entries, kPartCount> parts_ ABSL_GUARDED_BY(mutex_);
  std::array<size_t, kPartCount> part_bytes_ ABSL_GUARDED_BY(mutex_) = {};
  absl::flat_hash_map<ContentHash, Entries::iterator> by_key_
      ABSL_GUARDED_BY(mutex_);
  // The counts alone.
  Status counted_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pith

#endif  // PITH_CORE_INDEX_VECTOR_CACHE_H_
