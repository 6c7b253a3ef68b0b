#include "embedder/onednn/encoder_kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hwy/highway.h"

namespace pith {
namespace {

using ::testing::Each;

// Runs `test` once with each instruction set that this CPU and this build have.
template <typename Test>
void OnEveryTarget(const Test& test) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    test();
  }
  hwy::SetSupportedTargetsForTest(0);
}

std::vector<float> RandomValues(size_t count, unsigned seed,
                                float deviation = 1, float mean = 0) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(mean, deviation);
  std::vector<float> values(count);
  for (float& value : values) {
    value = normal(random);
  }
  return values;
}

double Dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum += double{a[i]} * double{b[i]};
  }
  return sum;
}

constexpr size_t kRotatedSizes[] = {16, 48, 80, 96, 384, 768, 1536};

// Entry (i, j) of the rotation, from its definition.
double RotationEntry(const InputRotation& rotation, size_t i, size_t j) {
  const auto block = rotation.block();
  const double blocks =
      static_cast<double>(rotation.size()) / static_cast<double>(block);
  const double hadamard =
      (std::popcount((i % block) & (j % block)) % 2 == 0 ? 1 : -1) /
      std::sqrt(static_cast<double>(block));
  // What the reflection makes of block j / block in block i / block.
  const double mix =
      blocks == 1 ? 1 : (i / block == j / block ? 1.0 : 0.0) - 2 / blocks;
  return mix * hadamard * double{rotation.signs()[j]};
}

std::vector<double> RotateByDefinition(const InputRotation& rotation,
                                       const std::vector<float>& row) {
  std::vector<double> rotated(row.size());
  for (size_t i = 0; i < row.size(); ++i) {
    for (size_t j = 0; j < row.size(); ++j) {
      rotated[i] += RotationEntry(rotation, i, j) * double{row[j]};
    }
  }
  return rotated;
}

TEST(InputRotation, BlocksAreTheLargestPowerOfTwoThatDividesTheSize) {
  EXPECT_EQ(InputRotation(16).block(), 16u);
  EXPECT_EQ(InputRotation(80).block(), 16u);
  EXPECT_EQ(InputRotation(384).block(), 128u);
  EXPECT_EQ(InputRotation(1024).block(), 1024u);
  EXPECT_EQ(InputRotation(1536).block(), 512u);
}

TEST(InputRotation, SignsAreMixed) {
  for (const size_t size : kRotatedSizes) {
    const InputRotation rotation(size);
    int negative = 0;
    for (const float sign : rotation.signs()) {
      ASSERT_EQ(std::abs(sign), 1.0f);
      negative += sign < 0 ? 1 : 0;
    }
    const double expected = static_cast<double>(size) / 2;
    EXPECT_NEAR(negative, expected, 2 * std::sqrt(static_cast<double>(size)));
  }
}

TEST(Rotate, IsTheMapThatIsDocumented) {
  for (const size_t size : kRotatedSizes) {
    SCOPED_TRACE(size);
    const InputRotation rotation(size);
    const std::vector<float> row = RandomValues(size, 1);
    const std::vector<double> expected = RotateByDefinition(rotation, row);
    OnEveryTarget([&] {
      std::vector<float> rotated = row;
      Rotate(rotation, rotated);
      for (size_t i = 0; i < size; ++i) {
        ASSERT_NEAR(rotated[i], expected[i], 3e-6) << i;
      }
    });
  }
}

TEST(Rotate, KeepsInnerProducts) {
  for (const size_t size : kRotatedSizes) {
    SCOPED_TRACE(size);
    const InputRotation rotation(size);
    const std::vector<float> a = RandomValues(size, 2);
    const std::vector<float> b = RandomValues(size, 3);
    OnEveryTarget([&] {
      std::vector<float> rotated_a = a;
      std::vector<float> rotated_b = b;
      Rotate(rotation, rotated_a);
      Rotate(rotation, rotated_b);
      const double tolerance = 1e-6 * std::sqrt(Dot(a, a) * Dot(b, b));
      EXPECT_NEAR(Dot(rotated_a, rotated_b), Dot(a, b), tolerance);
      EXPECT_NEAR(Dot(rotated_a, rotated_a), Dot(a, a), tolerance);
    });
  }
}

