#include "core/graph/repair.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>

#include "glog/logging.h"

#include "core/base/random.h"
#include "core/base/status_macros.h"
#include "core/graph/prune.h"

namespace pith {
namespace {

constexpr size_t kGrain = 256;
// Where looking for a node's candidates ends: so many of them, or of nodes that
// go.
constexpr size_t kMostCandidates = 32;

size_t Index(NodeId node) {
  return static_cast<size_t>(node);
}

// What removing leaves of a piece of the nodes, in order.
struct Piece {
  std::vector<uint8_t> degrees;
  std::vector<NodeId> neighbors;
  // How many neighbours each chooses, and of how many.
  std::vector<uint8_t> to_choose;
  std::vector<uint8_t> candidate_counts;
  std::vector<NodeId> candidates;
  size_t lost = 0;
};

class Remover {
 public:
  Remover(const PackedGraph& graph, const std::vector<bool>& gone,
          Similarities similarities, size_t degree)
      : graph_(graph),
        gone_(gone),
        similarities_(similarities),
        degree_(degree) {
    new_numbers_.reserve(gone.size());
    for (const bool is_gone : gone) {
      new_numbers_.push_back(NodeId{static_cast<uint32_t>(count_)});
      count_ += is_gone ? 0 : 1;
    }
  }

  // How many nodes stay.
  size_t count() const { return count_; }

  // Appends what is left of `node`, which stays, to `piece`.
  void Remove(NodeId node, Piece& piece) const {
    NeighborBuffer buffer;
    const std::span<const NodeId> neighbors = graph_.Neighbors(node, buffer);
    std::vector<NodeId> removed;
    for (const NodeId neighbor : neighbors) {
      if (gone_[Index(neighbor)]) {
        removed.push_back(neighbor);
      } else {
        piece.neighbors.push_back(new_numbers_[Index(neighbor)]);
      }
    }
    const size_t left = neighbors.size() - removed.size();
    const size_t lacking =
        std::min(removed.size(), degree_ - std::min(degree_, left));
    std::vector<NodeId> candidates;
    piece.lost += removed.size();
    if (lacking > 0) {
      candidates = FindCandidates(node, neighbors, std::move(removed));
    }
    piece.degrees.push_back(static_cast<uint8_t>(left));
    piece.to_choose.push_back(static_cast<uint8_t>(lacking));
    piece.candidate_counts.push_back(static_cast<uint8_t>(candidates.size()));
    piece.candidates.insert(piece.candidates.end(), candidates.begin(),
                            candidates.end());
  }

 private:
  // What `node` reaches through `removed` neighbours and nodes beside them that
  // go too, nearest first.
  std::vector<NodeId> FindCandidates(NodeId node,
                                     std::span<const NodeId> neighbors,
                                     std::vector<NodeId> removed) const {
    std::vector<NodeId> found;
    NeighborBuffer buffer;
    for (size_t i = 0; i < removed.size() && found.size() < kMostCandidates;
         ++i) {
      for (const NodeId next : graph_.Neighbors(removed[i], buffer)) {
        if (next == node ||
            std::binary_search(neighbors.begin(), neighbors.end(), next)) {
          continue;
        }
        std::vector<NodeId>& to = gone_[Index(next)] ? removed : found;
        if (to.size() < kMostCandidates &&
            std::find(to.begin(), to.end(), next) == to.end()) {
          to.push_back(next);
        }
      }
    }
    for (NodeId& candidate : found) {
      candidate = new_numbers_[Index(candidate)];
    }
    return NearestFirst(new_numbers_[Index(node)], found);
  }

  // Equal ones in an order of each node's own: were it the same, copies of one
  // vector would all choose the same few of them.
  std::vector<NodeId> NearestFirst(NodeId node,
                                   std::span<const NodeId> nodes) const {
    std::vector<float> values(nodes.size());
    similarities_(std::span(&node, 1), nodes, values);
    std::vector<size_t> order(nodes.size());
    std::iota(order.begin(), order.end(), size_t{0});
    const auto tie = [&](size_t i) {
      return MixBits(uint64_t{static_cast<uint32_t>(node)} << 32 |
                     static_cast<uint32_t>(nodes[i]));
    };
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return values[a] != values[b] ? values[a] > values[b] : tie(a) < tie(b);
    });
    std::vector<NodeId> result;
    result.reserve(nodes.size());
    for (const size_t i : order) {
      result.push_back(nodes[i]);
    }
    return result;
  }

  const PackedGraph& graph_;
  const std::vector<bool>& gone_;
  Similarities similarities_;
  const size_t degree_;
  std::vector<NodeId> new_numbers_;
  size_t count_ = 0;
};

void Append(std::span<const uint8_t> counts, std::span<const NodeId> nodes,
            AdjacencyLists& lists) {
  for (const uint8_t count : counts) {
    lists.offsets.push_back(lists.offsets.back() + count);
  }
  lists.neighbors.insert(lists.neighbors.end(), nodes.begin(), nodes.end());
}

}  // namespace

absl::StatusOr<RepairedGraph> RemoveNodes(const PackedGraph& graph,
                                          const std::vector<bool>& gone,
                                          Similarities similarities,
                                          const PruneOptions& options,
                                          const BuildControl& control) {
  const size_t n = graph.node_count();
  CHECK_EQ(gone.size(), n);
  const Remover remover(graph, gone, similarities, options.repaired_degree);
  std::vector<Piece> pieces((n + kGrain - 1) / kGrain);
  PITH_RETURN_IF_ERROR(ParallelFor(
      control, n, kGrain, [&](size_t /*worker*/, size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) {
          if (!gone[i]) {
            remover.Remove(NodeId{static_cast<uint32_t>(i)},
                           pieces[begin / kGrain]);
          }
        }
      }));

  RepairedGraph result;
  AdjacencyLists& lists = result.lists;
  AdjacencyLists candidates;
  std::vector<uint8_t> to_choose;
  to_choose.reserve(remover.count());
  for (Piece& piece : pieces) {
    Append(piece.degrees, piece.neighbors, lists);
    Append(piece.candidate_counts, piece.candidates, candidates);
    to_choose.insert(to_choose.end(), piece.to_choose.begin(),
                     piece.to_choose.end());
    result.statistics.lost_neighbors += piece.lost;
    piece = {};
  }
  const size_t left = lists.neighbors.size();
  PITH_ASSIGN_OR_RETURN(
      const size_t dropped,
      AddNeighbors(std::move(candidates), to_choose, similarities,
                   options.max_degree, control, lists));
  result.statistics.gained_neighbors =
      lists.neighbors.size() + 2 * dropped - left;
  return result;
}

}  // namespace pith
