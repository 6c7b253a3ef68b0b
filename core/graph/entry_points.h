#ifndef PITH_CORE_GRAPH_ENTRY_POINTS_H_
#define PITH_CORE_GRAPH_ENTRY_POINTS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

#include "core/base/parallel.h"
#include "core/graph/graph.h"

namespace pith {

// Where walks start: `count` of nodes [0, node_count), or all if there are
// fewer, ascending. Of a random sample, those that greedily maximise the sum
// over the sample of the similarity to the nearest chosen one (facility
// location): medoids that leave no region out. kCancelled if the control says
// so.
absl::StatusOr<std::vector<NodeId>> ChooseEntryPoints(
    size_t node_count, Similarities similarities, size_t count, uint64_t seed,
    const BuildControl& control);

}  // namespace pith

#endif  // PITH_CORE_GRAPH_ENTRY_POINTS_H_
