#include "core/graph/prune.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "glog/logging.h"

#include "core/base/status_macros.h"
#include "core/graph/connect.h"

namespace pith {
namespace {

constexpr size_t kGrain = 256;

size_t Index(NodeId node) {
  return static_cast<size_t>(node);
}

// True for the `count` nodes that are most often candidates, ties by lower
// number.
std::vector<bool> FindHubs(const AdjacencyLists& candidates, size_t count) {
  std::vector<uint32_t> degrees(candidates.node_count(), 0);
  for (const NodeId node : candidates.neighbors) {
    ++degrees[Index(node)];
  }
  std::vector<uint32_t> order(degrees.size());
  std::iota(order.begin(), order.end(), 0);
  std::nth_element(order.begin(), order.begin() + static_cast<ptrdiff_t>(count),
                   order.end(), [&](uint32_t a, uint32_t b) {
                     return degrees[a] != degrees[b] ? degrees[a] > degrees[b]
                                                     : a < b;
                   });
  std::vector<bool> hubs(degrees.size(), false);
  for (size_t i = 0; i < count; ++i) {
    hubs[order[i]] = true;
  }
  return hubs;
}

// The places of up to `degree` of `candidates`, which are nearest first, that
// are no nearer to one another than to `node`.
void ChooseNeighbors(NodeId node, std::span<const NodeId> candidates,
                     size_t degree, Similarities similarities,
                     std::vector<float>& matrix, std::vector<size_t>& chosen) {
  chosen.clear();
  if (candidates.empty()) {
    return;
  }
  const size_t count = candidates.size();
  matrix.resize((count + 1) * count);
  similarities(std::span(&node, 1), candidates, std::span(matrix).first(count));
  similarities(candidates, candidates, std::span(matrix).subspan(count));
  for (size_t i = 0; i < count && chosen.size() < degree; ++i) {
    const bool nearer =
        std::all_of(chosen.begin(), chosen.end(), [&](size_t other) {
          return matrix[(other + 1) * count + i] <= matrix[i];
        });
    if (nearer) {
      chosen.push_back(i);
    }
  }
}

// What each node chose, in its order; pieces of kGrain nodes each.
struct Choices {
  std::vector<uint8_t> counts;
  std::vector<std::vector<NodeId>> pieces;

  // Calls edge(node, chosen) for all.
  template <typename Edge>
  void ForEach(Edge edge) const {
    for (size_t piece = 0; piece < pieces.size(); ++piece) {
      size_t at = 0;
      const size_t end = std::min((piece + 1) * kGrain, counts.size());
      for (size_t node = piece * kGrain; node < end; ++node) {
        for (size_t i = 0; i < counts[node]; ++i) {
          edge(node, Index(pieces[piece][at++]));
        }
      }
    }
  }
};

// Every choice in both directions, once; ascending.
AdjacencyLists MakeMutual(const Choices& choices) {
  const size_t n = choices.counts.size();
  std::vector<uint64_t> ends(n + 1, 0);
  choices.ForEach([&](size_t a, size_t b) {
    ++ends[a + 1];
    ++ends[b + 1];
  });
  std::partial_sum(ends.begin(), ends.end(), ends.begin());
  AdjacencyLists result;
  result.neighbors.resize(ends.back());
  // After this, ends[i] is where list i ends.
  choices.ForEach([&](size_t a, size_t b) {
    result.neighbors[ends[a]++] = NodeId{static_cast<uint32_t>(b)};
    result.neighbors[ends[b]++] = NodeId{static_cast<uint32_t>(a)};
  });
  auto out = result.neighbors.begin();
  uint64_t begin = 0;
  result.offsets.reserve(n + 1);
  for (size_t node = 0; node < n; ++node) {
    const auto first = result.neighbors.begin() + static_cast<ptrdiff_t>(begin);
    const auto last =
        result.neighbors.begin() + static_cast<ptrdiff_t>(ends[node]);
    begin = ends[node];
    std::sort(first, last);
    out = std::copy(first, std::unique(first, last), out);
    result.offsets.push_back(
        static_cast<uint64_t>(out - result.neighbors.begin()));
  }
  result.neighbors.erase(out, result.neighbors.end());
  return result;
}

// Takes the farthest edges of nodes that have more than `max_degree` away, from
// both of their ends; returns how many.
size_t DropFarthest(size_t max_degree, Similarities similarities,
                    AdjacencyLists& lists) {
  const size_t n = lists.node_count();
  // Both directions of every dropped edge.
  std::vector<std::pair<NodeId, NodeId>> dropped;
  std::vector<float> values;
  std::vector<size_t> order;
  for (size_t i = 0; i < n; ++i) {
    const NodeId node{static_cast<uint32_t>(i)};
    const std::span<const NodeId> neighbors = lists[node];
    if (neighbors.size() <= max_degree) {
      continue;
    }
    values.resize(neighbors.size());
    similarities(std::span(&node, 1), neighbors, values);
    order.resize(neighbors.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return values[a] != values[b] ? values[a] > values[b] : a < b;
    });
    for (const size_t far : std::span(order).subspan(max_degree)) {
      dropped.emplace_back(node, neighbors[far]);
      dropped.emplace_back(neighbors[far], node);
    }
  }
  std::sort(dropped.begin(), dropped.end());
  dropped.erase(std::unique(dropped.begin(), dropped.end()), dropped.end());

