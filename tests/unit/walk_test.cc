#include "core/graph/walk.h"

#include <cmath>
#include <limits>
#include <set>
#include <span>
#include <vector>

#include "gtest/gtest.h"

#include "tests/graph_inputs.h"

namespace pith {
namespace {

// Scores nodes of a line by their distance from a place on it, and counts.
struct LineScorer {
  float target;
  size_t scored = 0;

  void Score(std::span<const NodeId> nodes, std::span<float> out) {
    for (size_t i = 0; i < nodes.size(); ++i) {
      out[i] = -std::abs(static_cast<float>(nodes[i]) - target);
    }
    scored += nodes.size();
  }
};

struct GridScorer {
  size_t side;
  float row;
  float column;

  void Score(std::span<const NodeId> nodes, std::span<float> out) {
    for (size_t i = 0; i < nodes.size(); ++i) {
      const auto node = static_cast<size_t>(nodes[i]);
      out[i] = -std::hypot(static_cast<float>(node / side) - row,
                           static_cast<float>(node % side) - column);
    }
  }
};

std::vector<NodeId> NodesOf(const WalkResult& result) {
  std::vector<NodeId> nodes;
  for (const ScoredNode& candidate : result.candidates) {
    nodes.push_back(candidate.node);
  }
  return nodes;
}

TEST(ScoreKey, OrdersByScoreThenByLowerNumber) {
  EXPECT_GT(ScoreKey(Node(5), 1.0f), ScoreKey(Node(4), 0.5f));
  EXPECT_GT(ScoreKey(Node(5), -1.0f), ScoreKey(Node(4), -2.0f));
  EXPECT_GT(ScoreKey(Node(5), 0.25f), ScoreKey(Node(4), -0.25f));
  EXPECT_GT(ScoreKey(Node(4), 1.0f), ScoreKey(Node(5), 1.0f));
  EXPECT_GT(ScoreKey(Node(4), -0.0f), ScoreKey(Node(5), 0.0f));
  for (const float score : {-3.5f, 0.0f, 1e-30f, 7e20f}) {
    EXPECT_EQ(ScoreKey(Node(9), score).value(), (ScoredNode{Node(9), score}));
  }
}

TEST(VisitedSet, HoldsEachNodeOnceAndGrows) {
  VisitedSet visited;
  const size_t memory = visited.memory_bytes();
  for (size_t round = 0; round < 2; ++round) {
    for (size_t i = 0; i < 10'000; ++i) {
      ASSERT_TRUE(visited.Insert(Node(i * 977)));
    }
    for (size_t i = 0; i < 10'000; ++i) {
      ASSERT_FALSE(visited.Insert(Node(i * 977)));
    }
    visited.Clear();
  }
  EXPECT_GT(visited.memory_bytes(), memory);
  EXPECT_LE(visited.memory_bytes(), 16u * 10'000);
}

TEST(Walk, GoesDownALineToTheTarget) {
  const AdjacencyLists line = Line(100);
  const std::vector<NodeId> entry = {Node(0)};
  LineScorer scorer{90.25f};
  WalkScratch scratch;
  const auto result =
      Walk(line, entry, scorer, WalkOptions{.beam = 3}, scratch);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(NodesOf(*result), (std::vector{Node(90), Node(91), Node(89)}));
  EXPECT_EQ(result->candidates[0].score, -0.25f);
  // 0 to 92 are scored, 0 to 91 expanded: 92 is worse than 89.
  EXPECT_EQ(result->evaluations, 93u);
  EXPECT_EQ(result->evaluations, scorer.scored);
  EXPECT_EQ(result->hops, 92u);
}

TEST(Walk, FindsTheNearestOfAGrid) {
  const AdjacencyLists grid = Grid(20);
  const std::vector<NodeId> entry = {Node(0), Node(399)};
  GridScorer scorer{20, 7.1f, 12.2f};
  WalkScratch scratch;
  const auto result =
      Walk(grid, entry, scorer, WalkOptions{.beam = 4}, scratch);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(NodesOf(*result),
            (std::vector{Node(152), Node(153), Node(172), Node(132)}));
  // A walk of twelve steps, four neighbours each, and not the grid.
  EXPECT_LT(result->evaluations, 70u);
}

TEST(Walk, EqualsBruteForceWhenTheBeamHoldsAll) {
  const AdjacencyLists grid = Grid(9);
  GridScorer scorer{9, 3.3f, 5.9f};
  std::vector<float> scores(81);
  scorer.Score(AllNodes(81), scores);
  std::vector<NodeId> expected = AllNodes(81);
  std::stable_sort(expected.begin(), expected.end(), [&](NodeId a, NodeId b) {
    return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)];
  });
  WalkScratch scratch;
  const std::vector<NodeId> entry = {Node(40)};
  const auto result =
      Walk(grid, entry, scorer, WalkOptions{.beam = 81}, scratch);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(NodesOf(*result), expected);
  EXPECT_EQ(result->evaluations, 81u);
  EXPECT_EQ(result->hops, 81u);
}

TEST(Walk, TiesGoToTheLowerNumber) {
  const AdjacencyLists line = Line(9);
  LineScorer scorer{4};
  WalkScratch scratch;
  const std::vector<NodeId> entry = {Node(8)};
  const auto result =
      Walk(line, entry, scorer, WalkOptions{.beam = 2}, scratch);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(NodesOf(*result), (std::vector{Node(4), Node(3)}));
}

TEST(Walk, RefusedNodesAreWalkedThroughButTakeNoPlace) {
  const AdjacencyLists line = Line(100);
  LineScorer scorer{50};
  WalkScratch scratch;
  const std::vector<NodeId> entry = {Node(0)};
  // All around the target are refused, more than the beam holds.
  const auto result =
      Walk(line, entry, scorer, WalkOptions{.beam = 4}, scratch,
           [](NodeId node) { return node < Node(45) || node > Node(55); });
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(NodesOf(*result),
            (std::vector{Node(44), Node(56), Node(43), Node(57)}));
  const auto nothing = Walk(line, entry, scorer, WalkOptions{.beam = 4},
                            scratch, [](NodeId) { return false; });
  ASSERT_TRUE(nothing.ok());
  EXPECT_TRUE(nothing->candidates.empty());
  EXPECT_EQ(nothing->evaluations, 100u);
}

TEST(Walk, EndsAfterMaxEvaluations) {
  const AdjacencyLists line = Line(100);
  LineScorer scorer{90};
  WalkScratch scratch;
  const std::vector<NodeId> entry = {Node(0)};
  const auto result =
      Walk(line, entry, scorer, WalkOptions{.beam = 3, .max_evaluations = 20},
           scratch);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->evaluations, 20u);
  EXPECT_EQ(result->candidates[0].node, Node(19));
}

TEST(Walk, StopsWhenCancelled) {
  const AdjacencyLists line = Line(100);
  LineScorer scorer{90};
  WalkScratch scratch;
  const std::vector<NodeId> entry = {Node(0)};
  int asked = 0;
  const auto result =
      Walk(line, entry, scorer,
           WalkOptions{.beam = 3, .cancelled = [&] { return ++asked == 5; }},
           scratch);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(scorer.scored, 5u);
}

TEST(Walk, AnEmptyGraphHasNoCandidates) {
  LineScorer scorer{1};
  WalkScratch scratch;
  const auto result =
      Walk(AdjacencyLists(), {}, scorer, WalkOptions{}, scratch);
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result->candidates.empty());
  EXPECT_EQ(result->evaluations, 0u);
}

}  // namespace
}  // namespace pith
