#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "benchmarks/recall/measurement.h"
#include "core/base/vector_math.h"
#include "tests/recall_input.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

using ::testing::SizeIs;

// Twenty passages on a quarter of a circle, the first nearest to the only
// query.
RecallInput ArcInput(const TempDirectory& cache) {
  Matrix passages(20, 2);
  for (size_t i = 0; i < passages.rows(); ++i) {
    const float angle = 0.05F * static_cast<float>(i);
    passages.row(i)[0] = std::cos(angle);
    passages.row(i)[1] = std::sin(angle);
  }
  Matrix queries(1, 2);
  queries.row(0)[0] = 1;
  return MakeRecallInput(std::move(passages), std::move(queries), cache.path());
}

// Passages from the `first` on, as if they were the best.
SearchFunction From(uint32_t first) {
  return
      [first](
          std::span<const float> /*query*/) -> absl::StatusOr<SearchOutcome> {
        SearchOutcome outcome{.recomputed = 2, .code_evaluations = 7};
        outcome.passages.resize(12);
        std::iota(outcome.passages.begin(), outcome.passages.end(), first);
        return outcome;
      };
}

TEST(MeasureCandidates, GivesARowForEachPoint) {
  const TempDirectory cache;
  const RecallInput input = ArcInput(cache);
  const std::vector<RecomputePoint> points = {FixedPoint(3), FixedPoint(8),
                                              FixedPoint(100)};
  const auto rows =
      MeasureCandidates(input, {.name = "s"}, "beam 5", points, From(2));
  ASSERT_OK(rows);
  ASSERT_THAT(*rows, SizeIs(3));
  // Of the best three, the first candidate alone; of the best ten, up to eight.
  EXPECT_DOUBLE_EQ((*rows)[0].recall_at_3, 1.0 / 3);
  EXPECT_DOUBLE_EQ((*rows)[0].recall_at_10, 0.3);
  EXPECT_DOUBLE_EQ((*rows)[1].recall_at_10, 0.8);
  EXPECT_DOUBLE_EQ((*rows)[2].recall_at_10, 0.8);
  // Two by the search itself, and never more than there are candidates.
  EXPECT_DOUBLE_EQ((*rows)[0].recomputed_per_query, 5);
  EXPECT_DOUBLE_EQ((*rows)[1].recomputed_per_query, 10);
  EXPECT_DOUBLE_EQ((*rows)[2].recomputed_per_query, 14);
  EXPECT_DOUBLE_EQ((*rows)[0].code_evaluations_per_query, 7);
  EXPECT_EQ((*rows)[0].setting, "beam 5, recompute 3");
  EXPECT_EQ((*rows)[0].n, 20U);
}

TEST(MeasureCandidates, APointMayChooseByExactScores) {
  const TempDirectory cache;
  const RecallInput input = ArcInput(cache);
  const std::vector<RecomputePoint> points = {
      {.setting = "near",
       .count = [](const SearchOutcome& outcome, std::span<const float> exact) {
         EXPECT_EQ(exact.size(), outcome.passages.size());
         // Passages 2 to 5 of 20.
         return static_cast<size_t>(std::count_if(
             exact.begin(), exact.end(),
             [](float score) { return score > std::cos(0.275F); }));
       }}};
  const auto rows =
      MeasureCandidates(input, {.name = "s"}, "", points, From(2));
  ASSERT_OK(rows);
  ASSERT_THAT(*rows, SizeIs(1));
  EXPECT_DOUBLE_EQ((*rows)[0].recall_at_10, 0.4);
  EXPECT_DOUBLE_EQ((*rows)[0].recomputed_per_query, 6);
  EXPECT_EQ((*rows)[0].setting, "near");
}

TEST(MeasureResults, RecomputesNothingMore) {
  const TempDirectory cache;
  const RecallInput input = ArcInput(cache);
  const auto row = MeasureResults(input, {.name = "s"}, "ef 8", From(1));
  ASSERT_OK(row);
  EXPECT_DOUBLE_EQ(row->recall_at_3, 2.0 / 3);
  EXPECT_DOUBLE_EQ(row->recall_at_10, 0.9);
  EXPECT_DOUBLE_EQ(row->recomputed_per_query, 2);
  EXPECT_EQ(row->setting, "ef 8");
}

TEST(MeasureInterleaved, ReadsTheSecondTimeWhatWasComputedTheFirst) {
  const TempDirectory cache;
  const RecallInput input = MakeRecallInput(
      RandomUnitRows(20, 8, 1), RandomUnitRows(3, 8, 2), cache.path());
  std::vector<std::vector<float>> asked;
  const auto row = MeasureInterleaved(
      input, {.name = "s"}, "beam 2",
      [&](std::span<const float> /*query*/,
          ExactScore exact) -> absl::StatusOr<SearchOutcome> {
        // Other passages the second time, to see that it does not compute.
        const uint32_t shift = asked.size() < 3 ? 0 : 1;
        asked.push_back({exact(3 + shift), exact(7 + shift)});
        return SearchOutcome{.passages = {3, 7}, .recomputed = 2};
      });
  ASSERT_OK(row);
  ASSERT_THAT(asked, SizeIs(6));
  for (size_t q = 0; q < 3; ++q) {
    EXPECT_EQ(asked[q + 3], asked[q]);
    EXPECT_NEAR(asked[q][1], Dot(input.queries.row(q), input.passages.row(7)),
                1e-6);
  }
  EXPECT_DOUBLE_EQ(row->recomputed_per_query, 2);
  EXPECT_EQ(row->setting, "beam 2");
}

TEST(MeasureResults, FailsAsTheSearchDoes) {
  const TempDirectory cache;
  EXPECT_THAT(MeasureResults(ArcInput(cache), {.name = "s"}, "",
                             [](std::span<const float> /*query*/)
                                 -> absl::StatusOr<SearchOutcome> {
                               return absl::InternalError("lost");
                             }),
              StatusIs(absl::StatusCode::kInternal, "lost"));
}

TEST(RecallRow, AsJsonHasTheFieldsInOrder) {
  const RecallRow row{.facts = {.name = "s",
                                .code_bytes = 49,
                                .bytes = {.codes = 49,
                                          .graph = 8,
                                          .ids = 3,
                                          .other = 0.5,
                                          .codebook = 4},
                                .memory_bytes_per_passage = 70,
                                .build_seconds = 1.5},
                      .setting = "recompute 30",
                      .n = 100,
                      .recall_at_3 = 0.99,
                      .recall_at_10 = 0.95,
                      .recomputed_per_query = 30,
                      .code_evaluations_per_query = 100,
                      .walk_ms_p50 = 0.25};
  EXPECT_EQ(ToJson(row).dump(),
            "{\"strategy\":\"s\",\"code_bytes\":49,\"n\":100,"
            "\"recall_at_3\":0.99,\"recall_at_10\":0.95,"
            "\"recomputed_per_query\":30.0,"
            "\"code_evaluations_per_query\":100.0,\"walk_ms_p50\":0.25,"
            "\"bytes_per_passage\":{\"codes\":49.0,\"graph\":8.0,\"ids\":3.0,"
            "\"other\":0.5,\"total\":60.5,\"codebook\":4.0},"
            "\"memory_bytes_per_passage\":70.0,\"build_seconds\":1.5,"
            "\"setting\":\"recompute 30\"}");
}

}  // namespace
}  // namespace pith
