#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "benchmarks/recall/strategies.h"
#include "core/base/vector_math.h"
#include "tests/recall_input.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

using ::testing::SizeIs;

Strategy Named(const std::string& name) {
  for (Strategy& strategy : AllStrategies()) {
    if (strategy.name == name) {
      return strategy;
    }
  }
  ADD_FAILURE() << "no strategy " << name;
  return {};
}

class StrategiesTest : public testing::Test {
 protected:
  absl::StatusOr<std::vector<RecallRow>> Run(const std::string& name) {
    return Named(name).run(input_, options_);
  }

  const TempDirectory cache_;
  const RecallInput input_ = MakeRecallInput(
      RandomUnitRows(300, 16, 1), RandomUnitRows(8, 16, 2), cache_.path());
  const RecallOptions options_ = {
      .recompute = {10, 50}, .beams = {400}, .threads = 2};
};

TEST(Strategies, HaveNamesOfTheirOwn) {
  std::set<std::string> names;
  for (const Strategy& strategy : AllStrategies()) {
    EXPECT_TRUE(names.insert(strategy.name).second) << strategy.name;
  }
}

TEST_F(StrategiesTest, ExactRecomputesEverything) {
  const auto rows = Run("exact");
  ASSERT_OK(rows);
  ASSERT_THAT(*rows, SizeIs(1));
  EXPECT_DOUBLE_EQ((*rows)[0].recall_at_10, 1);
  EXPECT_DOUBLE_EQ((*rows)[0].recall_at_3, 1);
  EXPECT_DOUBLE_EQ((*rows)[0].recomputed_per_query, 300);
}

TEST_F(StrategiesTest, DeltaCodesScoreEveryPassage) {
  const auto rows = Run("flat-rotated4");
  ASSERT_OK(rows);
  ASSERT_THAT(*rows, SizeIs(2));
  EXPECT_DOUBLE_EQ((*rows)[1].code_evaluations_per_query, 300);
  EXPECT_DOUBLE_EQ((*rows)[1].recomputed_per_query, 50);
  EXPECT_DOUBLE_EQ((*rows)[1].recall_at_10, 1);
  EXPECT_DOUBLE_EQ((*rows)[1].facts.bytes.codes,
                   static_cast<double>((*rows)[1].facts.code_bytes));
}

TEST_F(StrategiesTest, HnswWithAQueueForAllVisitsAndRecomputesAll) {
  const auto rows = Run("hnsw-graph-recompute");
  ASSERT_OK(rows);
  const RecallRow& last = rows->back();
  EXPECT_EQ(last.setting, "ef 400");
  EXPECT_DOUBLE_EQ(last.recall_at_10, 1);
  // A few are visited on two levels.
  EXPECT_GE(last.recomputed_per_query, 300);
  EXPECT_LE(last.recomputed_per_query, 330);
  EXPECT_DOUBLE_EQ(last.code_evaluations_per_query, 0);
  EXPECT_DOUBLE_EQ(last.facts.bytes.codes, 0);
  // A small queue visits fewer.
  EXPECT_LT(rows->front().recomputed_per_query, 300);
}

TEST_F(StrategiesTest, HnswOnStoredVectorsVisitsTheSameAndRecomputesNothing) {
  const auto recomputed = Run("hnsw-graph-recompute");
  const auto stored = Run("hnsw-graph-f32");
  ASSERT_OK(recomputed);
  ASSERT_OK(stored);
  ASSERT_EQ(stored->size(), recomputed->size());
  for (size_t i = 0; i < stored->size(); ++i) {
    EXPECT_DOUBLE_EQ((*stored)[i].recomputed_per_query, 0);
    EXPECT_DOUBLE_EQ((*stored)[i].code_evaluations_per_query,
                     (*recomputed)[i].recomputed_per_query);
    EXPECT_DOUBLE_EQ((*stored)[i].recall_at_10, (*recomputed)[i].recall_at_10);
  }
  EXPECT_DOUBLE_EQ(stored->back().facts.bytes.codes, 64);
}

TEST_F(StrategiesTest, ProductCodesRescoredFromVectorsFindAllWithALargeQueue) {
  const auto rows = Run("hnsw-graph-pq96-rescore");
  ASSERT_OK(rows);
  EXPECT_DOUBLE_EQ(rows->back().recall_at_10, 1);
  EXPECT_DOUBLE_EQ(rows->back().recomputed_per_query, 0);
  // Four dimensions a byte.
  EXPECT_EQ(rows->back().facts.code_bytes, 4U);
  EXPECT_DOUBLE_EQ(rows->back().facts.bytes.other, 64);
  EXPECT_DOUBLE_EQ(rows->back().facts.bytes.codebook, 256 * 64.0 / 300);
}

TEST_F(StrategiesTest, IvfRecomputesProbedClustersThatAreNotStored) {
  const auto rows = Run("ivf-recompute");
  ASSERT_OK(rows);
  // 4 * sqrt(300) = 69 clusters of which 64 are probed at last. Passages are
  // either stored, and then scored, or recomputed.
  const double clusters = 69;
  double last = 0;
  for (const RecallRow& row : *rows) {
    const double stored = row.code_evaluations_per_query - clusters;
    EXPECT_GE(stored, 0);
    EXPECT_GT(row.recomputed_per_query + stored, last);
    last = row.recomputed_per_query + stored;
  }
  EXPECT_LE(last, 300);
  EXPECT_GT(last, 250);
  EXPECT_GT(rows->back().recall_at_10, 0.99);
  EXPECT_LT(rows->front().recall_at_10, 0.5);
  EXPECT_DOUBLE_EQ(rows->front().facts.bytes.codebook, clusters * 64 / 300);
  EXPECT_DOUBLE_EQ(rows->front().facts.memory_bytes_per_passage, 4);
}

