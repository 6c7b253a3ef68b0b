#include <algorithm>
#include <set>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/graph/build.h"
#include "tests/graph_inputs.h"

namespace pith {
namespace {

using ::testing::Each;

// A built graph over some of `points`, whose numbers its nodes have in `at`.
struct Living {
  PackedGraph graph;
  std::vector<NodeId> at;
};

// Similarities of points by their place in `at`.
struct PointsAt {
  const Points& points;
  const std::vector<NodeId>& at;

  void operator()(std::span<const NodeId> rows, std::span<const NodeId> columns,
                  std::span<float> out) const {
    for (size_t r = 0; r < rows.size(); ++r) {
      for (size_t c = 0; c < columns.size(); ++c) {
        out[r * columns.size() + c] =
            points.Similarity(at[static_cast<size_t>(rows[r])],
                              at[static_cast<size_t>(columns[c])]);
      }
    }
  }
};

Living Renumbered(BuiltGraph built, const std::vector<NodeId>& at) {
  Living living{std::move(built.graph), std::vector<NodeId>(at.size())};
  for (size_t i = 0; i < at.size(); ++i) {
    living.at[static_cast<size_t>(built.new_numbers[i])] = at[i];
  }
  return living;
}

Living Build(const Points& points, std::vector<NodeId> at) {
  auto built = BuildGraph(at.size(), PointsAt{points, at}, GraphOptions{}, {});
  EXPECT_TRUE(built.ok());
  return Renumbered(*std::move(built), at);
}

// What stays of `old` and is not in `removed`, and then `added`.
absl::StatusOr<BuiltGraph> Extend(const Points& points, const Living& old,
                                  const std::set<NodeId>& removed,
                                  const std::vector<NodeId>& added,
                                  std::vector<NodeId>& at,
                                  const BuildControl& control = {}) {
  std::vector<bool> gone;
  at.clear();
  for (const NodeId node : old.at) {
    gone.push_back(removed.contains(node));
    if (!gone.back()) {
      at.push_back(node);
    }
  }
  at.insert(at.end(), added.begin(), added.end());
  return ExtendGraph(old.graph, gone, at.size(), PointsAt{points, at},
                     GraphOptions{}, control);
}

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

// Edges by the points' numbers, the lower first.
std::set<std::pair<NodeId, NodeId>> EdgesOf(const Living& living) {
  const AdjacencyLists lists = Unpacked(living.graph);
  std::set<std::pair<NodeId, NodeId>> edges;
  for (size_t i = 0; i < living.at.size(); ++i) {
    for (const NodeId neighbor : lists[Node(i)]) {
      edges.insert(
          std::minmax(living.at[i], living.at[static_cast<size_t>(neighbor)]));
    }
  }
  return edges;
}

std::vector<NodeId> Range(size_t begin, size_t end) {
  std::vector<NodeId> nodes;
  for (size_t i = begin; i < end; ++i) {
    nodes.push_back(Node(i));
  }
  return nodes;
}

TEST(ExtendGraph, EdgesOfWhatStaysStayAndNewNodesAreLinkedToTheNearest) {
  const Points points = ClusteredPoints(1200, 3, 5, 1);
  const Living old = Build(points, Range(0, 1000));
  std::vector<NodeId> at;
  auto built = Extend(points, old, {}, Range(1000, 1200), at);
  ASSERT_TRUE(built.ok());
  EXPECT_EQ(
      std::set<NodeId>(built->new_numbers.begin(), built->new_numbers.end())
          .size(),
      1200u);
  const Living living = Renumbered(*std::move(built), at);
  const auto before = EdgesOf(old);
  const auto after = EdgesOf(living);
  EXPECT_TRUE(
      std::includes(after.begin(), after.end(), before.begin(), before.end()));
  for (size_t i = 1000; i < 1200; ++i) {
    NodeId nearest = Node(0);
    for (const NodeId other : Range(0, 1200)) {
      if (other != Node(i) && points.Similarity(Node(i), other) >
                                  points.Similarity(Node(i), nearest)) {
        nearest = other;
      }
    }
    const float best = points.Similarity(Node(i), nearest);
    EXPECT_TRUE(std::any_of(after.begin(), after.end(), [&](const auto& edge) {
      return (edge.first == Node(i) || edge.second == Node(i)) &&
             points.Similarity(edge.first, edge.second) == best;
    })) << i;
  }
}

TEST(ExtendGraph, RoundsOfReplacingKeepTheGraphMutualReachableAndDense) {
  const Points points = ClusteredPoints(3000, 4, 6, 2);
  Living living = Build(points, Range(0, 1500));
  const double edges = static_cast<double>(EdgesOf(living).size()) / 1500;
  for (size_t round = 0; round < 6; ++round) {
    std::set<NodeId> removed;
    for (size_t i = round; i < living.at.size(); i += 6) {
      removed.insert(living.at[i]);
    }
    std::vector<NodeId> at;
    auto built = Extend(points, living, removed,
                        Range(1500 + 250 * round, 1750 + 250 * round), at);
    ASSERT_TRUE(built.ok());
    EXPECT_GT(built->statistics.repair.lost_neighbors, 0u);
    living = Renumbered(*std::move(built), at);
    const AdjacencyLists lists = Unpacked(living.graph);
    EXPECT_TRUE(IsMutual(lists));
    EXPECT_THAT(Reached(lists, living.graph.entry_points()), Each(true));
  }
  const double now = static_cast<double>(EdgesOf(living).size()) / 1500;
  EXPECT_GT(now, 0.95 * edges);
  EXPECT_LT(now, 1.25 * edges);
}

// Without new nodes, that is: what is repaired must not thin out.
TEST(ExtendGraph, RoundsOfRemovingLeaveDegreesAboveTheFloor) {
  const Points points = ClusteredPoints(4000, 2, 8, 3);
  Living living = Build(points, Range(0, 4000));
  const double edges = static_cast<double>(EdgesOf(living).size()) / 4000;
  for (size_t round = 0; round < 5; ++round) {
    std::set<NodeId> removed;
    for (size_t i = 0; i < living.at.size(); i += 4) {
      removed.insert(living.at[i]);
    }
    std::vector<NodeId> at;
    auto built = Extend(points, living, removed, {}, at);
    ASSERT_TRUE(built.ok());
    living = Renumbered(*std::move(built), at);
  }
  ASSERT_LT(living.at.size(), 1000u);
  EXPECT_THAT(Reached(Unpacked(living.graph), living.graph.entry_points()),
              Each(true));
  EXPECT_GT(static_cast<double>(EdgesOf(living).size()) /
                static_cast<double>(living.at.size()),
            0.85 * edges);
}

TEST(ExtendGraph, AllMayGoAndAllMayBeNew) {
  const Points points = LinePoints(100);
  const Living old = Build(points, Range(0, 50));
  const std::vector<NodeId> all = Range(0, 50);
  for (const std::vector<NodeId>& added : {Range(0, 0), Range(50, 100)}) {
    std::vector<NodeId> at;
    auto built = Extend(points, old, {all.begin(), all.end()}, added, at);
    ASSERT_TRUE(built.ok());
    EXPECT_EQ(built->graph.node_count(), added.size());
    const Living living = Renumbered(*std::move(built), at);
    EXPECT_THAT(Reached(Unpacked(living.graph), living.graph.entry_points()),
                Each(true));
  }
  std::vector<NodeId> at;
  auto built = Extend(points, Build(points, {}), {}, Range(0, 50), at);
  ASSERT_TRUE(built.ok());
  EXPECT_EQ(EdgesOf(Renumbered(*std::move(built), at)), EdgesOf(old));
}

TEST(ExtendGraph, IsTheSameForAnyNumberOfThreads) {
  const Points points = ClusteredPoints(3000, 7, 5, 4);
  const Living old = Build(points, Range(0, 2500));
  const std::vector<NodeId> removed = Range(300, 600);
  std::vector<NodeId> at;
  const auto one = Extend(points, old, {removed.begin(), removed.end()},
                          Range(2500, 3000), at);
  const auto three = Extend(points, old, {removed.begin(), removed.end()},
                            Range(2500, 3000), at, BuildControl{.threads = 3});
  ASSERT_TRUE(one.ok() && three.ok());
  EXPECT_EQ(one->graph.Serialize(), three->graph.Serialize());
  EXPECT_EQ(one->new_numbers, three->new_numbers);
}

TEST(ExtendGraph, StopsWheneverItIsCancelled) {
  const Points points = ClusteredPoints(1500, 2, 4, 5);
  const Living old = Build(points, Range(0, 1200));
  std::vector<NodeId> at;
  size_t asked = 0;
  const auto count = [&] {
    ++asked;
    return false;
  };
  ASSERT_TRUE(Extend(points, old, {Node(7)}, Range(1200, 1500), at,
                     BuildControl{.cancelled = count})
                  .ok());
  ASSERT_GT(asked, 10u);
  for (size_t limit = 0; limit < asked; limit += asked / 10) {
    size_t left = limit;
    const auto built =
        Extend(points, old, {Node(7)}, Range(1200, 1500), at,
               BuildControl{.cancelled = [&left] { return left-- == 0; }});
    EXPECT_EQ(built.status().code(), absl::StatusCode::kCancelled) << limit;
  }
}

}  // namespace
}  // namespace pith
