#include "core/codes/codebook.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hwy/targets.h"

#include "core/base/coding.h"
#include "core/base/crc32.h"
#include "core/base/matrix.h"

namespace pith {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::vector<float> RandomUnitVector(size_t dimension, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> vector(dimension);
  double square = 0;
  for (float& value : vector) {
    value = normal(random);
    square += static_cast<double>(value) * static_cast<double>(value);
  }
  for (float& value : vector) {
    value /= static_cast<float>(std::sqrt(square));
  }
  return vector;
}

// An orthogonal map into the padded space, and any centroids: nothing here
// needs them to fit anything.
CodebookParts RandomParts(int dimension, CodeShape shape,
                          std::mt19937& random) {
  const auto rows = static_cast<size_t>(dimension);
  const auto count = static_cast<size_t>(shape.subquantizers);
  const size_t columns = (rows + count - 1) / count * count;
  CodebookParts parts{.dimension = dimension, .shape = shape};
  // Rows of a reflection.
  const std::vector<float> axis = RandomUnitVector(columns, random);
  for (size_t i = 0; i < rows; ++i) {
    for (size_t j = 0; j < columns; ++j) {
      parts.rotation.push_back((i == j ? 1.0f : 0.0f) -
                               2.0f * axis[i] * axis[j]);
    }
  }
  std::normal_distribution<float> normal(
      0.0f, 1.0f / std::sqrt(static_cast<float>(columns)));
  parts.centroids.resize(columns * shape.centroid_count());
  for (float& value : parts.centroids) {
    value = normal(random);
  }
  for (size_t i = 0; i < 256; ++i) {
    parts.scales[i] = std::pow(1.02f, static_cast<float>(i));
  }
  parts.bias_factor = -0.05f;
  parts.spread_factor = 0.1f;
  parts.score_slope = 25;
  return parts;
}

// What the headers say, in double precision, one step after the other.
class Twin {
 public:
  explicit Twin(const CodebookParts& parts)
      : parts_(parts),
        columns_(parts.rotation.size() / static_cast<size_t>(parts.dimension)),
        part_(columns_ / static_cast<size_t>(parts.shape.subquantizers)) {}

  std::vector<double> Rotate(std::span<const float> x) const {
    std::vector<double> y(columns_);
    for (size_t i = 0; i < x.size(); ++i) {
      for (size_t j = 0; j < columns_; ++j) {
        y[j] += static_cast<double>(x[i]) *
                static_cast<double>(parts_.rotation[i * columns_ + j]);
      }
    }
    return y;
  }
  double Centroid(size_t j, size_t k) const {
    return static_cast<double>(
        parts_.centroids[j * parts_.shape.centroid_count() + k]);
  }
  double SquaredDistance(std::span<const double> y, size_t m, size_t k) const {
    double sum = 0;
    for (size_t j = m * part_; j < (m + 1) * part_; ++j) {
      sum += (y[j] - Centroid(j, k)) * (y[j] - Centroid(j, k));
    }
    return sum;
  }
  std::vector<size_t> SubCodes(std::span<const uint8_t> code) const {
    std::vector<size_t> result;
    for (const uint8_t byte : code.first(code.size() - 1)) {
      if (parts_.shape.bits == 8) {
        result.push_back(byte);
      } else {
        result.push_back(byte % 16);
        result.push_back(byte / 16);
      }
    }
    return result;
  }
  // xhat, in the rotated space.
  std::vector<double> Quantized(std::span<const uint8_t> code) const {
    const std::vector<size_t> sub_codes = SubCodes(code);
    std::vector<double> result(columns_);
    for (size_t j = 0; j < columns_; ++j) {
      result[j] = Centroid(j, sub_codes[j / part_]);
    }
    return result;
  }
  // Half a step for each table is the most that rounding them can do.
  double Tolerance(std::span<const float> query,
                   std::span<const uint8_t> code) const {
    const std::vector<double> y = Rotate(query);
    double widest = 0;
    for (size_t m = 0; m < columns_ / part_; ++m) {
      double low = 1e30;
      double high = -1e30;
      for (size_t k = 0; k < parts_.shape.centroid_count(); ++k) {
        double product = 0;
        for (size_t j = m * part_; j < (m + 1) * part_; ++j) {
          product += y[j] * Centroid(j, k);
        }
        low = std::min(low, product);
        high = std::max(high, product);
      }
      widest = std::max(widest, high - low);
    }
    return widest / 255 / 2 * static_cast<double>(columns_ / part_) *
           Scale(code);
  }
  double Scale(std::span<const uint8_t> code) const {
    return static_cast<double>(parts_.scales[code.back()]);
  }

