#ifndef PITH_CORE_INDEX_EXACT_VECTORS_H_
#define PITH_CORE_INDEX_EXACT_VECTORS_H_

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "core/base/hash.h"
#include "core/base/matrix.h"
#include "core/index/collection_config.h"
#include "core/index/embedder.h"
#include "core/index/vector_cache.h"
#include "core/storage/passage_store.h"

namespace pith {

// How many vectors came from where.
struct VectorCounts {
  size_t cached = 0;
  // From the store, and those of them that were computed at another precision
  // than the embedder's now.
  size_t stored = 0;
  size_t other_precision = 0;
  // From the model.
  size_t recomputed = 0;
};

// Where the exact vectors of a collection's passages come from: the cache, the
// store if the collection stores vectors, else the model. Who asks does not
// know which. Thread-safe.
class ExactVectors {
 public:
  // All references outlive this.
  ExactVectors(const CollectionConfig& config, const PassageStore& store,
               Embedder& embedder, VectorCache& cache);

  // Row i is the unit vector of passages[i]. What came from where is added to
  // `counts`. Elements are first rounded to f16, so that a score does not
  // depend on what the cache has. A vector that was stored at another precision
  // than the embedder's is used as it is, since both are the model's, and not
  // cached.
  //
  // The errors of Embedder::Embed if the model is needed, those of
  // PassageStore::GetVectors; kDataLoss for a stored vector that is malformed.
  absl::StatusOr<Matrix> Get(std::span<const Passage> passages,
                             const RequestContext& context,
                             VectorCounts& counts) const;

 private:
  // A vector that is yet to be found.
  struct Wanted {
    PassageId passage{};
    std::string text;
    ContentHash key;
    std::span<float> vector;
  };

  // Of all that a vector follows from.
  ContentHash Key(std::string_view text, std::string_view precision) const;
  // These take what they find out of `wanted`.
  void FromCache(std::vector<Wanted>& wanted, VectorCounts& counts) const;
  absl::Status FromStore(std::vector<Wanted>& wanted,
                         std::string_view precision,
                         VectorCounts& counts) const;
  // All of them.
  absl::Status FromModel(std::span<const Wanted> wanted,
                         const RequestContext& context,
                         VectorCounts& counts) const;

  const CollectionConfig& config_;
  const PassageStore& store_;
  Embedder& embedder_;
  VectorCache& cache_;
};

}  // namespace pith

#endif  // PITH_CORE_INDEX_EXACT_VECTORS_H_
