#include "core/codes/rotated_code.h"

#include <algorithm>
#include <array>
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

// What nibbles 0 to 15 stand for; part of the format.
alignas(16) constexpr int8_t kLevels[16] = {
    -127, -96, -75, -58, -44, -31, -18, -6, 6, 18, 31, 44, 58, 75, 96, 127};

// The levels of four nibbles in each of the 16-bit words at `bytes`, which need
// not be aligned.
template <class D>
struct WordLevels {
  hn::Vec<D> part[4];

  HWY_INLINE WordLevels(D d, const uint8_t* HWY_RESTRICT bytes) {
#if HWY_TARGET == HWY_SCALAR
    uint16_t word;
    hwy::CopyBytes<sizeof(word)>(bytes, &word);
    for (int i = 0; i < 4; ++i) {
      part[i] = hn::Set(d, kLevels[word >> (4 * i) & 0xF]);
    }
#else
    const hn::Repartition<uint8_t, D> d8;
    const hn::RebindToUnsigned<D> du;
    const auto table =
        hn::LoadDup128(d8, reinterpret_cast<const uint8_t*>(kLevels));
    const auto mask = hn::Set(d8, 0xF);
    const auto nibbles = hn::LoadU(d8, bytes);
    const auto upper =
        hn::BitCast(d8, hn::ShiftRight<4>(hn::BitCast(du, nibbles)));
    const auto even =
        hn::BitCast(d, hn::TableLookupBytes(table, hn::And(nibbles, mask)));
    const auto odd =
        hn::BitCast(d, hn::TableLookupBytes(table, hn::And(upper, mask)));
    part[0] = hn::ShiftRight<8>(hn::ShiftLeft<8>(even));
    part[1] = hn::ShiftRight<8>(hn::ShiftLeft<8>(odd));
    part[2] = hn::ShiftRight<8>(even);
    part[3] = hn::ShiftRight<8>(odd);
#endif
  }
};