 private:
  const CodebookParts& parts_;
  size_t columns_;
  size_t part_;
};

double Dot(std::span<const double> a, std::span<const double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

struct Case {
  int dimension;
  CodeShape shape;
};

const Case kCases[] = {
    {.dimension = 384, .shape = {.subquantizers = 48, .bits = 8}},
    {.dimension = 384, .shape = {.subquantizers = 96, .bits = 4}},
    {.dimension = 100, .shape = {.subquantizers = 7, .bits = 8}},
    {.dimension = 70, .shape = {.subquantizers = 32, .bits = 4}},
    {.dimension = 256, .shape = {.subquantizers = 256, .bits = 8}},
    {.dimension = 1, .shape = {.subquantizers = 1, .bits = 8}},
    {.dimension = 5, .shape = {.subquantizers = 2, .bits = 4}},
};

std::string Describe(const Case& c) {
  return std::to_string(c.dimension) + " dimensions, " +
         std::to_string(c.shape.subquantizers) + "x" +
         std::to_string(c.shape.bits);
}

std::vector<uint8_t> RandomCodes(const Codebook& codebook, size_t count,
                                 std::mt19937& random) {
  std::vector<uint8_t> codes(count * codebook.code_bytes());
  for (uint8_t& byte : codes) {
    byte = static_cast<uint8_t>(random());
  }
  return codes;
}

TEST(CodeShape, CodeIsItsSubCodesAndAScale) {
  EXPECT_EQ((CodeShape{.subquantizers = 48, .bits = 8}.code_bytes()), 49u);
  EXPECT_EQ((CodeShape{.subquantizers = 32, .bits = 8}.code_bytes()), 33u);
  EXPECT_EQ((CodeShape{.subquantizers = 96, .bits = 4}.code_bytes()), 49u);
}

TEST(CodeShape, ShapesThatDoNotFitAreRefused) {
  const CodeShape shape{.subquantizers = 48, .bits = 8};
  EXPECT_TRUE(CheckCodeShape(shape, 48).ok());
  EXPECT_TRUE(CheckCodeShape(shape, 8192).ok());
  EXPECT_FALSE(CheckCodeShape(shape, 47).ok());
  EXPECT_FALSE(CheckCodeShape(shape, 8193).ok());
  EXPECT_FALSE(CheckCodeShape(shape, 0).ok());
  EXPECT_FALSE(CheckCodeShape({.subquantizers = 0}, 384).ok());
  EXPECT_FALSE(CheckCodeShape({.subquantizers = 257}, 384).ok());
  EXPECT_FALSE(CheckCodeShape({.subquantizers = 48, .bits = 6}, 384).ok());
  EXPECT_FALSE(CheckCodeShape({.subquantizers = 47, .bits = 4}, 384).ok());
}

TEST(Codebook, EncodesToTheNearestCentroids) {
  std::mt19937 random(1);
  for (const Case& c : kCases) {
    SCOPED_TRACE(Describe(c));
    CodebookParts parts = RandomParts(c.dimension, c.shape, random);
    const Twin twin(parts);
    for (int i = 0; i <= kMaxShrinkage; ++i) {
      parts.shrinkage = i;
      const auto codebook = Codebook::FromParts(parts);
      const std::vector<float> x =
          RandomUnitVector(static_cast<size_t>(c.dimension), random);
      std::vector<uint8_t> code(codebook->code_bytes());
      codebook->Encode(x, code);
      const std::vector<double> y = twin.Rotate(x);
      const std::vector<size_t> sub_codes = twin.SubCodes(code);
      for (size_t m = 0; m < sub_codes.size(); ++m) {
        double least = 1e30;
        for (size_t k = 0; k < c.shape.centroid_count(); ++k) {
          least = std::min(least, twin.SquaredDistance(y, m, k));
        }
        EXPECT_LE(twin.SquaredDistance(y, m, sub_codes[m]), least + 1e-5);
      }
      // Within half a step of cos(theta)^p / <x, xhat>, or the end of the
      // scale.
      const std::vector<double> quantized = twin.Quantized(code);
      const double product = Dot(y, quantized);
      if (product <= 0) {
        EXPECT_EQ(code.back(), 255);
        continue;
      }
      const double cosine = product / std::sqrt(Dot(quantized, quantized));
      const double wanted = std::pow(cosine, 0.25 * i) / product;
      EXPECT_NEAR(twin.Scale(code) / std::clamp(wanted, 1.0, 150.0), 1, 0.0101);
    }
  }
}

TEST(Codebook, DecodesToTheUnitVectorOfTheCentroids) {
  std::mt19937 random(2);
  for (const Case& c : kCases) {
    SCOPED_TRACE(Describe(c));
    const CodebookParts parts = RandomParts(c.dimension, c.shape, random);
    const auto codebook = Codebook::FromParts(parts);
    const Twin twin(parts);
    const std::vector<uint8_t> code = RandomCodes(*codebook, 1, random);
    std::vector<float> x(static_cast<size_t>(c.dimension));
    codebook->Decode(code, x);
    const std::vector<double> quantized = twin.Quantized(code);
    // The part of xhat that lies in the image of the rotation.
    std::vector<double> expected(x.size());
    const size_t columns = quantized.size();
    for (size_t i = 0; i < x.size(); ++i) {
      for (size_t j = 0; j < columns; ++j) {
        expected[i] +=
            static_cast<double>(parts.rotation[i * columns + j]) * quantized[j];
      }
    }
    const double norm = std::sqrt(Dot(expected, expected));
    for (size_t i = 0; i < x.size(); ++i) {
      EXPECT_NEAR(static_cast<double>(x[i]), expected[i] / norm, 1e-5);
    }
  }
}

TEST(Codebook, EstimatesAreWhatTheTablesOfDoublesGive) {
  std::mt19937 random(3);
  for (const Case& c : kCases) {
    SCOPED_TRACE(Describe(c));
    const CodebookParts parts = RandomParts(c.dimension, c.shape, random);
    const auto codebook = Codebook::FromParts(parts);
    const Twin twin(parts);
    const std::vector<float> q =
        RandomUnitVector(static_cast<size_t>(c.dimension), random);
    const std::vector<uint8_t> codes = RandomCodes(*codebook, 10, random);
    const std::vector<double> y = twin.Rotate(q);
    std::vector<float> estimates(10);
    codebook->Prepare(q)->Scan(codebook->ToBlocks(codes), estimates);
    for (size_t i = 0; i < estimates.size(); ++i) {
      const auto code = std::span(codes).subspan(i * codebook->code_bytes(),
                                                 codebook->code_bytes());
      const double expected = Dot(y, twin.Quantized(code)) * twin.Scale(code);
      EXPECT_NEAR(static_cast<double>(estimates[i]), expected,
                  twin.Tolerance(q, code) + 1e-5 * twin.Scale(code));
    }
  }
}

TEST(Codebook, ErrorIsAMultipleOfTheTangentOfTheAngle) {
  std::mt19937 random(4);
  CodebookParts parts =
      RandomParts(384, {.subquantizers = 48, .bits = 8}, random);
  for (size_t i = 0; i < 256; ++i) {
    parts.scales[i] = std::pow(1.004f, static_cast<float>(i));
  }
  for (int shrinkage = 0; shrinkage <= kMaxShrinkage; ++shrinkage) {
    SCOPED_TRACE(shrinkage);
    parts.shrinkage = shrinkage;
    const auto codebook = Codebook::FromParts(parts);
    for (int i = 0; i < 5; ++i) {
      const std::vector<float> x = RandomUnitVector(384, random);
      std::vector<uint8_t> code(codebook->code_bytes());
      codebook->Encode(x, code);
      ASSERT_LT(code.back(), 255);
      std::vector<float> decoded(384);
      codebook->Decode(code, decoded);
      const double cosine =
          std::inner_product(x.begin(), x.end(), decoded.begin(), 0.0);
      const double tangent = std::sqrt(1 / (cosine * cosine) - 1);
      EXPECT_NEAR(static_cast<double>(codebook->Tangent(code)) / tangent, 1,
                  0.03);
      const EstimateError error = codebook->ErrorOf(code);
      EXPECT_FLOAT_EQ(error.spread, 0.1f * codebook->Tangent(code));
      EXPECT_FLOAT_EQ(error.bias, -0.05f * codebook->Tangent(code));
    }
  }
}

TEST(Codebook, AQueryOfZerosIsEstimatedAsZero) {
  std::mt19937 random(5);
  const auto codebook = Codebook::FromParts(
      RandomParts(64, {.subquantizers = 8, .bits = 8}, random));
  const std::vector<uint8_t> codes = RandomCodes(*codebook, 3, random);
  std::vector<float> estimates(3, 1.0f);
  codebook->Prepare(std::vector<float>(64))
      ->Scan(codebook->ToBlocks(codes), estimates);
  EXPECT_THAT(estimates, testing::Each(0.0f));
}

// Every instruction set that this machine has, not only the one that dispatch
// would choose.
class CodebookTarget : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { Choose(GetParam()); }
  void TearDown() override { Choose(0); }

  static void Choose(int64_t targets) {
    hwy::SetSupportedTargetsForTest(targets);
    hwy::GetChosenTarget().DeInit();
  }
};

INSTANTIATE_TEST_SUITE_P(All, CodebookTarget,
                         testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const auto& test) {
                           return std::string(hwy::TargetName(test.param));
                         });

