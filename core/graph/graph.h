#ifndef PITH_CORE_GRAPH_GRAPH_H_
#define PITH_CORE_GRAPH_GRAPH_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"

namespace pith {

// A passage's dense number within one segment; dies with it.
enum class NodeId : uint32_t {};

// No node of a finished graph has more neighbours.
inline constexpr size_t kMaxDegree = 60;

// Where a graph that is packed puts the neighbours it decodes.
using NeighborBuffer = std::array<NodeId, kMaxDegree>;

// Neighbours of every node as plain lists: those of node i are
// neighbors[offsets[i], offsets[i + 1]).
struct AdjacencyLists {
  std::vector<uint64_t> offsets = {0};
  std::vector<NodeId> neighbors;

  size_t node_count() const { return offsets.size() - 1; }
  std::span<const NodeId> operator[](NodeId node) const {
    const auto i = static_cast<size_t>(node);
    return std::span(neighbors).subspan(offsets[i],
                                        offsets[i + 1] - offsets[i]);
  }
  // The same, in the form that a walk asks for.
  std::span<const NodeId> Neighbors(NodeId node,
                                    NeighborBuffer& /*buffer*/) const {
    return (*this)[node];
  }
};

// Where a build's similarities come from:
// out[i * columns.size() + j] = similarity of rows[i] and columns[j], for all
// pairs. Larger is nearer; finite; symmetric; the same on every call, or the
// build is not deterministic. Called from several threads at once.
using Similarities = absl::FunctionRef<void(std::span<const NodeId> rows,
                                            std::span<const NodeId> columns,
                                            std::span<float> out)>;

}  // namespace pith

#endif  // PITH_CORE_GRAPH_GRAPH_H_
