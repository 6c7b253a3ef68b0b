#ifndef PITH_TESTS_GRAPH_INPUTS_H_
#define PITH_TESTS_GRAPH_INPUTS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "core/graph/graph.h"

namespace pith {

inline NodeId Node(size_t number) {
  return NodeId{static_cast<uint32_t>(number)};
}

inline std::vector<NodeId> AllNodes(size_t count) {
  std::vector<NodeId> result;
  for (size_t i = 0; i < count; ++i) {
    result.push_back(Node(i));
  }
  return result;
}

// Points with small integer coordinates; the nearer, the more similar.
struct Points {
  std::vector<std::vector<int>> at;

  size_t size() const { return at.size(); }
  float Similarity(NodeId a, NodeId b) const {
    int64_t square = 0;
    for (size_t i = 0; i < at[0].size(); ++i) {
      const int64_t difference =
          at[static_cast<size_t>(a)][i] - at[static_cast<size_t>(b)][i];
      square += difference * difference;
    }
    return static_cast<float>(-square);
  }
  void operator()(std::span<const NodeId> rows, std::span<const NodeId> columns,
                  std::span<float> out) const {
    for (size_t r = 0; r < rows.size(); ++r) {
      for (size_t c = 0; c < columns.size(); ++c) {
        out[r * columns.size() + c] = Similarity(rows[r], columns[c]);
      }
    }
  }
};

// On a line, at 0, 1, 2 ...
inline Points LinePoints(size_t count) {
  Points points;
  for (size_t i = 0; i < count; ++i) {
    points.at.push_back({static_cast<int>(i)});
  }
  return points;
}

// `clusters` clouds of points, far from one another.
inline Points ClusteredPoints(size_t count, size_t clusters, int dimension,
                              uint32_t seed) {
  std::mt19937 random(seed);
  Points points;
  for (size_t i = 0; i < count; ++i) {
    std::vector<int> point;
    for (int j = 0; j < dimension; ++j) {
      point.push_back(static_cast<int>(random() % 100));
    }
    point[0] += static_cast<int>(i % clusters) * 200;
    points.at.push_back(std::move(point));
  }
  return points;
}

// The graph of undirected `edges`.
inline AdjacencyLists FromEdges(
    size_t nodes, const std::set<std::pair<size_t, size_t>>& edges) {
  std::vector<std::vector<NodeId>> lists(nodes);
  for (const auto& [a, b] : edges) {
    lists[a].push_back(Node(b));
    lists[b].push_back(Node(a));
  }
  AdjacencyLists result;
  for (std::vector<NodeId>& list : lists) {
    std::sort(list.begin(), list.end());
    result.neighbors.insert(result.neighbors.end(), list.begin(), list.end());
    result.offsets.push_back(result.neighbors.size());
  }
  return result;
}

inline AdjacencyLists Line(size_t nodes) {
  std::set<std::pair<size_t, size_t>> edges;
  for (size_t i = 1; i < nodes; ++i) {
    edges.emplace(i - 1, i);
  }
  return FromEdges(nodes, edges);
}

// side x side nodes, row by row, each beside up to four others.
inline AdjacencyLists Grid(size_t side) {
  std::set<std::pair<size_t, size_t>> edges;
  for (size_t i = 0; i < side * side; ++i) {
    if (i % side != 0) {
      edges.emplace(i - 1, i);
    }
    if (i >= side) {
      edges.emplace(i - side, i);
    }
  }
  return FromEdges(side * side, edges);
}

// Degrees up to kMaxDegree, numbers far apart.
inline AdjacencyLists RandomGraph(size_t nodes, size_t edge_count,
                                  uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<size_t> degrees(nodes, 0);
  std::set<std::pair<size_t, size_t>> edges;
  for (size_t i = 0; i < edge_count; ++i) {
    const size_t a = random() % nodes;
    const size_t b = random() % nodes;
    if (a != b && degrees[a] < kMaxDegree && degrees[b] < kMaxDegree &&
        edges.emplace(std::min(a, b), std::max(a, b)).second) {
      ++degrees[a];
      ++degrees[b];
    }
  }
  return FromEdges(nodes, edges);
}

// True if lists are ascending, without repetitions or edges from a node to
// itself, and mutual.
inline bool IsMutual(const AdjacencyLists& graph) {
  std::set<std::pair<NodeId, NodeId>> edges;
  for (size_t i = 0; i < graph.node_count(); ++i) {
    const auto list = graph[Node(i)];
    for (size_t j = 0; j < list.size(); ++j) {
      if (list[j] == Node(i) || (j > 0 && list[j] <= list[j - 1])) {
        return false;
      }
      edges.emplace(Node(i), list[j]);
    }
  }
  return std::all_of(edges.begin(), edges.end(), [&](const auto& edge) {
    return edges.count({edge.second, edge.first}) != 0;
  });
}

}  // namespace pith

#endif  // PITH_TESTS_GRAPH_INPUTS_H_