TEST_P(CodebookTarget, EncodesDecodesScansAndScoresTheSameBits) {
  std::mt19937 random(6);
  for (const Case& c : kCases) {
    SCOPED_TRACE(Describe(c));
    const auto codebook =
        Codebook::FromParts(RandomParts(c.dimension, c.shape, random));
    const std::vector<float> x =
        RandomUnitVector(static_cast<size_t>(c.dimension), random);
    const std::vector<float> q =
        RandomUnitVector(static_cast<size_t>(c.dimension), random);
    // Any bytes, so that the largest and least entries occur; four blocks and
    // more, which kernels may take together.
    constexpr size_t kCount = 64 * 5 + 3;
    const std::vector<uint8_t> codes = RandomCodes(*codebook, kCount, random);
    const std::vector<uint8_t> blocks = codebook->ToBlocks(codes);
    std::vector<uint32_t> nodes(kCount);
    std::iota(nodes.begin(), nodes.end(), 0u);
    std::shuffle(nodes.begin(), nodes.end(), random);

    struct Results {
      std::vector<uint8_t> code;
      std::vector<float> decoded;
      std::vector<float> scanned = std::vector<float>(kCount);
      std::vector<float> scored = std::vector<float>(kCount);
    };
    const auto compute = [&] {
      Results results;
      results.code.resize(codebook->code_bytes());
      codebook->Encode(x, results.code);
      results.decoded.resize(x.size());
      codebook->Decode(results.code, results.decoded);
      const auto query = codebook->Prepare(q);
      query->Scan(blocks, results.scanned);
      query->Score(codes, nodes, results.scored);
      return results;
    };
    const Results here = compute();
    Choose(HWY_SCALAR);
    const Results scalar = compute();
    Choose(GetParam());
    EXPECT_EQ(here.code, scalar.code);
    EXPECT_EQ(here.decoded, scalar.decoded);
    EXPECT_EQ(here.scanned, scalar.scanned);
    EXPECT_EQ(here.scored, scalar.scored);
    for (size_t i = 0; i < kCount; ++i) {
      EXPECT_EQ(here.scored[i], here.scanned[nodes[i]]);
    }
  }
}

