#ifndef PITH_CORE_GRAPH_RANDOM_H_
#define PITH_CORE_GRAPH_RANDOM_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/base/random.h"
#include "core/graph/graph.h"

namespace pith {

// `count` different elements of `nodes`, or all, in ascending order of place,
// which `seed` chooses.
inline std::vector<NodeId> Sample(std::span<const NodeId> nodes, size_t count,
                                  uint64_t seed) {
  std::vector<NodeId> result;
  result.reserve(std::min(count, nodes.size()));
  // Selection sampling (Knuth, 3.4.2, Algorithm S).
  for (size_t i = 0; i < nodes.size() && result.size() < count; ++i) {
    const uint64_t wanted = count - result.size();
    if ((MixBits(seed ^ MixBits(i)) >> 32) * (nodes.size() - i) >> 32 <
        wanted) {
      result.push_back(nodes[i]);
    }
  }
  return result;
}

}  // namespace pith

#endif  // PITH_CORE_GRAPH_RANDOM_H_
