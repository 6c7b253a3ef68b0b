#include "core/graph/two_level.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <span>
#include <vector>

#include "gtest/gtest.h"

#include "tests/graph_inputs.h"

namespace pith {
namespace {

float ExactScore(NodeId node, float target) {
  return -std::abs(static_cast<float>(node) - target);
}

// Off by up to four places, the same way every time.
struct RoughScorer {
  float target;

  void Score(std::span<const NodeId> nodes, std::span<float> out) {
    for (size_t i = 0; i < nodes.size(); ++i) {
      const auto number = static_cast<uint32_t>(nodes[i]);
      out[i] = ExactScore(nodes[i], target) +
               static_cast<float>(number * 7 % 9) - 4.0f;
    }
  }
};

struct Recomputed {
  float target;
  std::vector<NodeId> nodes;
  size_t batches = 0;

  absl::Status operator()(std::span<const NodeId> batch, std::span<float> out) {
    for (size_t i = 0; i < batch.size(); ++i) {
      out[i] = ExactScore(batch[i], target);
      nodes.push_back(batch[i]);
    }
    ++batches;
    return absl::OkStatus();
  }
};

std::vector<NodeId> NodesOf(const TwoLevelResult& result) {
  std::vector<NodeId> nodes;
  for (const ScoredNode& candidate : result.candidates) {
    nodes.push_back(candidate.node);
  }
  return nodes;
}

TEST(TwoLevelWalk, EqualsBruteForceWhenAllIsRecomputedAndKept) {
  const AdjacencyLists line = Line(60);
  const std::vector<NodeId> entry = {Node(10), Node(50)};
  RoughScorer rough{33.25f};
  Recomputed exact{33.25f};
  WalkScratch scratch;
  const auto result =
      TwoLevelWalk(line, entry, rough, std::ref(exact),
                   TwoLevelOptions{.beam = 60, .recompute_share = 1}, scratch);
  ASSERT_TRUE(result.ok());
  std::vector<NodeId> expected = AllNodes(60);
  std::stable_sort(expected.begin(), expected.end(), [](NodeId a, NodeId b) {
    return ExactScore(a, 33.25f) > ExactScore(b, 33.25f);
  });
  EXPECT_EQ(NodesOf(*result), expected);
  EXPECT_EQ(result->recomputed, 60u);
}

TEST(TwoLevelWalk, CountsWhatItRecomputesAndDoesSoOnce) {
  const AdjacencyLists graph = RandomGraph(144, 700, 8);
  const std::vector<NodeId> entry = {Node(0)};
  RoughScorer rough{70.25f};
  Recomputed exact{70.25f};
  WalkScratch scratch;
  const auto result = TwoLevelWalk(
      graph, entry, rough, std::ref(exact),
      TwoLevelOptions{.beam = 40, .recompute_share = 0.2}, scratch);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->recomputed, exact.nodes.size());
  EXPECT_EQ(result->batches, exact.batches);
  const std::set<NodeId> distinct(exact.nodes.begin(), exact.nodes.end());
  EXPECT_EQ(distinct.size(), exact.nodes.size());
  EXPECT_LT(result->recomputed, result->evaluations);
  EXPECT_EQ(result->candidates[0].node, Node(70));
}

TEST(TwoLevelWalk, ASmallerShareRecomputesLess) {
  const AdjacencyLists graph = RandomGraph(500, 3000, 3);
  const std::vector<NodeId> entry = {Node(0)};
  size_t last = 0;
  for (const double share : {0.05, 0.3, 1.0}) {
    RoughScorer rough{250};
    Recomputed exact{250};
    WalkScratch scratch;
    const auto result = TwoLevelWalk(
        graph, entry, rough, std::ref(exact),
        TwoLevelOptions{.beam = 10, .recompute_share = share}, scratch);
    ASSERT_TRUE(result.ok());
    EXPECT_GT(result->recomputed, last);
    last = result->recomputed;
  }
}

TEST(TwoLevelWalk, RefusedNodesAreWalkedThroughButNotReturned) {
  const AdjacencyLists line = Line(60);
  const std::vector<NodeId> entry = {Node(0)};
  RoughScorer rough{30};
  Recomputed exact{30};
  WalkScratch scratch;
  const auto result = TwoLevelWalk(
      line, entry, rough, std::ref(exact),
      TwoLevelOptions{.beam = 4, .recompute_share = 0.5}, scratch,
      [](NodeId node) { return node < Node(25) || node > Node(35); });
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(NodesOf(*result),
            (std::vector{Node(24), Node(36), Node(23), Node(37)}));
}

TEST(TwoLevelWalk, NeverRecomputesMoreThanItMay) {
  const AdjacencyLists grid = Grid(12);
  const std::vector<NodeId> entry = {Node(0), Node(5), Node(100)};
  RoughScorer rough{70};
  Recomputed exact{70};
  WalkScratch scratch;
  const auto result = TwoLevelWalk(
      grid, entry, rough, std::ref(exact),
      TwoLevelOptions{.beam = 50, .recompute_share = 1, .max_recomputed = 17},
      scratch);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->recomputed, 17u);
  EXPECT_EQ(exact.nodes.size(), 17u);
}

TEST(TwoLevelWalk, ReturnsWhatRecomputingFailsWith) {
  const AdjacencyLists line = Line(60);
  const std::vector<NodeId> entry = {Node(0)};
  RoughScorer rough{30};
  WalkScratch scratch;
  int calls = 0;
  const auto result = TwoLevelWalk(
      line, entry, rough,
      [&](std::span<const NodeId>, std::span<float> out) -> absl::Status {
        std::fill(out.begin(), out.end(), 0.0f);
        return ++calls == 3 ? absl::UnavailableError("no worker")
                            : absl::OkStatus();
      },
      TwoLevelOptions{}, scratch);
  EXPECT_EQ(result.status(), absl::UnavailableError("no worker"));
}

TEST(TwoLevelWalk, StopsWhenCancelled) {
  const AdjacencyLists line = Line(60);
  const std::vector<NodeId> entry = {Node(0)};
  RoughScorer rough{30};
  Recomputed exact{30};
  WalkScratch scratch;
  const auto result =
      TwoLevelWalk(line, entry, rough, std::ref(exact),
                   TwoLevelOptions{.cancelled = [] { return true; }}, scratch);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace pith
