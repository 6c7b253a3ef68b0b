#include "core/codes/rotation.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "glog/logging.h"

#include "core/base/random.h"

namespace pith {
namespace {

// A round is signs, transform of the front block, signs, transform of the back
// block, signs, butterflies. The first two rounds spread every basis vector,
// the worst case, evenly; the third makes its coordinates as good as Gaussian.
constexpr size_t kRounds = 3;
constexpr size_t kSignsPerRound = 3;

void Multiply(std::span<const float> factors, std::span<float> values) {
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] *= factors[i];
  }
}

// (a, b) becomes (a + b, a - b), scaled; its own inverse for a scale of
// 1/sqrt(2).
void Butterflies(float* first, float* second, size_t count, float scale) {
  for (size_t i = 0; i < count; ++i) {
    const float a = first[i];
    const float b = second[i];
    first[i] = (a + b) * scale;
    second[i] = (a - b) * scale;
  }
}

// Fast Walsh-Hadamard transform, orthogonal and its own inverse.
void WalshHadamard(std::span<float> values) {
  for (size_t half = 1; half < values.size(); half *= 2) {
    for (size_t start = 0; start < values.size(); start += 2 * half) {
      Butterflies(&values[start], &values[start + half], half, 1.0f);
    }
  }
  const float scale = 1.0f / std::sqrt(static_cast<float>(values.size()));
  for (float& value : values) {
    value *= scale;
  }
}

}  // namespace

Rotation::Rotation(int dimension, uint64_t seed)
    : dimension_(dimension), padded_dimension_((dimension + 63) / 64 * 64) {
  CHECK_GE(dimension, 1);
  CHECK_LE(dimension, 65536);
  const size_t size = static_cast<size_t>(padded_dimension_);
  block_size_ = std::bit_floor(size);
  signs_.resize(kRounds * kSignsPerRound * size);
  uint64_t state = seed;
  for (size_t i = 0; i < signs_.size(); i += 64) {
    const uint64_t bits = NextRandom(state);
    for (size_t bit = 0; bit < 64; ++bit) {
      signs_[i + bit] = (bits >> bit & 1) != 0 ? -1.0f : 1.0f;
    }
  }
}

std::span<const float> Rotation::Signs(size_t round, size_t which) const {
  const size_t size = static_cast<size_t>(padded_dimension_);
  const size_t index = round * kSignsPerRound + which;
  return {signs_.data() + index * size, size};
}

void Rotation::Apply(std::span<const float> in, std::span<float> out) const {
  CHECK_EQ(in.size(), static_cast<size_t>(dimension_));
  CHECK_EQ(out.size(), static_cast<size_t>(padded_dimension_));
  std::fill(std::copy(in.begin(), in.end(), out.begin()), out.end(), 0.0f);
  const size_t half = out.size() / 2;
  for (size_t round = 0; round < kRounds; ++round) {
    Multiply(Signs(round, 0), out);
    WalshHadamard(out.first(block_size_));
    Multiply(Signs(round, 1), out);
    WalshHadamard(out.last(block_size_));
    Multiply(Signs(round, 2), out);
    Butterflies(&out[0], &out[half], half, std::sqrt(0.5f));
  }
}

void Rotation::ApplyInverse(std::span<const float> in,
                            std::span<float> out) const {
  CHECK_EQ(in.size(), static_cast<size_t>(padded_dimension_));
  CHECK_EQ(out.size(), static_cast<size_t>(dimension_));
  std::vector<float> buffer(in.begin(), in.end());
  const std::span<float> values = buffer;
  const size_t half = values.size() / 2;
  for (size_t round = kRounds; round-- > 0;) {
    Butterflies(&values[0], &values[half], half, std::sqrt(0.5f));
    Multiply(Signs(round, 2), values);
    WalshHadamard(values.last(block_size_));
    Multiply(Signs(round, 1), values);
    WalshHadamard(values.first(block_size_));
    Multiply(Signs(round, 0), values);
  }
  std::copy_n(values.begin(), out.size(), out.begin());
}

}  // namespace pith
