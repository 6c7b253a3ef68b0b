#ifndef PITH_CORE_GRAPH_WALK_H_
#define PITH_CORE_GRAPH_WALK_H_

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "core/graph/graph.h"

namespace pith {

template <typename G>
concept WalkableGraph = requires(const G& graph, NodeId node,
                                 NeighborBuffer& buffer) {
  { graph.node_count() } -> std::convertible_to<size_t>;
  { graph.Neighbors(node, buffer) } -> std::same_as<std::span<const NodeId>>;
};

// out[i] = score of nodes[i] against the query; larger is nearer; finite.
template <typename S>
concept Scorer = requires(S& scorer, std::span<const NodeId> nodes,
                          std::span<float> out) {
  scorer.Score(nodes, out);
};

// A scorer that can be told which nodes it will be asked for next.
template <typename S>
concept PrefetchingScorer = Scorer<S> && requires(S& scorer, NodeId node) {
  scorer.Prefetch(node);
};

struct ScoredNode {
  NodeId node;
  float score;

  friend bool operator==(const ScoredNode&, const ScoredNode&) = default;
};

// Accepts every node.
struct AcceptAll {
  bool operator()(NodeId /*node*/) const { return true; }
};

// A node and its score as one integer that orders like (score, then lower
// number first): larger is better, no two nodes tie.
class ScoreKey {
 public:
  ScoreKey(NodeId node, float score) {
    // Adding zero turns -0 into 0.
    const auto bits = std::bit_cast<uint32_t>(score + 0.0f);
    const uint32_t ordered =
        (bits >> 31) != 0 ? ~bits : bits | uint32_t{1} << 31;
    key_ = uint64_t{ordered} << 32 | (~static_cast<uint32_t>(node));
  }

  NodeId node() const { return NodeId{~static_cast<uint32_t>(key_)}; }
  float score() const {
    const auto ordered = static_cast<uint32_t>(key_ >> 32);
    return std::bit_cast<float>(
        (ordered >> 31) != 0 ? ordered ^ uint32_t{1} << 31 : ~ordered);
  }
  ScoredNode value() const { return {node(), score()}; }

  friend auto operator<=>(const ScoreKey&, const ScoreKey&) = default;

 private:
  uint64_t key_;
};

// A set of node numbers for one query: open addressing, at most half full,
// 8 to 16 bytes for each node in it, whatever the size of the graph. The
// memory is kept for the next query.
class VisitedSet {
 public:
  VisitedSet() : slots_(kSmallest, kEmpty) {}

  void Clear() {
    // After one huge walk, not every later one is to pay for its table.
    if (slots_.size() > kSmallest && slots_.size() > 32 * size_) {
      slots_.resize(kSmallest);
      slots_.shrink_to_fit();
    }
    std::fill(slots_.begin(), slots_.end(), kEmpty);
    size_ = 0;
  }

  // False if `node` is in the set already.
  bool Insert(NodeId node) {
    if (2 * size_ >= slots_.size()) {
      Grow();
    }
    if (!Place(static_cast<uint64_t>(node) + 1)) {
      return false;
    }
    ++size_;
    return true;
  }

  size_t memory_bytes() const { return slots_.size() * sizeof(uint32_t); }

 private:
  static constexpr size_t kSmallest = 4096;
  // Slots hold a node's number plus one; a segment has fewer than 2^32 - 1.
  static constexpr uint32_t kEmpty = 0;

  bool Place(uint64_t value) {
    // Fibonacci hashing: neighbours' numbers are close.
    const int shift = 64 - std::countr_zero(slots_.size());
    size_t i = (value * 0x9E3779B97F4A7C15u) >> shift;
    while (slots_[i] != kEmpty) {
      if (slots_[i] == value) {
        return false;
      }
      i = (i + 1) & (slots_.size() - 1);
    }
    slots_[i] = static_cast<uint32_t>(value);
    return true;
  }

  void Grow() {
    std::vector<uint32_t> old(2 * slots_.size(), kEmpty);
    old.swap(slots_);
    for (const uint32_t value : old) {
      if (value != kEmpty) {
        Place(value);
      }
    }
  }

