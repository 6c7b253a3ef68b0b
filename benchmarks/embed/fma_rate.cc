#include "benchmarks/embed/fma_rate.h"

#include <algorithm>
#include <cstddef>

#include "absl/time/clock.h"
#include "absl/time/time.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "benchmarks/embed/fma_rate.cc"
// clang-format off: foreach_target.h includes this file again for each target.
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// How many multiply-adds `rounds` rounds are. `value` is read, and written at
// the end with what depends on all of them, so that none is left out.
size_t MultiplyAddImpl(size_t rounds, float& value) {
  const hn::ScalableTag<float> d;
  using Vector = hn::Vec<decltype(d)>;
  // As many as hide an operation's latency.
  constexpr size_t kChains = 12;
  Vector sums[kChains];
  for (Vector& sum : sums) {
    sum = hn::Zero(d);
  }
  const Vector a = hn::Set(d, value);
  for (size_t i = 0; i < rounds; ++i) {
    for (Vector& sum : sums) {
      sum = hn::MulAdd(sum, a, a);
    }
  }
  Vector total = hn::Zero(d);
  for (const Vector& sum : sums) {
    total = hn::Add(total, sum);
  }
  value = hn::GetLane(hn::SumOfLanes(d, total)) > 0 ? 0.5f : 0.0f;
  return rounds * kChains * hn::Lanes(d);
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith {

HWY_EXPORT(MultiplyAddImpl);

double MeasureFmaRate() {
  double best = 0;
  float value = 0.5f;
  for (int run = 0; run < 20; ++run) {
    const absl::Time start = absl::Now();
    const size_t done = HWY_DYNAMIC_DISPATCH(MultiplyAddImpl)(100'000, value);
    best = std::max(best, static_cast<double>(done) /
                              absl::ToDoubleSeconds(absl::Now() - start));
  }
  return best;
}

}  // namespace pith
#endif  // HWY_ONCE
