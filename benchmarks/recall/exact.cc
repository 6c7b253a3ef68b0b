#include <cstdint>
#include <span>
#include <utility>

#include "benchmarks/recall/inner_products.h"
#include "benchmarks/recall/strategies.h"
#include "core/base/status_macros.h"

namespace pith {
namespace {

constexpr size_t kTop = 10;

absl::StatusOr<std::vector<RecallRow>> Run(const RecallInput& input,
                                           const RecallOptions& /*options*/) {
  std::vector<float> scores(input.passages.rows());
  const auto search =
      [&](std::span<const float> query) -> absl::StatusOr<SearchOutcome> {
    InnerProducts(query, input.passages, 0, scores);
    return SearchOutcome{.passages = TopPositions(scores, kTop),
                         .recomputed = scores.size()};
  };
  PITH_ASSIGN_OR_RETURN(RecallRow row,
                        MeasureResults(input, {.name = "exact"}, "", search));
  return std::vector<RecallRow>{std::move(row)};
}

}  // namespace

Strategy ExactStrategy() {
  return {.name = "exact", .run = Run};
}

}  // namespace pith
