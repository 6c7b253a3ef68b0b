#ifndef PITH_BENCHMARKS_RECALL_MEASUREMENT_H_
#define PITH_BENCHMARKS_RECALL_MEASUREMENT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

#include "benchmarks/recall/artifact_cache.h"
#include "benchmarks/recall/truth.h"
#include "core/base/matrix.h"
#include "core/index/recompute_policy.h"

namespace pith {

// What every strategy is measured on.
struct RecallInput {
  Matrix passages;
  Matrix queries;
  Truth truth;
  ArtifactCache cache;
  // Names `passages`, as part of a key of `cache`.
  std::string fingerprint;
};

struct RecallOptions {
  // How many candidates are recomputed; a row for each.
  std::vector<size_t> recompute;
  // Beams of graph walks on codes; rows for each.
  std::vector<size_t> beams;
  // Trained codes are made of exact vectors, and not of vectors that went
  // through the delta's codes, as in the daemon.
  bool from_exact = false;
  // Of builds; queries run on one.
  int threads = 1;
};

// Of a passage, on disk.
struct PassageBytes {
  double codes = 0;
  double graph = 0;
  double ids = 0;
  double other = 0;
  // What was trained and all passages share, by their number: a codebook, or
  // clusters' centroids. Not part of the total, nor of what is counted in
  // memory.
  double codebook = 0;
};

// What is known of a strategy before it meets a query.
struct StrategyFacts {
  std::string name;
  // Bytes of what a passage is scored by; 0 if there is no such thing.
  size_t code_bytes = 0;
  PassageBytes bytes;
  double memory_bytes_per_passage = 0;
  double build_seconds = 0;
};

struct RecallRow {
  StrategyFacts facts;
  // The knob's value, such as "ef 64"; empty if there is none.
  std::string setting;
  size_t n = 0;
  double recall_at_3 = 0;
  double recall_at_10 = 0;
  double recomputed_per_query = 0;
  double code_evaluations_per_query = 0;
  double walk_ms_p50 = 0;
};

// What a strategy finds for one query.
struct SearchOutcome {
  // Passages, best first by the strategy's own ranking; none twice.
  std::vector<uint32_t> passages;
  // Of each of them, if the strategy has any.
  std::vector<ScoreBelief> beliefs;
  // How many passages were recomputed to get there.
  size_t recomputed = 0;
  // How often a query was compared with something stored.
  size_t code_evaluations = 0;
};

using SearchFunction =
    std::function<absl::StatusOr<SearchOutcome>(std::span<const float> query)>;

// How far down an outcome's passages are recomputed.
struct RecomputePoint {
  // The knob's value, such as "recompute 30".
  std::string setting;
  // How many passages, from the first on; `exact` are the scores of all.
  std::function<size_t(const SearchOutcome& outcome,
                       std::span<const float> exact)>
      count;
};

// The same number for all queries, or all that there are.
RecomputePoint FixedPoint(size_t count);

// Runs all queries in order on this thread. A row for each of `points`: so many
// passages of each outcome are recomputed, beyond what the search did itself,
// and ranked by their exact score. Walk times are those of `search` alone.
absl::StatusOr<std::vector<RecallRow>> MeasureCandidates(
    const RecallInput& input, const StrategyFacts& facts,
    std::string_view setting, std::span<const RecomputePoint> points,
    const SearchFunction& search);

// One row: all that an outcome lists is ranked by exact scores, which the
// search has seen or which are stored; nothing more is recomputed.
absl::StatusOr<RecallRow> MeasureResults(const RecallInput& input,
                                         const StrategyFacts& facts,
                                         std::string_view setting,
                                         const SearchFunction& search);

// The exact score of a passage that a search recomputes as it goes.
using ExactScore = absl::FunctionRef<float(uint32_t passage)>;

// The same, of a search that needs exact scores to go on. Walk times are
// without computing them: it runs twice, and the second time, which is clocked,
// reads what it asked for the first time. So it asks for the same ones, in the
// same order, each time it is run.
absl::StatusOr<RecallRow> MeasureInterleaved(
    const RecallInput& input, const StrategyFacts& facts,
    std::string_view setting,
    const std::function<absl::StatusOr<SearchOutcome>(
        std::span<const float> query, ExactScore exact)>& search);

nlohmann::ordered_json ToJson(const RecallRow& row);

void PrintTable(std::span<const RecallRow> rows);

}  // namespace pith

#endif  // PITH_BENCHMARKS_RECALL_MEASUREMENT_H_
