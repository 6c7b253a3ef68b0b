#ifndef PITH_CORE_BASE_FLOAT16_H_
#define PITH_CORE_BASE_FLOAT16_H_

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace pith {

// IEEE 754 binary16 as its bits. Not by way of the CPU, whose instructions
// Highway's scalar targets do not round alike: these are for vectors that are
// kept, a few at a time, and must be the same on every machine.

// To nearest, ties to even; what is too large becomes infinite.
inline uint16_t F16FromFloat(float value) {
  constexpr uint32_t kInfinity = 0x7F800000;
  constexpr uint32_t kLeastNormal = 0x38800000;  // 2^-14
  constexpr uint32_t kExponentBias = (127 - 15) << 23;
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000;
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > kInfinity) {
    return static_cast<uint16_t>(sign | 0x7E00);
  }
  if (magnitude < kLeastNormal) {
    // A subnormal counts units of 2^-24.
    const float units = std::bit_cast<float>(magnitude) * 0x1p24F;
    return static_cast<uint16_t>(sign |
                                 static_cast<uint32_t>(std::lrint(units)));
  }
  // A carry out of the mantissa is right: it makes the exponent one more.
  const uint32_t rounded =
      (magnitude - kExponentBias + 0xFFF + (magnitude >> 13 & 1)) >> 13;
  return static_cast<uint16_t>(sign | std::min<uint32_t>(rounded, 0x7C00));
}

// Exact.
inline float F16ToFloat(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = (half >> 10) & 0x1F;
  const uint32_t mantissa = half & 0x3FF;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  const uint32_t wide_exponent = exponent == 0x1F ? 0xFF : exponent + 112;
  return std::bit_cast<float>(sign | wide_exponent << 23 | mantissa << 13);
}

}  // namespace pith

#endif  // PITH_CORE_BASE_FLOAT16_H_
