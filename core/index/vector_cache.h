#ifndef PITH_CORE_INDEX_VECTOR_CACHE_H_
#define PITH_CORE_INDEX_VECTOR_CACHE_H_

#include <cstddef>
#include <list>
#include <span>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"

#include "core/base/ids.h"
#include "core/base/mutex.h"

namespace pith {

// Exact vectors of passages recomputed lately, least recently used out first.
// In memory alone. An entry never goes stale: what a passage's id embeds never
// changes. Thread-safe.
class VectorCache {
 public:
  // Holds as many vectors of `dimension` as fit `max_bytes`; none if zero.
  VectorCache(size_t max_bytes, size_t dimension);

  // Copies the vector of `passage` to `out` and returns true, or returns false.
  bool Find(PassageId passage, std::span<float> out);
  void Insert(PassageId passage, std::span<const float> vector);

 private:
  using Entry = std::pair<PassageId, std::vector<float>>;

  const size_t max_entries_;
  Mutex mutex_;
  // Most recently used first.
  std::list<Entry> entries_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<PassageId, std::list<Entry>::iterator> by_passage_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace pith

#endif  // PITH_CORE_INDEX_VECTOR_CACHE_H_
