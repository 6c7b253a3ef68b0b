#include "core/index/frequency_sketch.h"

#include <cstdint>
#include <string>

#include "gtest/gtest.h"

namespace pith {
namespace {

ContentHash Key(int i) {
  Sha256 sha;
  sha.Update(std::to_string(i));
  return sha.FinishContent();
}

TEST(FrequencySketch, CountsUpToItsMaximum) {
  FrequencySketch sketch(100);
  for (uint32_t i = 0; i < 20; ++i) {
    EXPECT_EQ(sketch.Estimate(Key(1)),
              std::min(i, FrequencySketch::kMaxFrequency));
    sketch.Add(Key(1));
  }
  EXPECT_EQ(sketch.Estimate(Key(2)), 0u);
}

TEST(FrequencySketch, NeverUnderestimatesAndRarelyOverestimates) {
  constexpr int kKeys = 1000;
  FrequencySketch sketch(kKeys);
  for (int i = 0; i < kKeys; ++i) {
    for (int n = 0; n < i % 5; ++n) {
      sketch.Add(Key(i));
    }
  }
  int over = 0;
  for (int i = 0; i < kKeys; ++i) {
    const auto actual = static_cast<uint32_t>(i % 5);
    EXPECT_GE(sketch.Estimate(Key(i)), actual);
    over += sketch.Estimate(Key(i)) > actual ? 1 : 0;
  }
  EXPECT_LT(over, kKeys / 50);
}

TEST(FrequencySketch, ForgetsByHalvesAsOthersCome) {
  FrequencySketch sketch(100);
  for (int i = 0; i < 12; ++i) {
    sketch.Add(Key(0));
  }
  // What all others add is in ten times as many keys as it is for.
  int added = 0;
  while (sketch.Estimate(Key(0)) == 12) {
    ASSERT_LT(++added, 10'000);
    sketch.Add(Key(added));
  }
  EXPECT_GT(added, 1000 - 13);
  EXPECT_EQ(sketch.Estimate(Key(0)), 6u);
}

TEST(FrequencySketch, TakesEightToSixteenBytesAKey) {
  for (const size_t keys : {100u, 1000u, 16'384u}) {
    EXPECT_GE(FrequencySketch(keys).memory_bytes(), 8 * keys);
    EXPECT_LT(FrequencySketch(keys).memory_bytes(), 16 * keys);
  }
}

}  // namespace
}  // namespace pith
