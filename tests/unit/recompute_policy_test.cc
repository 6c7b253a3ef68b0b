#include "core/index/recompute_policy.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace pith {
namespace {

constexpr double kSlope = 20;

// How many candidates are recomputed when candidate i's exact score is
// exact[i].
size_t Recomputed(std::span<const ScoreBelief> beliefs,
                  std::span<const float> exact, size_t k, double target) {
  RecomputePolicy policy(beliefs, k, target, kSlope);
  size_t done = 0;
  while (const size_t batch = policy.NextBatch()) {
    for (size_t i = 0; i < batch; ++i) {
      policy.Add(exact[done + i]);
    }
    done += batch;
  }
  return done;
}

TEST(RecomputePolicy, NothingToRecomputeIsEnough) {
  EXPECT_EQ(Recomputed({}, {}, 10, 0.9), 0u);
}

TEST(RecomputePolicy, FewerCandidatesThanWantedAreAllRecomputed) {
  const std::vector<ScoreBelief> beliefs(7, {.mean = 0.5F, .spread = 0.1F});
  EXPECT_EQ(Recomputed(beliefs, std::vector<float>(7, 0.5F), 10, 0.5), 7u);
}

TEST(RecomputePolicy, ExactEstimatesNeedNoMoreThanK) {
  std::vector<ScoreBelief> beliefs;
  std::vector<float> exact;
  for (int i = 0; i < 50; ++i) {
    beliefs.push_back({.mean = 0.9F - 0.01F * static_cast<float>(i)});
    exact.push_back(beliefs.back().mean);
  }
  EXPECT_EQ(Recomputed(beliefs, exact, 10, RecomputePolicy::kMaxTarget), 10u);
}

TEST(RecomputePolicy, GoesOnWhileOneThatMayBelongFollows) {
  // Hopeless but for the last, whose code says little.
  std::vector<ScoreBelief> beliefs(30, {.mean = 0.2F, .spread = 0.001F});
  std::vector<float> exact(30, 0.2F);
  beliefs[0] = {.mean = 0.9F, .spread = 0.001F};
  exact[0] = 0.9F;
  EXPECT_EQ(Recomputed(beliefs, exact, 1, 0.95), 1u);
  beliefs[29].spread = 0.8F;
  EXPECT_EQ(Recomputed(beliefs, exact, 1, 0.95), 30u);
}

TEST(RecomputePolicy, APassageThatIsGoneIsReplaced) {
  const std::vector<ScoreBelief> beliefs(20, {.mean = 0.5F, .spread = 0});
  RecomputePolicy policy(beliefs, 3, 0.9, kSlope);
  EXPECT_EQ(policy.NextBatch(), 3u);
  policy.Add(0.9F);
  // The other two were deleted.
  EXPECT_EQ(policy.NextBatch(), 2u);
  policy.Add(0.8F);
  policy.Add(0.7F);
  EXPECT_EQ(policy.NextBatch(), 0u);
}

TEST(RecomputePolicy, ScoresKnownBeforehandSpareWork) {
  const std::vector<ScoreBelief> beliefs(20, {.mean = 0.5F, .spread = 0.01F});
  RecomputePolicy policy(beliefs, 3, 0.9, kSlope);
  for (const float score : {0.9F, 0.8F, 0.7F}) {
    policy.Add(score);
  }
  EXPECT_EQ(policy.NextBatch(), 0u);
}

// So many that its share is no finite number: all of them may belong.
TEST(RecomputePolicy, WhereAllPassagesAreAlikeNoneIsLeftOut) {
  const std::vector<ScoreBelief> beliefs(40, {.mean = 0.5F, .spread = 0.1F});
  RecomputePolicy policy(beliefs, 10, 0.9, /*score_slope=*/1e5);
  size_t done = 0;
  while (const size_t batch = policy.NextBatch()) {
    for (size_t i = 0; i < batch; ++i) {
      policy.Add(0.5F);
    }
    done += batch;
  }
  EXPECT_EQ(done, beliefs.size());
}

TEST(MissedShare, IsWhatASumOverManyCandidatesGives) {
  for (const double slope : {0.2, 0.5, 1.0}) {
    for (const double z : {-1.0, 0.0, 1.0, 2.0}) {
      double sum = 0;
      constexpr double kStep = 1e-3;
      for (double u = z + kStep / 2; u < 12; u += kStep) {
        sum += slope * std::exp(slope * u) * std::erfc(u / std::sqrt(2.0)) / 2 *
               kStep;
      }
      EXPECT_NEAR(MissedShare(slope, z), sum, 1e-4) << slope << " " << z;
    }
  }
}

// Scores and errors drawn as the policy believes them to be: what it stops at
// must have the recall that it was asked for, and spend less for less.
TEST(RecomputePolicy, MeetsItsTargetWhenBeliefsAreTrue) {
  std::mt19937 random(1);
  std::exponential_distribution<float> tail(20.0F);
  std::normal_distribution<float> normal;
  constexpr size_t kCandidates = 400;
  constexpr int kQueries = 400;
  for (const size_t k : {size_t{3}, size_t{10}, size_t{30}}) {
    double last_cost = 0;
    for (const double target : {0.8, 0.9, 0.95, 0.99}) {
      double recall = 0;
      double cost = 0;
      for (int query = 0; query < kQueries; ++query) {
        struct Item {
          ScoreBelief belief;
          float exact;
        };
        std::vector<Item> items(kCandidates);
        for (Item& item : items) {
          item.belief.spread = 0.02F + 0.01F * std::abs(normal(random));
          item.exact = 0.3F + tail(random);
          // A posterior around the estimate: the density falls as exp(-20 x).
          const float estimate =
              item.exact + item.belief.spread * normal(random);
          item.belief.mean =
              estimate - 20 * item.belief.spread * item.belief.spread;
        }
        std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
          return a.belief.mean > b.belief.mean;
        });
        std::vector<ScoreBelief> beliefs;
        std::vector<float> exact;
        for (const Item& item : items) {
          beliefs.push_back(item.belief);
          exact.push_back(item.exact);
        }
        const size_t recomputed = Recomputed(beliefs, exact, k, target);
        std::vector<float> best = exact;
        std::nth_element(best.begin(),
                         best.begin() + static_cast<std::ptrdiff_t>(k) - 1,
                         best.end(), std::greater());
        recall += static_cast<double>(std::count_if(
                      exact.begin(),
                      exact.begin() + static_cast<std::ptrdiff_t>(recomputed),
                      [&](float score) { return score >= best[k - 1]; })) /
                  static_cast<double>(k);
        cost += static_cast<double>(recomputed);
      }
      EXPECT_GE(recall / kQueries, target - 0.015) << k << " " << target;
      EXPECT_GT(cost, last_cost);
      last_cost = cost;
    }
  }
}

}  // namespace
}  // namespace pith