TEST(Rotate, IsUndoneByItsTranspose) {
  for (const size_t size : kRotatedSizes) {
    SCOPED_TRACE(size);
    const InputRotation rotation(size);
    const std::vector<float> row = RandomValues(size, 4);
    std::vector<float> rotated = row;
    Rotate(rotation, rotated);
    std::vector<float> axis(size);
    for (size_t i = 0; i < size; ++i) {
      std::fill(axis.begin(), axis.end(), 0.0f);
      axis[i] = 1;
      Rotate(rotation, axis);
      // Row i of the transpose.
      ASSERT_NEAR(Dot(axis, rotated), row[i], 5e-6) << i;
    }
  }
}

TEST(Rotate, SpreadsAnOutlierOverAllValues) {
  for (const size_t size : kRotatedSizes) {
    SCOPED_TRACE(size);
    const InputRotation rotation(size);
    const double even = 1 / std::sqrt(static_cast<double>(size));
    std::vector<float> axis(size);
    axis[size / 3] = 1;
    Rotate(rotation, axis);
    for (const float value : axis) {
      // Three blocks: 0.58 in the outlier's own and 1.15 in the others; five:
      // 1.34 and 0.89.
      ASSERT_NEAR(std::abs(double{value}) / even, 1, 0.45);
    }
  }
}

TEST(RotateAndQuantize, IsWithinHalfAStepOfTheRotation) {
  for (const size_t size : kRotatedSizes) {
    SCOPED_TRACE(size);
    const InputRotation rotation(size);
    for (const float deviation : {1e-6f, 1.0f, 1e6f}) {
      const std::vector<float> row = RandomValues(size, 5, deviation);
      const std::vector<double> expected = RotateByDefinition(rotation, row);
      OnEveryTarget([&] {
        std::vector<float> room(size);
        std::vector<int8_t> rounded(size);
        const double scale =
            RotateAndQuantize(rotation, row.data(), room, rounded.data());
        int largest = 0;
        for (size_t i = 0; i < size; ++i) {
          ASSERT_NEAR(scale * rounded[i], expected[i], 0.5005 * scale) << i;
          largest = std::max(largest, std::abs(rounded[i]));
        }
        EXPECT_EQ(largest, 127);
      });
    }
  }
}

TEST(RotateAndQuantize, LosesLittleToAnOutlier) {
  constexpr size_t kSize = 384;
  const InputRotation rotation(kSize);
  std::vector<float> row = RandomValues(kSize, 6);
  row[100] = 100;
  // Without a rotation the step would be 100 / 127, larger than most values.
  OnEveryTarget([&] {
    std::vector<float> room(kSize);
    std::vector<int8_t> rounded(kSize);
    const float scale =
        RotateAndQuantize(rotation, row.data(), room, rounded.data());
    EXPECT_LT(scale, 0.15 * 100 / 127);
  });
}

TEST(RotateAndQuantize, AZeroRowStaysOne) {
  const InputRotation rotation(96);
  const std::vector<float> row(96, 0.0f);
  OnEveryTarget([&] {
    std::vector<float> room(96, 5.0f);
    std::vector<int8_t> rounded(96, 5);
    EXPECT_EQ(RotateAndQuantize(rotation, row.data(), room, rounded.data()), 0);
    EXPECT_THAT(rounded, Each(0));
  });
}

float FromBf16(uint16_t bits) {
  return std::bit_cast<float>(uint32_t{bits} << 16);
}

