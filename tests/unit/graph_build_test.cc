#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "core/graph/build.h"
#include "core/graph/walk.h"
#include "tests/graph_inputs.h"

namespace pith {
namespace {

AdjacencyLists Unpacked(const PackedGraph& graph) {
  AdjacencyLists lists;
  NeighborBuffer buffer;
  for (size_t i = 0; i < graph.node_count(); ++i) {
    const auto list = graph.Neighbors(Node(i), buffer);
    lists.neighbors.insert(lists.neighbors.end(), list.begin(), list.end());
    lists.offsets.push_back(lists.neighbors.size());
  }
  return lists;
}

TEST(BuildGraph, FewNodesAreAGraphToo) {
  for (size_t n = 0; n <= 5; ++n) {
    const auto built = BuildGraph(n, LinePoints(5), GraphOptions{}, {});
    ASSERT_TRUE(built.ok());
    EXPECT_EQ(built->graph.node_count(), n);
    EXPECT_EQ(built->statistics.edges, n == 0 ? 0 : n - 1);
    EXPECT_EQ(built->graph.entry_points().size(), n);
  }
}

TEST(BuildGraph, NewNumbersNameTheSameNodes) {
  const Points points = ClusteredPoints(1000, 3, 4, 1);
  const auto built = BuildGraph(1000, points, GraphOptions{}, {});
  ASSERT_TRUE(built.ok());
  const std::set<NodeId> distinct(built->new_numbers.begin(),
                                  built->new_numbers.end());
  ASSERT_EQ(distinct.size(), 1000u);
  // Each node's nearest is its neighbour, under the new numbers.
  const AdjacencyLists lists = Unpacked(built->graph);
  for (size_t i = 0; i < 1000; ++i) {
    NodeId nearest = Node(i == 0 ? 1 : 0);
    for (const NodeId other : AllNodes(1000)) {
      if (other != Node(i) && points.Similarity(Node(i), other) >
                                  points.Similarity(Node(i), nearest)) {
        nearest = other;
      }
    }
    const auto list = lists[built->new_numbers[i]];
    const bool found = std::any_of(list.begin(), list.end(), [&](NodeId node) {
      const auto old =
          static_cast<size_t>(std::find(built->new_numbers.begin(),
                                        built->new_numbers.end(), node) -
                              built->new_numbers.begin());
      return points.Similarity(Node(i), Node(old)) ==
             points.Similarity(Node(i), nearest);
    });
    ASSERT_TRUE(found) << i;
  }
}

TEST(BuildGraph, IsTheSameForAnyNumberOfThreads) {
  const Points points = ClusteredPoints(2500, 7, 5, 2);
  const GraphOptions options{.neighbors = {.leaf_size = 200}};
  const auto one = BuildGraph(2500, points, options, {});
  const auto three =
      BuildGraph(2500, points, options, BuildControl{.threads = 3});
  ASSERT_TRUE(one.ok() && three.ok());
  EXPECT_EQ(one->graph.Serialize(), three->graph.Serialize());
  EXPECT_EQ(one->new_numbers, three->new_numbers);
}

TEST(BuildGraph, StopsWheneverItIsCancelled) {
  const Points points = ClusteredPoints(1200, 2, 4, 3);
  const GraphOptions options{.neighbors = {.leaf_size = 200}};
  size_t asked = 0;
  BuildControl control{.cancelled = [&] {
    ++asked;
    return false;
  }};
  ASSERT_TRUE(BuildGraph(1200, points, options, control).ok());
  const size_t all = asked;
  for (size_t stop = 1; stop <= all; stop += 1 + all / 7) {
    asked = 0;
    control.cancelled = [&] { return ++asked >= stop; };
    EXPECT_EQ(BuildGraph(1200, points, options, control).status().code(),
              absl::StatusCode::kCancelled)
        << stop << " of " << all;
  }
}

TEST(BuildGraph, ReportsRisingProgress) {
  const Points points = ClusteredPoints(1200, 2, 4, 3);
  double last = 0;
  const BuildControl control{.progress = [&](double done) {
    EXPECT_GE(done, last);
    last = done;
  }};
  ASSERT_TRUE(BuildGraph(1200, points, GraphOptions{}, control).ok());
  EXPECT_EQ(last, 1.0);
}

}  // namespace
}  // namespace pith
