#include "embedder/torch/text_units.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <set>
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

TEST(MakeUnits, LengthsThatAreEqualMeetInAGroupTheLongestFirst) {
  const auto units = UnitsOf(TextsOf({3, 5, 3, 4, 5}), {.unit_rows = 100});
  ASSERT_EQ(units.size(), 1);
  EXPECT_THAT(units[0].texts, ElementsAre(1, 4, 3, 0, 2));
  EXPECT_THAT(units[0].groups,
              ElementsAre(TextGroup{0, 2, 5, false}, TextGroup{10, 1, 4, false},
                          TextGroup{14, 2, 3, false}));
  EXPECT_EQ(units[0].rows, 20);
}

TEST(MakeUnits, AUnitHasNoMoreRowsThanItMay) {
  const auto units = UnitsOf(TextsOf({4, 4, 4, 4, 4}), {.unit_rows = 11});
  ASSERT_EQ(units.size(), 3);
  EXPECT_THAT(units[0].texts, ElementsAre(0, 1));
  EXPECT_THAT(units[1].texts, ElementsAre(2, 3));
  EXPECT_THAT(units[2].texts, ElementsAre(4));
  EXPECT_THAT(units[1].groups, ElementsAre(TextGroup{0, 2, 4, false}));
}

TEST(MakeUnits, ATextThatIsLongerThanAUnitIsAUnit) {
  const auto units = UnitsOf(TextsOf({2, 9, 2}), {.unit_rows = 4});
  ASSERT_EQ(units.size(), 2);
  EXPECT_THAT(units[0].texts, ElementsAre(1));
  EXPECT_EQ(units[0].rows, 9);
  EXPECT_THAT(units[1].texts, ElementsAre(0, 2));
}

TEST(MakeUnits, PaddingCountsAsRows) {
  const auto units =
      UnitsOf(TextsOf({9, 9, 9}), {.unit_rows = 32, .length_multiple = 16});
  ASSERT_EQ(units.size(), 2);
  EXPECT_THAT(units[0].groups, ElementsAre(TextGroup{0, 2, 16, true}));
  EXPECT_THAT(units[1].groups, ElementsAre(TextGroup{0, 1, 16, true}));
}

TEST(MakeUnits, LengthsOfOneMultipleAreAGroup) {
  const auto units =
      UnitsOf(TextsOf({1, 8, 9, 7}), {.unit_rows = 100, .length_multiple = 8});
  ASSERT_EQ(units.size(), 1);
  EXPECT_THAT(units[0].texts, ElementsAre(2, 1, 3, 0));
  EXPECT_THAT(units[0].groups, ElementsAre(TextGroup{0, 1, 16, true},
                                           TextGroup{16, 3, 8, true}));
}

TEST(MakeUnits, AlikeLengthsAreAGroupUpToTheShareOfPadding) {
  const auto units = UnitsOf(TextsOf({80, 70, 69, 35, 34}),
                             {.unit_rows = 1000, .max_padding = 0.125});
  ASSERT_EQ(units.size(), 1);
  EXPECT_THAT(units[0].groups, ElementsAre(TextGroup{0, 2, 80, true},
                                           TextGroup{160, 1, 69, false},
                                           TextGroup{229, 2, 35, true}));
}

TEST(MakeUnits, AGroupDoesNotReachIntoTheNextUnit) {
  const auto units =
      UnitsOf(TextsOf({10, 9, 9, 9}), {.unit_rows = 20, .max_padding = 0.125});
  ASSERT_EQ(units.size(), 2);
  EXPECT_THAT(units[0].groups, ElementsAre(TextGroup{0, 2, 10, true}));
  EXPECT_THAT(units[1].groups, ElementsAre(TextGroup{0, 2, 9, false}));
}

TEST(MakeUnits, TheRowsOfAUnitArePadded) {
  const auto units =
      UnitsOf(TextsOf({3, 3}), {.unit_rows = 4, .row_multiple = 16});
  ASSERT_EQ(units.size(), 2);
  EXPECT_EQ(units[0].rows, 16);
  EXPECT_EQ(units[1].rows, 16);
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

// Lengths as passages have them: what a GPU's packing costs in padding and
// saves in groups.
TEST(MakeUnits, PaddingMakesGroupsFewAtLittleWork) {
  std::mt19937 random(testing::UnitTest::GetInstance()->random_seed());
  std::lognormal_distribution<double> length(4.25, 0.6);
  std::vector<int32_t> lengths;
  int64_t tokens = 0;
  while (tokens < 8000) {
    lengths.push_back(
        static_cast<int32_t>(std::min(500.0, 3 + length(random))));
    tokens += lengths.back();
  }
  const auto units =
      UnitsOf(TextsOf(lengths),
              {.unit_rows = 16384, .length_multiple = 8, .max_padding = 0.125});
  ASSERT_EQ(units.size(), 1);
  EXPECT_LE(units[0].groups.size(), 25);
  EXPECT_GE(std::set(lengths.begin(), lengths.end()).size(), 40);
  EXPECT_LE(static_cast<double>(units[0].rows),
            1.12 * static_cast<double>(tokens));
}

TEST(WriteUnit, PutsEachTokenInItsRowAndZerosIntoTheOthers) {
  const PackedTokens tokens = TextsOf({2, 3, 4});
  const auto units = UnitsOf(
      tokens, {.unit_rows = 100, .max_padding = 0.25, .row_multiple = 12});
  ASSERT_EQ(units.size(), 1);
  ASSERT_EQ(units[0].rows, 12);
  std::vector<int32_t> ids(12, -1);
  std::vector<int32_t> positions(12, -1);
  std::vector<float> weights(12, -1);
  WriteUnit(tokens, units[0], ids, positions, weights);
  EXPECT_THAT(ids, ElementsAre(201, 202, 203, 204, 101, 102, 103, 0,  //
                               1, 2, 0, 0));
  EXPECT_THAT(positions, ElementsAre(0, 1, 2, 3, 0, 1, 2, 0, 0, 1, 0, 0));
  constexpr float kThird = 1.0f / 3;
  EXPECT_THAT(weights, ElementsAre(0.25f, 0.25f, 0.25f, 0.25f, kThird, kThird,
                                   kThird, 0, 0.5f, 0.5f, 0, 0));
}

}  // namespace
}  // namespace pith
