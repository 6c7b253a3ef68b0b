#ifndef PITH_CORE_GRAPH_ORDER_H_
#define PITH_CORE_GRAPH_ORDER_H_

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"

#include "core/base/parallel.h"
#include "core/graph/graph.h"

namespace pith {

// The number that each node should get so that neighbours' numbers are close:
// a permutation, new_number[old node]. Recursive graph bisection (Dhulipala et
// al., KDD 2016; Mackenzie, Mallia, Petri, Culpepper and Suel, ECIR 2019): the
// nodes are halved again and again, and nodes change sides while that lowers
// the estimated bits of the gaps. Gains are integers, so the result is the same
// on every machine. `graph` is mutual. Halving begins with the order `start`,
// of all nodes; where that is good already it takes less time. kCancelled if
// the control says so.
//
// Peak memory: 13 bytes a node, and for each thread about a quarter of the size
// of `graph`.
absl::StatusOr<std::vector<NodeId>> OrderNodes(const AdjacencyLists& graph,
                                               std::vector<NodeId> start,
                                               const BuildControl& control);

// `graph` with its nodes renumbered, lists ascending.
AdjacencyLists Renumber(const AdjacencyLists& graph,
                        const std::vector<NodeId>& new_numbers);

}  // namespace pith

#endif  // PITH_CORE_GRAPH_ORDER_H_
