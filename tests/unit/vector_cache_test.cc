#include "core/index/vector_cache.h"

#include <vector>

#include "gtest/gtest.h"

namespace pith {
namespace {

TEST(VectorCache, DropsTheLeastRecentlyUsed) {
  // Room for two vectors of four floats and their overhead.
  VectorCache cache(250, 4);
  const std::vector<float> a = {1, 0, 0, 0};
  const std::vector<float> b = {0, 1, 0, 0};
  const std::vector<float> c = {0, 0, 1, 0};
  std::vector<float> out(4);
  cache.Insert(PassageId{1}, a);
  cache.Insert(PassageId{2}, b);
  ASSERT_TRUE(cache.Find(PassageId{1}, out));
  EXPECT_EQ(out, a);
  cache.Insert(PassageId{3}, c);
  EXPECT_FALSE(cache.Find(PassageId{2}, out));
  ASSERT_TRUE(cache.Find(PassageId{1}, out));
  ASSERT_TRUE(cache.Find(PassageId{3}, out));
  EXPECT_EQ(out, c);
}

TEST(VectorCache, HoldsNothingWithoutRoom) {
  VectorCache cache(0, 4);
  std::vector<float> vector(4, 0.5F);
  cache.Insert(PassageId{1}, vector);
  EXPECT_FALSE(cache.Find(PassageId{1}, vector));
}

TEST(VectorCache, InsertingTwiceKeepsOneEntry) {
  VectorCache cache(250, 4);
  std::vector<float> vector(4, 0.5F);
  cache.Insert(PassageId{1}, vector);
  cache.Insert(PassageId{1}, vector);
  cache.Insert(PassageId{2}, vector);
  EXPECT_TRUE(cache.Find(PassageId{1}, vector));
}

}  // namespace
}  // namespace pith
