#ifndef PITH_CORE_GRAPH_PACKED_GRAPH_H_
#define PITH_CORE_GRAPH_PACKED_GRAPH_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "core/graph/graph.h"

namespace pith {

// A finished graph with its entry points, in few bytes. In memory both
// directions of every edge are packed for walking; on disk each edge is stored
// once, at its lower node: docs/index_format.md, "Graph". Immutable,
// thread-safe.
class PackedGraph {
 public:
  static constexpr size_t kMaxNodes = size_t{1} << 31;
  static constexpr size_t kMaxEntryPoints = 4096;

  // `lists`: of at most kMaxNodes, mutual, ascending, without repetitions or
  // edges from a node to itself, at most kMaxDegree a node. `entry_points`:
  // ascending, different nodes, at most kMaxEntryPoints, at least one unless
  // there are no nodes. Anything else is a bug of the caller.
  PackedGraph(const AdjacencyLists& lists, std::vector<NodeId> entry_points);

  // The inverse of Serialize, for bytes that come from anywhere: kDataLoss,
  // naming value and bound, if they are not what Serialize writes for some
  // graph of `node_count` nodes. Whether its nodes can be reached is not
  // checked. Allocates less than 100 bytes for each byte given.
  static absl::StatusOr<PackedGraph> Parse(std::string_view bytes,
                                           size_t node_count);

  std::string Serialize() const;

  size_t node_count() const { return node_count_; }
  std::span<const NodeId> entry_points() const { return entry_points_; }

  // Ascending; in `buffer`.
  std::span<const NodeId> Neighbors(NodeId node, NeighborBuffer& buffer) const;

  // What the packed neighbours occupy.
  size_t memory_bytes() const;

 private:
  size_t node_count_;
  std::vector<NodeId> entry_points_;
  // Nodes are packed one after another, in whole bytes. For blocks of 32 nodes,
  // where the block begins; for each node of whole blocks, how many bytes it
  // takes.
  std::vector<uint64_t> blocks_;
  std::vector<uint8_t> lengths_;
  // The four sizes of a packed distance, in nibbles, ascending: those that make
  // this graph smallest.
  std::array<uint8_t, 4> widths_;
  // In nibbles, the low one of a byte first: for each four neighbours two with
  // two bits each, the lowest first, that name a size; then the four distances:
  // the first of all from the node itself (2d, or -2d - 1 if it is negative),
  // others from the one before, less one. A node's bytes end where the next
  // size does not fit. Some bytes more follow, so that eight can be read.
  std::vector<uint8_t> bytes_;
};

}  // namespace pith

#endif  // PITH_CORE_GRAPH_PACKED_GRAPH_H_
