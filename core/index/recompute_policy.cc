#include "core/index/recompute_policy.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "glog/logging.h"

namespace pith {
namespace {

// Candidates in a batch after the first: small, since the decision to go on is
// worth more than the batch's efficiency (a packed batch gains nothing beyond a
// few hundred tokens), but not so small that a large k needs many rounds.
constexpr size_t kMinBatch = 4;
constexpr size_t kBatchPart = 4;

// How much larger than the misses asked for MissedShare may be, as measured: it
// counts candidates that are recomputed anyway, the first k and those that fill
// a batch, which matters where many may be missed; and errors have heavier
// tails than a normal distribution, which matters where few may.
double AllowedShare(double missed) {
  return missed * (1 + 5 * missed) / 1.65;
}

// Of a slope in spreads. Beyond it, where passages are all alike, z is kMaxZ
// for every target, and MissedShare comes to be a difference of numbers that
// are not finite.
constexpr double kMaxSlope = 5;

constexpr double kMaxZ = 6;

double NormalDistribution(double x) {
  return std::erfc(-x / std::sqrt(2.0)) / 2;
}

// The z at which MissedShare has fallen to what `target` allows, by bisection:
// once a query.
double StopAt(double slope, double target) {
  const double allowed = AllowedShare(1 - target);
  double low = -kMaxZ;
  double high = kMaxZ;
  while (high - low > 1e-4) {
    const double middle = (low + high) / 2;
    (MissedShare(slope, middle) > allowed ? low : high) = middle;
  }
  return high;
}

double MeanSpread(std::span<const ScoreBelief> beliefs) {
  const auto typical =
      beliefs.first(std::min(RecomputePolicy::kTypical, beliefs.size()));
  double sum = 0;
  for (const ScoreBelief& belief : typical) {
    sum += static_cast<double>(belief.spread);
  }
  return typical.empty() ? 0 : sum / static_cast<double>(typical.size());
}

}  // namespace

double MissedShare(double slope, double z) {
  return std::exp(slope * slope / 2) * NormalDistribution(slope - z) -
         std::exp(slope * z) * NormalDistribution(-z);
}

RecomputePolicy::RecomputePolicy(std::span<const ScoreBelief> beliefs, size_t k,
                                 double target, double score_slope)
    : beliefs_(beliefs),
      k_(k),
      z_(StopAt(std::min(score_slope * MeanSpread(beliefs), kMaxSlope),
                target)),
      upper_(beliefs.size()) {
  CHECK_GE(k, size_t{1});
  CHECK(target >= kMinTarget && target <= kMaxTarget) << target;
  for (size_t i = beliefs.size(); i-- > 0;) {
    const float own =
        beliefs[i].mean + static_cast<float>(z_) * beliefs[i].spread;
    upper_[i] = i + 1 < beliefs.size() ? std::max(own, upper_[i + 1]) : own;
  }
}

size_t RecomputePolicy::NextBatch() {
  const size_t left = beliefs_.size() - next_;
  size_t count = 0;
  if (best_.size() < k_) {
    count = k_ - best_.size();
  } else if (left > 0 && upper_[next_] > best_.front()) {
    count = std::max(kMinBatch, k_ / kBatchPart);
  }
  count = std::min(count, left);
  next_ += count;
  return count;
}

void RecomputePolicy::Add(float exact_score) {
  if (best_.size() == k_) {
    if (exact_score <= best_.front()) {
      return;
    }
    std::pop_heap(best_.begin(), best_.end(), std::greater());
    best_.pop_back();
  }
  best_.push_back(exact_score);
  std::push_heap(best_.begin(), best_.end(), std::greater());
}

}  // namespace pith
