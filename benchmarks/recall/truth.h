#ifndef PITH_BENCHMARKS_RECALL_TRUTH_H_
#define PITH_BENCHMARKS_RECALL_TRUTH_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "core/base/matrix.h"

namespace pith {

// The exact answers to each query: of its best passages, how near they are.
// Recall is judged by exact score rather than by passage, so that of passages
// that tie at the last place any counts as well as another.
class Truth {
 public:
  // `scores`: for each query the `depth` largest inner products, descending.
  Truth(size_t depth, std::vector<float> scores)
      : depth_(depth), scores_(std::move(scores)) {}

  // The largest Dot(queries.row(q), passages.row(i)) over all i, `depth` of
  // them or as many as there are passages, at least one.
  static Truth Find(const Matrix& passages, const Matrix& queries, size_t depth,
                    int threads);

  size_t query_count() const { return scores_.size() / depth_; }
  size_t depth() const { return depth_; }
  std::span<const float> scores() const { return scores_; }

  // The share of the exact k, at most depth(), that is found by taking the best
  // k of passages with these exact scores (by Dot, in any order, no passage
  // twice). If there are fewer than k passages in all, of those.
  double Recall(size_t query, size_t k, std::span<const float> found) const;

 private:
  size_t depth_;
  std::vector<float> scores_;
};

// The positions of the `count` largest scores (all if there are fewer), largest
// first, ties by position.
std::vector<uint32_t> TopPositions(std::span<const float> scores, size_t count);

}  // namespace pith

#endif  // PITH_BENCHMARKS_RECALL_TRUTH_H_
