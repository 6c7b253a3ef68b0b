#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/graph/build.h"
#include "core/graph/walk.h"
#include "tests/graph_inputs.h"

namespace pith {
namespace {

struct Input {
  std::string name;
  Points points;
};

std::vector<Input> Inputs() {
  std::vector<Input> inputs;
  inputs.push_back({"line", LinePoints(2000)});
  inputs.push_back({"one cloud", ClusteredPoints(3000, 1, 8, 1)});
  inputs.push_back({"far clusters", ClusteredPoints(3000, 200, 3, 2)});
  Points copies;
  copies.at.assign(1500, {4, 4});
  inputs.push_back({"copies", copies});
  Points doubled = ClusteredPoints(1000, 4, 5, 3);
  for (size_t i = 0; i < 1000; ++i) {
    doubled.at.push_back(doubled.at[i]);
  }
  inputs.push_back({"everything twice", doubled});
  Points grid;
  for (int i = 0; i < 2500; ++i) {
    grid.at.push_back({i / 50, i % 50});
  }
  inputs.push_back({"grid, all ties", grid});
  return inputs;
}

// Scores by an old node's point.
struct OldScorer {
  const Points& points;
  const std::vector<NodeId>& old_numbers;
  NodeId query;

  void Score(std::span<const NodeId> nodes, std::span<float> out) {
    for (size_t i = 0; i < nodes.size(); ++i) {
      out[i] =
          points.Similarity(query, old_numbers[static_cast<size_t>(nodes[i])]);
    }
  }
};

TEST(GraphProperty, BuiltGraphsAreMutualBoundedReachableAndFindThings) {
  for (const Input& input : Inputs()) {
    SCOPED_TRACE(input.name);
    const size_t n = input.points.size();
    const GraphOptions options{.neighbors = {.leaf_size = 128},
                               .entry_points = 8};
    const auto built = BuildGraph(n, input.points, options, {});
    ASSERT_TRUE(built.ok());

    AdjacencyLists lists;
    NeighborBuffer buffer;
    for (size_t i = 0; i < n; ++i) {
      const auto list = built->graph.Neighbors(Node(i), buffer);
      EXPECT_LE(list.size(), options.prune.max_degree);
      lists.neighbors.insert(lists.neighbors.end(), list.begin(), list.end());
      lists.offsets.push_back(lists.neighbors.size());
    }
    EXPECT_TRUE(IsMutual(lists));
    EXPECT_EQ(built->statistics.edges, lists.neighbors.size() / 2);
    EXPECT_THAT(Reached(lists, built->graph.entry_points()),
                ::testing::Each(true));
    const auto parsed = PackedGraph::Parse(built->graph.Serialize(), n);
    ASSERT_TRUE(parsed.ok()) << parsed.status();

    std::vector<NodeId> old_numbers(n);
    for (size_t i = 0; i < n; ++i) {
      old_numbers[static_cast<size_t>(built->new_numbers[i])] = Node(i);
    }
    WalkScratch scratch;
    std::mt19937 random(11);
    size_t found = 0;
    for (int i = 0; i < 100; ++i) {
      OldScorer scorer{input.points, old_numbers, Node(random() % n)};
      const auto result = Walk(*parsed, parsed->entry_points(), scorer,
                               WalkOptions{.beam = 32}, scratch);
      ASSERT_TRUE(result.ok());
      found += result->candidates[0].score == 0 ? 1 : 0;
    }
    EXPECT_GE(found, 97u);
  }
}

// A sixth of the nodes go in a round, five in a row each, and as many come.
TEST(GraphProperty, ExtendedGraphsAreMutualBoundedReachableAndFindThings) {
  for (const Input& input : Inputs()) {
    SCOPED_TRACE(input.name);
    const size_t all = input.points.size();
    const GraphOptions options{.neighbors = {.leaf_size = 128},
                               .entry_points = 8};
    Points points;
    points.at.assign(
        input.points.at.begin(),
        input.points.at.begin() + static_cast<ptrdiff_t>(2 * all / 3));
    auto built = BuildGraph(points.size(), points, options, {});
    ASSERT_TRUE(built.ok());
    for (size_t round = 0; round < 3; ++round) {
      Points renumbered = points;
      for (size_t i = 0; i < points.size(); ++i) {
        renumbered.at[static_cast<size_t>(built->new_numbers[i])] =
            points.at[i];
      }
      std::vector<bool> gone;
      points.at.clear();
      for (size_t i = 0; i < renumbered.size(); ++i) {
        gone.push_back(i % 15 < 5 && (i / 15 + round) % 2 == 0);
        if (!gone.back()) {
          points.at.push_back(renumbered.at[i]);
        }
      }
      const auto coming = input.points.at.begin() +
                          static_cast<ptrdiff_t>(2 * all / 3 + round * all / 9);
      points.at.insert(points.at.end(), coming,
                       coming + static_cast<ptrdiff_t>(all / 9));
      built =
          ExtendGraph(built->graph, gone, points.size(), points, options, {});
      ASSERT_TRUE(built.ok());
      ASSERT_EQ(built->graph.node_count(), points.size());

      AdjacencyLists lists;
      NeighborBuffer buffer;
      for (size_t i = 0; i < points.size(); ++i) {
        const auto list = built->graph.Neighbors(Node(i), buffer);
        lists.neighbors.insert(lists.neighbors.end(), list.begin(), list.end());
        lists.offsets.push_back(lists.neighbors.size());
      }
      EXPECT_TRUE(IsMutual(lists));
      EXPECT_THAT(Reached(lists, built->graph.entry_points()),
                  ::testing::Each(true));

      std::vector<NodeId> old_numbers(points.size());
      for (size_t i = 0; i < points.size(); ++i) {
        old_numbers[static_cast<size_t>(built->new_numbers[i])] = Node(i);
      }
      WalkScratch scratch;
      std::mt19937 random(11);
      size_t found = 0;
      for (int i = 0; i < 100; ++i) {
        OldScorer scorer{points, old_numbers, Node(random() % points.size())};
        const auto result = Walk(built->graph, built->graph.entry_points(),
                                 scorer, WalkOptions{.beam = 32}, scratch);
        ASSERT_TRUE(result.ok());
        found += result->candidates[0].score == 0 ? 1 : 0;
      }
      EXPECT_GE(found, 95u);
    }
  }
}

// As many texts are that share a licence or a header: whoever finds one of them
// finds others too, and they do not crowd a few nodes.
TEST(GraphProperty, CopiesAmongOthersAreLinkedToOneAnother) {
  Points points = ClusteredPoints(800, 1, 6, 31);
  const std::vector<int> copied = points.at[0];
  points.at.insert(points.at.begin() + 400, 300, copied);
  const auto built = BuildGraph(
      1100, points, GraphOptions{.neighbors = {.leaf_size = 2048}}, {});
  ASSERT_TRUE(built.ok());
  EXPECT_LE(built->statistics.connect.unreached_parts, 2u);
  EXPECT_EQ(built->statistics.prune.dropped_edges, 0u);

  std::vector<NodeId> old_numbers(1100);
  for (size_t i = 0; i < 1100; ++i) {
    old_numbers[static_cast<size_t>(built->new_numbers[i])] = Node(i);
  }
  WalkScratch scratch;
  OldScorer scorer{points, old_numbers, Node(0)};
  const auto result = Walk(built->graph, built->graph.entry_points(), scorer,
                           WalkOptions{.beam = 320}, scratch);
  ASSERT_TRUE(result.ok());
  const auto copies = std::count_if(
      result->candidates.begin(), result->candidates.end(),
      [](const ScoredNode& candidate) { return candidate.score == 0; });
  EXPECT_EQ(copies, 301);
}

// Which side a tie falls on may be arbitrary, but not lopsided: a mirrored set
// is searched as well from its mirrored half.
TEST(GraphProperty, MirroredHalvesAreFoundAlike) {
  Points points = ClusteredPoints(1200, 3, 4, 21);
  for (size_t i = 0; i < 1200; ++i) {
    std::vector<int> mirrored = points.at[i];
    mirrored[1] = -1 - mirrored[1];
    points.at.push_back(mirrored);
  }
  const auto built = BuildGraph(2400, points, GraphOptions{}, {});
  ASSERT_TRUE(built.ok());
  std::vector<NodeId> old_numbers(2400);
  for (size_t i = 0; i < 2400; ++i) {
    old_numbers[static_cast<size_t>(built->new_numbers[i])] = Node(i);
  }
  WalkScratch scratch;
  size_t found[2] = {0, 0};
  for (size_t i = 0; i < 2400; i += 4) {
    OldScorer scorer{points, old_numbers, Node(i)};
    const auto result = Walk(built->graph, built->graph.entry_points(), scorer,
                             WalkOptions{.beam = 8}, scratch);
    ASSERT_TRUE(result.ok());
    found[i / 1200] += result->candidates[0].score == 0 ? 1 : 0;
  }
  EXPECT_GE(found[0], 285u);
  EXPECT_NEAR(static_cast<double>(found[0]), static_cast<double>(found[1]), 8);
}

}  // namespace
}  // namespace pith
