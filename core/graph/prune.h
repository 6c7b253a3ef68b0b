#ifndef PITH_CORE_GRAPH_PRUNE_H_
#define PITH_CORE_GRAPH_PRUNE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

#include "core/base/parallel.h"
#include "core/graph/graph.h"

namespace pith {

struct PruneOptions {
  // How many neighbours a node chooses, and a hub: m and M of the paper.
  size_t degree = 6;
  size_t hub_degree = 32;
  // Which part of the nodes are hubs.
  double hub_share = 0.02;
  // How many neighbours of its own and others' choosing a node may have: from
  // hub_degree to kMaxDegree - kConnectRoom, which leaves room for Connect.
  size_t max_degree = 48;
  // How many neighbours a node that lost some to removal is given back, if it
  // had as many: about the mean of a graph that is built from nothing, so that
  // the graph does not thin out however often nodes are removed.
  size_t repaired_degree = 8;
};

struct PruneStatistics {
  size_t hubs = 0;
  // Edges that were taken back because a node had more than max_degree.
  size_t dropped_edges = 0;
};

struct PrunedGraph {
  // Mutual: if b is a neighbour of a, then a of b. Ascending.
  AdjacencyLists lists;
  PruneStatistics statistics;
};

// Hub-preserving pruning (LEANN, arXiv 2506.08276, Algorithm 3). `candidates`
// has for every node others, nearest first, and is freed as soon as all have
// chosen. The nodes that are most often candidates choose up to hub_degree
// neighbours, the rest up to degree, as AddNeighbors says. kCancelled if the
// control says so.
absl::StatusOr<PrunedGraph> Prune(AdjacencyLists candidates,
                                  Similarities similarities,
                                  const PruneOptions& options,
                                  const BuildControl& control);

// How many neighbours each node chooses: hub_degree if it is among the
// hub_share of nodes that are most often candidates, ties by lower number, else
// degree.
std::vector<uint8_t> NeighborsToChoose(const AdjacencyLists& candidates,
                                       const PruneOptions& options);

// Gives every node i of `graph` up to counts[i] of its `candidates`, nearest
// first and none its neighbour already: a candidate is taken unless it is
// nearer to a neighbour, old or taken, than to the node (arXiv 1603.09320,
// Algorithm 4; equal counts as taken, or copies of a node would have no
// neighbours but one another). The nearest candidate of a node without
// neighbours is always taken. Then edges are made mutual, and a node that has
// more than `max_degree` loses its farthest; returns how many edges that were.
// `graph` is mutual, its lists ascending, and stays so. kCancelled if the
// control says so.
absl::StatusOr<size_t> AddNeighbors(AdjacencyLists candidates,
                                    std::span<const uint8_t> counts,
                                    Similarities similarities,
                                    size_t max_degree,
                                    const BuildControl& control,
                                    AdjacencyLists& graph);

}  // namespace pith

#endif  // PITH_CORE_GRAPH_PRUNE_H_
