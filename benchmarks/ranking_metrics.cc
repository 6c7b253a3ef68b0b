#include "benchmarks/ranking_metrics.h"

#include <algorithm>
#include <cmath>

namespace pith {
namespace {

double Discount(size_t position) {
  return 1 / std::log2(static_cast<double>(position) + 2);
}

bool Contains(std::span<const uint32_t> ascending, uint32_t text) {
  return std::binary_search(ascending.begin(), ascending.end(), text);
}

std::span<const uint32_t> First(size_t k, std::span<const uint32_t> ranking) {
  return ranking.first(std::min(k, ranking.size()));
}

}  // namespace

double NdcgAt(size_t k, std::span<const uint32_t> ranking,
              std::span<const uint32_t> relevant) {
  const auto top = First(k, ranking);
  double gain = 0;
  for (size_t i = 0; i < top.size(); ++i) {
    gain += Contains(relevant, top[i]) ? Discount(i) : 0;
  }
  double best = 0;
  for (size_t i = 0; i < std::min(k, relevant.size()); ++i) {
    best += Discount(i);
  }
  return gain / best;
}

double RecallAt(size_t k, std::span<const uint32_t> ranking,
                std::span<const uint32_t> relevant) {
  const auto top = First(k, ranking);
  const auto found = std::count_if(top.begin(), top.end(), [&](uint32_t text) {
    return Contains(relevant, text);
  });
  return static_cast<double>(found) / static_cast<double>(relevant.size());
}

double OverlapAt(size_t k, std::span<const uint32_t> ranking,
                 std::span<const uint32_t> truth) {
  const auto top = First(k, ranking);
  const auto truth_top = First(k, truth);
  const auto shared = std::count_if(top.begin(), top.end(), [&](uint32_t text) {
    return std::find(truth_top.begin(), truth_top.end(), text) !=
           truth_top.end();
  });
  return static_cast<double>(shared) / static_cast<double>(truth_top.size());
}

double Percentile(std::span<double> values, double percent) {
  const auto rank = static_cast<size_t>(
      std::ceil(percent / 100 * static_cast<double>(values.size())));
  const auto chosen =
      values.begin() + static_cast<ptrdiff_t>(std::max<size_t>(rank, 1) - 1);
  std::nth_element(values.begin(), chosen, values.end());
  return *chosen;
}

}  // namespace pith
