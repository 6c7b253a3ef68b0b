#ifndef PITH_CORE_GRAPH_REPAIR_H_
#define PITH_CORE_GRAPH_REPAIR_H_

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"

#include "core/base/parallel.h"
#include "core/graph/graph.h"
#include "core/graph/packed_graph.h"
#include "core/graph/prune.h"

namespace pith {

struct RepairStatistics {
  // Neighbours that nodes which stay had among those that go, and those that
  // they got instead.
  size_t lost_neighbors = 0;
  size_t gained_neighbors = 0;
};

struct RepairedGraph {
  // Of the nodes that stay, in their old order. Mutual, ascending.
  AdjacencyLists lists;
  RepairStatistics statistics;
};

// `graph` without the nodes for which `gone` holds, repaired around them: a
// node that lost neighbours and has fewer than options.repaired_degree left
// chooses, as AddNeighbors does, up to as many as it lost or lacks among the
// nodes that it would have reached through those that go. As consolidation in
// FreshDiskANN (arXiv 2105.09613, Algorithm 4), but that edges which are left
// stay, and that it looks through nodes which go side by side. `similarities`
// are of nodes as the result numbers them. Deterministic, whatever
// control.threads is. kCancelled if the control says so.
absl::StatusOr<RepairedGraph> RemoveNodes(const PackedGraph& graph,
                                          const std::vector<bool>& gone,
                                          Similarities similarities,
                                          const PruneOptions& options,
                                          const BuildControl& control);

}  // namespace pith

#endif  // PITH_CORE_GRAPH_REPAIR_H_
