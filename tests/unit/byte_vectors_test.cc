#include "core/codes/byte_vectors.h"

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "hwy/highway.h"

namespace pith {
namespace {

std::vector<std::vector<float>> RandomUnitVectors(size_t count, int dimension) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> result(count);
  for (std::vector<float>& vector : result) {
    double square = 0;
    for (int i = 0; i < dimension; ++i) {
      vector.push_back(normal(random));
      square += double{vector.back()} * double{vector.back()};
    }
    for (float& value : vector) {
      value /= static_cast<float>(std::sqrt(square));
    }
  }
  return result;
}

std::vector<int> Rounded(const std::vector<float>& vector) {
  const double scale =
      127 / std::min(1.0, 8 / std::sqrt(static_cast<double>(vector.size())));
  std::vector<int> result;
  for (const float value : vector) {
    result.push_back(static_cast<int>(std::lround(
        std::clamp(static_cast<double>(value) * scale, -127.0, 127.0))));
  }
  return result;
}

TEST(ByteVectors, DotsAreExactIntegersOnEveryTarget) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (const int dimension : {1, 63, 64, 65, 384}) {
      SCOPED_TRACE(testing::Message()
                   << hwy::TargetName(target) << " " << dimension);
      const auto vectors = RandomUnitVectors(47, dimension);
      ByteVectors bytes(vectors.size(), dimension);
      for (size_t i = 0; i < vectors.size(); ++i) {
        bytes.Set(i, vectors[i]);
      }
      // Neither count is a multiple of a tile.
      std::vector<uint32_t> rows = {3, 46, 0, 7, 7, 12, 31};
      std::vector<uint32_t> columns;
      for (uint32_t i = 0; i < vectors.size(); ++i) {
        columns.push_back(46 - i);
      }
      std::vector<float> out(rows.size() * columns.size());
      bytes.Dot<uint32_t>(rows, columns, out);
      for (size_t r = 0; r < rows.size(); ++r) {
        const std::vector<int> a = Rounded(vectors[rows[r]]);
        for (size_t c = 0; c < columns.size(); ++c) {
          const std::vector<int> b = Rounded(vectors[columns[c]]);
          int sum = 0;
          for (size_t i = 0; i < a.size(); ++i) {
            sum += a[i] * b[i];
          }
          ASSERT_EQ(out[r * columns.size() + c], static_cast<float>(sum))
              << rows[r] << " " << columns[c];
        }
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(ByteVectors, CutsOffWhatDoesNotFit) {
  std::vector<float> axis(1024, 0.0f);
  axis[5] = -1;
  ByteVectors bytes(1, 1024);
  bytes.Set(0, axis);
  const std::vector<uint32_t> first = {0};
  std::vector<float> out(1);
  bytes.Dot<uint32_t>(first, first, out);
  EXPECT_EQ(out[0], 127.0f * 127.0f);
}

TEST(ByteVectors, CountsItsMemory) {
  EXPECT_EQ(ByteVectors(1000, 384).memory_bytes(), 384'000u);
  EXPECT_EQ(ByteVectors(1000, 385).memory_bytes(), 448'000u);
}

}  // namespace
}  // namespace pith
