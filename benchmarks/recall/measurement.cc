#include "benchmarks/recall/measurement.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "glog/logging.h"

#include "benchmarks/ranking_metrics.h"
#include "benchmarks/recall/inner_products.h"
#include "core/base/thread_time.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"
#include "core/base/vector_math.h"

namespace pith {
namespace {

struct Measured {
  std::vector<SearchOutcome> outcomes;
  // Exact scores of the outcomes' passages.
  std::vector<std::vector<float>> scores;
  double walk_ms_p50 = 0;
};

absl::StatusOr<Measured> RunQueries(const RecallInput& input,
                                    const SearchFunction& search) {
  Measured measured;
  std::vector<double> milliseconds;
  for (size_t q = 0; q < input.queries.rows(); ++q) {
    const std::span<const float> query = input.queries.row(q);
    const double start = ThreadMilliseconds();
    PITH_ASSIGN_OR_RETURN(SearchOutcome outcome, search(query));
    milliseconds.push_back(ThreadMilliseconds() - start);
    std::vector<float>& scores = measured.scores.emplace_back();
    for (const uint32_t passage : outcome.passages) {
      scores.push_back(Dot(query, input.passages.row(passage)));
    }
    measured.outcomes.push_back(std::move(outcome));
  }
  measured.walk_ms_p50 = Percentile(milliseconds, 50);
  return measured;
}

// The row for the first counts[q] passages of each outcome.
RecallRow Summarize(const RecallInput& input, const StrategyFacts& facts,
                    const Measured& measured, std::span<const size_t> counts) {
  RecallRow row{.facts = facts,
                .n = input.passages.rows(),
                .walk_ms_p50 = measured.walk_ms_p50};
  const auto count = static_cast<double>(measured.outcomes.size());
  for (size_t q = 0; q < measured.outcomes.size(); ++q) {
    const SearchOutcome& outcome = measured.outcomes[q];
    const auto scores =
        std::span<const float>(measured.scores[q]).first(counts[q]);
    row.recall_at_3 += input.truth.Recall(q, 3, scores) / count;
    row.recall_at_10 += input.truth.Recall(q, 10, scores) / count;
    row.recomputed_per_query += static_cast<double>(outcome.recomputed) / count;
    row.code_evaluations_per_query +=
        static_cast<double>(outcome.code_evaluations) / count;
  }
  return row;
}

double Rounded(double value) {
  return std::round(value * 1e4) / 1e4;
}

double Total(const PassageBytes& bytes) {
  return bytes.codes + bytes.graph + bytes.ids + bytes.other;
}

}  // namespace

RecomputePoint FixedPoint(size_t count) {
  return {.setting = absl::StrCat("recompute ", count),
          .count = [count](const SearchOutcome& outcome,
                           std::span<const float> /*exact*/) {
            return std::min(count, outcome.passages.size());
          }};
}

absl::StatusOr<std::vector<RecallRow>> MeasureCandidates(
    const RecallInput& input, const StrategyFacts& facts,
    std::string_view setting, std::span<const RecomputePoint> points,
    const SearchFunction& search) {
  PITH_ASSIGN_OR_RETURN(const Measured measured, RunQueries(input, search));
  std::vector<RecallRow> rows;
  for (const RecomputePoint& point : points) {
    std::vector<size_t> counts;
    for (size_t q = 0; q < measured.outcomes.size(); ++q) {
      counts.push_back(point.count(measured.outcomes[q], measured.scores[q]));
    }
    RecallRow row = Summarize(input, facts, measured, counts);
    for (const size_t count : counts) {
      row.recomputed_per_query +=
          static_cast<double>(count) / static_cast<double>(counts.size());
    }
    row.setting = absl::StrCat(AbslView(setting), setting.empty() ? "" : ", ",
                               point.setting);
    rows.push_back(std::move(row));
  }
  return rows;
}

absl::StatusOr<RecallRow> MeasureResults(const RecallInput& input,
                                         const StrategyFacts& facts,
                                         std::string_view setting,
                                         const SearchFunction& search) {
  PITH_ASSIGN_OR_RETURN(const Measured measured, RunQueries(input, search));
  std::vector<size_t> counts;
  for (const SearchOutcome& outcome : measured.outcomes) {
    counts.push_back(outcome.passages.size());
  }
  RecallRow row = Summarize(input, facts, measured, counts);
  row.setting = setting;
  return row;
}

absl::StatusOr<RecallRow> MeasureInterleaved(
    const RecallInput& input, const StrategyFacts& facts,
    std::string_view setting,
    const std::function<absl::StatusOr<SearchOutcome>(
        std::span<const float> query, ExactScore exact)>& search) {
  // Of all queries before any is clocked, which would else find in the caches
  // what its first run has read.
  std::vector<std::vector<float>> asked(input.queries.rows());
  for (size_t q = 0; q < input.queries.rows(); ++q) {
    const std::span<const float> query = input.queries.row(q);
    const auto compute = [&](uint32_t passage) {
      float& score = asked[q].emplace_back();
      InnerProducts(query, input.passages, passage, {&score, 1});
      return score;
    };
    PITH_RETURN_IF_ERROR(search(query, compute).status());
  }
  size_t q = 0;
  return MeasureResults(input, facts, setting,
                        [&](std::span<const float> query) {
                          const std::vector<float>& scores = asked[q++];
                          size_t next = 0;
                          return search(query, [&](uint32_t /*passage*/) {
                            CHECK_LT(next, scores.size());
                            return scores[next++];
                          });
                        });
}

nlohmann::ordered_json ToJson(const RecallRow& row) {
  const PassageBytes& bytes = row.facts.bytes;
  return {
      {"strategy", row.facts.name},
      {"code_bytes", row.facts.code_bytes},
      {"n", row.n},
      {"recall_at_3", Rounded(row.recall_at_3)},
      {"recall_at_10", Rounded(row.recall_at_10)},
      {"recomputed_per_query", Rounded(row.recomputed_per_query)},
      {"code_evaluations_per_query", Rounded(row.code_evaluations_per_query)},
      {"walk_ms_p50", Rounded(row.walk_ms_p50)},
      {"bytes_per_passage",
       {{"codes", Rounded(bytes.codes)},
        {"graph", Rounded(bytes.graph)},
        {"ids", Rounded(bytes.ids)},
        {"other", Rounded(bytes.other)},
        {"total", Rounded(Total(bytes))},
        {"codebook", Rounded(bytes.codebook)}}},
      {"memory_bytes_per_passage", Rounded(row.facts.memory_bytes_per_passage)},
      {"build_seconds", Rounded(row.facts.build_seconds)},
      {"setting", row.setting}};
}

void PrintTable(std::span<const RecallRow> rows) {
  absl::PrintF("%-24s %-24s %8s %6s %6s %10s %10s %9s %8s %10s %8s %8s\n",
               "strategy", "setting", "n", "R@3", "R@10", "recomputed",
               "evaluated", "walk ms", "disk B", "codebook B", "memory B",
               "build s");
  for (const RecallRow& row : rows) {
    absl::PrintF(
        "%-24s %-24s %8d %6.3f %6.3f %10.1f %10.1f %9.3f %8.1f %10.2f %8.1f "
        "%8.1f\n",
        row.facts.name, row.setting, row.n, row.recall_at_3, row.recall_at_10,
        row.recomputed_per_query, row.code_evaluations_per_query,
        row.walk_ms_p50, Total(row.facts.bytes), row.facts.bytes.codebook,
        row.facts.memory_bytes_per_passage, row.facts.build_seconds);
  }
}

}  // namespace pith
