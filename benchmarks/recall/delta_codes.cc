#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "benchmarks/recall/segment_shelf.h"
#include "benchmarks/recall/strategies.h"
#include "core/codes/rotated_code.h"

namespace pith {
namespace {

constexpr const char* kName = "flat-rotated4";

absl::StatusOr<std::vector<RecallRow>> Run(const RecallInput& input,
                                           const RecallOptions& options) {
  const absl::Time start = absl::Now();
  const RotatedCodec codec(static_cast<int>(input.passages.columns()));
  const std::vector<uint8_t> blocks =
      codec.ToBlocks(EncodeRows(codec, input.passages, options.threads));
  const auto code_bytes = static_cast<double>(codec.code_bytes());
  const StrategyFacts facts{
      .name = kName,
      .code_bytes = codec.code_bytes(),
      .bytes = {.codes = code_bytes},
      .memory_bytes_per_passage = code_bytes,
      .build_seconds = absl::ToDoubleSeconds(absl::Now() - start)};
  const size_t most =
      *std::max_element(options.recompute.begin(), options.recompute.end());
  std::vector<RecomputePoint> points;
  for (const size_t count : options.recompute) {
    points.push_back(FixedPoint(count));
  }
  std::vector<float> scores(input.passages.rows());
  return MeasureCandidates(
      input, facts, "", points,
      [&](std::span<const float> query) -> absl::StatusOr<SearchOutcome> {
        codec.Prepare(query)->Scan(blocks, scores);
        return SearchOutcome{.passages = TopPositions(scores, most),
                             .code_evaluations = scores.size()};
      });
}

}  // namespace

Strategy DeltaCodesStrategy() {
  return {.name = kName, .run = Run};
}

}  // namespace pith
