#include "core/index/passage_set.h"

#include <cstdint>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace pith {
namespace {

void ExpectHasExactly(const PassageSet& set, const std::set<uint64_t>& expected,
                      uint64_t end) {
  EXPECT_EQ(set.size(), expected.size());
  for (uint64_t id = 0; id < end; ++id) {
    EXPECT_EQ(set.Contains(PassageId{id}), expected.contains(id)) << id;
  }
}

TEST(PassageSet, EarlierSetsStayAsTheyWere) {
  std::vector<PassageSet> sets = {PassageSet()};
  std::vector<std::set<uint64_t>> expected = {{}};
  for (uint64_t i = 0; i < 200; ++i) {
    // Sizes one to three.
    std::vector<PassageId> added;
    expected.push_back(expected.back());
    for (uint64_t j = 0; j <= i % 3; ++j) {
      added.push_back(PassageId{5 * i + j});
      expected.back().insert(5 * i + j);
    }
    sets.push_back(sets.back().With(added));
  }
  for (size_t i = 0; i < sets.size(); i += 17) {
    ExpectHasExactly(sets[i], expected[i], 1000);
  }
}

TEST(PassageSet, AddingOneAtATimeKeepsFewLayers) {
  PassageSet set;
  for (uint64_t id = 0; id < 3000; ++id) {
    set = set.With(std::vector{PassageId{id}});
  }
  EXPECT_EQ(set.size(), 3000u);
  // A layer for each would take more.
  EXPECT_LT(set.memory_bytes(), 3000u * 9 * 4);
}

TEST(PassageSet, WithoutTakesOutOfEveryLayer) {
  PassageSet set;
  std::set<uint64_t> expected;
  for (uint64_t id = 0; id < 100; ++id) {
    set = set.With(std::vector{PassageId{id}});
    if (id % 3 != 0) {
      expected.insert(id);
    }
  }
  std::vector<PassageId> removed;
  for (uint64_t id = 0; id < 100; id += 3) {
    removed.push_back(PassageId{id});
  }
  const PassageSet kept = set.Without(removed);
  ExpectHasExactly(kept, expected, 110);
  EXPECT_EQ(set.size(), 100u);
}

TEST(PassageSet, AddingNothingChangesNothing) {
  const PassageSet set = PassageSet().With(std::vector{PassageId{7}});
  EXPECT_EQ(set.With({}).size(), 1u);
  EXPECT_TRUE(set.With({}).Contains(PassageId{7}));
}

}  // namespace
}  // namespace pith
