#ifndef PITH_BENCHMARKS_UPDATE_LINE_DOCUMENTS_H_
#define PITH_BENCHMARKS_UPDATE_LINE_DOCUMENTS_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

#include "benchmarks/recall/truth.h"
#include "benchmarks/update/live_collection.h"
#include "benchmarks/update/texts.h"

namespace pith {

// Documents whose lines are texts with known vectors, each line a passage of a
// KnownEmbedder's collection.
class LineDocuments {
 public:
  // The first `passages` of `texts`, which outlives it, in documents of
  // `per_document`.
  LineDocuments(const VectorTexts& texts, size_t passages, size_t per_document);

  size_t size() const { return documents_.size(); }
  DocumentInput Input(size_t document) const;
  std::vector<DocumentInput> AllInputs() const;

  // Puts texts that were not used yet (or, when all were, the first) in the
  // place of `count` lines, `at_once` in a document, each line of all once
  // before any is replaced again. The documents that changed, and the bytes of
  // the new texts.
  struct Replaced {
    std::set<size_t> documents;
    size_t passages = 0;
    size_t text_bytes = 0;
  };
  Replaced Replace(size_t count, size_t at_once);

  // Keeps the first `count`.
  void Truncate(size_t count) { documents_.resize(count); }

  Truth FindTruth(const Matrix& queries, int threads) const;
  size_t passages() const;

 private:
  const VectorTexts& texts_;
  // Positions in texts_.
  std::vector<std::vector<size_t>> documents_;
  size_t next_text_;
  // Documents in the order in which they are changed, how many of them were
  // changed since all were, and the first line to change.
  std::vector<size_t> order_;
  size_t turn_ = 0;
  size_t line_ = 0;
  uint64_t random_ = 1;
};

// Recall, judged by the exact scores of what is found, and recomputed passages
// of a search, means over the queries.
struct LiveRecall {
  double recall = 0;
  double recomputed = 0;
};
absl::StatusOr<LiveRecall> MeasureRecall(Collection& collection,
                                         const VectorTable& table,
                                         const Matrix& queries,
                                         const Truth& truth,
                                         const SearchOptions& options);

}  // namespace pith

#endif  // PITH_BENCHMARKS_UPDATE_LINE_DOCUMENTS_H_
