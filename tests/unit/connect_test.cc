#include "core/graph/connect.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/graph_inputs.h"

namespace pith {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

TEST(Connect, LeavesAConnectedGraphAlone) {
  AdjacencyLists line = Line(30);
  const std::vector<NodeId> entry = {Node(7)};
  const auto statistics = Connect(entry, LinePoints(30), 8, {}, line);
  ASSERT_TRUE(statistics.ok());
  EXPECT_EQ(statistics->unreached_nodes, 0u);
  EXPECT_EQ(statistics->added_edges, 0u);
  EXPECT_EQ(line.neighbors, Line(30).neighbors);
}

TEST(Connect, JoinsAPartToTheNearestReachedNode) {
  // 0 to 9 in a line, 10 by itself, 11 and 12 together.
  std::set<std::pair<size_t, size_t>> edges = {{11, 12}};
  for (size_t i = 1; i < 10; ++i) {
    edges.emplace(i - 1, i);
  }
  AdjacencyLists graph = FromEdges(13, edges);
  const std::vector<NodeId> entry = {Node(0)};
  const auto statistics = Connect(entry, LinePoints(13), 8, {}, graph);
  ASSERT_TRUE(statistics.ok());
  EXPECT_EQ(statistics->unreached_nodes, 3u);
  EXPECT_EQ(statistics->unreached_parts, 2u);
  EXPECT_EQ(statistics->added_edges, 3u);
  EXPECT_THAT(graph[Node(9)],
              ElementsAre(Node(8), Node(10), Node(11), Node(12)));
  EXPECT_TRUE(IsMutual(graph));
  EXPECT_THAT(Reached(graph, entry), Each(true));
}

TEST(Connect, PassesOverNodesThatAreFull) {
  AdjacencyLists graph = FromEdges(5, {{0, 1}, {1, 2}, {2, 3}});
  const std::vector<NodeId> entry = {Node(0)};
  // 4 is nearest to 3, then 2, then 1, of which only 3 and 0 have one
  // neighbour.
  auto statistics = Connect(entry, LinePoints(5), 2, {}, graph);
  ASSERT_TRUE(statistics.ok());
  EXPECT_THAT(graph[Node(4)], ElementsAre(Node(3)));

  graph = FromEdges(5, {{0, 1}, {1, 2}, {2, 3}, {1, 3}});
  statistics = Connect(entry, LinePoints(5), 2, {}, graph);
  ASSERT_TRUE(statistics.ok());
  EXPECT_THAT(graph[Node(4)], ElementsAre(Node(0)));
}

TEST(Connect, ChainsPartsWhenAllThatIsReachedIsFull) {
  AdjacencyLists graph = FromEdges(100, {});
  const std::vector<NodeId> entry = {Node(0)};
  const auto statistics = Connect(entry, LinePoints(100), 2, {}, graph);
  ASSERT_TRUE(statistics.ok());
  EXPECT_EQ(statistics->added_edges, 99u);
  EXPECT_TRUE(IsMutual(graph));
  EXPECT_THAT(Reached(graph, entry), Each(true));
  for (size_t i = 0; i < 100; ++i) {
    EXPECT_LE(graph[Node(i)].size(), 2u);
  }
}

TEST(Connect, StopsWhenCancelled) {
  AdjacencyLists graph = FromEdges(5, {{0, 1}});
  const std::vector<NodeId> entry = {Node(0)};
  const auto statistics =
      Connect(entry, LinePoints(5), 8,
              BuildControl{.cancelled = [] { return true; }}, graph);
  EXPECT_EQ(statistics.status().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace pith
