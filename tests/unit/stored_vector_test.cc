#include "core/index/stored_vector.h"

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "core/base/vector_math.h"
#include "tests/status_matchers.h"

namespace pith {
namespace {

std::vector<float> UnitVector(std::vector<float> vector) {
  const float norm = Norm(vector);
  for (float& value : vector) {
    value /= norm;
  }
  return vector;
}

std::vector<float> RandomUnitVector(size_t dimension, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> vector(dimension);
  for (float& value : vector) {
    value = normal(random);
  }
  return UnitVector(std::move(vector));
}

double Cosine(std::span<const float> a, std::span<const float> b) {
  double product = 0;
  double a_squares = 0;
  double b_squares = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    product += double{a[i]} * double{b[i]};
    a_squares += double{a[i]} * double{a[i]};
    b_squares += double{b[i]} * double{b[i]};
  }
  return product / std::sqrt(a_squares * b_squares);
}

TEST(StoredVector, BytesAreThoseOfTheFormat) {
  const std::vector<float> vector = {0.6F, -0.8F, 0, 0};
  // 0.6 is 0x38CD, -0.8 is 0xBA66 (docs/index_format.md has the example).
  EXPECT_EQ(EncodeStoredVector(vector, VectorFormat::kF16, "f32"),
            std::string("\1\3f32\xCD\x38\x66\xBA\0\0\0\0", 13));
  // 0.6 / 0.8 * 127 is 95.25.
  EXPECT_EQ(EncodeStoredVector(vector, VectorFormat::kI8, "bf16"),
            std::string("\2\4bf16\x5F\x81\0\0", 10));
}

TEST(StoredVector, ComesBackAtTheCosineOfItsFormat) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    const std::vector<float> vector = RandomUnitVector(384, seed);
    for (const auto& [format, bytes, least] :
         {std::tuple(VectorFormat::kF16, 773u, 0.9999999),
          std::tuple(VectorFormat::kI8, 389u, 0.9999)}) {
      const std::string stored = EncodeStoredVector(vector, format, "f32");
      EXPECT_EQ(stored.size(), bytes);
      std::vector<float> read(384);
      const auto precision = DecodeStoredVector(stored, read);
      ASSERT_OK(precision);
      EXPECT_EQ(*precision, "f32");
      EXPECT_NEAR(Norm(read), 1, 1e-3);
      EXPECT_GE(Cosine(vector, read), least) << seed;
    }
  }
}

// The bound of the header, where one element outweighs the others.
TEST(StoredVector, AnUnevenVectorKeepsTheCosineThatItsLargestElementAllows) {
  for (const float largest : {0.05F, 0.3F, 0.9F, 0.999F}) {
    std::vector<float> vector = RandomUnitVector(384, 7);
    vector[0] = 0;
    vector = UnitVector(vector);
    for (float& value : vector) {
      value *= std::sqrt(1 - largest * largest);
    }
    vector[0] = largest;
    double most = 0;
    for (const float value : vector) {
      most = std::max(most, std::abs(double{value}));
    }
    std::vector<float> read(384);
    ASSERT_OK(DecodeStoredVector(
        EncodeStoredVector(vector, VectorFormat::kI8, ""), read));
    EXPECT_GE(Cosine(vector, read),
              std::sqrt(1 - 384 * most * most / (254 * 254)))
        << largest;
  }
}

TEST(StoredVector, AVectorAlongAnAxisIsExact) {
  const std::vector<float> vector = {0, -1, 0};
  for (const VectorFormat format : {VectorFormat::kF16, VectorFormat::kI8}) {
    std::vector<float> read(3);
    ASSERT_OK(DecodeStoredVector(EncodeStoredVector(vector, format, ""), read));
    EXPECT_EQ(read, vector);
  }
}

TEST(StoredVector, WhatNoEncoderWritesIsDataLoss) {
  std::vector<float> read(4);
  for (const VectorFormat format : {VectorFormat::kF16, VectorFormat::kI8}) {
    const std::string bytes =
        EncodeStoredVector(std::vector{0.6F, -0.8F, 0.0F, 0.0F}, format, "f32");
    for (size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_THAT(DecodeStoredVector(bytes.substr(0, size), read),
                  StatusIs(absl::StatusCode::kDataLoss, "of 4 elements"))
          << size;
    }
    EXPECT_THAT(DecodeStoredVector(bytes + '\0', read),
                StatusIs(absl::StatusCode::kDataLoss, "stored vector"));
    std::vector<float> fewer(3);
    EXPECT_THAT(DecodeStoredVector(bytes, fewer),
                StatusIs(absl::StatusCode::kDataLoss, "of 3 elements"));
  }
  const std::vector<std::string> malformed = {
      // No such format.
      std::string("\0\0\x7F\0\0\0", 6),
      std::string("\3\0\x7F\0\0\0", 6),
      // Zero, a largest element other than 127, and -128.
      std::string("\2\0\0\0\0\0", 6),
      std::string("\2\0\x7E\0\0\0", 6),
      std::string("\2\0\x7F\x80\0\0", 6),
      // Norms of 0 and 2, infinity, NaN.
      std::string("\1\0\0\0\0\0\0\0\0\0", 10),
      std::string("\1\0\0\x40\0\0\0\0\0\0", 10),
      std::string("\1\0\0\x7C\0\0\0\0\0\0", 10),
      std::string("\1\0\0\x7E\0\0\0\0\0\0", 10),
  };
  for (size_t i = 0; i < malformed.size(); ++i) {
    EXPECT_THAT(DecodeStoredVector(malformed[i], read),
                StatusIs(absl::StatusCode::kDataLoss, "no unit vector"))
        << i;
  }
}

}  // namespace
}  // namespace pith
