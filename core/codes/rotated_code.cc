#include "core/codes/rotated_code.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "glog/logging.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/codes/rotated_code.cc"
// clang-format off: foreach_target.h includes this file again for each target.
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The 16-bit words at `bytes`, which need not be aligned.
template <class DU>
HWY_INLINE hn::Vec<DU> LoadWords(DU du, const uint8_t* HWY_RESTRICT bytes) {
#if HWY_TARGET == HWY_SCALAR
  uint16_t word;
  hwy::CopyBytes<sizeof(word)>(bytes, &word);
  return hn::Set(du, word);
#else
  return hn::BitCast(du, hn::LoadU(hn::Repartition<uint8_t, DU>(), bytes));
#endif
}

// Adds to sums[c], for each of kCodes codes, the products of coordinates and
// nibbles in words [begin, end), a multiple of D's lanes.
template <size_t kCodes, class D>
HWY_INLINE void AddProducts(D d, const int16_t* HWY_RESTRICT coordinates,
                            size_t words, const uint8_t* const* codes,
                            size_t begin, size_t end,
                            int32_t* HWY_RESTRICT sums) {
  const hn::RebindToUnsigned<D> du;
  const hn::RepartitionToWide<D> d32;
  const auto mask = hn::Set(du, 0xF);
  // ReorderWidenMulAccumulate may use both.
  hn::Vec<decltype(d32)> sum0[kCodes];
  hn::Vec<decltype(d32)> sum1[kCodes];
  const uint8_t* bytes[kCodes];
  for (size_t c = 0; c < kCodes; ++c) {
    sum0[c] = hn::Zero(d32);
    sum1[c] = hn::Zero(d32);
    bytes[c] = codes[c];
  }
  for (size_t j = begin; j < end; j += hn::Lanes(d)) {
    const auto q0 = hn::LoadU(d, coordinates + j);
    const auto q1 = hn::LoadU(d, coordinates + words + j);
    const auto q2 = hn::LoadU(d, coordinates + 2 * words + j);
    const auto q3 = hn::LoadU(d, coordinates + 3 * words + j);
    for (size_t c = 0; c < kCodes; ++c) {
      const auto word = LoadWords(du, bytes[c] + 2 * j);
      const auto n0 = hn::BitCast(d, hn::And(word, mask));
      const auto n1 = hn::BitCast(d, hn::And(hn::ShiftRight<4>(word), mask));
      const auto n2 = hn::BitCast(d, hn::And(hn::ShiftRight<8>(word), mask));
      const auto n3 = hn::BitCast(d, hn::ShiftRight<12>(word));
      sum0[c] = hn::ReorderWidenMulAccumulate(d32, n0, q0, sum0[c], sum1[c]);
      sum0[c] = hn::ReorderWidenMulAccumulate(d32, n1, q1, sum0[c], sum1[c]);
      sum0[c] = hn::ReorderWidenMulAccumulate(d32, n2, q2, sum0[c], sum1[c]);
      sum0[c] = hn::ReorderWidenMulAccumulate(d32, n3, q3, sum0[c], sum1[c]);
    }
  }
  for (size_t c = 0; c < kCodes; ++c) {
    sums[c] += hn::GetLane(hn::SumOfLanes(d32, hn::Add(sum0[c], sum1[c])));
  }
}

template <size_t kCodes>
HWY_INLINE void SumProducts(const int16_t* HWY_RESTRICT coordinates,
                            size_t words, const uint8_t* const* codes,
                            int32_t* HWY_RESTRICT sums) {
  // A padded dimension is a multiple of 64, words of 16.
  const hn::ScalableTag<int16_t> d;
  const hn::CappedTag<int16_t, 16> d16;
  const size_t whole = words - words % hn::Lanes(d);
  std::fill_n(sums, kCodes, 0);
  AddProducts<kCodes>(d, coordinates, words, codes, 0, whole, sums);
  if (whole < words) {
    AddProducts<kCodes>(d16, coordinates, words, codes, whole, words, sums);
  }
}

