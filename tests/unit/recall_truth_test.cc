#include <algorithm>
#include <cstdint>
#include <functional>
#include <numeric>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "benchmarks/recall/inner_products.h"
#include "benchmarks/recall/truth.h"
#include "core/base/vector_math.h"
#include "tests/recall_input.h"

namespace pith {
namespace {

TEST(InnerProducts, AgreeWithASimpleLoopForAnySize) {
  for (const size_t columns : {1, 3, 16, 37, 384}) {
    SCOPED_TRACE(columns);
    const Matrix matrix = RandomUnitRows(19, columns, 1);
    const Matrix query = RandomUnitRows(1, columns, 2);
    std::vector<float> out(17);
    InnerProducts(query.row(0), matrix, 2, out);
    for (size_t i = 0; i < out.size(); ++i) {
      EXPECT_NEAR(out[i], Dot(query.row(0), matrix.row(2 + i)), 1e-5);
    }
  }
}

TEST(Truth, IsWhatSortingAllScoresGives) {
  // More than one block of passages, and more threads than divide the queries.
  const Matrix passages = RandomUnitRows(1300, 24, 1);
  const Matrix queries = RandomUnitRows(5, 24, 2);
  const Truth truth = Truth::Find(passages, queries, 10, 3);
  ASSERT_EQ(truth.depth(), 10U);
  ASSERT_EQ(truth.query_count(), 5U);
  for (size_t q = 0; q < queries.rows(); ++q) {
    std::vector<float> scores;
    for (size_t i = 0; i < passages.rows(); ++i) {
      scores.push_back(Dot(queries.row(q), passages.row(i)));
    }
    std::sort(scores.begin(), scores.end(), std::greater<>());
    scores.resize(10);
    const auto found = truth.scores().subspan(q * 10, 10);
    EXPECT_EQ(std::vector<float>(found.begin(), found.end()), scores);
  }
}

TEST(Truth, IsAsDeepAsThereArePassages) {
  const Truth truth =
      Truth::Find(RandomUnitRows(4, 8, 1), RandomUnitRows(2, 8, 2), 10, 1);
  EXPECT_EQ(truth.depth(), 4U);
  EXPECT_EQ(truth.query_count(), 2U);
}

TEST(Truth, RecallCountsWhatReachesTheLastScore) {
  const Truth truth(4, {0.9F, 0.8F, 0.7F, 0.6F,  //
                        0.5F, 0.5F, 0.4F, 0.3F});
  EXPECT_DOUBLE_EQ(truth.Recall(0, 4, std::vector{0.6F, 0.9F, 0.1F}), 0.5);
  EXPECT_DOUBLE_EQ(truth.Recall(0, 2, std::vector{0.6F, 0.9F, 0.1F}), 0.5);
  EXPECT_DOUBLE_EQ(truth.Recall(1, 4, std::vector{0.6F, 0.9F, 0.1F}), 0.5);
  EXPECT_DOUBLE_EQ(truth.Recall(0, 3, {}), 0);
}

TEST(Truth, OfTiesAnyCountsButNoMoreThanK) {
  // Three passages tie for two places.
  const Truth truth(2, {0.5F, 0.5F});
  EXPECT_DOUBLE_EQ(truth.Recall(0, 2, std::vector{0.5F, 0.5F, 0.5F}), 1);
  EXPECT_DOUBLE_EQ(truth.Recall(0, 2, std::vector{0.5F}), 0.5);
}

TEST(Truth, RecallOfMorePassagesThanThereAreIsOfAll) {
  const Truth truth(2, {0.9F, 0.5F});
  EXPECT_DOUBLE_EQ(truth.Recall(0, 10, std::vector{0.9F, 0.5F}), 1);
}

TEST(TopPositions, AreThoseOfAStableSort) {
  std::mt19937 random(7);
  for (const size_t size : {0, 1, 5, 1000}) {
    // Few distinct values, so that there are ties at every bound.
    std::vector<float> scores(size);
    for (float& score : scores) {
      score = static_cast<float>(random() % 50);
    }
    std::vector<uint32_t> expected(size);
    std::iota(expected.begin(), expected.end(), 0U);
    std::stable_sort(
        expected.begin(), expected.end(),
        [&](uint32_t a, uint32_t b) { return scores[a] > scores[b]; });
    for (const size_t count : {0, 1, 3, 100}) {
      SCOPED_TRACE(testing::Message() << size << " " << count);
      const std::vector<uint32_t> best(
          expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(
                                                   std::min(count, size)));
      EXPECT_EQ(TopPositions(scores, count), best);
    }
  }
}

}  // namespace
}  // namespace pith
