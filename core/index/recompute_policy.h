#ifndef PITH_CORE_INDEX_RECOMPUTE_POLICY_H_
#define PITH_CORE_INDEX_RECOMPUTE_POLICY_H_

#include <cstddef>
#include <span>
#include <vector>

namespace pith {

// What is believed about a candidate's exact score before it is recomputed: it
// is normally distributed.
struct ScoreBelief {
  float mean = 0;
  float spread = 0;
};

// How many candidates one query has to recompute for a recall target.
// Candidates are recomputed best mean first, a few at a time, until no other
// has a mean within z spreads of the k-th best exact score:
//
//   mean + z * spread <= k-th exact score
//
// that is, until none is among the k best with more than some probability. As
// every recomputed passage costs the same, one such probability for all queries
// is the cheapest way to a given average recall.
// docs/decisions/0008-recompute.md derives z from the target and measures what
// comes of it. Uses no thread, clock or vectors.
class RecomputePolicy {
 public:
  static constexpr double kMinTarget = 0.5;
  static constexpr double kMaxTarget = 0.999;
  // Candidates that are typical of those that decide, from the first on.
  static constexpr size_t kTypical = 64;

  // `beliefs`: of all candidates, best mean first. k of at least 1; `target` in
  // [kMinTarget, kMaxTarget] is the wanted mean share of the true k best among
  // what is recomputed. `score_slope`: passages whose score is x or more get
  // fewer as exp(-score_slope * x).
  RecomputePolicy(std::span<const ScoreBelief> beliefs, size_t k, double target,
                  double score_slope);

  // How many candidates, in order from the first that is not yet recomputed,
  // to recompute next. 0: enough. Each was then given to Add, in any order,
  // unless it no longer exists.
  size_t NextBatch();
  void Add(float exact_score);

 private:
  std::span<const ScoreBelief> beliefs_;
  const size_t k_;
  const double z_;
  // upper_[i]: the largest mean + z * spread of candidate i and all after it.
  std::vector<float> upper_;
  size_t next_ = 0;
  // The k best exact scores; the worst of them first (a heap).
  std::vector<float> best_;
};

// The share of the k best that is missed by those who stop z spreads below the
// k-th best score, where `slope` is that of scores in units of the spread.
// Among candidates whose means thin out as exp(-slope * u), each worth
// recomputing with the normal probability of more than u:
//   exp(slope^2 / 2) Phi(slope - z) - exp(slope z) Phi(-z)
double MissedShare(double slope, double z);

}  // namespace pith

#endif  // PITH_CORE_INDEX_RECOMPUTE_POLICY_H_