TEST(RoundToBf16, TakesTheNearestAndTheEvenOfTwo) {
  struct Case {
    uint32_t value;
    uint16_t rounded;
  };
  const Case cases[] = {
      {0x00000000, 0x0000}, {0x80000000, 0x8000},
      {0x3F800000, 0x3F80},                        // 1
      {0x3F808000, 0x3F80}, {0xBF808000, 0xBF80},  // ties, down to even
      {0x3F818000, 0x3F82}, {0xBF818000, 0xBF82},  // ties, up to even
      {0x3F807FFF, 0x3F80}, {0x3F808001, 0x3F81},  // beside a tie
      {0xBF807FFF, 0xBF80}, {0xBF808001, 0xBF81},
      {0x3FFFFFFF, 0x4000},                        // into the next exponent
      {0x00008000, 0x0000}, {0x00018000, 0x0002},  // below the normal numbers
      {0x7F7F7FFF, 0x7F7F},                        // the largest that fits
      {0x7F7FFFFF, 0x7F80}, {0x7F800000, 0x7F80},  // infinite
  };
  std::vector<float> values(32);
  for (size_t i = 0; i < std::size(cases); ++i) {
    values[i] = std::bit_cast<float>(cases[i].value);
  }
  OnEveryTarget([&] {
    std::vector<uint16_t> rounded(values.size());
    RoundToBf16(values, rounded.data());
    for (size_t i = 0; i < std::size(cases); ++i) {
      EXPECT_EQ(rounded[i], cases[i].rounded) << std::hex << cases[i].value;
    }
  });
}

TEST(RoundToBf16, NoNeighbourIsNearer) {
  const std::vector<float> values = RandomValues(4096, 7, 100);
  OnEveryTarget([&] {
    std::vector<uint16_t> rounded(values.size());
    RoundToBf16(values, rounded.data());
    for (size_t i = 0; i < values.size(); ++i) {
      const auto distance = [&](int step) {
        return std::abs(FromBf16(static_cast<uint16_t>(rounded[i] + step)) -
                        values[i]);
      };
      ASSERT_LE(distance(0), std::min(distance(-1), distance(1))) << values[i];
    }
  });
}

struct Norm {
  std::vector<float> weight;
  std::vector<float> bias;
  float epsilon;

  NormView view() const {
    return {.weight = weight.data(), .bias = bias.data(), .epsilon = epsilon};
  }
};

Norm RandomNorm(size_t size, float epsilon) {
  return {.weight = RandomValues(size, 11, 0.3f, 1),
          .bias = RandomValues(size, 12, 0.3f),
          .epsilon = epsilon};
}

std::vector<double> NormalizeByDefinition(const std::vector<double>& row,
                                          const Norm& norm) {
  const double count = static_cast<double>(row.size());
  double mean = 0;
  double mean_square = 0;
  for (const double value : row) {
    mean += value / count;
    mean_square += value * value / count;
  }
  const double deviation =
      std::sqrt(mean_square - mean * mean + double{norm.epsilon});
  std::vector<double> normalized;
  for (size_t i = 0; i < row.size(); ++i) {
    normalized.push_back((row[i] - mean) / deviation * double{norm.weight[i]} +
                         double{norm.bias[i]});
  }
  return normalized;
}

constexpr size_t kRowSizes[] = {16, 48, 384, 1024};

TEST(AddAndNormalize, IsTheNormOfTheSum) {
  for (const size_t size : kRowSizes) {
    // An epsilon that counts, and one that does not; a row whose mean is not
    // near zero.
    for (const float epsilon : {1e-12f, 0.5f}) {
      SCOPED_TRACE(testing::Message() << size << " " << epsilon);
      const Norm norm = RandomNorm(size, epsilon);
      const std::vector<float> row = RandomValues(size, 13, 1, 4);
      const std::vector<float> product = RandomValues(size, 14, 50);
      const std::vector<float> bias = RandomValues(size, 15);
      constexpr float kScale = 0.02f;
      std::vector<double> sum;
      for (size_t i = 0; i < size; ++i) {
        sum.push_back(double{row[i]} + double{kScale} * double{product[i]} +
                      double{bias[i]});
      }
      const std::vector<double> expected = NormalizeByDefinition(sum, norm);
      OnEveryTarget([&] {
        std::vector<float> out = row;
        AddAndNormalize(out, product.data(), kScale, bias.data(), norm.view());
        for (size_t i = 0; i < size; ++i) {
          ASSERT_NEAR(out[i], expected[i], 5e-6) << i;
        }
      });
    }
  }
}