// Adds to sums[c], for each of kCodes codes, the products of coordinates and
// levels in words [begin, end), a multiple of D's lanes.
template <size_t kCodes, class D>
HWY_INLINE void AddProducts(D d, const int16_t* HWY_RESTRICT coordinates,
                            size_t words, const uint8_t* const* codes,
                            size_t begin, size_t end,
                            int32_t* HWY_RESTRICT sums) {
  const hn::RepartitionToWide<D> d32;
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
    hn::Vec<D> query[4];
    for (size_t p = 0; p < 4; ++p) {
      query[p] = hn::LoadU(d, coordinates + p * words + j);
    }
    for (size_t c = 0; c < kCodes; ++c) {
      const WordLevels<D> levels(d, bytes[c] + 2 * j);
      for (size_t p = 0; p < 4; ++p) {
        sum0[c] = hn::ReorderWidenMulAccumulate(d32, levels.part[p], query[p],
                                                sum0[c], sum1[c]);
      }
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

// sums[i] is the integer product of `coordinates` and the levels of codes[i].
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
// A scale is the bits of a float from exponent -16 on, without the mantissa's
// last 13, plus what tells it from an older build's.
constexpr int kDroppedBits = 13;
constexpr uint32_t kSmallestScale = uint32_t{127 - 16} << 23;
constexpr uint32_t kFirstScaleCode = 0xC000;

using HWY_NAMESPACE::kLevels;
// Of the smallest level above zero.
constexpr uint8_t kPositiveNibble = 8;

// Magnitudes are rounded to half units of a level, which is what halves the way
// between two levels fall on; from 111.5 on, all are the largest.
constexpr size_t kHalfUnits = 224;

// The nibble of the nearest positive level, for half units rounded down.
constexpr std::array<uint8_t, kHalfUnits> kNearest = [] {
  std::array<uint8_t, kHalfUnits> nearest{};
  uint8_t nibble = kPositiveNibble;
  for (int i = 0; i < static_cast<int>(kHalfUnits); ++i) {
    while (nibble < 15 && i >= kLevels[nibble] + kLevels[nibble + 1]) {
      ++nibble;
    }
    nearest[static_cast<size_t>(i)] = nibble;
  }
  return nearest;
}();

// The cosine is flat around its maximum: 32 factors find it to within 2e-4.
// 1 is the factor at which the largest coordinate is the largest level.
constexpr int kFactorCount = 32;
constexpr float kFirstFactor = 0.8f;
constexpr float kFactorIncrement = 0.045f;

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
      kFirstScaleCode +
      ((bits - kSmallestScale + (1u << (kDroppedBits - 1))) >> kDroppedBits);
  CHECK_LE(code, 0xFFFFu) << "scale " << scale;
  return static_cast<uint16_t>(code);
}

float DecodeScale(uint16_t code) {
  return std::bit_cast<float>(
      kSmallestScale + ((uint32_t{code} - kFirstScaleCode) << kDroppedBits));
}

// Of a code from before store format 5: from exponent -13 on, without the
// mantissa's last 11 bits.
float DecodeOldScale(uint16_t code) {
  return std::bit_cast<float>((uint32_t{127 - 13} << 23) +
                              (uint32_t{code} << 11));
}

// The nibble of the level that `magnitude` is rounded to.
int NearestNibble(float magnitude, float half_units) {
  return kNearest[std::min(static_cast<size_t>(magnitude * half_units),
                           kHalfUnits - 1)];
}

// By how much `magnitudes` are multiplied to be half units of the levels that
// have the largest cosine with them.
float BestHalfUnits(std::span<const float> magnitudes) {
  const float fitting = 2.0f * kLevels[15] /
                        *std::max_element(magnitudes.begin(), magnitudes.end());
  float best = 0;
  float best_cosine = 0;
  for (int i = 0; i < kFactorCount; ++i) {
    const float half_units =
        fitting * (kFirstFactor + kFactorIncrement * static_cast<float>(i));
    float product = 0;
    float square = 0;
    for (const float magnitude : magnitudes) {
      const auto level =
          static_cast<float>(kLevels[NearestNibble(magnitude, half_units)]);
      product += magnitude * level;
      square += level * level;
    }
    const float cosine = product / std::sqrt(square);
    if (cosine > best_cosine) {
      best_cosine = cosine;
      best = half_units;
    }
  }
  return best;
}

// level_of(nibble) for each nibble of a code, in the order of coordinates.
template <typename LevelOfNibble>
std::vector<float> LevelsOf(std::span<const uint8_t> code,
                            const LevelOfNibble& level_of) {
  const size_t words = (code.size() - kScaleBytes) / 2;
  std::vector<float> levels(4 * words);
  for (size_t j = 0; j < words; ++j) {
    const int word = LoadWord(&code[2 * j]);
    for (size_t part = 0; part < 4; ++part) {
      levels[part * words + j] = level_of(word >> (4 * part) & 0xF);
    }
  }
  return levels;
}

float LevelOf(int nibble) {
  return kLevels[nibble];
}

// Writes the code of a rotated vector whose norm is from 1/2 to 1: of a unit
// vector, or of what an older code kept of one.
void EncodeRotated(std::span<const float> rotated, std::span<uint8_t> code) {
  std::vector<float> magnitudes(rotated.size());
  std::transform(rotated.begin(), rotated.end(), magnitudes.begin(),
                 [](float value) { return std::abs(value); });
  const float half_units = BestHalfUnits(magnitudes);

  const size_t words = rotated.size() / 4;
  float product = 0;
  for (size_t j = 0; j < words; ++j) {
    uint32_t word = 0;
    for (size_t part = 0; part < 4; ++part) {
      const size_t i = part * words + j;
      const int nibble = NearestNibble(magnitudes[i], half_units);
      product += magnitudes[i] * LevelOf(nibble);
      // Nibble 15 - n is that of the level below zero.
      word |= static_cast<uint32_t>(rotated[i] < 0 ? 15 - nibble : nibble)
              << (4 * part);
    }
    StoreWord(word, &code[2 * j]);
  }
  StoreWord(EncodeScale(1.0f / product), &code[2 * words]);
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
  EncodeRotated(rotated, code);
}

void RotatedCodec::Decode(std::span<const uint8_t> code,
                          std::span<float> vector) const {
  CHECK_EQ(code.size(), code_bytes());
  rotation_.ApplyInverse(LevelsOf(code, LevelOf), vector);
  const float norm = std::sqrt(
      std::inner_product(vector.begin(), vector.end(), vector.begin(), 0.0f));
  for (float& value : vector) {
    value /= norm;
  }
}

void RotatedCodec::Renew(std::span<uint8_t> code) const {
  CHECK_EQ(code.size(), code_bytes());
  const uint16_t scale = LoadWord(&code[code.size() - kScaleBytes]);
  if (scale >= kFirstScaleCode) {
    return;
  }
  std::vector<float> levels = LevelsOf(
      code, [](int nibble) { return static_cast<float>(nibble) - 7.5f; });
  const float norm = std::sqrt(
      std::inner_product(levels.begin(), levels.end(), levels.begin(), 0.0f));
  // The part of the unit vector x along its levels u, which has the same inner
  // products with what knows nothing of the error: u * <x, u> / <u, u>. Any
  // bytes may come here.
  const float cosine =
      std::clamp(1.0f / (DecodeOldScale(scale) * norm), 0.5f, 1.0f);
  for (float& level : levels) {
    level *= cosine / norm;
  }
  EncodeRotated(levels, code);
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
  float square = 0;
  for (const uint8_t byte : code.first(code.size() - kScaleBytes)) {
    square += LevelOf(byte & 0xF) * LevelOf(byte & 0xF) +
              LevelOf(byte >> 4) * LevelOf(byte >> 4);
  }
  // The cosine between x and u is 1 / (scale * |u|). A rotation at random
  // spreads the part of u orthogonal to x evenly over all other dimensions.
  const float scale = DecodeScale(LoadWord(&code[code.size() - kScaleBytes]));
  const float tangent_square = std::max(scale * scale * square - 1.0f, 0.0f);
  return {
      .bias = 0,
      .spread = std::sqrt(tangent_square /
                          static_cast<float>(rotation_.padded_dimension()))};
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
  // As fine as 16 bits allow, and no finer than keeps the sum of products, at
  // most 127 times the sum of coordinates, within 31 bits.
  const float factor = std::min(32767.0f / largest, 1.6e7f / sum);
  for (size_t i = 0; i < rotated.size(); ++i) {
    coordinates_[i] = static_cast<int16_t>(std::lrint(rotated[i] * factor));
  }
  scale_ = 1.0f / factor;
}

size_t RotatedQuery::CodeBytes() const {
  return coordinates_.size() / 2 + kScaleBytes;
}

float RotatedQuery::Estimate(int32_t sum, const uint8_t* code) const {
  const float code_scale =
      DecodeScale(LoadWord(code + CodeBytes() - kScaleBytes));
  return static_cast<float>(sum) * (scale_ * code_scale);
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
