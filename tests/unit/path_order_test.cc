#include "core/source/path_order.h"

#include "gtest/gtest.h"

namespace pith {
namespace {

TEST(PathOrderTest, PathsLieBelowWholeNamesOnly) {
  EXPECT_TRUE(IsAtOrBelow("/a", "/a"));
  EXPECT_TRUE(IsAtOrBelow("/a/b", "/a"));
  EXPECT_FALSE(IsAtOrBelow("/ab", "/a"));
  EXPECT_FALSE(IsAtOrBelow("/", "/a"));
  EXPECT_TRUE(IsAtOrBelow("/a", "/"));
}

TEST(PathOrderTest, TheRootHasItsSlashAlready) {
  EXPECT_EQ(PrefixBelow("/"), "/");
  EXPECT_EQ(PrefixBelow("/a"), "/a/");
  EXPECT_EQ(JoinPath("/", "b"), "/b");
  EXPECT_EQ(JoinPath("/a", "b"), "/a/b");
}

}  // namespace
}  // namespace pith