TEST(AddAndNormalize, ARowWithoutVarianceBecomesTheBias) {
  const Norm norm = RandomNorm(48, 1e-12f);
  const std::vector<float> zeros(48, 0.0f);
  const std::vector<float> twos(48, 2.0f);
  OnEveryTarget([&] {
    std::vector<float> out = twos;
    AddAndNormalize(out, zeros.data(), 1, zeros.data(), norm.view());
    EXPECT_EQ(out, norm.bias);
  });
}

TEST(EmbedToken, IsTheNormOfTheSum) {
  for (const size_t size : kRowSizes) {
    SCOPED_TRACE(size);
    const Norm norm = RandomNorm(size, 1e-3f);
    // As small as words' embeddings are.
    const std::vector<float> first = RandomValues(size, 16, 0.05f);
    const std::vector<float> second = RandomValues(size, 17, 0.02f);
    std::vector<double> sum;
    for (size_t i = 0; i < size; ++i) {
      sum.push_back(double{first[i]} + double{second[i]});
    }
    const std::vector<double> expected = NormalizeByDefinition(sum, norm);
    OnEveryTarget([&] {
      std::vector<float> out(size);
      EmbedToken(first.data(), second.data(), norm.view(), out);
      for (size_t i = 0; i < size; ++i) {
        ASSERT_NEAR(out[i], expected[i], 3e-6) << i;
      }
    });
  }
}

