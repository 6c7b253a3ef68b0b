#include "core/base/float16.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "gtest/gtest.h"

namespace pith {
namespace {

constexpr uint16_t kInfinity = 0x7C00;

// By the definition of the format.
double Value(uint16_t half) {
  const int exponent = half >> 10 & 0x1F;
  const double mantissa = half & 0x3FF;
  const double magnitude = exponent == 0
                               ? std::ldexp(mantissa, -24)
                               : std::ldexp(1024 + mantissa, exponent - 25);
  return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

TEST(Float16, EveryFiniteValueIsReadExactlyAndComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    if ((half & 0x7FFF) >= kInfinity) {
      continue;
    }
    const float value = F16ToFloat(half);
    EXPECT_EQ(double{value}, Value(half)) << bits;
    EXPECT_EQ(std::signbit(value), (half & 0x8000) != 0) << bits;
    EXPECT_EQ(F16FromFloat(value), half) << bits;
  }
}

// Between every two neighbours, subnormal ones among them.
TEST(Float16, RoundsToTheNearestAndTiesToEven) {
  for (uint16_t half = 0; half + 1 < kInfinity; ++half) {
    const auto next = static_cast<uint16_t>(half + 1);
    // Exact: a float has thirteen bits more.
    const float middle = (F16ToFloat(half) + F16ToFloat(next)) / 2;
    const float below = std::nextafter(middle, 0.0F);
    const float above = std::nextafter(middle, 1e9F);
    const uint16_t even = half % 2 == 0 ? half : next;
    EXPECT_EQ(F16FromFloat(middle), even) << half;
    EXPECT_EQ(F16FromFloat(-middle), even | 0x8000) << half;
    EXPECT_EQ(F16FromFloat(below), half) << half;
    EXPECT_EQ(F16FromFloat(above), next) << half;
  }
}

TEST(Float16, WhatIsTooLargeIsInfiniteAndNanStays) {
  EXPECT_EQ(F16FromFloat(65504.0F), kInfinity - 1);
  EXPECT_EQ(F16FromFloat(65519.996F), kInfinity - 1);
  EXPECT_EQ(F16FromFloat(65520.0F), kInfinity);
  EXPECT_EQ(F16FromFloat(-1e30F), kInfinity | 0x8000);
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(F16FromFloat(infinity), kInfinity);
  EXPECT_EQ(F16ToFloat(kInfinity), infinity);
  EXPECT_TRUE(std::isnan(
      F16ToFloat(F16FromFloat(std::numeric_limits<float>::quiet_NaN()))));
}

TEST(Float16, TheSmallestFloatsAreZero) {
  EXPECT_EQ(F16FromFloat(std::numeric_limits<float>::denorm_min()), 0);
  EXPECT_EQ(F16FromFloat(0x1p-25F), 0);
  EXPECT_EQ(F16FromFloat(std::nextafter(0x1p-25F, 1.0F)), 1);
}

}  // namespace
}  // namespace pith
