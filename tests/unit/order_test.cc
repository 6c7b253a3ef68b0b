#include "core/graph/order.h"

#include <algorithm>
#include <bit>
#include <random>
#include <set>
#include <vector>

#include "gtest/gtest.h"

#include "tests/graph_inputs.h"

namespace pith {
namespace {

// Bits of all gaps, roughly.
size_t GapBits(const AdjacencyLists& graph) {
  size_t bits = 0;
  for (size_t i = 0; i < graph.node_count(); ++i) {
    size_t previous = i;
    for (const NodeId neighbor : graph[Node(i)]) {
      if (neighbor > Node(i)) {
        bits += std::bit_width(static_cast<size_t>(neighbor) - previous);
        previous = static_cast<size_t>(neighbor);
      }
    }
  }
  return bits;
}

AdjacencyLists Shuffled(const AdjacencyLists& graph, uint32_t seed) {
  std::vector<NodeId> numbers = AllNodes(graph.node_count());
  std::mt19937 random(seed);
  std::shuffle(numbers.begin(), numbers.end(), random);
  return Renumber(graph, numbers);
}

TEST(OrderNodes, IsAPermutation) {
  for (const size_t n : {0, 1, 2, 3, 4, 5, 100, 1001}) {
    const AdjacencyLists graph = Line(n);
    const auto numbers = OrderNodes(graph, AllNodes(graph.node_count()), {});
    ASSERT_TRUE(numbers.ok());
    const std::set<NodeId> distinct(numbers->begin(), numbers->end());
    EXPECT_EQ(distinct.size(), n);
    EXPECT_TRUE(n == 0 || *distinct.rbegin() == Node(n - 1));
  }
}

TEST(OrderNodes, BringsNeighborsTogether) {
  const AdjacencyLists graph = Shuffled(Grid(64), 1);
  const auto numbers = OrderNodes(graph, AllNodes(graph.node_count()), {});
  ASSERT_TRUE(numbers.ok());
  const AdjacencyLists ordered = Renumber(graph, *numbers);
  EXPECT_TRUE(IsMutual(ordered));
  // About 5.4 bits an edge after 9.2.
  EXPECT_LT(GapBits(ordered) * 100, GapBits(graph) * 60);
}

TEST(OrderNodes, SeparatesWhatIsNotConnected) {
  std::set<std::pair<size_t, size_t>> edges;
  // Even and odd nodes in two random graphs.
  std::mt19937 random(5);
  for (int i = 0; i < 6000; ++i) {
    const size_t a = random() % 1024;
    const size_t b = random() % 1024;
    if (a != b && a % 2 == b % 2) {
      edges.emplace(std::min(a, b), std::max(a, b));
    }
  }
  const auto numbers = OrderNodes(FromEdges(1024, edges), AllNodes(1024), {});
  ASSERT_TRUE(numbers.ok());
  size_t even_in_first_half = 0;
  for (size_t i = 0; i < 1024; i += 2) {
    even_in_first_half += (*numbers)[i] < Node(512) ? 1 : 0;
  }
  EXPECT_TRUE(even_in_first_half < 10 || even_in_first_half > 502)
      << even_in_first_half;
}

TEST(OrderNodes, IsTheSameForAnyNumberOfThreads) {
  const AdjacencyLists graph = RandomGraph(20'000, 60'000, 9);
  const auto one = OrderNodes(graph, AllNodes(graph.node_count()), {});
  const auto four = OrderNodes(graph, AllNodes(graph.node_count()),
                               BuildControl{.threads = 4});
  ASSERT_TRUE(one.ok() && four.ok());
  EXPECT_EQ(*one, *four);
}

TEST(OrderNodes, StopsWhenCancelled) {
  const auto numbers = OrderNodes(
      Grid(30), AllNodes(900), BuildControl{.cancelled = [] { return true; }});
  EXPECT_EQ(numbers.status().code(), absl::StatusCode::kCancelled);
}

TEST(Renumber, MovesListsAndTheirEntries) {
  const AdjacencyLists graph = FromEdges(3, {{0, 1}, {1, 2}});
  const AdjacencyLists moved = Renumber(graph, {Node(2), Node(0), Node(1)});
  const AdjacencyLists expected = FromEdges(3, {{0, 2}, {0, 1}});
  EXPECT_EQ(moved.offsets, expected.offsets);
  EXPECT_EQ(moved.neighbors, expected.neighbors);
}

}  // namespace
}  // namespace pith
