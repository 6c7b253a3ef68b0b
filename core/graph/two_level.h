#ifndef PITH_CORE_GRAPH_TWO_LEVEL_H_
#define PITH_CORE_GRAPH_TWO_LEVEL_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "core/base/status_macros.h"
#include "core/graph/graph.h"
#include "core/graph/walk.h"

namespace pith {

struct TwoLevelOptions {
  // How many accepted nodes with exact scores are kept: ef in the paper. At
  // least 1.
  size_t beam = 50;
  // Which part of the approximate queue is recomputed at every hop, from its
  // best on and rounded up: a in the paper. In (0, 1]. At 1 every node that the
  // walk reaches is recomputed, as LEANN's own implementation does by default:
  // the naive form.
  double recompute_share = 0.1;
  // The walk ends once this many nodes are recomputed; no batch exceeds it.
  size_t max_recomputed = std::numeric_limits<size_t>::max();
  // Asked at every hop.
  std::function<bool()> cancelled;
};

struct TwoLevelResult {
  // At most `beam`, by exact score, best first; ties by lower number.
  std::vector<ScoredNode> candidates;
  // Nodes scored by code.
  size_t evaluations = 0;
  // Nodes whose neighbours were read.
  size_t hops = 0;
  size_t recomputed = 0;
  size_t batches = 0;
};

// out[i] = exact score of nodes[i], on the scale of its own: exact and
// approximate scores are never compared. A failure ends the walk.
using ExactScores = absl::FunctionRef<absl::Status(
    std::span<const NodeId> nodes, std::span<float> out)>;

// Two-level search (LEANN, arXiv 2506.08276, Algorithm 2). Neighbours enter the
// approximate queue by code; at every hop its best share moves to the exact
// queue in one batch of recomputed scores, and only nodes of the exact queue
// are expanded. Ends when none of those is better than the worst of `beam`
// accepted ones. A node is recomputed at most once. `accept` as for Walk:
// refused nodes may be recomputed, since they are walked through. kCancelled if
// options.cancelled says so, else what `exact` fails with.
template <WalkableGraph G, Scorer S, typename Accept = AcceptAll>
absl::StatusOr<TwoLevelResult> TwoLevelWalk(
    const G& graph, std::span<const NodeId> entry_points, S& approximate,
    ExactScores exact, const TwoLevelOptions& options, WalkScratch& scratch,
    const Accept& accept = {}) {
  TwoLevelResult result;
  // Not a structured binding: clang 14 lets no lambda capture one.
  auto& visited = scratch.visited;
  auto& frontier = scratch.frontier;
  auto& best = scratch.best;
  auto& batch = scratch.batch;
  auto& scores = scratch.scores;
  visited.Clear();
  frontier.clear();
  best.clear();
  // Max-heap of nodes with approximate scores only.
  std::vector<ScoreKey> pending;

  const auto approximate_batch = [&] {
    scores.resize(batch.size());
    approximate.Score(std::span<const NodeId>(batch), std::span<float>(scores));
    result.evaluations += batch.size();
    for (size_t i = 0; i < batch.size(); ++i) {
      pending.emplace_back(batch[i], scores[i]);
      std::push_heap(pending.begin(), pending.end());
    }
  };
  const auto recompute_share = [&]() -> absl::Status {
    const auto share = static_cast<size_t>(std::ceil(
        options.recompute_share * static_cast<double>(pending.size())));
    const size_t count = std::min(
        {share, pending.size(), options.max_recomputed - result.recomputed});
    if (count == 0) {
      return absl::OkStatus();
    }
    batch.clear();
    for (size_t i = 0; i < count; ++i) {
      std::pop_heap(pending.begin(), pending.end());
      batch.push_back(pending.back().node());
      pending.pop_back();
    }
    scores.resize(batch.size());
    PITH_RETURN_IF_ERROR(
        exact(std::span<const NodeId>(batch), std::span<float>(scores)));
    result.recomputed += count;
    ++result.batches;
    for (size_t i = 0; i < count; ++i) {
      const ScoreKey key(batch[i], scores[i]);
      frontier.push_back(key);
      std::push_heap(frontier.begin(), frontier.end());
      if (!accept(batch[i])) {
        continue;
      }
      best.push_back(key);
      std::push_heap(best.begin(), best.end(), std::greater<>());
      if (best.size() > options.beam) {
        std::pop_heap(best.begin(), best.end(), std::greater<>());
        best.pop_back();
      }
    }
    return absl::OkStatus();
  };

  batch.clear();
  for (const NodeId node : entry_points) {
    if (visited.Insert(node)) {
      batch.push_back(node);
    }
  }
  approximate_batch();
  PITH_RETURN_IF_ERROR(recompute_share());

  NeighborBuffer buffer;
  while (result.recomputed < options.max_recomputed) {
    if (options.cancelled && options.cancelled()) {
      return absl::CancelledError("walking a graph: cancelled");
    }
    const bool full = best.size() == options.beam;
    if (!frontier.empty()) {
      const ScoreKey nearest = frontier.front();
      if (full && nearest < best.front()) {
        break;
      }
      std::pop_heap(frontier.begin(), frontier.end());
      frontier.pop_back();
      ++result.hops;
      batch.clear();
      for (const NodeId node : graph.Neighbors(nearest.node(), buffer)) {
        if (visited.Insert(node)) {
          batch.push_back(node);
        }
      }
      approximate_batch();
    } else if (full || pending.empty()) {
      break;
    }
    PITH_RETURN_IF_ERROR(recompute_share());
  }

  std::sort(best.begin(), best.end(), std::greater<>());
  result.candidates.reserve(best.size());
  for (const ScoreKey key : best) {
    result.candidates.push_back(key.value());
  }
  return result;
}

}  // namespace pith

#endif  // PITH_CORE_GRAPH_TWO_LEVEL_H_
