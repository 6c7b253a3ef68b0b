#include "core/graph/neighbors.h"

#include <algorithm>
#include <set>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/graph_inputs.h"

namespace pith {
namespace {

using ::testing::ElementsAre;

// The nearest of each node by comparing all.
std::vector<std::vector<NodeId>> BruteForce(const Points& points,
                                            size_t count) {
  std::vector<std::vector<NodeId>> result;
  for (const NodeId node : AllNodes(points.size())) {
    std::vector<NodeId> others = AllNodes(points.size());
    others.erase(others.begin() + static_cast<ptrdiff_t>(node));
    std::stable_sort(others.begin(), others.end(), [&](NodeId a, NodeId b) {
      return points.Similarity(node, a) > points.Similarity(node, b);
    });
    others.resize(std::min(count, others.size()));
    result.push_back(others);
  }
  return result;
}

double Recall(const AdjacencyLists& found,
              const std::vector<std::vector<NodeId>>& expected) {
  size_t hits = 0;
  size_t all = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const auto list = found[Node(i)];
    all += expected[i].size();
    hits += static_cast<size_t>(
        std::count_if(expected[i].begin(), expected[i].end(), [&](NodeId node) {
          return std::find(list.begin(), list.end(), node) != list.end();
        }));
  }
  return static_cast<double>(hits) / static_cast<double>(all);
}

TEST(FindNeighbors, OneLeafIsExact) {
  const Points points = ClusteredPoints(300, 3, 4, 1);
  const auto found =
      FindNeighbors(AllNodes(300), points, NeighborOptions{.neighbors = 7}, {});
  ASSERT_TRUE(found.ok());
  const auto expected = BruteForce(points, 7);
  for (size_t i = 0; i < 300; ++i) {
    const std::span<const NodeId> list = (*found)[Node(i)];
    // Which of equal ones is open, as long as it is not the same one twice.
    EXPECT_EQ(std::set<NodeId>(list.begin(), list.end()).size(), 7u);
    for (size_t j = 0; j < 7; ++j) {
      ASSERT_EQ(points.Similarity(Node(i), list[j]),
                points.Similarity(Node(i), expected[i][j]));
    }
  }
}

TEST(FindNeighbors, FewNodesHaveFewNeighbors) {
  const Points points = LinePoints(3);
  for (size_t n = 0; n <= 3; ++n) {
    const auto found =
        FindNeighbors(AllNodes(n), points, NeighborOptions{}, {});
    ASSERT_TRUE(found.ok());
    ASSERT_EQ(found->node_count(), n);
    for (size_t i = 0; i < n; ++i) {
      EXPECT_EQ((*found)[Node(i)].size(), n - 1);
    }
  }
}

TEST(FindNeighbors, WorksOnSomeOfTheNodes) {
  const Points points = LinePoints(100);
  const std::vector<NodeId> some = {Node(3), Node(10), Node(50), Node(12)};
  const auto found =
      FindNeighbors(some, points, NeighborOptions{.neighbors = 2}, {});
  ASSERT_TRUE(found.ok());
  EXPECT_THAT((*found)[Node(0)], ElementsAre(Node(10), Node(12)));
  EXPECT_THAT((*found)[Node(2)], ElementsAre(Node(12), Node(10)));
}

TEST(FindNeighbors, OfTheLastNodesAreThoseThatAllTogetherGet) {
  const Points points = ClusteredPoints(2000, 5, 6, 2);
  const NeighborOptions options{.neighbors = 10, .leaf_size = 128};
  const auto all = FindNeighbors(AllNodes(2000), points, options, {});
  ASSERT_TRUE(all.ok());
  for (const size_t first : {size_t{1}, size_t{1900}, size_t{1999}}) {
    const auto last = FindNeighbors(AllNodes(2000), points, options, {}, first);
    ASSERT_TRUE(last.ok());
    ASSERT_EQ(last->node_count(), 2000 - first);
    EXPECT_TRUE(std::equal(
        last->neighbors.begin(), last->neighbors.end(),
        all->neighbors.begin() + static_cast<ptrdiff_t>(all->offsets[first]),
        all->neighbors.end()));
  }
  const auto none = FindNeighbors(AllNodes(2000), points, options, {}, 2000);
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(none->node_count(), 0u);
}

TEST(FindNeighbors, ManyLeavesFindMost) {
  const Points points = ClusteredPoints(1500, 5, 6, 2);
  const auto found =
      FindNeighbors(AllNodes(1500), points,
                    NeighborOptions{.neighbors = 10, .leaf_size = 128}, {});
  ASSERT_TRUE(found.ok());
  EXPECT_GT(Recall(*found, BruteForce(points, 10)), 0.95);
}

TEST(FindNeighbors, CopiesOfOnePointEnd) {
  Points points;
  points.at.assign(3000, {1, 2, 3});
  const auto found =
      FindNeighbors(AllNodes(3000), points,
                    NeighborOptions{.neighbors = 5, .leaf_size = 64}, {});
  ASSERT_TRUE(found.ok());
  for (size_t i = 0; i < 3000; ++i) {
    ASSERT_EQ((*found)[Node(i)].size(), 5u);
  }
}

TEST(FindNeighbors, IsTheSameForAnyNumberOfThreads) {
  const Points points = ClusteredPoints(3000, 5, 3, 3);
  const NeighborOptions options{.neighbors = 10, .leaf_size = 100};
  const auto one = FindNeighbors(AllNodes(3000), points, options, {});
  const auto four = FindNeighbors(AllNodes(3000), points, options,
                                  BuildControl{.threads = 4});
  ASSERT_TRUE(one.ok() && four.ok());
  EXPECT_EQ(one->neighbors, four->neighbors);
  EXPECT_EQ(one->offsets, four->offsets);
}

TEST(FindNeighbors, StopsWhenCancelled) {
  const Points points = LinePoints(3000);
  const auto found =
      FindNeighbors(AllNodes(3000), points, NeighborOptions{},
                    BuildControl{.cancelled = [] { return true; }});
  EXPECT_EQ(found.status().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace pith