// Tables of 255 throughout add to what 16 bits just hold.
TEST_P(CodebookTarget, LargestSumsDoNotOverflow) {
  std::mt19937 random(7);
  for (const int bits : {4, 8}) {
    const CodeShape shape{.subquantizers = 256, .bits = bits};
    CodebookParts parts = RandomParts(256, shape, random);
    std::fill(parts.rotation.begin(), parts.rotation.end(), 0.0f);
    for (size_t i = 0; i < 256; ++i) {
      parts.rotation[i * 256 + i] = 1;
      for (size_t k = 0; k < shape.centroid_count(); ++k) {
        parts.centroids[i * shape.centroid_count() + k] =
            k + 1 == shape.centroid_count() ? 1.0f : 0.0f;
      }
    }
    parts.scales[255] = 1000;
    const auto codebook = Codebook::FromParts(parts);
    const std::vector<uint8_t> codes(codebook->code_bytes() * 64 * 5, 0xFF);
    std::vector<float> estimates(64 * 5);
    codebook->Prepare(std::vector<float>(256, 1.0f / 16))
        ->Scan(codebook->ToBlocks(codes), estimates);
    EXPECT_THAT(estimates, testing::Each(testing::FloatNear(16000, 0.1f)));
  }
}

TEST(Codebook, ScansOfAnyLengthAreTheBeginningOfALongerOne) {
  std::mt19937 random(8);
  const auto codebook = Codebook::FromParts(
      RandomParts(64, {.subquantizers = 8, .bits = 4}, random));
  constexpr size_t kCount = 64 * 20;
  const std::vector<uint8_t> codes = RandomCodes(*codebook, kCount, random);
  const auto query = codebook->Prepare(RandomUnitVector(64, random));
  std::vector<float> all(kCount);
  query->Scan(codebook->ToBlocks(codes), all);
  for (const size_t count : {0u, 1u, 63u, 64u, 65u, 1023u, 1024u, 1025u}) {
    SCOPED_TRACE(count);
    std::vector<float> some(count);
    query->Scan(codebook->ToBlocks(
                    std::span(codes).first(count * codebook->code_bytes())),
                some);
    EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin()));
  }
}

