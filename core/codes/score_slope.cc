#include "core/codes/score_slope.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "core/base/random.h"
#include "core/base/status_macros.h"

namespace pith {
namespace {

constexpr size_t kQueries = 512;
static_assert(kQueries <= kMinSlopeCodes);
constexpr size_t kNear = 32;
constexpr size_t kFar = 256;
// Of passages that are all alike.
constexpr float kLeastDifference = 1e-3f;

// Of more than kFar; reorders them.
float Slope(std::vector<float>& scores) {
  const auto near = scores.begin() + kNear - 1;
  const auto far = scores.begin() + kFar - 1;
  std::nth_element(scores.begin(), far, scores.end(), std::greater());
  std::nth_element(scores.begin(), near, far, std::greater());
  return std::log(static_cast<float>(kFar) / static_cast<float>(kNear)) /
         std::max(*near - *far, kLeastDifference);
}

}  // namespace

absl::StatusOr<std::optional<float>> MeasureScoreSlope(
    const Codebook& codebook, std::span<const uint8_t> codes,
    const BuildControl& control) {
  const size_t bytes = codebook.code_bytes();
  const size_t count = codes.size() / bytes;
  if (count < kMinSlopeCodes) {
    return std::nullopt;
  }
  const std::vector<uint8_t> blocks = codebook.ToBlocks(codes);
  // Where a graph's order has been halved again and again, nodes at equal
  // distances are no sample: they lie at the ends of its parts.
  uint64_t random = 0;
  const std::vector<size_t> nodes = RandomPositions(count, kQueries, random);
  std::vector<std::vector<float>> scores(control.threads);
  std::vector<float> slopes(kQueries);
  PITH_RETURN_IF_ERROR(ParallelFor(
      control, kQueries, /*grain=*/1,
      [&](size_t worker, size_t query, size_t /*end*/) {
        const size_t node = nodes[query];
        std::vector<float> vector(static_cast<size_t>(codebook.dimension()));
        codebook.Decode(codes.subspan(node * bytes, bytes), vector);
        std::vector<float>& own = scores[worker];
        own.resize(count);
        codebook.Prepare(vector)->Scan(blocks, own);
        own[node] = -std::numeric_limits<float>::infinity();
        slopes[query] = Slope(own);
      }));
  const auto median = slopes.begin() + kQueries / 2;
  std::nth_element(slopes.begin(), median, slopes.end());
  return *median;
}

}  // namespace pith