// Trained codes want as many dimensions as they have parts.
class SegmentStrategiesTest : public testing::Test {
 protected:
  absl::StatusOr<std::vector<RecallRow>> Run(const std::string& name) {
    return Named(name).run(input_, options_);
  }

  const TempDirectory cache_;
  const RecallInput input_ = MakeRecallInput(
      RandomUnitRows(300, 96, 1), RandomUnitRows(8, 96, 2), cache_.path());
  RecallOptions options_ = {
      .recompute = {10, 300}, .beams = {20, 300}, .threads = 2};
};

TEST_F(SegmentStrategiesTest, AScanScoresEveryPassageOnce) {
  const auto rows = Run("flat-opq96x4");
  ASSERT_OK(rows);
  ASSERT_THAT(*rows, SizeIs(2));
  EXPECT_DOUBLE_EQ((*rows)[0].code_evaluations_per_query, 300);
  EXPECT_DOUBLE_EQ((*rows)[0].recomputed_per_query, 10);
  EXPECT_LT((*rows)[0].recall_at_10, 1);
  EXPECT_GT((*rows)[0].recall_at_10, 0.5);
  EXPECT_DOUBLE_EQ((*rows)[1].recomputed_per_query, 300);
  EXPECT_DOUBLE_EQ((*rows)[1].recall_at_10, 1);
  EXPECT_EQ((*rows)[0].facts.code_bytes, 49U);
  EXPECT_DOUBLE_EQ((*rows)[0].facts.bytes.codes, 49);
  EXPECT_DOUBLE_EQ((*rows)[0].facts.bytes.graph, 0);
  // At least its rotation and centroids.
  EXPECT_GT((*rows)[0].facts.bytes.codebook, (96 * 96 + 96 * 16) * 4.0 / 300);
}

TEST_F(SegmentStrategiesTest, AWalkWithABeamForAllScoresEveryPassageOnce) {
  const auto rows = Run("graph-opq96x4");
  ASSERT_OK(rows);
  ASSERT_THAT(*rows, SizeIs(4));
  EXPECT_LT((*rows)[0].code_evaluations_per_query, 300);
  // No more is recomputed than the beam holds.
  EXPECT_DOUBLE_EQ((*rows)[1].recomputed_per_query, 20);
  EXPECT_DOUBLE_EQ((*rows)[3].code_evaluations_per_query, 300);
  EXPECT_DOUBLE_EQ((*rows)[3].recall_at_10, 1);
  EXPECT_GT((*rows)[3].facts.bytes.graph, 0);
}

TEST_F(SegmentStrategiesTest, CodesOfDecodedDeltaCodesAreNearlyAsGood) {
  const auto decoded = Run("flat-opq96x4");
  options_.from_exact = true;
  const auto exact = Run("flat-opq96x4");
  ASSERT_OK(exact);
  ASSERT_OK(decoded);
  EXPECT_NE((*decoded)[0].recall_at_10, (*exact)[0].recall_at_10);
  EXPECT_NEAR((*decoded)[0].recall_at_10, (*exact)[0].recall_at_10, 0.15);
  EXPECT_DOUBLE_EQ((*decoded)[1].recall_at_10, 1);
}

TEST_F(SegmentStrategiesTest, ARowDoesNotDependOnOtherRows) {
  // Every other passage lies near few directions, and so is coded better:
  // corrections differ, and reorder candidates.
  Matrix passages = RandomUnitRows(300, 96, 1);
  for (size_t i = 0; i < passages.rows(); i += 2) {
    const std::span<float> row = passages.row(i);
    for (size_t j = 12; j < row.size(); ++j) {
      row[j] *= 0.3F;
    }
    const float norm = Norm(row);
    for (float& value : row) {
      value /= norm;
    }
  }
  const RecallInput input = MakeRecallInput(
      std::move(passages), RandomUnitRows(100, 96, 2), cache_.path());
  const std::vector<size_t> counts = {5, 12, 300};
  options_.recompute = counts;
  const auto together = Named("flat-opq96x4").run(input, options_);
  ASSERT_OK(together);
  for (size_t i = 0; i < counts.size(); ++i) {
    SCOPED_TRACE(counts[i]);
    options_.recompute = {counts[i]};
    const auto alone = Named("flat-opq96x4").run(input, options_);
    ASSERT_OK(alone);
    EXPECT_EQ((*alone)[0].setting, (*together)[i].setting);
    EXPECT_DOUBLE_EQ((*alone)[0].recall_at_3, (*together)[i].recall_at_3);
    EXPECT_DOUBLE_EQ((*alone)[0].recall_at_10, (*together)[i].recall_at_10);
  }
}

TEST_F(SegmentStrategiesTest, AHigherTargetRecomputesMore) {
  const auto rows = Run("flat-adaptive-opq96x4");
  ASSERT_OK(rows);
  EXPECT_GE(rows->front().recomputed_per_query, 10);
  EXPECT_GT(rows->back().recomputed_per_query,
            rows->front().recomputed_per_query);
  EXPECT_GE(rows->back().recall_at_10, rows->front().recall_at_10);
}

TEST_F(SegmentStrategiesTest, TwoLevelRecomputesNoMoreThanItScores) {
  const auto rows = Run("graph-two-level-opq96x4");
  ASSERT_OK(rows);
  for (const RecallRow& row : *rows) {
    EXPECT_GT(row.recomputed_per_query, 10);
    EXPECT_LE(row.recomputed_per_query, row.code_evaluations_per_query);
  }
  EXPECT_GT(rows->back().recall_at_10, 0.95);
}

}  // namespace
}  // namespace pith