  std::vector<uint32_t> slots_;
  size_t size_ = 0;
};

struct WalkOptions {
  // How many accepted nodes are kept; the walk ends when no node that is still
  // to be expanded is better than the worst of that many. At least 1.
  size_t beam = 256;
  // The walk ends early once this many nodes are scored, by at most one hop
  // more.
  size_t max_evaluations = std::numeric_limits<size_t>::max();
  // Asked at every hop.
  std::function<bool()> cancelled;
};

struct WalkResult {
  // At most `beam`, best first; ties by lower number.
  std::vector<ScoredNode> candidates;
  // Nodes scored, entry points included.
  size_t evaluations = 0;
  // Nodes whose neighbours were read.
  size_t hops = 0;
};

// What a walk needs beside the graph, kept from one to the next. One thread at
// a time.
struct WalkScratch {
  VisitedSet visited;
  // Max-heap of nodes to expand.
  std::vector<ScoreKey> frontier;
  // Min-heap of the best accepted nodes.
  std::vector<ScoreKey> best;
  std::vector<NodeId> batch;
  std::vector<float> scores;
};

// Best-first beam search (arXiv 1603.09320, Algorithm 2) from all entry points
// at once. Nodes that `accept` refuses, deleted or filtered ones, are walked
// through and count as evaluations, but are not returned and take no place in
// the beam. kCancelled if options.cancelled says so. Deterministic.
template <WalkableGraph G, Scorer S, typename Accept = AcceptAll>
absl::StatusOr<WalkResult> Walk(const G& graph,
                                std::span<const NodeId> entry_points, S& scorer,
                                const WalkOptions& options,
                                WalkScratch& scratch,
                                const Accept& accept = {}) {
  WalkResult result;
  // Not a structured binding: clang 14 lets no lambda capture one.
  auto& visited = scratch.visited;
  auto& frontier = scratch.frontier;
  auto& best = scratch.best;
  auto& batch = scratch.batch;
  auto& scores = scratch.scores;
  visited.Clear();
  frontier.clear();
  best.clear();

  // Scores scratch.batch and takes what is good enough.
  const auto expand_batch = [&] {
    scores.resize(batch.size());
    scorer.Score(std::span<const NodeId>(batch), std::span<float>(scores));
    result.evaluations += batch.size();
    for (size_t i = 0; i < batch.size(); ++i) {
      const ScoreKey key(batch[i], scores[i]);
      const bool full = best.size() == options.beam;
      if (full && key < best.front()) {
        continue;
      }
      frontier.push_back(key);
      std::push_heap(frontier.begin(), frontier.end());
      if (!accept(batch[i])) {
        continue;
      }
      if (full) {
        std::pop_heap(best.begin(), best.end(), std::greater<>());
        best.back() = key;
      } else {
        best.push_back(key);
      }
      std::push_heap(best.begin(), best.end(), std::greater<>());
    }
  };

  batch.clear();
  for (const NodeId node : entry_points) {
    if (visited.Insert(node)) {
      batch.push_back(node);
    }
  }
  expand_batch();

  NeighborBuffer buffer;
  while (!frontier.empty() && result.evaluations < options.max_evaluations) {
    const ScoreKey nearest = frontier.front();
    if (best.size() == options.beam && nearest < best.front()) {
      break;
    }
    if (options.cancelled && options.cancelled()) {
      return absl::CancelledError("walking a graph: cancelled");
    }
    std::pop_heap(frontier.begin(), frontier.end());
    frontier.pop_back();
    ++result.hops;
    batch.clear();
    for (const NodeId node : graph.Neighbors(nearest.node(), buffer)) {
      if (visited.Insert(node)) {
        batch.push_back(node);
        if constexpr (PrefetchingScorer<S>) {
          scorer.Prefetch(node);
        }
      }
    }
    expand_batch();
  }

  std::sort(best.begin(), best.end(), std::greater<>());
  result.candidates.reserve(best.size());
  for (const ScoreKey key : best) {
    result.candidates.push_back(key.value());
  }
  return result;
}

}  // namespace pith

#endif  // PITH_CORE_GRAPH_WALK_H_
