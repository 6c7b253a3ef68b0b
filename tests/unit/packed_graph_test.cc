#include "core/graph/packed_graph.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/graph_inputs.h"

namespace pith {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

// Nibbles as bytes, the low one first.
std::string Nibbles(std::vector<int> nibbles) {
  nibbles.resize(nibbles.size() + nibbles.size() % 2);
  std::string bytes;
  for (size_t i = 0; i < nibbles.size(); i += 2) {
    bytes.push_back(static_cast<char>(nibbles[i] | nibbles[i + 1] << 4));
  }
  return bytes;
}

// The message of the failure.
std::string Failure(const std::string& bytes, size_t nodes) {
  const auto graph = PackedGraph::Parse(bytes, nodes);
  EXPECT_EQ(graph.status().code(), absl::StatusCode::kDataLoss)
      << graph.status();
  return std::string(graph.status().message());
}

TEST(PackedGraph, WritesEachEdgeOnce) {
  // 0 - 1, 0 - 3, 2 - 3.
  const PackedGraph graph(FromEdges(4, {{0, 1}, {0, 3}, {2, 3}}),
                          {Node(0), Node(2)});
  EXPECT_EQ(graph.Serialize(), Nibbles({2, 0, 1,  // entry points: gaps
                                        2, 0, 1,  // node 0: 1, 3
                                        0,        // node 1
                                        1, 0,     // node 2: 3
                                        0}));
}

TEST(PackedGraph, GivesBackWhatWasPacked) {
  for (const AdjacencyLists& lists :
       {AdjacencyLists(), Line(1), Line(33), Grid(20),
        RandomGraph(100'000, 300'000, 1), RandomGraph(70, 5000, 2)}) {
    const size_t n = lists.node_count();
    std::vector<NodeId> entry_points;
    if (n > 0) {
      entry_points = {Node(n - 1)};
    }
    const PackedGraph graph(lists, entry_points);
    const auto parsed = PackedGraph::Parse(graph.Serialize(), n);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    NeighborBuffer buffer;
    for (size_t i = 0; i < n; ++i) {
      ASSERT_THAT(graph.Neighbors(Node(i), buffer),
                  ElementsAreArray(lists[Node(i)]));
      ASSERT_THAT(parsed->Neighbors(Node(i), buffer),
                  ElementsAreArray(lists[Node(i)]));
    }
    EXPECT_THAT(parsed->entry_points(), ElementsAreArray(entry_points));
  }
}

TEST(PackedGraph, RefusesWhatIsNoGraph) {
  EXPECT_THAT(Failure("", 1), HasSubstr("1 nodes in 0 bytes"));
  EXPECT_THAT(Failure(Nibbles({0, 0, 0}), 2),
              HasSubstr("0 entry points for 2 nodes"));
  EXPECT_THAT(Failure(Nibbles({3, 0, 0, 0, 0}), 2),
              HasSubstr("3 entry points for 2 nodes"));
  EXPECT_THAT(Failure(Nibbles({1, 2, 0, 0}), 2),
              HasSubstr("entry point 0 is 2 after 0, of 2 nodes"));
  EXPECT_THAT(Failure(Nibbles({1, 0, 1, 1, 0}), 2),
              HasSubstr("node 0 has a neighbour 1 after 1, of 2 nodes"));
  EXPECT_THAT(Failure(Nibbles({1, 0, 0, 1, 0}), 2),
              HasSubstr("node 1 has a neighbour 0 after 2, of 2 nodes"));
  EXPECT_THAT(Failure(Nibbles({1, 0, 8 | 5, 7, 0}), 2),
              HasSubstr("node 0 has 0 and 61 neighbours, more than 60"));
  EXPECT_THAT(Failure(Nibbles({1, 0, 0, 0, 0, 0}), 2),
              HasSubstr("something follows the last node, at nibble 4 of 6"));
  EXPECT_THAT(Failure(Nibbles({1, 0, 0, 0, 0, 1}), 3),
              HasSubstr("something follows the last node"));
  EXPECT_THAT(Failure(Nibbles({1, 0, 0, 8}), 2),
              HasSubstr("node 1 of 2 has no count, at nibble 4"));
  // A zero in two nibbles, and 33 bits.
  EXPECT_THAT(Failure(Nibbles({1, 8, 0, 0, 0}), 2),
              HasSubstr("entry point 0 of 1 is no number"));
  EXPECT_THAT(
      Failure(Nibbles({15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 7, 0}), 2),
      HasSubstr("no count of entry points"));
  // The 61st neighbour of node 61 by way of lower nodes.
  std::vector<int> star = {1, 0};
  for (int i = 0; i < 61; ++i) {
    const int gap = 60 - i;
    if (gap < 8) {
      star.insert(star.end(), {1, gap});
    } else {
      star.insert(star.end(), {1, 8 | (gap & 7), gap >> 3});
    }
  }
  star.push_back(0);
  EXPECT_THAT(Failure(Nibbles(star), 62),
              HasSubstr("node 61 has more than 60 neighbours"));
}

TEST(PackedGraph, EveryTruncationIsDataLoss) {
  const AdjacencyLists lists = RandomGraph(50, 120, 3);
  const std::string bytes = PackedGraph(lists, {Node(3), Node(40)}).Serialize();
  for (size_t size = 0; size < bytes.size(); ++size) {
    // A copy of just that size, so that reading on is seen.
    const std::vector<char> cut(bytes.begin(),
                                bytes.begin() + static_cast<ptrdiff_t>(size));
    const auto graph = PackedGraph::Parse({cut.data(), cut.size()}, 50);
    EXPECT_EQ(graph.status().code(), absl::StatusCode::kDataLoss) << size;
  }
}

TEST(PackedGraph, AFlippedBitIsDataLossOrAnotherGraph) {
  const AdjacencyLists lists = RandomGraph(50, 120, 4);
  const std::string bytes = PackedGraph(lists, {Node(3), Node(40)}).Serialize();
  size_t refused = 0;
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    const auto graph = PackedGraph::Parse(flipped, 50);
    if (!graph.ok()) {
      EXPECT_EQ(graph.status().code(), absl::StatusCode::kDataLoss);
      ++refused;
      continue;
    }
    AdjacencyLists read;
    NeighborBuffer buffer;
    for (size_t i = 0; i < 50; ++i) {
      for (const NodeId neighbor : graph->Neighbors(Node(i), buffer)) {
        ASSERT_LT(static_cast<size_t>(neighbor), 50u);
        read.neighbors.push_back(neighbor);
      }
      read.offsets.push_back(read.neighbors.size());
    }
    EXPECT_TRUE(IsMutual(read)) << bit;
    EXPECT_EQ(graph->Serialize(), flipped) << bit;
  }
  EXPECT_GT(refused, bytes.size());
}

TEST(PackedGraph, CountsItsMemory) {
  // A line: two nibbles of sizes and two of distances, a length, a 32nd of an
  // offset.
  const PackedGraph graph(Line(32'000), {Node(0)});
  EXPECT_NEAR(static_cast<double>(graph.memory_bytes()) / 32'000, 3.25, 0.01);
}

}  // namespace
}  // namespace pith
