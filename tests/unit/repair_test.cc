#include "core/graph/repair.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/graph_inputs.h"

namespace pith {
namespace {

PackedGraph Packed(const AdjacencyLists& lists) {
  return PackedGraph(lists, {Node(0)});
}

std::vector<bool> Gone(size_t count, const std::set<size_t>& nodes) {
  std::vector<bool> gone(count);
  for (const size_t node : nodes) {
    gone[node] = true;
  }
  return gone;
}

// `points` without those that are gone.
Points Remaining(const Points& points, const std::vector<bool>& gone) {
  Points remaining;
  for (size_t i = 0; i < points.size(); ++i) {
    if (!gone[i]) {
      remaining.at.push_back(points.at[i]);
    }
  }
  return remaining;
}

TEST(RemoveNodes, WhatStaysIsAsItWas) {
  const AdjacencyLists grid = Grid(6);
  const auto repaired = RemoveNodes(Packed(grid), std::vector<bool>(36),
                                    LinePoints(36), PruneOptions{}, {});
  ASSERT_TRUE(repaired.ok());
  EXPECT_EQ(repaired->lists.offsets, grid.offsets);
  EXPECT_EQ(repaired->lists.neighbors, grid.neighbors);
  EXPECT_EQ(repaired->statistics.lost_neighbors, 0u);
  EXPECT_EQ(repaired->statistics.gained_neighbors, 0u);
}

TEST(RemoveNodes, NeighborsOfARemovedNodeFindOneAnother) {
  const auto gone = Gone(10, {4});
  const auto repaired =
      RemoveNodes(Packed(Line(10)), gone, Remaining(LinePoints(10), gone),
                  PruneOptions{}, {});
  ASSERT_TRUE(repaired.ok());
  EXPECT_EQ(repaired->lists.offsets, Line(9).offsets);
  EXPECT_EQ(repaired->lists.neighbors, Line(9).neighbors);
  EXPECT_EQ(repaired->statistics.lost_neighbors, 2u);
  EXPECT_EQ(repaired->statistics.gained_neighbors, 2u);
}

// As the passages of a document do.
TEST(RemoveNodes, RunsOfRemovedNodesAreLookedThrough) {
  const auto gone = Gone(20, {0, 4, 5, 6, 7, 8, 9, 10, 19});
  const auto repaired =
      RemoveNodes(Packed(Line(20)), gone, Remaining(LinePoints(20), gone),
                  PruneOptions{}, {});
  ASSERT_TRUE(repaired.ok());
  EXPECT_EQ(repaired->lists.neighbors, Line(11).neighbors);
}

TEST(RemoveNodes, NodesThatAreAllGoneLeaveNothing) {
  const auto repaired = RemoveNodes(Packed(Line(3)), {true, true, true},
                                    LinePoints(1), PruneOptions{}, {});
  ASSERT_TRUE(repaired.ok());
  EXPECT_EQ(repaired->lists.node_count(), 0u);
}

// The middle of a star of points at the corners of a cross-polytope, so that
// none is nearer to another than to any third.
TEST(RemoveNodes, ANodeGetsAsManyAsItLostAndLacks) {
  const size_t corners = 12;
  Points points;
  points.at.push_back(std::vector<int>(corners, 0));
  std::set<std::pair<size_t, size_t>> edges;
  for (size_t i = 0; i < corners; ++i) {
    std::vector<int> at(corners, 0);
    at[i] = static_cast<int>(10 + i);
    points.at.push_back(at);
    edges.emplace(0, i + 1);
  }
  // Corners 1 and 2 are neighbours; 1 loses the middle and has one left.
  edges.emplace(1, 2);
  const auto gone = Gone(corners + 1, {0});
  const auto degree_of_first = [&](size_t repaired_degree) {
    const auto repaired = RemoveNodes(
        Packed(FromEdges(corners + 1, edges)), gone, Remaining(points, gone),
        PruneOptions{.repaired_degree = repaired_degree}, {});
    EXPECT_TRUE(repaired.ok());
    EXPECT_TRUE(IsMutual(repaired->lists));
    return repaired->lists[Node(0)].size();
  };
  // All others choose it too, which is nearest to them, unless they are to have
  // no neighbours.
  EXPECT_EQ(degree_of_first(0), 1u);
  EXPECT_GT(degree_of_first(1), 1u);
}

TEST(RemoveNodes, EnoughNeighborsAreEnough) {
  // Each has the four on either side.
  std::set<std::pair<size_t, size_t>> edges;
  for (size_t i = 0; i < 40; ++i) {
    for (size_t j = i + 1; j < std::min<size_t>(40, i + 5); ++j) {
      edges.emplace(i, j);
    }
  }
  const auto gone = Gone(40, {20});
  const auto gained = [&](size_t repaired_degree) {
    const auto repaired = RemoveNodes(
        Packed(FromEdges(40, edges)), gone, Remaining(LinePoints(40), gone),
        PruneOptions{.repaired_degree = repaired_degree}, {});
    EXPECT_TRUE(repaired.ok());
    EXPECT_EQ(repaired->statistics.lost_neighbors, 8u);
    return repaired->statistics.gained_neighbors;
  };
  EXPECT_EQ(gained(7), 0u);
  // What they have is nearer to what they could get than they are.
  EXPECT_EQ(gained(8), 0u);
}

TEST(RemoveNodes, CopiesOfOnePointStayTogether) {
  Points points;
  points.at.assign(60, {3, 3});
  const AdjacencyLists lists = RandomGraph(60, 240, 5);
  const auto gone = Gone(60, {1, 5, 8, 20, 21, 22, 40, 59});
  const auto repaired = RemoveNodes(
      Packed(lists), gone, Remaining(points, gone), PruneOptions{}, {});
  ASSERT_TRUE(repaired.ok());
  EXPECT_TRUE(IsMutual(repaired->lists));
  // Each has what it had, up to 8, or more, and none is everybody's choice.
  size_t node = 0;
  for (size_t i = 0; i < 60; ++i) {
    if (gone[i]) {
      continue;
    }
    const size_t degree = repaired->lists[Node(node++)].size();
    EXPECT_GE(degree, std::min<size_t>(8, lists[Node(i)].size()));
    EXPECT_LE(degree, 24u);
  }
}

TEST(RemoveNodes, IsTheSameForAnyNumberOfThreads) {
  const Points points = ClusteredPoints(2000, 3, 4, 1);
  const PackedGraph graph = Packed(RandomGraph(2000, 9000, 2));
  std::set<size_t> removed;
  for (size_t i = 0; i < 2000; i += 7) {
    removed.insert({i, (i * i) % 2000});
  }
  const auto gone = Gone(2000, removed);
  const Points remaining = Remaining(points, gone);
  const auto one = RemoveNodes(graph, gone, remaining, PruneOptions{}, {});
  const auto three = RemoveNodes(graph, gone, remaining, PruneOptions{},
                                 BuildControl{.threads = 3});
  ASSERT_TRUE(one.ok() && three.ok());
  EXPECT_TRUE(IsMutual(one->lists));
  EXPECT_GT(one->statistics.gained_neighbors, 0u);
  EXPECT_EQ(one->lists.offsets, three->lists.offsets);
  EXPECT_EQ(one->lists.neighbors, three->lists.neighbors);
}

TEST(RemoveNodes, StopsWhenCancelled) {
  const auto repaired = RemoveNodes(
      Packed(Line(10)), Gone(10, {3}), LinePoints(10), PruneOptions{},
      BuildControl{.cancelled = [] { return true; }});
  EXPECT_EQ(repaired.status().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace pith
