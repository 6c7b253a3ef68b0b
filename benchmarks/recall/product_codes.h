#ifndef PITH_BENCHMARKS_RECALL_PRODUCT_CODES_H_
#define PITH_BENCHMARKS_RECALL_PRODUCT_CODES_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

#include "benchmarks/recall/faiss_index.h"
#include "benchmarks/recall/measurement.h"

namespace pith {

struct BuiltProductCodes {
  ProductCodes codes;
  double build_seconds = 0;
};

// Of all passages, from input.cache if they are there. `parts` divides the
// dimension; there are at least 256 passages.
absl::StatusOr<BuiltProductCodes> BuildProductCodes(const RecallInput& input,
                                                    size_t parts);

// table[part * 256 + c] = the product of the query's part with centroid c.
std::vector<float> SimilarityTable(const ProductCodes& codes,
                                   std::span<const float> query);

// The inner product of the query with what a node's code stands for.
float TableSimilarity(const ProductCodes& codes, std::span<const float> table,
                      uint32_t node);

}  // namespace pith

#endif  // PITH_BENCHMARKS_RECALL_PRODUCT_CODES_H_