TEST(CodebookFormat, WhatIsWrittenIsRead) {
  std::mt19937 random(9);
  for (const Case& c : kCases) {
    SCOPED_TRACE(Describe(c));
    const auto codebook =
        Codebook::FromParts(RandomParts(c.dimension, c.shape, random));
    const std::string bytes = codebook->Serialize();
    const auto parsed = Codebook::Parse(bytes);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ((*parsed)->Serialize(), bytes);
    EXPECT_EQ((*parsed)->hash(), codebook->hash());
    EXPECT_EQ((*parsed)->shape(), c.shape);
    EXPECT_EQ((*parsed)->dimension(), c.dimension);
    Sha256 hash;
    hash.Update(bytes);
    EXPECT_EQ(codebook->hash(), hash.FinishContent());
  }
}

std::string SmallCodebook() {
  std::mt19937 random(10);
  return Codebook::FromParts(
             RandomParts(6, {.subquantizers = 2, .bits = 4}, random))
      ->Serialize();
}

TEST(CodebookFormat, EveryTruncationIsDataLoss) {
  const std::string bytes = SmallCodebook();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(Codebook::Parse(bytes.substr(0, size)).status().code(),
              absl::StatusCode::kDataLoss)
        << size;
  }
  EXPECT_EQ(Codebook::Parse(bytes + '\0').status().code(),
            absl::StatusCode::kDataLoss);
}

TEST(CodebookFormat, EveryFlippedBitIsDataLoss) {
  std::string bytes = SmallCodebook();
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      const char sound = bytes[i];
      bytes[i] = static_cast<char>(sound ^ (1 << bit));
      EXPECT_EQ(Codebook::Parse(bytes).status().code(),
                absl::StatusCode::kDataLoss)
          << "byte " << i << " bit " << bit;
      bytes[i] = sound;
    }
  }
}

// `bytes` with the 32 bits at `offset` replaced, and the checksum that covers
// [first, end) and follows it made right.
std::string Forge(std::string bytes, size_t offset, uint32_t value,
                  size_t first, size_t end) {
  std::string word;
  PutFixed32(value, word);
  bytes.replace(offset, word.size(), word);
  word.clear();
  PutFixed32(Crc32(std::string_view(bytes).substr(first, end - first)), word);
  bytes.replace(end, word.size(), word);
  return bytes;
}

