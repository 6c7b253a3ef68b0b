#ifndef PITH_CORE_GRAPH_BUILD_H_
#define PITH_CORE_GRAPH_BUILD_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

#include "core/base/parallel.h"
#include "core/graph/connect.h"
#include "core/graph/graph.h"
#include "core/graph/neighbors.h"
#include "core/graph/packed_graph.h"
#include "core/graph/prune.h"
#include "core/graph/repair.h"

namespace pith {

struct GraphOptions {
  NeighborOptions neighbors;
  PruneOptions prune;
  // Nodes that every walk scores first.
  size_t entry_points = 48;
  uint64_t seed = 1;
};

struct BuildStatistics {
  size_t edges = 0;
  // All zero for a graph that is built from nothing.
  RepairStatistics repair;
  PruneStatistics prune;
  ConnectStatistics connect;
  // Wall-clock seconds of each stage.
  double repair_seconds = 0;
  double neighbors_seconds = 0;
  double prune_seconds = 0;
  double connect_seconds = 0;
  double order_seconds = 0;
  double pack_seconds = 0;
};

struct BuiltGraph {
  PackedGraph graph;
  // new_numbers[i] is what `graph` calls node i of the similarities: a
  // permutation.
  std::vector<NodeId> new_numbers;
  BuildStatistics statistics;
};

// A graph of `node_count` nodes in which every node can be reached from the
// entry points: near neighbours, pruned, connected, renumbered, packed.
// Deterministic for the seed, whatever control.threads is. Peak memory: 8 bytes
// for each of options.neighbors.neighbors a node, and about 30 bytes a node.
// kCancelled if the control says so.
absl::StatusOr<BuiltGraph> BuildGraph(size_t node_count,
                                      Similarities similarities,
                                      const GraphOptions& options,
                                      const BuildControl& control);

// A graph of the nodes of `old` for which `gone` does not hold, and of new
// ones: nodes of the similarities are first those that stay, in their old
// order, then the new, up to `node_count`. As by BuildGraph in all else, but it
// takes less time, the more so the fewer are new: edges between nodes that stay
// are kept.
absl::StatusOr<BuiltGraph> ExtendGraph(const PackedGraph& old,
                                       const std::vector<bool>& gone,
                                       size_t node_count,
                                       Similarities similarities,
                                       const GraphOptions& options,
                                       const BuildControl& control);

}  // namespace pith

#endif  // PITH_CORE_GRAPH_BUILD_H_
