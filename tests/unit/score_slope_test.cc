#include "core/codes/score_slope.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/base/matrix.h"
#include "core/codes/codebook_training.h"
#include "tests/status_matchers.h"

namespace pith {
namespace {

constexpr size_t kDimension = 8;
constexpr CodeShape kShape = {.subquantizers = 8, .bits = 8};

// On a circle, but for a little noise; of unit norm, to within a hundredth.
Matrix Circle(size_t points) {
  std::mt19937 random(4);
  std::normal_distribution<float> noise(0, 0.004f);
  Matrix vectors(points, kDimension);
  for (size_t i = 0; i < points; ++i) {
    const std::span<float> row = vectors.row(i);
    std::generate(row.begin(), row.end(), [&] { return noise(random); });
    const double angle = static_cast<double>(random()) * M_PI / (1u << 31);
    row[0] = static_cast<float>(std::cos(angle));
    row[1] = static_cast<float>(std::sin(angle));
  }
  return vectors;
}

std::shared_ptr<const Codebook> Train() {
  const auto codebook =
      TrainCodebook(Circle(2048), {.shape = kShape, .iterations = 8});
  EXPECT_OK(codebook);
  return *codebook;
}

std::vector<uint8_t> Encode(const Codebook& codebook, const Matrix& vectors) {
  const size_t bytes = codebook.code_bytes();
  std::vector<uint8_t> codes(bytes * vectors.rows());
  for (size_t i = 0; i < vectors.rows(); ++i) {
    codebook.Encode(vectors.row(i), std::span(codes).subspan(i * bytes, bytes));
  }
  return codes;
}

// Of n random points on a circle the r-th nearest is at an angle of about pi r
// / n: the slope from the 32nd to the 256th follows, whatever the codebook was
// trained on.
TEST(ScoreSlope, GrowsAsPassagesGetDenser) {
  const auto codebook = Train();
  for (const size_t points : {1000, 2000, 4000}) {
    SCOPED_TRACE(points);
    const auto slope = MeasureScoreSlope(
        *codebook, Encode(*codebook, Circle(points)), {.threads = 2});
    ASSERT_OK(slope);
    ASSERT_TRUE(slope->has_value());
    const auto score = [&](double rank) {
      return std::cos(M_PI * rank / static_cast<double>(points));
    };
    const double expected = std::log(256.0 / 32) / (score(32) - score(256));
    EXPECT_NEAR(**slope, expected, 0.2 * expected);
  }
}

TEST(ScoreSlope, DoesNotDependOnThreads) {
  const auto codebook = Train();
  const std::vector<uint8_t> codes = Encode(*codebook, Circle(1500));
  const auto one = MeasureScoreSlope(*codebook, codes, {.threads = 1});
  const auto three = MeasureScoreSlope(*codebook, codes, {.threads = 3});
  ASSERT_OK(one);
  ASSERT_OK(three);
  EXPECT_EQ(*one, *three);
}

TEST(ScoreSlope, OfPassagesThatAreAllAlikeIsFinite) {
  const auto codebook = Train();
  const Matrix one = Circle(1);
  Matrix alike(kMinSlopeCodes, kDimension);
  for (size_t i = 0; i < alike.rows(); ++i) {
    std::ranges::copy(one.row(0), alike.row(i).begin());
  }
  const auto slope = MeasureScoreSlope(*codebook, Encode(*codebook, alike), {});
  ASSERT_OK(slope);
  ASSERT_TRUE(slope->has_value());
  EXPECT_GT(**slope, 1000);
  EXPECT_TRUE(std::isfinite(**slope));
}

TEST(ScoreSlope, IsNotMeasuredOnFew) {
  const auto codebook = Train();
  const auto slope = MeasureScoreSlope(
      *codebook, Encode(*codebook, Circle(kMinSlopeCodes - 1)), {});
  ASSERT_OK(slope);
  EXPECT_FALSE(slope->has_value());
}

TEST(ScoreSlope, IsCancelled) {
  const auto codebook = Train();
  EXPECT_THAT(MeasureScoreSlope(*codebook, Encode(*codebook, Circle(1000)),
                                {.cancelled = [] { return true; }}),
              StatusIs(absl::StatusCode::kCancelled, "cancelled"));
}

}  // namespace
}  // namespace pith
