#include "core/graph/prune.h"

#include <algorithm>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/graph/neighbors.h"
#include "tests/graph_inputs.h"

namespace pith {
namespace {

using ::testing::ElementsAre;

AdjacencyLists Candidates(const Points& points, size_t count) {
  auto found = FindNeighbors(AllNodes(points.size()), points,
                             NeighborOptions{.neighbors = count}, {});
  return *std::move(found);
}

TEST(Prune, KeepsOneNeighborInEachDirection) {
  const Points points = LinePoints(20);
  const auto pruned = Prune(Candidates(points, 8), points, PruneOptions{}, {});
  ASSERT_TRUE(pruned.ok());
  EXPECT_EQ(pruned->lists.neighbors, Line(20).neighbors);
  EXPECT_EQ(pruned->lists.offsets, Line(20).offsets);
}

TEST(Prune, HubsKeepMoreThanTheRest) {
  // Node 0 in the middle of a star with 15 arms, along axes of their own.
  Points points;
  points.at.emplace_back(15, 0);
  for (size_t arm = 0; arm < 15; ++arm) {
    points.at.emplace_back(15, 0);
    points.at.back()[arm] = 10;
  }
  AdjacencyLists candidates;
  for (size_t i = 0; i < 16; ++i) {
    for (size_t j = 0; j < 16; ++j) {
      // Only the middle is everyone's candidate.
      if (j != i && (i == 0 || j == 0)) {
        candidates.neighbors.push_back(Node(j));
      }
    }
    candidates.offsets.push_back(candidates.neighbors.size());
  }
  PruneOptions options{.degree = 1, .hub_degree = 15, .hub_share = 1.0 / 16};
  const auto kept = Prune(candidates, points, options, {});
  ASSERT_TRUE(kept.ok());
  EXPECT_EQ(kept->statistics.hubs, 1u);
  EXPECT_EQ(kept->lists[Node(0)].size(), 15u);
  EXPECT_EQ(kept->lists[Node(7)].size(), 1u);
}

TEST(Prune, OnlyHubsChooseUpToTheirDegree) {
  const Points points = ClusteredPoints(400, 1, 12, 5);
  const AdjacencyLists candidates = Candidates(points, 60);
  const auto few =
      Prune(candidates, points, PruneOptions{.degree = 2, .hub_share = 0}, {});
  const auto more = Prune(candidates, points,
                          PruneOptions{.degree = 2, .hub_share = 0.02}, {});
  ASSERT_TRUE(few.ok() && more.ok());
  EXPECT_EQ(few->statistics.hubs, 0u);
  EXPECT_EQ(more->statistics.hubs, 8u);
  EXPECT_LE(few->lists.neighbors.size(), 400u * 2 * 2);
  EXPECT_GT(more->lists.neighbors.size(), few->lists.neighbors.size());
  // The eight that are most often candidates.
  std::vector<size_t> count(400, 0);
  for (const NodeId node : candidates.neighbors) {
    ++count[static_cast<size_t>(node)];
  }
  std::vector<size_t> order(400);
  for (size_t i = 0; i < 400; ++i) {
    order[i] = i;
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return count[a] > count[b]; });
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_GE(more->lists[Node(order[i])].size(),
              few->lists[Node(order[i])].size() + 3);
  }
}

TEST(Prune, TheNearestCandidateIsKept) {
  const Points points = ClusteredPoints(500, 2, 5, 6);
  const AdjacencyLists candidates = Candidates(points, 20);
  const auto pruned =
      Prune(candidates, points, PruneOptions{.degree = 1, .hub_share = 0}, {});
  ASSERT_TRUE(pruned.ok());
  EXPECT_TRUE(IsMutual(pruned->lists));
  for (size_t i = 0; i < 500; ++i) {
    const auto list = pruned->lists[Node(i)];
    EXPECT_TRUE(
        std::binary_search(list.begin(), list.end(), candidates[Node(i)][0]));
  }
}

TEST(Prune, NoNodeHasMoreThanMaxDegree) {
  // Everyone's nearest is node 0.
  Points points;
  points.at.emplace_back(80, 0);
  for (size_t i = 0; i < 80; ++i) {
    points.at.emplace_back(80, 0);
    points.at.back()[i] = 10 + static_cast<int>(i);
  }
  PruneOptions options{
      .degree = 2, .hub_degree = 4, .hub_share = 0.02, .max_degree = 9};
  const auto pruned = Prune(Candidates(points, 10), points, options, {});
  ASSERT_TRUE(pruned.ok());
  EXPECT_TRUE(IsMutual(pruned->lists));
  // The nearest nine of eighty.
  EXPECT_THAT(pruned->lists[Node(0)],
              ElementsAre(Node(1), Node(2), Node(3), Node(4), Node(5), Node(6),
                          Node(7), Node(8), Node(9)));
  EXPECT_EQ(pruned->statistics.dropped_edges, 71u);
}

TEST(Prune, IsTheSameForAnyNumberOfThreads) {
  const Points points = ClusteredPoints(2000, 3, 4, 7);
  const AdjacencyLists candidates = Candidates(points, 16);
  const auto one = Prune(candidates, points, PruneOptions{}, {});
  const auto three =
      Prune(candidates, points, PruneOptions{}, BuildControl{.threads = 3});
  ASSERT_TRUE(one.ok() && three.ok());
  EXPECT_EQ(one->lists.neighbors, three->lists.neighbors);
}

TEST(Prune, NothingIsLeftOfNothing) {
  const auto pruned =
      Prune(AdjacencyLists(), LinePoints(1), PruneOptions{}, {});
  ASSERT_TRUE(pruned.ok());
  EXPECT_EQ(pruned->lists.node_count(), 0u);
}

}  // namespace
}  // namespace pith
