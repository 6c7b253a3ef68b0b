#include "core/codes/rotated_code.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hwy/targets.h"

#include "core/base/hash.h"

namespace pith {
namespace {

std::vector<float> RandomUnitVector(int dimension, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> vector(static_cast<size_t>(dimension));
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

double Dot(std::span<const float> a, std::span<const float> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

std::vector<uint8_t> Encode(const RotatedCodec& codec,
                            std::span<const float> vector) {
  std::vector<uint8_t> code(codec.code_bytes());
  codec.Encode(vector, code);
  return code;
}

RotatedQuery PrepareQuery(const RotatedCodec& codec,
                          std::span<const float> query) {
  return dynamic_cast<const RotatedQuery&>(*codec.Prepare(query));
}

float Estimate(const CodeQuery& query, std::span<const uint8_t> code) {
  float estimate = -1;
  query.Scan(code, std::span(&estimate, 1));
  return estimate;
}

int LevelOf(int nibble) {
  const int magnitudes[] = {6, 18, 31, 44, 58, 75, 96, 127};
  return nibble < 8 ? -magnitudes[7 - nibble] : magnitudes[nibble - 8];
}

// What the header says an estimate is, from the bytes that it documents.
float TwinScore(const RotatedQuery& query, std::span<const uint8_t> code) {
  const size_t words = query.coordinates().size() / 4;
  int64_t sum = 0;
  for (size_t i = 0; i < query.coordinates().size(); ++i) {
    const size_t word = i % words;
    const int bits = code[2 * word] + 256 * code[2 * word + 1];
    sum += query.coordinates()[i] * LevelOf(bits >> (4 * (i / words)) & 15);
  }
  EXPECT_EQ(static_cast<int32_t>(sum), sum);
  const int scale = code[2 * words] + 256 * code[2 * words + 1] - 0xC000;
  const float code_scale = std::ldexp(
      1.0f + static_cast<float>(scale % 1024) / 1024.0f, scale / 1024 - 16);
  return static_cast<float>(static_cast<int32_t>(sum)) *
         (query.scale() * code_scale);
}

// Every instruction set that this machine has, not only the one that dispatch
// would choose.
class RotatedCodecTarget : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override {
    hwy::SetSupportedTargetsForTest(GetParam());
    hwy::GetChosenTarget().DeInit();
  }
  void TearDown() override {
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().DeInit();
  }
};

INSTANTIATE_TEST_SUITE_P(All, RotatedCodecTarget,
                         testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const auto& test) {
                           return std::string(hwy::TargetName(test.param));
                         });

TEST_P(RotatedCodecTarget, ScoresEqualTheScalarTwinBitForBit) {
  std::mt19937 random(1);
  for (const int dimension :
       {1, 2, 17, 63, 64, 65, 128, 129, 192, 300, 384, 500, 768, 1000}) {
    SCOPED_TRACE(dimension);
    const RotatedCodec codec(dimension);
    const RotatedQuery query =
        PrepareQuery(codec, RandomUnitVector(dimension, random));
    for (const size_t count : {0, 1, 2, 3, 4, 5, 63, 64, 65, 131}) {
      // Any bytes, so that extremes occur; at an odd address.
      std::vector<uint8_t> bytes(1 + count * codec.code_bytes());
      for (uint8_t& byte : bytes) {
        byte = static_cast<uint8_t>(random());
      }
      for (size_t i = 1; i <= count; ++i) {
        bytes[i * codec.code_bytes()] |= 0xC0;
      }
      const std::span<const uint8_t> codes = std::span(bytes).subspan(1);
      std::vector<float> scores(count);
      query.Scan(codes, scores);
      std::vector<uint32_t> nodes(count);
      std::iota(nodes.rbegin(), nodes.rend(), 0u);
      std::vector<float> scored(count);
      query.Score(codes, nodes, scored);
      std::reverse(scored.begin(), scored.end());
      EXPECT_EQ(scored, scores);
      for (size_t i = 0; i < count; ++i) {
        const float twin = TwinScore(
            query, codes.subspan(i * codec.code_bytes(), codec.code_bytes()));
        EXPECT_EQ(std::bit_cast<uint32_t>(scores[i]),
                  std::bit_cast<uint32_t>(twin))
            << "code " << i << " of " << count << ": " << scores[i] << " and "
            << twin;
      }
    }
  }
}

// The largest sums that can occur: all coordinates alike, all nibbles 15 or 0.
TEST_P(RotatedCodecTarget, LargestSumsDoNotOverflow) {
  for (const int dimension : {384, 4096, 65536}) {
    SCOPED_TRACE(dimension);
    const RotatedCodec codec(dimension);
    const Rotation rotation(dimension, 0x70697468);
    const size_t size = static_cast<size_t>(dimension);
    std::vector<float> query(size);
    rotation.ApplyInverse(std::vector<float>(size, 1.0f), query);
    const RotatedQuery prepared = PrepareQuery(codec, query);
    for (const uint8_t byte : {uint8_t{0x00}, uint8_t{0xFF}}) {
      std::vector<uint8_t> code(codec.code_bytes(), byte);
      code.back() = 0xFF;
      const float score = Estimate(prepared, code);
      EXPECT_EQ(score, TwinScore(prepared, code));
      EXPECT_EQ(score > 0, byte == 0xFF);
    }
  }
}

TEST(RotatedCodec, CodeIsHalfAByteACoordinateAndTwoBytes) {
  EXPECT_EQ(RotatedCodec(384).code_bytes(), 194u);
  EXPECT_EQ(RotatedCodec(1).code_bytes(), 34u);
  EXPECT_EQ(RotatedCodec(65).code_bytes(), 66u);
}

TEST(RotatedCodec, DecodesAtACosineOf995) {
  std::mt19937 random(2);
  for (const int dimension : {64, 100, 384, 768}) {
    SCOPED_TRACE(dimension);
    const RotatedCodec codec(dimension);
    double sum = 0;
    for (int i = 0; i < 200; ++i) {
      const std::vector<float> vector = RandomUnitVector(dimension, random);
      std::vector<float> decoded(vector.size());
      codec.Decode(Encode(codec, vector), decoded);
      EXPECT_NEAR(Dot(decoded, decoded), 1.0, 1e-5);
      const double cosine = Dot(vector, decoded);
      EXPECT_GT(cosine, 0.98);
      sum += cosine;
    }
    EXPECT_GT(sum / 200, 0.9947);
  }
}

// Vectors that are anything but Gaussian: the rotation has to make them so.
TEST(RotatedCodec, SparseAndConstantVectorsDecodeAsWell) {
  for (const int dimension : {1, 2, 64, 384, 1000}) {
    SCOPED_TRACE(dimension);
    const RotatedCodec codec(dimension);
    const size_t size = static_cast<size_t>(dimension);
    std::vector<std::vector<float>> vectors(3, std::vector<float>(size));
    vectors[0][0] = 1;
    vectors[1][size - 1] = -1;
    vectors[2].assign(size, 1.0f / std::sqrt(static_cast<float>(dimension)));
    for (const std::vector<float>& vector : vectors) {
      std::vector<float> decoded(size);
      codec.Decode(Encode(codec, vector), decoded);
      EXPECT_GT(Dot(vector, decoded), 0.985);
    }
  }
}

TEST(RotatedCodec, ScaleBeforeRoundingIsNearlyTheBest) {
  constexpr int kDimension = 384;
  std::mt19937 random(3);
  const RotatedCodec codec(kDimension);
  const Rotation rotation(kDimension, 0x70697468);
  for (int i = 0; i < 20; ++i) {
    const std::vector<float> vector = RandomUnitVector(kDimension, random);
    std::vector<float> rotated(kDimension);
    rotation.Apply(vector, rotated);
    double best = 0;
    for (double factor = 200; factor < 4000; factor += 1) {
      double product = 0;
      double square = 0;
      for (const float value : rotated) {
        const double magnitude = std::abs(static_cast<double>(value));
        int nibble = 8;
        while (nibble < 15 && 2 * magnitude * factor >=
                                  LevelOf(nibble) + LevelOf(nibble + 1)) {
          ++nibble;
        }
        const double level = LevelOf(nibble);
        product += magnitude * level;
        square += level * level;
      }
      best = std::max(best, product / std::sqrt(square));
    }
    const std::vector<uint8_t> code = Encode(codec, vector);
    double product = 0;
    double square = 0;
    for (size_t j = 0; j < kDimension; ++j) {
      const size_t word = j % 96;
      const int bits = code[2 * word] + 256 * code[2 * word + 1];
      const double level = LevelOf(bits >> (4 * (j / 96)) & 15);
      product += static_cast<double>(rotated[j]) * level;
      square += level * level;
    }
    EXPECT_GT(product / std::sqrt(square), best - 2e-4);
  }
}

TEST(RotatedCodec, EstimateOfAVectorWithItselfIsItsSquaredNorm) {
  std::mt19937 random(4);
  for (const int dimension : {1, 64, 100, 384, 1000}) {
    SCOPED_TRACE(dimension);
    const RotatedCodec codec(dimension);
    for (int i = 0; i < 20; ++i) {
      const std::vector<float> vector = RandomUnitVector(dimension, random);
      const float score =
          Estimate(*codec.Prepare(vector), Encode(codec, vector));
      EXPECT_NEAR(score, 1.0f, 5e-4f);
    }
  }
}

// Query and vector at cosines from -0.9 to 0.9: the mean error must vanish as
// 1/sqrt(n), the spread is what 4 bits give.
TEST(RotatedCodec, EstimatesAreUnbiasedWithASmallSpread) {
  constexpr int kDimension = 384;
  constexpr int kPairs = 2000;
  std::mt19937 random(5);
  const RotatedCodec codec(kDimension);
  for (const double cosine : {-0.9, 0.0, 0.5, 0.9}) {
    SCOPED_TRACE(cosine);
    double sum = 0;
    double squares = 0;
    double predicted = 0;
    for (int i = 0; i < kPairs; ++i) {
      const std::vector<float> vector = RandomUnitVector(kDimension, random);
      std::vector<float> query = RandomUnitVector(kDimension, random);
      for (size_t j = 0; j < query.size(); ++j) {
        query[j] = static_cast<float>(cosine * static_cast<double>(vector[j]) +
                                      std::sqrt(1 - cosine * cosine) *
                                          static_cast<double>(query[j]));
      }
      const std::vector<uint8_t> code = Encode(codec, vector);
      const float score = Estimate(*codec.Prepare(query), code);
      const double error = static_cast<double>(score) - Dot(query, vector);
      predicted += static_cast<double>(codec.ErrorOf(code).spread);
      sum += error;
      squares += error * error;
    }
    const double spread = std::sqrt(squares / kPairs);
    EXPECT_LT(spread, 0.0055);
    // Which says so itself, but for the query's part along x, which has no
    // error.
    EXPECT_NEAR(spread / (predicted / kPairs), std::sqrt(1 - cosine * cosine),
                0.05);
    EXPECT_LT(std::abs(sum / kPairs), 4 * spread / std::sqrt(kPairs));
  }
}

TEST(RotatedCodec, ScoresScaleWithTheQuery) {
  std::mt19937 random(6);
  const RotatedCodec codec(100);
  const std::vector<float> vector = RandomUnitVector(100, random);
  const std::vector<uint8_t> code = Encode(codec, vector);
  for (const float norm : {0.0f, 1e-3f, 1e3f}) {
    std::vector<float> query = vector;
    for (float& value : query) {
      value *= norm;
    }
    const float score = Estimate(*codec.Prepare(query), code);
    EXPECT_NEAR(score, norm, 5e-4f * norm);
  }
}

std::vector<float> SawTooth() {
  std::vector<float> vector(100);
  double square = 0;
  for (size_t i = 0; i < vector.size(); ++i) {
    vector[i] = static_cast<float>(i % 7) - 2.5f;
    square += static_cast<double>(vector[i] * vector[i]);
  }
  for (float& value : vector) {
    value /= static_cast<float>(std::sqrt(square));
  }
  return vector;
}

// These bytes are on disk in every collection.
TEST(RotatedCodec, CodesKeepTheirBytes) {
  EXPECT_EQ(
      ToHex(Encode(RotatedCodec(100), SawTooth())),
      "2b2e588543c86299973d63d84df58a33294585c8b4547c752672cda67a7b768b3dbbe6cd"
      "4a4cea7e5a34966e92d5b3a263d047c5b368622f59a65859511a46dfdfda");
}

// And these in those of before store format 5.
TEST(RotatedCodec, RenewsCodesOfUniformLevels) {
  const std::string old = absl::HexStringToBytes(
      "3a3d688654b87399974c74c85cf68944385686b8a5657b753773bc97797a778a4caad6bc"
      "595bd97d6945867d94b5a49464c057b5a468633f58976869622956cf787d");
  const RotatedCodec codec(100);
  std::vector<uint8_t> code(old.begin(), old.end());
  codec.Renew(code);
  std::vector<float> decoded(100);
  codec.Decode(code, decoded);
  EXPECT_GT(Dot(decoded, SawTooth()), 0.985);
  EXPECT_NEAR(Estimate(*codec.Prepare(SawTooth()), code), 1.0f, 0.004f);
  EXPECT_GT(codec.ErrorOf(code).spread,
            1.2f * codec.ErrorOf(Encode(codec, SawTooth())).spread);

  const std::vector<uint8_t> renewed = code;
  codec.Renew(code);
  EXPECT_EQ(code, renewed);
  std::vector<uint8_t> fresh = Encode(codec, SawTooth());
  codec.Renew(fresh);
  EXPECT_EQ(fresh, Encode(codec, SawTooth()));
}

// Whatever the bytes.
TEST(RotatedCodec, RenewsAnythingIntoACode) {
  std::mt19937 random(7);
  for (const int dimension : {1, 65, 384}) {
    const RotatedCodec codec(dimension);
    for (int i = 0; i < 200; ++i) {
      std::vector<uint8_t> code(codec.code_bytes());
      std::generate(code.begin(), code.end(), [&] {
        return static_cast<uint8_t>(i % 2 == 0 ? random() : i);
      });
      codec.Renew(code);
      EXPECT_GE(code.back(), 0xC0);
    }
  }
}

TEST(RotatedCodecDeathTest, VectorsThatAreNotUnitVectorsAreBugs) {
  const RotatedCodec codec(64);
  std::vector<uint8_t> code(codec.code_bytes());
  EXPECT_DEATH(codec.Encode(std::vector<float>(64), code), "norm 0");
  EXPECT_DEATH(codec.Encode(std::vector<float>(64, NAN), code), "norm");
}

}  // namespace
}  // namespace pith
