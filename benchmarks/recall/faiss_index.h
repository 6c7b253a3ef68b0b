#ifndef PITH_BENCHMARKS_RECALL_FAISS_INDEX_H_
#define PITH_BENCHMARKS_RECALL_FAISS_INDEX_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

#include "core/base/matrix.h"

namespace pith {

// FAISS's part in the baselines. What it throws becomes kInternal.

// The links of an HNSW graph (arXiv 1603.09320) as FAISS builds them; distances
// come from outside, so that they can be counted, recomputed or read from
// codes. Searches are for one thread at a time.
class FaissHnsw {
 public:
  struct Options {
    // Neighbours of a node on the upper levels; twice as many on the lowest.
    int m = 32;
    int ef_construction = 200;
  };
  struct Found {
    // Best first.
    std::vector<uint32_t> nodes;
    // How often a node was scored. Those few that a search meets both on an
    // upper level and on the lowest count twice, as they do in FAISS.
    size_t evaluations = 0;
  };

  // On inner products of unit vectors. Uses all cores, and so depends on
  // chance.
  static absl::StatusOr<std::unique_ptr<FaissHnsw>> Build(
      const Matrix& vectors, const Options& options);
  static absl::StatusOr<std::unique_ptr<FaissHnsw>> Deserialize(
      std::string_view bytes);
  ~FaissHnsw();

  absl::StatusOr<std::string> Serialize() const;

  // The `ef` nearest nodes that a search with a queue of `ef` finds;
  // `similarity` scores a node, larger is nearer.
  absl::StatusOr<Found> Search(absl::FunctionRef<float(uint32_t)> similarity,
                               size_t ef);

  // Links in use, all levels.
  size_t edge_count() const;
  // Links there is room for, all levels: what FAISS keeps in memory.
  size_t edge_slots() const;

 private:
  struct State;
  explicit FaissHnsw(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Product quantization (Jégou et al., TPAMI 2011) with 256 centroids for each
// of `parts` equal pieces of a vector.
struct ProductCodes {
  size_t parts = 0;
  // centroids.row(part * 256 + c).
  Matrix centroids;
  // `parts` bytes a vector.
  std::vector<uint8_t> codes;
};

// Trained on `training_vectors` of them, drawn at random, or all if there are
// no more. `parts` divides the dimension.
absl::StatusOr<ProductCodes> TrainProductCodes(const Matrix& vectors,
                                               size_t parts,
                                               size_t training_vectors,
                                               int iterations);

// Centroids of k-means on all `vectors`.
absl::StatusOr<Matrix> KMeans(const Matrix& vectors, size_t clusters,
                              int iterations);

}  // namespace pith

#endif  // PITH_BENCHMARKS_RECALL_FAISS_INDEX_H_