  AdjacencyLists result;
  result.offsets.reserve(n + 1);
  result.neighbors.reserve(lists.neighbors.size() - dropped.size());
  auto next = dropped.begin();
  for (size_t i = 0; i < n; ++i) {
    const NodeId node{static_cast<uint32_t>(i)};
    for (const NodeId neighbor : lists[node]) {
      if (next != dropped.end() && *next == std::pair(node, neighbor)) {
        ++next;
      } else {
        result.neighbors.push_back(neighbor);
      }
    }
    result.offsets.push_back(result.neighbors.size());
  }
  lists = std::move(result);
  return dropped.size() / 2;
}

}  // namespace

absl::StatusOr<PrunedGraph> Prune(AdjacencyLists candidates,
                                  Similarities similarities,
                                  const PruneOptions& options,
                                  const BuildControl& control) {
  CHECK_GE(options.degree, 1u);
  CHECK(options.hub_degree >= options.degree &&
        options.hub_degree <= options.max_degree &&
        options.max_degree + kConnectRoom <= kMaxDegree)
      << options.degree << " " << options.hub_degree << " "
      << options.max_degree;
  CHECK(options.hub_share >= 0 && options.hub_share <= 1) << options.hub_share;
  const size_t n = candidates.node_count();
  PrunedGraph result;
  result.statistics.hubs = static_cast<size_t>(
      std::ceil(options.hub_share * static_cast<double>(n)));
  const std::vector<bool> hubs = FindHubs(candidates, result.statistics.hubs);

  Choices choices;
  choices.counts.resize(n);
  choices.pieces.resize((n + kGrain - 1) / kGrain);
  PITH_RETURN_IF_ERROR(ParallelFor(
      control, n, kGrain, [&](size_t worker, size_t begin, size_t end) {
        std::vector<float> matrix;
        std::vector<size_t> chosen;
        std::vector<NodeId>& piece = choices.pieces[begin / kGrain];
        for (size_t i = begin; i < end; ++i) {
          const NodeId node{static_cast<uint32_t>(i)};
          const std::span<const NodeId> all = candidates[node];
          ChooseNeighbors(node, all,
                          hubs[i] ? options.hub_degree : options.degree,
                          similarities, matrix, chosen);
          for (const size_t place : chosen) {
            piece.push_back(all[place]);
          }
          choices.counts[i] = static_cast<uint8_t>(chosen.size());
        }
        piece.shrink_to_fit();
        if (worker == 0) {
          control.progress(static_cast<double>(end) / static_cast<double>(n));
        }
      }));
  candidates = {};
  result.lists = MakeMutual(choices);
  choices = {};
  result.statistics.dropped_edges =
      DropFarthest(options.max_degree, similarities, result.lists);
  return result;
}

}  // namespace pith
