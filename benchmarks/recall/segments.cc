#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "benchmarks/recall/segment_shelf.h"
#include "benchmarks/recall/strategies.h"
#include "core/base/ids.h"
#include "core/base/status_macros.h"
#include "core/codes/codebook_training.h"
#include "core/index/candidates.h"
#include "core/index/passage_set.h"
#include "core/index/recompute_policy.h"

namespace pith {
namespace {

constexpr size_t kTop = 10;
// As core/index/collection_search.cc has them.
constexpr size_t kMinCandidates = 256;
constexpr size_t kCandidatesPerHit = 20;
constexpr size_t kMaxCandidates = 2000;
constexpr double kTargets[] = {0.8, 0.9, 0.95, 0.98, 0.99};
constexpr size_t kTwoLevelBeams[] = {10, 20, 50, 100, 200};
// The part of the approximate queue that a hop recomputes.
constexpr double kTwoLevelShares[] = {0.01, 0.03, 0.1};

uint32_t PassageNumber(PassageId id) {
  return static_cast<uint32_t>(DocumentOf(id));
}

const std::function<bool()>& NeverCancelled() {
  static const auto& never = *new std::function<bool()>([] { return false; });
  return never;
}

// The best `count` by estimate, in the order of corrected estimates.
absl::StatusOr<SearchOutcome> FindCandidates(const Segment& segment,
                                             std::span<const float> query,
                                             size_t beam, size_t count) {
  const Codebook& codebook = *segment.codebook();
  const std::unique_ptr<CodeQuery> prepared = codebook.Prepare(query);
  const PassageSet dead;
  CandidateHeap heap(count);
  SearchOutcome outcome;
  PITH_ASSIGN_OR_RETURN(outcome.code_evaluations,
                        segment.Find({.query = *prepared,
                                      .dead = dead,
                                      .beam = beam,
                                      .cancelled = NeverCancelled()},
                                     /*part=*/0, heap));
  std::vector<std::pair<ScoreBelief, uint32_t>> found;
  std::vector<uint8_t> code(codebook.code_bytes());
  for (const Candidate& candidate : heap.TakeSorted()) {
    segment.CopyCode(candidate.node, code);
    const EstimateError error = codebook.ErrorOf(code);
    found.emplace_back(ScoreBelief{.mean = candidate.estimate + error.bias,
                                   .spread = error.spread},
                       PassageNumber(candidate.passage));
  }
  std::stable_sort(
      found.begin(), found.end(),
      [](const auto& a, const auto& b) { return a.first.mean > b.first.mean; });
  for (const auto& [belief, passage] : found) {
    outcome.beliefs.push_back(belief);
    outcome.passages.push_back(passage);
  }
  return outcome;
}

// A scan has one beam, which it does not use.
std::vector<size_t> Beams(const Segment& segment,
                          const RecallOptions& options) {
  return segment.has_graph() ? options.beams : std::vector<size_t>{1};
}

std::string BeamSetting(const Segment& segment, size_t beam) {
  return segment.has_graph() ? absl::StrCat("beam ", beam) : "";
}

// A point, and how many candidates the daemon would find for it.
struct CandidatePoint {
  size_t candidates;
  RecomputePoint point;
};

// Rows for all points and beams. Points next to each other that want as many
// candidates share a search; no row depends on other points.
absl::StatusOr<std::vector<RecallRow>> RunPoints(
    const RecallInput& input, const RecallOptions& options,
    const Segment& segment, const StrategyFacts& facts,
    std::span<const CandidatePoint> points) {
  std::vector<RecallRow> rows;
  for (const size_t beam : Beams(segment, options)) {
    for (size_t first = 0; first < points.size();) {
      const size_t candidates = points[first].candidates;
      std::vector<RecomputePoint> alike;
      for (; first < points.size() && points[first].candidates == candidates;
           ++first) {
        alike.push_back(points[first].point);
      }
      PITH_ASSIGN_OR_RETURN(
          std::vector<RecallRow> some,
          MeasureCandidates(input, facts, BeamSetting(segment, beam), alike,
                            [&](std::span<const float> query) {
                              return FindCandidates(segment, query, beam,
                                                    candidates);
                            }));
      std::move(some.begin(), some.end(), std::back_inserter(rows));
    }
  }
  return rows;
}

absl::StatusOr<std::vector<RecallRow>> RunFixed(const RecallInput& input,
                                                const RecallOptions& options,
                                                const Segment& segment,
                                                const StrategyFacts& facts) {
  std::vector<CandidatePoint> points;
  for (const size_t count : options.recompute) {
    points.push_back({.candidates = std::max(kMinCandidates, count + count / 2),
                      .point = FixedPoint(count)});
  }
  return RunPoints(input, options, segment, facts, points);
}

// More for a target that allows few misses: what is not among the candidates is
// missed for sure.
size_t AdaptiveCandidates(double target) {
  constexpr auto kLeast =
      static_cast<double>(std::max(kMinCandidates, kCandidatesPerHit * kTop));
  const double factor = std::clamp(0.05 / (1 - target), 1.0, 8.0);
  return std::min(kMaxCandidates,
                  static_cast<size_t>(std::lround(kLeast * factor)));
}

size_t RecomputedFor(double target, float score_slope,
                     const SearchOutcome& outcome,
                     std::span<const float> exact) {
  RecomputePolicy policy(outcome.beliefs, kTop, target,
                         static_cast<double>(score_slope));
  size_t done = 0;
  while (const size_t batch = policy.NextBatch()) {
    for (const size_t end = done + batch; done < end; ++done) {
      policy.Add(exact[done]);
    }
  }
  return done;
}

absl::StatusOr<std::vector<RecallRow>> RunAdaptive(const RecallInput& input,
                                                   const RecallOptions& options,
                                                   const Segment& segment,
                                                   const StrategyFacts& facts) {
  const float score_slope = segment.score_slope();
  std::vector<CandidatePoint> points;
  for (const double target : kTargets) {
    points.push_back({.candidates = AdaptiveCandidates(target),
                      .point = {.setting = absl::StrCat("target ", target),
                                .count = [=](const SearchOutcome& outcome,
                                             std::span<const float> exact) {
                                  return RecomputedFor(target, score_slope,
                                                       outcome, exact);
                                }}});
  }
  return RunPoints(input, options, segment, facts, points);
}

absl::StatusOr<SearchOutcome> SearchTwoLevel(const Segment& segment,
                                             std::span<const float> query,
                                             ExactScore exact,
                                             const TwoLevelOptions& options) {
  const PassageSet dead;
  const std::unique_ptr<CodeQuery> prepared =
      segment.codebook()->Prepare(query);
  PITH_ASSIGN_OR_RETURN(
      const TwoLevelResult found,
      segment.FindTwoLevel(
          {.query = *prepared,
           .dead = dead,
           .beam = options.beam,
           .cancelled = NeverCancelled()},
          options,
          [&](std::span<const PassageId> passages, std::span<float> out) {
            for (size_t i = 0; i < passages.size(); ++i) {
              out[i] = exact(PassageNumber(passages[i]));
            }
            return absl::OkStatus();
          }));
  SearchOutcome outcome{.recomputed = found.recomputed,
                        .code_evaluations = found.evaluations};
  for (const ScoredNode& node : found.candidates) {
    outcome.passages.push_back(
        PassageNumber(segment.passage(static_cast<size_t>(node.node))));
  }
  return outcome;
}

absl::StatusOr<std::vector<RecallRow>> RunTwoLevel(
    const RecallInput& input, const RecallOptions& /*options*/,
    const Segment& segment, const StrategyFacts& facts) {
  std::vector<RecallRow> rows;
  for (const double share : kTwoLevelShares) {
    for (const size_t beam : kTwoLevelBeams) {
      PITH_ASSIGN_OR_RETURN(
          RecallRow row,
          MeasureInterleaved(
              input, facts, absl::StrCat("share ", share, ", beam ", beam),
              [&](std::span<const float> query, ExactScore exact) {
                return SearchTwoLevel(segment, query, exact,
                                      {.beam = beam, .recompute_share = share});
              }));
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

using RunOnSegment = absl::StatusOr<std::vector<RecallRow>> (*)(
    const RecallInput&, const RecallOptions&, const Segment&,
    const StrategyFacts&);

struct Kind {
  const char* prefix;
  bool with_graph;
  RunOnSegment run;
};
constexpr Kind kKinds[] = {{"flat-", false, RunFixed},
                           {"flat-adaptive-", false, RunAdaptive},
                           {"graph-", true, RunFixed},
                           {"graph-adaptive-", true, RunAdaptive},
                           {"graph-two-level-", true, RunTwoLevel}};

}  // namespace

std::vector<Strategy> SegmentStrategies() {
  const auto shelf = std::make_shared<SegmentShelf>();
  std::vector<Strategy> strategies;
  for (const Kind& kind : kKinds) {
    for (const CodeShape& shape : kCodeShapes) {
      const std::string name = absl::StrCat(kind.prefix, ShapeName(shape));
      strategies.push_back(
          {.name = name,
           .min_passages = MinTrainingVectors(shape),
           .run = [name, kind, shape, shelf](const RecallInput& input,
                                             const RecallOptions& options)
               -> absl::StatusOr<std::vector<RecallRow>> {
             PITH_ASSIGN_OR_RETURN(
                 const SealedPassages* sealed,
                 shelf->Get(input, options, shape, kind.with_graph));
             StrategyFacts facts = sealed->facts;
             facts.name = name;
             return kind.run(input, options, *sealed->segment, facts);
           }});
    }
  }
  return strategies;
}

}  // namespace pith
