#include "embedder/torch/text_units.h"

#include <numeric>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pith {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Token i of text t is 100 t + i + 1.
PackedTokens TextsOf(const std::vector<int32_t>& lengths) {
  PackedTokens tokens;
  for (size_t t = 0; t < lengths.size(); ++t) {
    for (int32_t i = 0; i < lengths[t]; ++i) {
      tokens.ids.push_back(static_cast<int32_t>(100 * t) + i + 1);
    }
    tokens.offsets.push_back(static_cast<int32_t>(tokens.ids.size()));
  }
  return tokens;
}

std::vector<TextUnit> UnitsOf(const PackedTokens& tokens,
                              const TextPacking& packing) {
  std::vector<size_t> texts(tokens.size());
  std::iota(texts.begin(), texts.end(), size_t{0});
  return MakeUnits(tokens, texts, packing);
}

TEST(MakeUnits, TextsLieOneAfterAnotherTheLongestFirst) {
  const auto units = UnitsOf(TextsOf({3, 5, 3, 4, 5}), {.unit_rows = 100});
  ASSERT_EQ(units.size(), 1);
  EXPECT_THAT(units[0].texts, ElementsAre(1, 4, 3, 0, 2));
  EXPECT_THAT(units[0].offsets, ElementsAre(0, 5, 10, 14, 17, 20));
  EXPECT_EQ(units[0].rows(), 20);
}

TEST(MakeUnits, AUnitHasNoMoreRowsThanItMay) {
  const auto units = UnitsOf(TextsOf({4, 4, 4, 4, 4}), {.unit_rows = 11});
  ASSERT_EQ(units.size(), 3);
  EXPECT_THAT(units[0].texts, ElementsAre(0, 1));
  EXPECT_THAT(units[1].texts, ElementsAre(2, 3));
  EXPECT_THAT(units[2].texts, ElementsAre(4));
  EXPECT_THAT(units[1].offsets, ElementsAre(0, 4, 8));
}

TEST(MakeUnits, ATextThatIsLongerThanAUnitIsAUnit) {
  const auto units = UnitsOf(TextsOf({2, 9, 2}), {.unit_rows = 4});
  ASSERT_EQ(units.size(), 2);
  EXPECT_THAT(units[0].texts, ElementsAre(1));
  EXPECT_EQ(units[0].rows(), 9);
  EXPECT_THAT(units[1].texts, ElementsAre(0, 2));
}

TEST(MakeUnits, WhatPadsAUnitIsATextMore) {
  const auto units =
      UnitsOf(TextsOf({3, 3, 3, 2, 8}), {.unit_rows = 8, .row_multiple = 4});
  ASSERT_EQ(units.size(), 3);
  EXPECT_THAT(units[0].offsets, ElementsAre(0, 8));
  EXPECT_THAT(units[1].texts, ElementsAre(0, 1));
  EXPECT_THAT(units[1].offsets, ElementsAre(0, 3, 6, 8));
  EXPECT_THAT(units[2].texts, ElementsAre(2, 3));
  EXPECT_THAT(units[2].offsets, ElementsAre(0, 3, 5, 8));
  EXPECT_EQ(units[2].rows(), 8);
}

TEST(MakeUnits, OnlyTheTextsAskedFor) {
  const std::vector<size_t> texts = {3, 1};
  const auto units =
      MakeUnits(TextsOf({2, 2, 2, 5}), texts, {.unit_rows = 100});
  ASSERT_EQ(units.size(), 1);
  EXPECT_THAT(units[0].texts, ElementsAre(3, 1));
}

TEST(MakeUnits, NoTextsAreNoUnits) {
  EXPECT_THAT(UnitsOf({}, {.unit_rows = 10}), IsEmpty());
}

TEST(WriteUnit, PutsEachTokenInItsRowAndZerosIntoTheOthers) {
  const PackedTokens tokens = TextsOf({2, 3, 4});
  const auto units = UnitsOf(tokens, {.unit_rows = 100, .row_multiple = 12});
  ASSERT_EQ(units.size(), 1);
  ASSERT_EQ(units[0].rows(), 12);
  std::vector<int32_t> ids(12, -1);
  std::vector<int32_t> positions(12, -1);
  WriteUnit(tokens, units[0], ids, positions);
  EXPECT_THAT(ids, ElementsAre(201, 202, 203, 204, 101, 102, 103, 1, 2,  //
                               0, 0, 0));
  EXPECT_THAT(positions, ElementsAre(0, 1, 2, 3, 0, 1, 2, 0, 1, 0, 0, 0));
}

}  // namespace
}  // namespace pith
