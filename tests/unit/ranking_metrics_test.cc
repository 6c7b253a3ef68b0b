#include "benchmarks/ranking_metrics.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pith {
namespace {

using Texts = std::vector<uint32_t>;
using ::testing::DoubleNear;

constexpr double kTolerance = 1e-12;

// Discounts of ranks 1 to 4.
constexpr double kRank1 = 1;
constexpr double kRank2 = 0.6309297535714575;
constexpr double kRank3 = 0.5;
constexpr double kRank4 = 0.43067655807339306;

TEST(NdcgAt, OneRelevantTextCountsByItsRank) {
  EXPECT_THAT(NdcgAt(10, Texts{7, 8, 9}, Texts{7}),
              DoubleNear(kRank1, kTolerance));
  EXPECT_THAT(NdcgAt(10, Texts{7, 8, 9}, Texts{8}),
              DoubleNear(kRank2, kTolerance));
  EXPECT_THAT(NdcgAt(10, Texts{7, 8, 9}, Texts{9}),
              DoubleNear(kRank3, kTolerance));
}

TEST(NdcgAt, IsAShareOfTheBestRanking) {
  EXPECT_THAT(
      NdcgAt(10, Texts{5, 1, 6, 2}, Texts{1, 2, 3}),
      DoubleNear((kRank2 + kRank4) / (kRank1 + kRank2 + kRank3), kTolerance));
}

TEST(NdcgAt, BestRankingHasAtMostKRelevantTexts) {
  EXPECT_THAT(NdcgAt(2, Texts{1, 2}, Texts{1, 2, 3, 4}),
              DoubleNear(1, kTolerance));
}

TEST(NdcgAt, IgnoresWhatComesAfterK) {
  EXPECT_EQ(NdcgAt(2, Texts{5, 6, 1}, Texts{1}), 0);
}

TEST(NdcgAt, EmptyRankingIsWorthNothing) {
  EXPECT_EQ(NdcgAt(10, Texts{}, Texts{1}), 0);
}

TEST(RecallAt, IsTheShareOfAllRelevantTexts) {
  EXPECT_EQ(RecallAt(3, Texts{1, 9, 2, 3}, Texts{1, 2, 3, 4}), 0.5);
  EXPECT_EQ(RecallAt(4, Texts{1, 9, 2, 3}, Texts{1, 2, 3, 4}), 0.75);
}

TEST(OverlapAt, ComparesTheFirstKOfBothInAnyOrder) {
  EXPECT_EQ(OverlapAt(4, Texts{4, 3, 9, 8, 1}, Texts{1, 3, 2, 4, 9}), 0.5);
}

TEST(OverlapAt, TruthMayBeShorterThanK) {
  EXPECT_EQ(OverlapAt(10, Texts{2, 1}, Texts{1, 2}), 1);
}

TEST(Percentile, IsTheSmallestValueThatEnoughDoNotExceed) {
  std::vector<double> values = {5, 1, 4, 2, 3};
  EXPECT_EQ(Percentile(values, 0), 1);
  EXPECT_EQ(Percentile(values, 20), 1);
  EXPECT_EQ(Percentile(values, 50), 3);
  EXPECT_EQ(Percentile(values, 99), 5);
  EXPECT_EQ(Percentile(values, 100), 5);
}

}  // namespace
}  // namespace pith
