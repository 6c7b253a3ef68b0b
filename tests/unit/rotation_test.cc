#include "core/codes/rotation.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pith {
namespace {

constexpr int kDimensions[] = {1, 2, 3, 63, 64, 65, 100, 128, 384, 500, 768};

std::vector<float> RandomVector(int dimension, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> vector(static_cast<size_t>(dimension));
  for (float& value : vector) {
    value = normal(random);
  }
  return vector;
}

double Dot(const std::vector<float>& a, const std::vector<float>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

std::vector<float> Rotate(const Rotation& rotation,
                          const std::vector<float>& vector) {
  std::vector<float> out(static_cast<size_t>(rotation.padded_dimension()));
  rotation.Apply(vector, out);
  return out;
}

TEST(Rotation, PadsToTheNextMultipleOf64) {
  EXPECT_EQ(Rotation(1, 1).padded_dimension(), 64);
  EXPECT_EQ(Rotation(64, 1).padded_dimension(), 64);
  EXPECT_EQ(Rotation(65, 1).padded_dimension(), 128);
  EXPECT_EQ(Rotation(384, 1).padded_dimension(), 384);
  EXPECT_EQ(Rotation(65536, 1).padded_dimension(), 65536);
}

TEST(Rotation, KeepsInnerProducts) {
  std::mt19937 random(1);
  for (const int dimension : kDimensions) {
    SCOPED_TRACE(dimension);
    const Rotation rotation(dimension, 7);
    const std::vector<float> a = RandomVector(dimension, random);
    const std::vector<float> b = RandomVector(dimension, random);
    const double scale = std::sqrt(Dot(a, a) * Dot(b, b));
    EXPECT_NEAR(Dot(Rotate(rotation, a), Rotate(rotation, b)) / scale,
                Dot(a, b) / scale, 1e-5);
    EXPECT_NEAR(Dot(Rotate(rotation, a), Rotate(rotation, a)) / Dot(a, a), 1.0,
                1e-5);
  }
}

TEST(Rotation, InverseGivesTheVectorBack) {
  std::mt19937 random(2);
  for (const int dimension : kDimensions) {
    SCOPED_TRACE(dimension);
    const Rotation rotation(dimension, 7);
    const std::vector<float> vector = RandomVector(dimension, random);
    std::vector<float> back(vector.size());
    rotation.ApplyInverse(Rotate(rotation, vector), back);
    for (size_t i = 0; i < vector.size(); ++i) {
      EXPECT_NEAR(back[i], vector[i], 1e-5);
    }
  }
}

// A coordinate of a rotated unit vector has a variance of 1/d; were it
// Gaussian, one in 500 million would exceed 6 / sqrt(d).
TEST(Rotation, SpreadsEveryBasisVectorOverAllCoordinates) {
  for (const int dimension : {64, 100, 384, 768, 1000}) {
    SCOPED_TRACE(dimension);
    const Rotation rotation(dimension, 7);
    const double root = std::sqrt(rotation.padded_dimension());
    double fourth_moment = 0;
    for (int i = 0; i < dimension; ++i) {
      std::vector<float> basis(static_cast<size_t>(dimension));
      basis[static_cast<size_t>(i)] = 1;
      for (const double value : Rotate(rotation, basis)) {
        EXPECT_LT(std::abs(value) * root, 6.0) << "basis vector " << i;
        fourth_moment += std::pow(value * root, 4);
      }
    }
    // 3 for a Gaussian, 1 for equal magnitudes, d for no mixing at all.
    EXPECT_LT(fourth_moment / dimension / rotation.padded_dimension(), 3.1);
  }
}

TEST(Rotation, DependsOnTheSeed) {
  std::mt19937 random(3);
  const std::vector<float> vector = RandomVector(64, random);
  EXPECT_NE(Rotate(Rotation(64, 1), vector), Rotate(Rotation(64, 2), vector));
  EXPECT_EQ(Rotate(Rotation(64, 1), vector), Rotate(Rotation(64, 1), vector));
}

// Bits, not values: another machine, compiler or optimisation must not differ.
TEST(Rotation, BitsAreTheSameEverywhere) {
  std::vector<float> vector(100);
  for (size_t i = 0; i < vector.size(); ++i) {
    vector[i] = static_cast<float>(i % 7) - 2.5f;
  }
  uint64_t digest = 0;
  for (const float value : Rotate(Rotation(100, 7), vector)) {
    digest = digest * 0x100000001B3 + std::bit_cast<uint32_t>(value);
  }
  EXPECT_EQ(digest, 0x608b294e0b1c47e6u) << std::hex << digest;
}

}  // namespace
}  // namespace pith
