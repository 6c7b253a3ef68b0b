#include "core/graph/entry_points.h"

#include <set>
#include <vector>

#include "gtest/gtest.h"

#include "tests/graph_inputs.h"

namespace pith {
namespace {

TEST(ChooseEntryPoints, LeavesNoClusterOut) {
  // Far clusters of very different sizes: 2800, 100 and 100 points.
  Points points;
  for (int i = 0; i < 3000; ++i) {
    points.at.push_back({i % 37, (i < 2800 ? 0 : i < 2900 ? 1 : 2) * 1000});
  }
  const auto chosen = ChooseEntryPoints(3000, points, 3, 1, {});
  ASSERT_TRUE(chosen.ok());
  ASSERT_EQ(chosen->size(), 3u);
  EXPECT_LT((*chosen)[0], Node(2800));
  EXPECT_TRUE((*chosen)[1] >= Node(2800) && (*chosen)[1] < Node(2900));
  EXPECT_GE((*chosen)[2], Node(2900));
}

TEST(ChooseEntryPoints, ChoosesDifferentNodesAmongCopies) {
  Points points;
  points.at.assign(100, {3});
  const auto chosen = ChooseEntryPoints(100, points, 10, 1, {});
  ASSERT_TRUE(chosen.ok());
  EXPECT_EQ(std::set<NodeId>(chosen->begin(), chosen->end()).size(), 10u);
}

TEST(ChooseEntryPoints, TakesAllOfFew) {
  const auto chosen = ChooseEntryPoints(3, LinePoints(3), 10, 1, {});
  ASSERT_TRUE(chosen.ok());
  EXPECT_EQ(*chosen, AllNodes(3));
}

}  // namespace
}  // namespace pith
