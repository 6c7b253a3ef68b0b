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

// The x at which the standard normal distribution reaches `probability`, by
// bisection: once a query.
double NormalQuantile(double probability) {
  double low = -8;
  double high = 8;
  while (high - low > 1e-6) {
    const double middle = (low + high) / 2;
    (std::erfc(-middle / std::sqrt(2.0)) / 2 < probability ? low : high) =
        middle;
  }
  return low;
}

}  // namespace

double StopProbability(double target) {
  return std::min(0.9, 5 * std::pow(1 - target, 1.35));
}

RecomputePolicy::RecomputePolicy(std::span<const ScoreBelief> beliefs, size_t k,
                                 double target)
    : beliefs_(beliefs),
      k_(k),
      z_(NormalQuantile(1 - StopProbability(target))),
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
