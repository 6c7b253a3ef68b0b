#ifndef PITH_CORE_GRAPH_CONNECT_H_
#define PITH_CORE_GRAPH_CONNECT_H_

#include <cstddef>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

#include "core/base/parallel.h"
#include "core/graph/graph.h"

namespace pith {

inline constexpr size_t kConnectRoom = 4;

struct ConnectStatistics {
  // Nodes that no walk would have reached, and the parts of the graph that they
  // formed.
  size_t unreached_nodes = 0;
  size_t unreached_parts = 0;
  size_t added_edges = 0;
};

// Makes every node of `graph` reachable from `entry_points`, of which there is
// at least one unless the graph is empty. `graph` is mutual, its lists
// ascending, and stays so. From each part that is not reached, up to a few
// nodes get an edge to the nearest reached node, as a walk finds it, that has
// fewer than `limit` neighbours; to another joined node if there is none. No
// node has more than limit - kConnectRoom neighbours before: then edges can
// always be placed. kCancelled if the control says so.
absl::StatusOr<ConnectStatistics> Connect(std::span<const NodeId> entry_points,
                                          Similarities similarities,
                                          size_t limit,
                                          const BuildControl& control,
                                          AdjacencyLists& graph);

// For each node, whether it can be reached from `entry_points`.
std::vector<bool> Reached(const AdjacencyLists& graph,
                          std::span<const NodeId> entry_points);

}  // namespace pith

#endif  // PITH_CORE_GRAPH_CONNECT_H_
