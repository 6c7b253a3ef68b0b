#ifndef PITH_CORE_CODES_CODEBOOK_H_
#define PITH_CORE_CODES_CODEBOOK_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "core/base/hash.h"
#include "core/codes/codec.h"

namespace pith {

// How many sub-codes a code has, of how many bits.
struct CodeShape {
  int subquantizers = 48;
  // 8 or 4.
  int bits = 8;

  // With the scale byte.
  size_t code_bytes() const {
    return static_cast<size_t>(subquantizers * bits) / 8 + 1;
  }
  size_t centroid_count() const { return size_t{1} << bits; }

  friend bool operator==(const CodeShape&, const CodeShape&) = default;
};

// kInvalidArgument unless codes of this shape can stand for vectors of this
// many dimensions: dimension in [1, 8192], subquantizers in [1, 256] and at
// most the dimension, even if bits is 4.
absl::Status CheckCodeShape(const CodeShape& shape, int dimension);

// With p = 1, below, a scale is 1 / |xhat| and says nothing of theta.
inline constexpr int kMaxShrinkage = 3;

// What training finds.
struct CodebookParts {
  int dimension = 0;
  CodeShape shape;
  // dimension x padded dimension: x as a row, times this, is the rotated
  // vector. The padded dimension is the dimension rounded up to a multiple of
  // the number of sub-quantisers, each of which has an equal share of it.
  std::vector<float> rotation;
  // Coordinate j of centroid k of sub-quantiser m, of s coordinates each, is
  // element (m * s + j) * centroid_count + k.
  std::vector<float> centroids;
  // What scale bytes stand for: positive, ascending.
  std::array<float, 256> scales{};
  // The p below, in quarters: 0 to kMaxShrinkage.
  int shrinkage = 0;
  // The factors between tan(theta), theta being the angle between x and its
  // decoded vector, and the bias and spread of an estimate's error. The latter
  // is positive.
  float bias_factor = 0;
  float spread_factor = 0;
  // How fast exact scores of the training vectors' nearest get rarer: those of
  // x or more as exp(-score_slope * x). Positive.
  float score_slope = 0;
};

// A trained codec: optimised product quantisation (Ge, He, Ke, Sun, CVPR 2013)
// and one byte of scale. With xhat the concatenation of the centroids nearest
// to the parts of the rotated x, and theta the angle between the two, <q, x> is
// estimated as f <q, xhat>, where the scale is
//   f = cos(theta)^p / <x, xhat>
// For p = 0 that is exact for q = x, and unbiased for a q whose part orthogonal
// to x knows nothing of the error. Neighbours do: centroids are means, so xhat
// lies from x towards where they are, and p between 0 and 1 takes that out
// (docs/decisions/0006-codes.md).
//
// A query's tables hold <q, c> for every centroid c, less each sub-quantiser's
// least, in steps of a 255th of the widest range, so that a code's sum is an
// exact integer, the same on every machine and in every layout:
//   estimate = (bias + step * sum) * f
// Immutable, thread-safe.
class Codebook final : public Codec {
 public:
  // `parts` must be as its comments say.
  static std::shared_ptr<const Codebook> FromParts(const CodebookParts& parts);

  // The bytes of Serialize. kDataLoss naming the section and what is wrong with
  // it; kFailedPrecondition if they are of a newer version.
  static absl::StatusOr<std::shared_ptr<const Codebook>> Parse(
      std::string_view bytes);
  // docs/index_format.md, section "Codebook".
  std::string Serialize() const;

  const CodeShape& shape() const { return shape_; }
  // Of the serialised bytes: the codebook's name.
  const ContentHash& hash() const { return hash_; }

  int dimension() const override { return dimension_; }
  size_t code_bytes() const override { return shape_.code_bytes(); }
  void Encode(std::span<const float> vector,
              std::span<uint8_t> code) const override;
  void Decode(std::span<const uint8_t> code,
              std::span<float> vector) const override;
  std::unique_ptr<CodeQuery> Prepare(
      std::span<const float> query) const override;
  // Blocks of 64 codes, transposed: byte r of all 64, then byte r + 1, the
  // scales last. A last block is filled up with zeros.
  std::vector<uint8_t> ToBlocks(std::span<const uint8_t> codes) const override;
  void CopyCode(std::span<const uint8_t> blocks, size_t index,
                std::span<uint8_t> code) const override;
  EstimateError ErrorOf(std::span<const uint8_t> code) const override;

  // Of the training sample's scores, for a segment that has no slope of its own
  // (MeasureScoreSlope).
  float score_slope() const { return score_slope_; }

  // tan(theta) of the vector that `code` was made of, as well as its scale byte
  // tells.
  float Tangent(std::span<const uint8_t> code) const;

 private:
  class Query;

  explicit Codebook(const CodebookParts& parts);

  size_t SubDimension() const;
  // Sub-code `m` of `code`.
  size_t SubCode(std::span<const uint8_t> code, size_t m) const;
  // |xhat|.
  float NormOf(std::span<const uint8_t> code) const;
  std::vector<float> Rotate(std::span<const float> vector) const;

  int dimension_;
  CodeShape shape_;
  size_t padded_dimension_;
  // CodebookParts::rotation, its rows filled up with zeros to multiples of
  // kFloatLanes, and its transpose likewise.
  std::vector<float> rotation_;
  std::vector<float> inverse_;
  std::vector<float> centroids_;
  // Half of centroid k of sub-quantiser m's squared norm, at m *
  // centroid_count + k.
  std::vector<float> half_norms_;
  std::array<float, 256> scales_;
  int shrinkage_;
  float bias_factor_;
  float spread_factor_;
  float score_slope_;
  ContentHash hash_;
};

}  // namespace pith

#endif  // PITH_CORE_CODES_CODEBOOK_H_