double ActivateByDefinition(Activation activation, double x) {
  switch (activation) {
    case Activation::kGelu:
      return x / 2 * std::erfc(-x / std::numbers::sqrt2);
    case Activation::kGeluTanh:
      return x / 2 *
             (1 + std::tanh(std::sqrt(2 / std::numbers::pi) *
                            (x + 0.044715 * x * x * x)));
    case Activation::kRelu:
      return x > 0 ? x : 0;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

TEST(Activate, IsTheFunctionEverywhere) {
  // Densely where the functions bend, then beyond where they are straight.
  std::vector<float> points;
  for (int i = -8000; i < 8000; ++i) {
    points.push_back(static_cast<float>(i) / 1000);
  }
  for (const float large : {20.0f, 100.0f, 1e4f, 1e10f, 1e20f, 1e30f}) {
    points.push_back(large);
    points.push_back(-large);
  }
  points.resize((points.size() + kLaneMultiple - 1) / kLaneMultiple *
                kLaneMultiple);
  const std::vector<float> bias(points.size(), 0.0f);
  for (const Activation activation :
       {Activation::kGelu, Activation::kGeluTanh, Activation::kRelu}) {
    SCOPED_TRACE(static_cast<int>(activation));
    OnEveryTarget([&] {
      std::vector<float> values = points;
      Activate(activation, 1, bias.data(), values);
      for (size_t i = 0; i < points.size(); ++i) {
        const double x = points[i];
        ASSERT_NEAR(values[i], ActivateByDefinition(activation, x),
                    3e-7 * std::max(1.0, std::abs(x)))
            << x;
      }
    });
  }
}

TEST(Activate, ScalesAndShiftsFirst) {
  const std::vector<float> input = RandomValues(384, 18, 300);
  const std::vector<float> bias = RandomValues(384, 19);
  constexpr float kScale = 0.01f;
  for (const Activation activation :
       {Activation::kGelu, Activation::kGeluTanh, Activation::kRelu}) {
    SCOPED_TRACE(static_cast<int>(activation));
    OnEveryTarget([&] {
      std::vector<float> values = input;
      Activate(activation, kScale, bias.data(), values);
      for (size_t i = 0; i < input.size(); ++i) {
        const double x = double{kScale} * double{input[i]} + double{bias[i]};
        ASSERT_NEAR(values[i], ActivateByDefinition(activation, x), 4e-6) << x;
      }
    });
  }
}

// A text's queries, keys and values, one matrix of `length` rows, as a product
// leaves them.
struct AttentionText {
  size_t length;
  size_t heads;
  size_t head_size;
  std::vector<float> product;
  std::vector<float> scales;
  std::vector<float> bias;

  size_t hidden() const { return heads * head_size; }
  AttentionInput input() const {
    return {.product = product.data(),
            .scales = scales.data(),
            .bias = bias.data(),
            .length = length,
            .heads = heads,
            .head_size = head_size};
  }
  // Value `i` of part `part` (0 for queries, 1 for keys, 2 for values).
  double At(size_t token, size_t part, size_t i) const {
    const size_t column = part * hidden() + i;
    return double{scales[token]} *
               double{product[token * 3 * hidden() + column]} +
           double{bias[column]};
  }
};

// Scores have a deviation of about `sharpness`.
AttentionText RandomText(size_t length, size_t heads, size_t head_size,
                         double sharpness = 1) {
  const size_t width = 3 * heads * head_size;
  const unsigned seed = static_cast<unsigned>(length * 1000 + head_size);
  AttentionText text = {.length = length,
                        .heads = heads,
                        .head_size = head_size,
                        .product = RandomValues(length * width, seed),
                        .scales = RandomValues(length, seed + 1, 0.1f, 0.5f),
                        .bias = RandomValues(width, seed + 2, 0.5f)};
  const float factor = static_cast<float>(
      2 * std::sqrt(sharpness / std::sqrt(static_cast<double>(head_size))));
  for (size_t t = 0; t < length; ++t) {
    for (size_t i = 0; i < 2 * heads * head_size; ++i) {
      text.product[t * width + i] *= factor;
    }
  }
  return text;
}

// What token `query` reads in head `head`: head_size values.
std::vector<double> AttendByDefinition(const AttentionText& text, size_t head,
                                       size_t query) {
  const size_t first = head * text.head_size;
  std::vector<double> scores(text.length);
  for (size_t key = 0; key < text.length; ++key) {
    for (size_t i = first; i < first + text.head_size; ++i) {
      scores[key] += text.At(query, 0, i) * text.At(key, 1, i);
    }
  }
  const double largest = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  std::vector<double> average(text.head_size);
  for (size_t key = 0; key < text.length; ++key) {
    const double weight = std::exp(scores[key] - largest);
    sum += weight;
    for (size_t i = 0; i < text.head_size; ++i) {
      average[i] += weight * text.At(key, 2, first + i);
    }
  }
  for (double& value : average) {
    value /= sum;
  }
  return average;
}

// With one scratch for all, as an engine uses it.
void ExpectAttention(const AttentionText& text, double tolerance,
                     AttentionScratch& scratch) {
  const size_t hidden = text.hidden();
  // Values behind the text's rows are to stay as they are.
  std::vector<float> out(text.length * hidden + kLaneMultiple, -77.0f);
  AttendWithinText(text.input(), scratch, out.data());
  for (size_t t = 0; t < text.length; ++t) {
    for (size_t h = 0; h < text.heads; ++h) {
      const std::vector<double> expected = AttendByDefinition(text, h, t);
      for (size_t i = 0; i < text.head_size; ++i) {
        ASSERT_NEAR(out[t * hidden + h * text.head_size + i], expected[i],
                    tolerance)
            << "length " << text.length << ", token " << t << ", head " << h
            << ", value " << i;
      }
    }
  }
  for (size_t i = text.length * hidden; i < out.size(); ++i) {
    ASSERT_EQ(out[i], -77.0f);
  }
}

TEST(AttendWithinText, AveragesBySoftmaxForEveryLength) {
  OnEveryTarget([] {
    AttentionScratch scratch;
    // Falling, so that the scratch holds another text's remains.
    for (size_t length = 70; length > 0; --length) {
      ExpectAttention(RandomText(length, 2, 8), 3e-6, scratch);
    }
  });
}

TEST(AttendWithinText, TakesHeadsOfAnySize) {
  OnEveryTarget([] {
    AttentionScratch scratch;
    for (const size_t head_size : {12, 20, 32, 64}) {
      for (const size_t length : {1, 5, 16, 33}) {
        ExpectAttention(RandomText(length, 4, head_size), 3e-6, scratch);
      }
    }
    ExpectAttention(RandomText(9, 3, 5), 3e-6, scratch);
    ExpectAttention(RandomText(7, 16, 1), 3e-6, scratch);
  });
}

TEST(AttendWithinText, LargeScoresNeitherOverflowNorVanish) {
  OnEveryTarget([] {
    AttentionScratch scratch;
    // Scores of f32 are good to some 1e-7 of themselves, weights to as much as
    // the scores' error.
    ExpectAttention(RandomText(40, 2, 32, 30), 1e-4, scratch);
    ExpectAttention(RandomText(40, 2, 32, 1000), 5e-3, scratch);
  });
}

TEST(AttendWithinText, SmallWeightsAreGoodToTheirLastBits) {
  // Two tokens, heads of one value: each reads e^key against a key of 0 and a
  // value of 0, with keys that go through a whole power of two.
  constexpr size_t kHeads = 16;
  AttentionText text = {.length = 2,
                        .heads = kHeads,
                        .head_size = 1,
                        .product = std::vector<float>(6 * kHeads, 0.0f),
                        .scales = {1, 1},
                        .bias = std::vector<float>(3 * kHeads, 0.0f)};
  for (size_t h = 0; h < kHeads; ++h) {
    text.product[h] = 1;
    text.product[kHeads + h] = -2 - 0.045f * static_cast<float>(h);
    text.product[2 * kHeads + h] = 1;
  }
  OnEveryTarget([&] {
    AttentionScratch scratch;
    std::vector<float> out(2 * kHeads);
    AttendWithinText(text.input(), scratch, out.data());
    for (size_t h = 0; h < kHeads; ++h) {
      const double expected = AttendByDefinition(text, h, 0).front();
      ASSERT_NEAR(out[h], expected, 5e-7 * expected) << h;
    }
  });
}

TEST(AttendWithinText, AKeyFarAboveAllOthersTakesAll) {
  // Of one value a head: queries of 1, keys of 0 but one, values that tell.
  AttentionText text = RandomText(40, 16, 1);
  std::fill(text.product.begin(), text.product.end(), 0.0f);
  std::fill(text.scales.begin(), text.scales.end(), 1.0f);
  std::fill(text.bias.begin(), text.bias.end(), 0.0f);
  for (size_t t = 0; t < text.length; ++t) {
    for (size_t h = 0; h < text.heads; ++h) {
      float* row = &text.product[t * 48];
      row[h] = 1;
      row[16 + h] = t == 20 + h ? 1e6f : -1e6f;
      row[32 + h] = static_cast<float>(t);
    }
  }
  OnEveryTarget([&] {
    AttentionScratch scratch;
    std::vector<float> out(text.length * 16);
    AttendWithinText(text.input(), scratch, out.data());
    for (size_t i = 0; i < out.size(); ++i) {
      ASSERT_EQ(out[i], static_cast<float>(20 + i % 16)) << i;
    }
  });
}

}  // namespace
}  // namespace pith