// sums[i] is the integer product of `coordinates` and the nibbles of codes[i].
void SumAllProducts(const int16_t* coordinates, size_t words,
                    const uint8_t* const* codes, size_t count, int32_t* sums) {
  // Four codes share the loads of a query's coordinates.
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    SumProducts<4>(coordinates, words, codes + i, sums + i);
  }
  for (; i < count; ++i) {
    SumProducts<1>(coordinates, words, codes + i, sums + i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith {
namespace {

HWY_EXPORT(SumAllProducts);

// Part of the format: other signs are other codes.
constexpr uint64_t kRotationSeed = 0x70697468;
constexpr size_t kScaleBytes = 2;
// Codes that stay in the first-level cache between sums and estimates.
constexpr size_t kCodesAtATime = 64;
// A scale is the bits of a float from exponent -13 on, without the mantissa's
// last 11.
constexpr int kDroppedBits = 11;
constexpr uint32_t kSmallestScale = uint32_t{127 - 13} << 23;

// The cosine is flat around its maximum: 32 steps find it to within 1e-4 (as
// measured for dimensions from 64 to 4,096), and 0.994 for each code, where an
// exact search over all 7 x 384 critical values finds 1e-5 more and takes ten
// times as long. 1 is the step at which the largest coordinate just fits.
constexpr int kStepCount = 32;
constexpr float kFirstStep = 0.8f;
constexpr float kStepIncrement = 0.045f;

uint16_t LoadWord(const uint8_t* bytes) {
  return static_cast<uint16_t>(bytes[0] | bytes[1] << 8);
}

void StoreWord(uint32_t word, uint8_t* bytes) {
  bytes[0] = static_cast<uint8_t>(word);
  bytes[1] = static_cast<uint8_t>(word >> 8);
}

uint16_t EncodeScale(float scale) {
  const uint32_t bits = std::bit_cast<uint32_t>(scale);
  CHECK_GE(bits, kSmallestScale) << "scale " << scale;
  const uint32_t code =
      (bits - kSmallestScale + (1u << (kDroppedBits - 1))) >> kDroppedBits;
  CHECK_LE(code, 0xFFFFu) << "scale " << scale;
  return static_cast<uint16_t>(code);
}

float DecodeScale(uint16_t code) {
  return std::bit_cast<float>(kSmallestScale +
                              (uint32_t{code} << kDroppedBits));
}

// A coordinate's distance from zero in whole steps: its level less a half.
int WholeSteps(float magnitude, float inverse_step) {
  return std::min(static_cast<int>(magnitude * inverse_step), 7);
}

// The inverse of the step whose levels make the largest cosine with
// `magnitudes`.
float BestInverseStep(std::span<const float> magnitudes) {
  const float fitting =
      8.0f / *std::max_element(magnitudes.begin(), magnitudes.end());
  float best = 0;
  float best_cosine = 0;
  for (int i = 0; i < kStepCount; ++i) {
    const float inverse_step =
        fitting * (kFirstStep + kStepIncrement * static_cast<float>(i));
    float product = 0;
    float square = 0;
    for (const float magnitude : magnitudes) {
      const float level =
          static_cast<float>(WholeSteps(magnitude, inverse_step)) + 0.5f;
      product += magnitude * level;
      square += level * level;
    }
    const float cosine = product / std::sqrt(square);
    if (cosine > best_cosine) {
      best_cosine = cosine;
      best = inverse_step;
    }
  }
  return best;
}

}  // namespace

RotatedCodec::RotatedCodec(int dimension)
    : rotation_(dimension, kRotationSeed) {}

size_t RotatedCodec::code_bytes() const {
  return static_cast<size_t>(rotation_.padded_dimension()) / 2 + kScaleBytes;
}

void RotatedCodec::Encode(std::span<const float> vector,
                          std::span<uint8_t> code) const {
  CHECK_EQ(code.size(), code_bytes());
  const float norm = std::sqrt(
      std::inner_product(vector.begin(), vector.end(), vector.begin(), 0.0f));
  CHECK(norm > 0.99f && norm < 1.01f) << "norm " << norm;

  std::vector<float> rotated(static_cast<size_t>(rotation_.padded_dimension()));
  rotation_.Apply(vector, rotated);
  std::vector<float> magnitudes(rotated.size());
  std::transform(rotated.begin(), rotated.end(), magnitudes.begin(),
                 [](float value) { return std::abs(value); });
  const float inverse_step = BestInverseStep(magnitudes);

  const size_t words = rotated.size() / 4;
  float product = 0;
  for (size_t j = 0; j < words; ++j) {
    uint32_t word = 0;
    for (size_t part = 0; part < 4; ++part) {
      const size_t i = part * words + j;
      const int steps = WholeSteps(magnitudes[i], inverse_step);
      const int nibble = rotated[i] < 0 ? 7 - steps : 8 + steps;
      product += magnitudes[i] * (static_cast<float>(steps) + 0.5f);
      word |= static_cast<uint32_t>(nibble) << (4 * part);
    }
    StoreWord(word, &code[2 * j]);
  }
  StoreWord(EncodeScale(1.0f / product), &code[2 * words]);
}

void RotatedCodec::Decode(std::span<const uint8_t> code,
                          std::span<float> vector) const {
  CHECK_EQ(code.size(), code_bytes());
  std::vector<float> levels(static_cast<size_t>(rotation_.padded_dimension()));
  const size_t words = levels.size() / 4;
  for (size_t j = 0; j < words; ++j) {
    const uint32_t word = LoadWord(&code[2 * j]);
    for (size_t part = 0; part < 4; ++part) {
      levels[part * words + j] =
          static_cast<float>(word >> (4 * part) & 0xF) - 7.5f;
    }
  }
  rotation_.ApplyInverse(levels, vector);
  const float norm = std::sqrt(
      std::inner_product(vector.begin(), vector.end(), vector.begin(), 0.0f));
  for (float& value : vector) {
    value /= norm;
  }
}

std::unique_ptr<CodeQuery> RotatedCodec::Prepare(
    std::span<const float> query) const {
  std::vector<float> rotated(static_cast<size_t>(rotation_.padded_dimension()));
  rotation_.Apply(query, rotated);
  return std::make_unique<RotatedQuery>(rotated);
}

std::vector<uint8_t> RotatedCodec::ToBlocks(
    std::span<const uint8_t> codes) const {
  return {codes.begin(), codes.end()};
}

void RotatedCodec::CopyCode(std::span<const uint8_t> blocks, size_t index,
                            std::span<uint8_t> code) const {
  CHECK_EQ(code.size(), code_bytes());
  const std::span<const uint8_t> from =
      blocks.subspan(index * code.size(), code.size());
  std::copy(from.begin(), from.end(), code.begin());
}

EstimateError RotatedCodec::ErrorOf(std::span<const uint8_t> code) const {
  CHECK_EQ(code.size(), code_bytes());
  const size_t words = (code.size() - kScaleBytes) / 2;
  float square = 0;
  for (const uint8_t byte : code.first(2 * words)) {
    const float low = static_cast<float>(byte & 0xF) - 7.5f;
    const float high = static_cast<float>(byte >> 4) - 7.5f;
    square += low * low + high * high;
  }
  // The cosine between x and u is 1 / (scale * |u|). A rotation at random
  // spreads the part of u orthogonal to x evenly over all other dimensions.
  const float scale = DecodeScale(LoadWord(&code[2 * words]));
  const float tangent_square = std::max(scale * scale * square - 1.0f, 0.0f);
  return {.bias = 0,
          .spread = std::sqrt(tangent_square / static_cast<float>(4 * words))};
}

RotatedQuery::RotatedQuery(std::span<const float> rotated)
    : coordinates_(rotated.size()) {
  float largest = 0;
  float sum = 0;
  for (const float value : rotated) {
    largest = std::max(largest, std::abs(value));
    sum += std::abs(value);
  }
  if (!(largest > 0)) {
    return;
  }
  // As fine as 16 bits allow, and no finer than keeps twice the sum of
  // products, at most 30 times the sum of coordinates, within 31 bits.
  const float factor = std::min(32767.0f / largest, 7.0e7f / sum);
  int32_t coordinate_sum = 0;
  for (size_t i = 0; i < rotated.size(); ++i) {
    const auto coordinate =
        static_cast<int16_t>(std::lrint(rotated[i] * factor));
    coordinates_[i] = coordinate;
    coordinate_sum += coordinate;
  }
  offset_ = 15 * coordinate_sum;
  scale_ = 0.5f / factor;
}

size_t RotatedQuery::CodeBytes() const {
  return coordinates_.size() / 2 + kScaleBytes;
}

float RotatedQuery::Estimate(int32_t sum, const uint8_t* code) const {
  const float code_scale =
      DecodeScale(LoadWord(code + CodeBytes() - kScaleBytes));
  return static_cast<float>(2 * sum - offset_) * (scale_ * code_scale);
}

void RotatedQuery::Scan(std::span<const uint8_t> blocks,
                        std::span<float> out) const {
  CHECK_GE(blocks.size() / CodeBytes(), out.size());
  const uint8_t* codes[kCodesAtATime];
  int32_t sums[kCodesAtATime];
  for (size_t first = 0; first < out.size(); first += kCodesAtATime) {
    const size_t count = std::min(kCodesAtATime, out.size() - first);
    for (size_t i = 0; i < count; ++i) {
      codes[i] = blocks.data() + (first + i) * CodeBytes();
    }
    HWY_DYNAMIC_DISPATCH(SumAllProducts)
    (coordinates_.data(), coordinates_.size() / 4, codes, count, sums);
    for (size_t i = 0; i < count; ++i) {
      out[first + i] = Estimate(sums[i], codes[i]);
    }
  }
}

void RotatedQuery::Score(std::span<const uint8_t> codes,
                         std::span<const uint32_t> nodes,
                         std::span<float> out) const {
  CHECK_EQ(nodes.size(), out.size());
  const size_t code_count = codes.size() / CodeBytes();
  const uint8_t* chosen[kCodesAtATime];
  int32_t sums[kCodesAtATime];
  for (size_t first = 0; first < out.size(); first += kCodesAtATime) {
    const size_t count = std::min(kCodesAtATime, out.size() - first);
    for (size_t i = 0; i < count; ++i) {
      CHECK_LT(nodes[first + i], code_count);
      chosen[i] = codes.data() + nodes[first + i] * CodeBytes();
    }
    HWY_DYNAMIC_DISPATCH(SumAllProducts)
    (coordinates_.data(), coordinates_.size() / 4, chosen, count, sums);
    for (size_t i = 0; i < count; ++i) {
      out[first + i] = Estimate(sums[i], chosen[i]);
    }
  }
}

}  // namespace pith
#endif  // HWY_ONCE
