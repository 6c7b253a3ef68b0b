#ifndef PITH_CORE_GRAPH_NEIGHBORS_H_
#define PITH_CORE_GRAPH_NEIGHBORS_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/statusor.h"

#include "core/base/parallel.h"
#include "core/graph/graph.h"

namespace pith {

struct NeighborOptions {
  // How many neighbours are kept a node. At least 1.
  size_t neighbors = 24;
  // Nodes that are compared pair by pair. At least 2.
  size_t leaf_size = 1024;
  // How many of the nearest leaders' clusters a node joins at the first level,
  // and in the clusters that are divided again.
  size_t first_fanout = 8;
  size_t second_fanout = 2;
  uint64_t seed = 1;
};

// For each of `nodes` from place `first` on, in their order, which are
// different, its nearest ones among all of them, nearest first, ties at random:
// approximate; exact for up to leaf_size nodes. Randomised ball carving (PiPNN,
// arXiv 2602.21247): every node joins the clusters of the nearest of some
// random leaders, recursively, and nodes of one leaf are compared pair by pair;
// only the pairs that are asked for.
//
// Peak memory beside the result: 4 bytes for each neighbour and 4 for each
// first-level cluster of a node. kCancelled if the control says so.
absl::StatusOr<AdjacencyLists> FindNeighbors(std::span<const NodeId> nodes,
                                             Similarities similarities,
                                             const NeighborOptions& options,
                                             const BuildControl& control,
                                             size_t first = 0);

}  // namespace pith

#endif  // PITH_CORE_GRAPH_NEIGHBORS_H_
