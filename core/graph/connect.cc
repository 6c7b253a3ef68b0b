#include "core/graph/connect.h"

#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

#include "glog/logging.h"

#include "core/base/status_macros.h"
#include "core/graph/walk.h"

namespace pith {
namespace {

// Nodes of one part that get an edge each: one edge alone is easily missed by a
// walk, and a part is rarely larger than a few nodes.
constexpr size_t kEdgesOfPart = kConnectRoom;
constexpr size_t kBeam = 64;
constexpr size_t kSourcesAtOnce = 4096;

size_t Index(NodeId node) {
  return static_cast<size_t>(node);
}

// Adds what can be reached from `start` to `reached`, and returns it.
std::vector<NodeId> Flood(const AdjacencyLists& graph,
                          std::span<const NodeId> start,
                          std::vector<bool>& reached) {
  std::vector<NodeId> found;
  for (const NodeId node : start) {
    if (!reached[Index(node)]) {
      reached[Index(node)] = true;
      found.push_back(node);
    }
  }
  for (size_t i = 0; i < found.size(); ++i) {
    for (const NodeId neighbor : graph[found[i]]) {
      if (!reached[Index(neighbor)]) {
        reached[Index(neighbor)] = true;
        found.push_back(neighbor);
      }
    }
  }
  return found;
}

struct SimilarityScorer {
  NodeId node;
  Similarities similarities;

  void Score(std::span<const NodeId> nodes, std::span<float> out) {
    similarities(std::span(&node, 1), nodes, out);
  }
};

// For each of `sources` what a walk from the entry points finds near it.
absl::StatusOr<std::vector<std::vector<ScoredNode>>> FindReached(
    std::span<const NodeId> sources, std::span<const NodeId> entry_points,
    Similarities similarities, const BuildControl& control,
    const AdjacencyLists& graph) {
  std::vector<std::vector<ScoredNode>> found(sources.size());
  PITH_RETURN_IF_ERROR(
      ParallelFor(control, sources.size(), 16,
                  [&](size_t /*worker*/, size_t begin, size_t end) {
                    WalkScratch scratch;
                    for (size_t i = begin; i < end; ++i) {
                      SimilarityScorer scorer{sources[i], similarities};
                      auto result = Walk(graph, entry_points, scorer,
                                         WalkOptions{.beam = kBeam}, scratch);
                      CHECK(result.ok()) << result.status();
                      found[i] = std::move(result->candidates);
                    }
                  }));
  return found;
}

// `graph` with `edges`, which are new to it, in both directions.
AdjacencyLists WithEdges(const AdjacencyLists& graph,
                         std::vector<std::pair<NodeId, NodeId>> edges) {
  const size_t count = edges.size();
  for (size_t i = 0; i < count; ++i) {
    edges.emplace_back(edges[i].second, edges[i].first);
  }
  std::sort(edges.begin(), edges.end());
  AdjacencyLists result;
  result.offsets.reserve(graph.offsets.size());
  result.neighbors.reserve(graph.neighbors.size() + edges.size());
  auto next = edges.begin();
  for (size_t i = 0; i < graph.node_count(); ++i) {
    const NodeId node{static_cast<uint32_t>(i)};
    const auto begin = static_cast<ptrdiff_t>(result.neighbors.size());
    const std::span<const NodeId> old = graph[node];
    result.neighbors.insert(result.neighbors.end(), old.begin(), old.end());
    for (; next != edges.end() && next->first == node; ++next) {
      result.neighbors.push_back(next->second);
    }
    std::sort(result.neighbors.begin() + begin, result.neighbors.end());
    result.offsets.push_back(result.neighbors.size());
  }
  return result;
}

}  // namespace

std::vector<bool> Reached(const AdjacencyLists& graph,
                          std::span<const NodeId> entry_points) {
  std::vector<bool> reached(graph.node_count(), false);
  Flood(graph, entry_points, reached);
  return reached;
}

absl::StatusOr<ConnectStatistics> Connect(std::span<const NodeId> entry_points,
                                          Similarities similarities,
                                          size_t limit,
                                          const BuildControl& control,
                                          AdjacencyLists& graph) {
  ConnectStatistics statistics;
  const size_t n = graph.node_count();
  CHECK(n == 0 || !entry_points.empty());
  const auto degree = [&graph](NodeId node) { return graph[node].size(); };
  std::vector<bool> reached(n, false);
  // All that is reached, or will be by the edges so far.
  std::vector<NodeId> joined = Flood(graph, entry_points, reached);

  struct Part {
    std::vector<NodeId> nodes;
    // Where its edges begin in `sources`.
    size_t first_source;
  };
  std::vector<Part> parts;
  std::vector<NodeId> sources;
  for (size_t i = 0; i < n; ++i) {
    if (reached[i]) {
      continue;
    }
    const NodeId node{static_cast<uint32_t>(i)};
    Part part{Flood(graph, std::span(&node, 1), reached), sources.size()};
    statistics.unreached_nodes += part.nodes.size();
    ++statistics.unreached_parts;
    const size_t step = (part.nodes.size() + kEdgesOfPart - 1) / kEdgesOfPart;
    for (size_t at = 0; at < part.nodes.size(); at += step) {
      sources.push_back(part.nodes[at]);
    }
    parts.push_back(std::move(part));
  }

  std::vector<std::pair<NodeId, NodeId>> edges;
  // Neighbours that nodes get by `edges`.
  std::unordered_map<NodeId, size_t> added;
  const auto is_full = [&](NodeId node) {
    const auto it = added.find(node);
    return degree(node) + (it == added.end() ? 0 : it->second) >= limit;
  };
  size_t part = 0;
  size_t spare = 0;
  // What walks find is kept for a few sources at a time.
  for (size_t first = 0; first < sources.size(); first += kSourcesAtOnce) {
    const std::span some = std::span(sources).subspan(
        first, std::min(kSourcesAtOnce, sources.size() - first));
    PITH_ASSIGN_OR_RETURN(
        const auto found,
        FindReached(some, entry_points, similarities, control, graph));
    for (size_t i = 0; i < some.size(); ++i) {
      // A part is joined once its edges are all placed.
      while (part + 1 < parts.size() &&
             parts[part + 1].first_source <= first + i) {
        joined.insert(joined.end(), parts[part].nodes.begin(),
                      parts[part].nodes.end());
        ++part;
      }
      const auto target = std::find_if(found[i].begin(), found[i].end(),
                                       [&](const ScoredNode& candidate) {
                                         return !is_full(candidate.node);
                                       });
      NodeId to{};
      if (target != found[i].end()) {
        to = target->node;
      } else {
        // All that are near are full. Something that is joined is not.
        while (is_full(joined[spare])) {
          ++spare;
          CHECK_LT(spare, joined.size());
        }
        to = joined[spare];
      }
      edges.emplace_back(some[i], to);
      ++added[some[i]];
      ++added[to];
    }
  }
  statistics.added_edges = edges.size();
  if (!edges.empty()) {
    graph = WithEdges(graph, std::move(edges));
  }
  return statistics;
}

}  // namespace pith