TEST(CodebookFormat, HeadersThatLieAreDataLossWhateverTheirChecksum) {
  const std::string bytes = SmallCodebook();
  // Dimension, sub-quantisers, bits.
  for (const size_t offset : {12u, 16u, 20u}) {
    for (const uint32_t value :
         {0u, 3u, 7u, 8191u, 65537u, 0x7FFFFFFFu, 0x80000000u, 0xFFFFFFFFu}) {
      EXPECT_EQ(
          Codebook::Parse(Forge(bytes, offset, value, 0, 24)).status().code(),
          absl::StatusCode::kDataLoss)
          << offset << " " << value;
    }
  }
  EXPECT_EQ(Codebook::Parse(Forge(bytes, 8, 0, 0, 24)).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(Codebook::Parse(Forge(bytes, 8, 2, 0, 24)).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(CodebookFormat, ValuesThatNoEncoderWritesAreDataLoss) {
  const std::string bytes = SmallCodebook();
  const uint32_t nan =
      std::bit_cast<uint32_t>(std::numeric_limits<float>::quiet_NaN());
  const uint32_t infinity =
      std::bit_cast<uint32_t>(std::numeric_limits<float>::infinity());
  const size_t rotation = 28;
  const size_t centroids = rotation + 4 * 6 * 6 + 4;
  const size_t scales = centroids + 4 * 6 * 16 + 4;
  const size_t calibration = scales + 4 * 256 + 4;
  ASSERT_EQ(bytes.size(), calibration + 20);
  const auto fault = [&](size_t offset, uint32_t value, size_t first,
                         size_t end) {
    return Codebook::Parse(Forge(bytes, offset, value, first, end))
        .status()
        .ToString();
  };
  EXPECT_THAT(fault(rotation + 8, nan, rotation, centroids - 4),
              AllOf(HasSubstr("DATA_LOSS"), HasSubstr("\"rotation\""),
                    HasSubstr("element 2")));
  EXPECT_THAT(fault(centroids, infinity, centroids, scales - 4),
              AllOf(HasSubstr("DATA_LOSS"), HasSubstr("\"centroids\"")));
  EXPECT_THAT(fault(scales, 0, scales, calibration - 4),
              AllOf(HasSubstr("DATA_LOSS"), HasSubstr("\"scales\"")));
  EXPECT_THAT(
      fault(scales + 4, std::bit_cast<uint32_t>(1.0f), scales, calibration - 4),
      AllOf(HasSubstr("DATA_LOSS"), HasSubstr("\"scales\"")));
  for (const float shrinkage : {-1.0f, 0.5f, 4.0f, 1e9f}) {
    EXPECT_THAT(fault(calibration, std::bit_cast<uint32_t>(shrinkage),
                      calibration, bytes.size() - 4),
                AllOf(HasSubstr("DATA_LOSS"), HasSubstr("\"calibration\"")));
  }
  for (const size_t offset : {calibration + 8, calibration + 12}) {
    EXPECT_THAT(fault(offset, 0, calibration, bytes.size() - 4),
                AllOf(HasSubstr("DATA_LOSS"), HasSubstr("\"calibration\"")));
  }
  // So large that sums would overflow.
  EXPECT_THAT(
      fault(centroids, std::bit_cast<uint32_t>(-1e30f), centroids, scales - 4),
      AllOf(HasSubstr("DATA_LOSS"), HasSubstr("\"centroids\"")));
}

TEST(CodebookDeathTest, VectorsThatAreNotUnitVectorsAreBugs) {
  std::mt19937 random(11);
  const auto codebook = Codebook::FromParts(
      RandomParts(8, {.subquantizers = 2, .bits = 4}, random));
  std::vector<uint8_t> code(codebook->code_bytes());
  EXPECT_DEATH(codebook->Encode(std::vector<float>(8), code), "norm 0");
  EXPECT_DEATH(codebook->Encode(std::vector<float>(8, NAN), code), "norm");
}

}  // namespace
}  // namespace pith
