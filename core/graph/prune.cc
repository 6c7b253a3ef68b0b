#include "core/graph/prune.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
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

size_t HubCount(size_t nodes, const PruneOptions& options) {
  return static_cast<size_t>(
      std::ceil(options.hub_share * static_cast<double>(nodes)));
}

// Appends up to `count` of `candidates`, which are nearest first, to `chosen`:
// those that are no nearer to one another or to `neighbors` than to `node`.
void ChooseNeighbors(NodeId node, std::span<const NodeId> neighbors,
                     std::span<const NodeId> candidates, size_t count,
                     Similarities similarities, std::vector<float>& matrix,
                     std::vector<NodeId>& chosen) {
  if (candidates.empty()) {
    return;
  }
  const size_t columns = candidates.size();
  matrix.resize((1 + neighbors.size() + columns) * columns);
  const std::span<float> all = matrix;
  const std::span<float> own = all.first(columns);
  const std::span<float> others = all.subspan(columns);
  similarities(std::span(&node, 1), candidates, own);
  similarities(neighbors, candidates, others.first(neighbors.size() * columns));
  similarities(candidates, candidates,
               others.subspan(neighbors.size() * columns));
  // Rows of `others` that count.
  std::vector<size_t> taken(neighbors.size());
  std::iota(taken.begin(), taken.end(), size_t{0});
  for (size_t i = 0; i < columns && taken.size() < neighbors.size() + count;
       ++i) {
    if (std::all_of(taken.begin(), taken.end(), [&](size_t row) {
          return others[row * columns + i] <= own[i];
        })) {
      taken.push_back(neighbors.size() + i);
      chosen.push_back(candidates[i]);
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

// The edges of both; of each the lists are ascending.
AdjacencyLists United(const AdjacencyLists& a, const AdjacencyLists& b) {
  AdjacencyLists result;
  result.offsets.reserve(a.offsets.size());
  result.neighbors.reserve(a.neighbors.size() + b.neighbors.size());
  for (size_t i = 0; i < a.node_count(); ++i) {
    const NodeId node{static_cast<uint32_t>(i)};
    std::set_union(a[node].begin(), a[node].end(), b[node].begin(),
                   b[node].end(), std::back_inserter(result.neighbors));
    result.offsets.push_back(result.neighbors.size());
  }
  return result;
}

}  // namespace

std::vector<uint8_t> NeighborsToChoose(const AdjacencyLists& candidates,
                                       const PruneOptions& options) {
  CHECK_GE(options.degree, 1u);
  CHECK(options.hub_degree >= options.degree &&
        options.hub_degree <= options.max_degree &&
        options.max_degree + kConnectRoom <= kMaxDegree)
      << options.degree << " " << options.hub_degree << " "
      << options.max_degree;
  CHECK(options.hub_share >= 0 && options.hub_share <= 1) << options.hub_share;
  const size_t n = candidates.node_count();
  const auto hubs = static_cast<ptrdiff_t>(HubCount(n, options));
  std::vector<uint32_t> degrees(n, 0);
  for (const NodeId node : candidates.neighbors) {
    ++degrees[Index(node)];
  }
  std::vector<uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::nth_element(order.begin(), order.begin() + hubs, order.end(),
                   [&](uint32_t a, uint32_t b) {
                     return degrees[a] != degrees[b] ? degrees[a] > degrees[b]
                                                     : a < b;
                   });
  std::vector<uint8_t> counts(n, static_cast<uint8_t>(options.degree));
  std::for_each(order.begin(), order.begin() + hubs, [&](uint32_t node) {
    counts[node] = static_cast<uint8_t>(options.hub_degree);
  });
  return counts;
}

absl::StatusOr<size_t> AddNeighbors(AdjacencyLists candidates,
                                    std::span<const uint8_t> counts,
                                    Similarities similarities,
                                    size_t max_degree,
                                    const BuildControl& control,
                                    AdjacencyLists& graph) {
  const size_t n = graph.node_count();
  CHECK_EQ(candidates.node_count(), n);
  CHECK_EQ(counts.size(), n);
  Choices choices;
  choices.counts.resize(n);
  choices.pieces.resize((n + kGrain - 1) / kGrain);
  PITH_RETURN_IF_ERROR(ParallelFor(
      control, n, kGrain, [&](size_t worker, size_t begin, size_t end) {
        std::vector<float> matrix;
        std::vector<NodeId>& piece = choices.pieces[begin / kGrain];
        for (size_t i = begin; i < end; ++i) {
          const NodeId node{static_cast<uint32_t>(i)};
          const size_t before = piece.size();
          ChooseNeighbors(node, graph[node], candidates[node], counts[i],
                          similarities, matrix, piece);
          choices.counts[i] = static_cast<uint8_t>(piece.size() - before);
        }
        piece.shrink_to_fit();
        if (worker == 0) {
          control.progress(static_cast<double>(end) / static_cast<double>(n));
        }
      }));
  candidates = {};
  AdjacencyLists added = MakeMutual(choices);
  choices = {};
  graph = graph.neighbors.empty() ? std::move(added) : United(graph, added);
  return DropFarthest(max_degree, similarities, graph);
}

absl::StatusOr<PrunedGraph> Prune(AdjacencyLists candidates,
                                  Similarities similarities,
                                  const PruneOptions& options,
                                  const BuildControl& control) {
  const std::vector<uint8_t> counts = NeighborsToChoose(candidates, options);
  PrunedGraph result;
  result.statistics.hubs = HubCount(candidates.node_count(), options);
  result.lists.offsets.assign(candidates.node_count() + 1, 0);
  PITH_ASSIGN_OR_RETURN(
      result.statistics.dropped_edges,
      AddNeighbors(std::move(candidates), counts, similarities,
                   options.max_degree, control, result.lists));
  return result;
}

}  // namespace pith
