#include "benchmarks/recall/truth.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>
#include <utility>

#include "benchmarks/recall/inner_products.h"
#include "core/base/vector_math.h"

namespace pith {
namespace {

// Passages whose vectors stay in a core's cache while all queries see them.
constexpr size_t kBlockRows = 512;
// The f32 pass may order near ties otherwise than Dot does.
constexpr size_t kMargin = 32;

using Candidate = std::pair<float, uint32_t>;

// Keeps the `size` largest candidates in a heap with the smallest on top.
void Offer(std::vector<Candidate>& heap, size_t size, Candidate candidate) {
  if (heap.size() == size) {
    if (candidate <= heap.front()) {
      return;
    }
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    heap.pop_back();
  }
  heap.push_back(candidate);
  std::push_heap(heap.begin(), heap.end(), std::greater<>());
}

}  // namespace

Truth Truth::Find(const Matrix& passages, const Matrix& queries, size_t depth,
                  int threads) {
  depth = std::min(depth, passages.rows());
  const size_t keep = std::min(depth + kMargin, passages.rows());
  std::vector<float> all(queries.rows() * depth);
  // Each thread has a range of queries of its own and goes through all
  // passages.
  const auto find = [&](size_t begin, size_t end) {
    std::vector<std::vector<Candidate>> heaps(end - begin);
    std::vector<float> scores(kBlockRows);
    for (size_t first = 0; first < passages.rows(); first += kBlockRows) {
      const size_t count = std::min(kBlockRows, passages.rows() - first);
      for (size_t q = begin; q < end; ++q) {
        InnerProducts(queries.row(q), passages, first,
                      std::span(scores).first(count));
        std::vector<Candidate>& heap = heaps[q - begin];
        for (size_t i = 0; i < count; ++i) {
          Offer(heap, keep, {scores[i], static_cast<uint32_t>(first + i)});
        }
      }
    }
    for (size_t q = begin; q < end; ++q) {
      std::vector<float> exact;
      for (const Candidate& candidate : heaps[q - begin]) {
        exact.push_back(Dot(queries.row(q), passages.row(candidate.second)));
      }
      std::sort(exact.begin(), exact.end(), std::greater<>());
      std::copy_n(exact.begin(), depth,
                  all.begin() + static_cast<ptrdiff_t>(q * depth));
    }
  };
  std::vector<std::jthread> running;
  const auto count = static_cast<size_t>(threads);
  for (size_t t = 0; t < count; ++t) {
    running.emplace_back(find, queries.rows() * t / count,
                         queries.rows() * (t + 1) / count);
  }
  running.clear();
  return Truth(depth, std::move(all));
}

double Truth::Recall(size_t query, size_t k,
                     std::span<const float> found) const {
  k = std::min(k, depth_);
  const float last = scores_[query * depth_ + k - 1];
  const auto hits = static_cast<size_t>(std::count_if(
      found.begin(), found.end(), [&](float score) { return score >= last; }));
  return static_cast<double>(std::min(hits, k)) / static_cast<double>(k);
}

std::vector<uint32_t> TopPositions(std::span<const float> scores,
                                   size_t count) {
  // Collects what exceeds the bound and cuts back to `count` now and then: few
  // scores pass once the bound is good.
  count = std::min(count, scores.size());
  const auto larger = [](const Candidate& a, const Candidate& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  };
  std::vector<Candidate> kept;
  kept.reserve(4 * count);
  bool bounded = false;
  float bound = 0;
  const auto cut = [&] {
    std::nth_element(kept.begin(),
                     kept.begin() + static_cast<ptrdiff_t>(count) - 1,
                     kept.end(), larger);
    kept.resize(count);
    bound = kept.back().first;
    bounded = true;
  };
  for (size_t i = 0; i < scores.size() && count > 0; ++i) {
    if (bounded && scores[i] <= bound) {
      continue;
    }
    kept.emplace_back(scores[i], static_cast<uint32_t>(i));
    if (kept.size() == 4 * count) {
      cut();
    }
  }
  std::sort(kept.begin(), kept.end(), larger);
  kept.resize(std::min(kept.size(), count));
  std::vector<uint32_t> positions;
  positions.reserve(kept.size());
  for (const Candidate& candidate : kept) {
    positions.push_back(candidate.second);
  }
  return positions;
}

}  // namespace pith
