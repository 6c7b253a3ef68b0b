#include "core/graph/entry_points.h"

#include <algorithm>
#include <limits>
#include <span>

#include "core/base/status_macros.h"
#include "core/graph/random.h"

namespace pith {
namespace {

constexpr size_t kSample = 1024;
constexpr size_t kRows = 64;

}  // namespace

absl::StatusOr<std::vector<NodeId>> ChooseEntryPoints(
    size_t node_count, Similarities similarities, size_t count, uint64_t seed,
    const BuildControl& control) {
  std::vector<NodeId> all(node_count);
  for (size_t i = 0; i < node_count; ++i) {
    all[i] = NodeId{static_cast<uint32_t>(i)};
  }
  if (count >= node_count) {
    return all;
  }
  const std::vector<NodeId> sample =
      Sample(all, std::max(kSample, count), seed);
  std::vector<NodeId>().swap(all);
  const size_t size = sample.size();
  std::vector<float> matrix(size * size);
  PITH_RETURN_IF_ERROR(ParallelFor(
      control, size, kRows, [&](size_t /*worker*/, size_t begin, size_t end) {
        similarities(
            std::span(sample).subspan(begin, end - begin), sample,
            std::span(matrix).subspan(begin * size, (end - begin) * size));
      }));

  std::vector<NodeId> result;
  // Each sampled node's similarity to the nearest chosen one. The first choice
  // is the medoid, as everything is better than the worst similarity.
  const float worst = *std::min_element(matrix.begin(), matrix.end());
  std::vector<float> nearest(size, worst);
  std::vector<double> gains(size);
  for (size_t chosen = 0; chosen < count; ++chosen) {
    PITH_RETURN_IF_ERROR(ParallelFor(
        control, size, kRows, [&](size_t /*worker*/, size_t begin, size_t end) {
          for (size_t i = begin; i < end; ++i) {
            const float* row = &matrix[i * size];
            double gain = 0;
            for (size_t j = 0; j < size; ++j) {
              gain += static_cast<double>(std::max(row[j] - nearest[j], 0.0f));
            }
            gains[i] = gain;
          }
        }));
    for (const NodeId node : result) {
      // Also where nothing is gained any more.
      gains[static_cast<size_t>(
          std::lower_bound(sample.begin(), sample.end(), node) -
          sample.begin())] = -1;
    }
    const auto best = static_cast<size_t>(
        std::max_element(gains.begin(), gains.end()) - gains.begin());
    result.push_back(sample[best]);
    for (size_t j = 0; j < size; ++j) {
      nearest[j] = std::max(nearest[j], matrix[best * size + j]);
    }
  }
  std::sort(result.begin(), result.end());
  return result;
}

}  // namespace pith
