#ifndef PITH_BENCHMARKS_RECALL_STRATEGIES_H_
#define PITH_BENCHMARKS_RECALL_STRATEGIES_H_

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "benchmarks/recall/measurement.h"

namespace pith {

// A way to find passages. Names of those that walk a graph contain "graph".
struct Strategy {
  std::string name;
  // Fewer passages cannot be trained on.
  size_t min_passages = 1;
  // Builds what it needs and runs all queries. It gives the rows of `name`
  // alone.
  std::function<absl::StatusOr<std::vector<RecallRow>>(
      const RecallInput& input, const RecallOptions& options)>
      run;
};

// In the order of the table.
std::vector<Strategy> AllStrategies();

// Everything is recomputed.
Strategy ExactStrategy();

// The delta: training-free codes are scanned, the best candidates recomputed.
Strategy DeltaCodesStrategy();

// A sealed segment of trained codes, for each code shape:
//
//   flat-*, graph-*            codes are scanned or walked, and a fixed number
//                              of the best candidates is recomputed
//   flat-adaptive-*,           as many are recomputed as a recall target asks
//   graph-adaptive-*           (RecomputePolicy)
//   graph-two-level-*          LEANN (arXiv 2506.08276), Algorithm 2, over a
//                              sweep of recomputed shares and beams
std::vector<Strategy> SegmentStrategies();

// One HNSW graph, built by FAISS from exact vectors with LEANN's defaults
// (M = 32, efConstruction = 200), walked in three ways, each over a sweep of
// efSearch:
//
//   hnsw-graph-recompute     LEANN as shipped: no vectors, every node that the
//                            walk visits is recomputed
//   hnsw-graph-f32           FAISS: f32 vectors in memory
//   hnsw-graph-pq96-rescore  Weaviate's scheme: the walk runs on 96-byte
//                            product codes in memory, all efSearch candidates
//                            are scored again with vectors stored on disk
std::vector<Strategy> HnswStrategies();

// EdgeRAG (arXiv 2412.21023): clusters by k-means, of which only the centroids
// are kept; the clusters nearest to the query are recomputed whole, but for
// large ones, whose vectors are stored. Over a sweep of clusters probed.
Strategy IvfRecomputeStrategy();

}  // namespace pith

#endif  // PITH_BENCHMARKS_RECALL_STRATEGIES_H_
