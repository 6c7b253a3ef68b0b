#ifndef PITH_CORE_CODES_ROTATED_CODE_H_
#define PITH_CORE_CODES_ROTATED_CODE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/codes/codec.h"
#include "core/codes/rotation.h"

namespace pith {

// Training-free codes: four bits for each rotated coordinate and a two-byte
// scale (RaBitQ, arXiv 2405.12497, and its multi-bit extension, arXiv
// 2409.09913), with the levels of the 16-level quantiser that errs least on a
// normal distribution (Max, 1960, table I), as rotated coordinates nearly have
// it. A code's estimate of an inner product is unbiased: with u the vector of
// levels, <q, x> is estimated as <q, u> / <x, u> for unit x, and 1 / <x, u> is
// the stored scale. Immutable, thread-safe.
//
// A code of padded dimension d is d/4 little-endian 16-bit words and the scale
// as one more. Word j holds the nibbles of coordinates j, j + d/4, j + d/2 and
// j + 3d/4 from its lowest bits up. Nibbles 8 to 15 stand for the levels 6, 18,
// 31, 44, 58, 75, 96 and 127, 7 to 0 for the same below zero. The scale s is at
// least 0xC000, and with t = s - 0xC000 stands for
// (1 + (t mod 1024) / 1024) * 2^(t / 1024 - 16) with the quotient rounded down;
// it covers every 1 / <x, u> that can occur, at a relative error of at most
// 2^-11. A smaller s is of an older build's code; see Renew.
// docs/index_format.md has the same.
class RotatedCodec final : public Codec {
 public:
  // `dimension` as for Rotation.
  explicit RotatedCodec(int dimension);

  int dimension() const override { return rotation_.dimension(); }
  // 4 bits x padded dimension + 2 bytes of scale: 194 for 384.
  size_t code_bytes() const override;

  // x is scaled before it is rounded to levels, by the factor that maximises
  // the cosine between x and u, to within 2e-4 of the cosine.
  void Encode(std::span<const float> vector,
              std::span<uint8_t> code) const override;
  void Decode(std::span<const uint8_t> code,
              std::span<float> vector) const override;
  // A RotatedQuery. The query may be of any norm.
  std::unique_ptr<CodeQuery> Prepare(
      std::span<const float> query) const override;
  // Blocks are the codes themselves.
  std::vector<uint8_t> ToBlocks(std::span<const uint8_t> codes) const override;
  void CopyCode(std::span<const uint8_t> blocks, size_t index,
                std::span<uint8_t> code) const override;
  // An estimate is unbiased, and the best of many hardly less so: its spread is
  // a tenth of a trained code's.
  EstimateError ErrorOf(std::span<const uint8_t> code) const override;

  // Makes a code that was written before store format 5, with uniform levels,
  // into one of Encode; leaves any other as it is. Estimates stay unbiased;
  // both codes' errors add up, and ErrorOf says so. All other functions take
  // codes of Encode only.
  void Renew(std::span<uint8_t> code) const;

 private:
  Rotation rotation_;
};

// Estimates are
//   (sum of coordinates * levels) * (scale * code's scale)
// where the first factor is an exact integer made a float.
class RotatedQuery final : public CodeQuery {
 public:
  // `rotated`: as Rotation::Apply has it.
  explicit RotatedQuery(std::span<const float> rotated);

  void Scan(std::span<const uint8_t> blocks,
            std::span<float> out) const override;
  void Score(std::span<const uint8_t> codes, std::span<const uint32_t> nodes,
             std::span<float> out) const override;

  // Rotated coordinates as integers.
  std::span<const int16_t> coordinates() const { return coordinates_; }
  // What the integer product is multiplied with, beside the code's own scale.
  float scale() const { return scale_; }

 private:
  size_t CodeBytes() const;
  float Estimate(int32_t sum, const uint8_t* code) const;

  std::vector<int16_t> coordinates_;
  float scale_ = 0;
};

}  // namespace pith

#endif  // PITH_CORE_CODES_ROTATED_CODE_H_
