#include "core/codes/codebook.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"

#include "core/base/coding.h"
#include "core/base/crc32.h"
#include "core/base/status_macros.h"
#include "core/base/vector_math.h"
#include "core/codes/dense_kernels.h"
#include "core/codes/table_kernels.h"

namespace pith {
namespace {

constexpr std::string_view kMagic = "pithcbk\n";
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderBytes = 24;
constexpr size_t kChecksumBytes = 4;
constexpr int kMaxDimension = 8192;
// Far more than training finds, and so little that no arithmetic on values up
// to it overflows.
constexpr float kMaxValue = 1e4f;
// 256 table entries of at most 255 add to less than 2^16.
constexpr int kMaxSubquantizers = 256;

size_t PaddedDimension(const CodeShape& shape, int dimension) {
  const int parts = shape.subquantizers;
  return static_cast<size_t>((dimension + parts - 1) / parts * parts);
}

size_t RotationSize(const CodeShape& shape, int dimension) {
  return static_cast<size_t>(dimension) * PaddedDimension(shape, dimension);
}

size_t CentroidsSize(const CodeShape& shape, int dimension) {
  return PaddedDimension(shape, dimension) * shape.centroid_count();
}

void PutFloats(std::span<const float> values, std::string& out) {
  const size_t first = out.size();
  for (const float value : values) {
    PutFixed32(std::bit_cast<uint32_t>(value), out);
  }
  PutFixed32(Crc32(std::string_view(out).substr(first)), out);
}

absl::Status SectionError(std::string_view section, std::string_view fault) {
  return absl::DataLossError(absl::StrCat(
      "codebook: section \"", AbslView(section), "\" ", AbslView(fault)));
}

absl::Status CheckSum(std::string_view section, std::string_view bytes,
                      uint32_t expected) {
  const uint32_t actual = Crc32(bytes);
  if (actual != expected) {
    return SectionError(section, absl::StrCat("has checksum ", actual,
                                              ", the file says ", expected));
  }
  return absl::OkStatus();
}

// Reads a section that Decoder::remaining() was seen to hold.
absl::Status TakeFloats(std::string_view section, Decoder& decoder,
                        std::span<float> out) {
  const std::string_view bytes = decoder.Bytes(out.size() * sizeof(float));
  PITH_RETURN_IF_ERROR(CheckSum(section, bytes, decoder.Fixed32()));
  Decoder values(bytes);
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = std::bit_cast<float>(values.Fixed32());
    // Written so that a NaN is refused, too.
    if (!(std::abs(out[i]) <= kMaxValue)) {
      return SectionError(section,
                          absl::StrCat("has ", out[i], " as element ", i,
                                       ", which must be at most ", kMaxValue));
    }
  }
  return absl::OkStatus();
}

// Least and greatest of a multiple of kFloatLanes values; in lanes, which
// std::minmax_element, half of Prepare's time, does without.
std::pair<float, float> Extremes(std::span<const float> values) {
  std::array<float, kFloatLanes> low;
  std::array<float, kFloatLanes> high;
  std::copy_n(values.begin(), kFloatLanes, low.begin());
  std::copy_n(values.begin(), kFloatLanes, high.begin());
  for (size_t i = kFloatLanes; i < values.size(); i += kFloatLanes) {
    for (size_t lane = 0; lane < kFloatLanes; ++lane) {
      low[lane] = std::min(low[lane], values[i + lane]);
      high[lane] = std::max(high[lane], values[i + lane]);
    }
  }
  return {*std::min_element(low.begin(), low.end()),
          *std::max_element(high.begin(), high.end())};
}

}  // namespace

absl::Status CheckCodeShape(const CodeShape& shape, int dimension) {
  if (dimension < 1 || dimension > kMaxDimension) {
    return absl::InvalidArgumentError(absl::StrCat(
        "dimension of ", dimension, " is not between 1 and ", kMaxDimension));
  }
  if (shape.bits != 4 && shape.bits != 8) {
    return absl::InvalidArgumentError(
        absl::StrCat("sub-codes of ", shape.bits, " bits, not 4 or 8"));
  }
  const int most = std::min(dimension, kMaxSubquantizers);
  if (shape.subquantizers < 1 || shape.subquantizers > most) {
    return absl::InvalidArgumentError(absl::StrCat(
        shape.subquantizers, " sub-quantisers are not between 1 and ", most));
  }
  if (shape.bits == 4 && shape.subquantizers % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(shape.subquantizers,
                     " sub-quantisers of 4 bits do not fill whole bytes"));
  }
  return absl::OkStatus();
}

class Codebook::Query final : public CodeQuery {
 public:
  Query(const Codebook& codebook, std::span<const float> query)
      : codebook_(codebook) {
    const std::vector<float> rotated = codebook.Rotate(query);
    const size_t count = codebook.shape_.centroid_count();
    const size_t part = codebook.SubDimension();
    const auto subquantizers =
        static_cast<size_t>(codebook.shape_.subquantizers);
    std::vector<float> products(subquantizers * count);
    std::vector<float> least(subquantizers);
    float widest = 0;
    for (size_t m = 0; m < subquantizers; ++m) {
      const std::span<float> table =
          std::span(products).subspan(m * count, count);
      AddProduct(&rotated[m * part], 0, 1, 1, part,
                 &codebook.centroids_[m * part * count], count, table.data());
      const auto [low, high] = Extremes(table);
      least[m] = low;
      widest = std::max(widest, high - low);
      bias_ += low;
    }
    step_ = widest / 255.0f;
    entries_.resize(products.size());
    // The inverse of a smaller one could be infinite.
    if (widest > 1e-30f) {
      const float inverse_step = 255.0f / widest;
      for (size_t m = 0; m < subquantizers; ++m) {
        for (size_t k = m * count; k < (m + 1) * count; ++k) {
          entries_[k] = static_cast<uint8_t>(
              std::min((products[k] - least[m]) * inverse_step + 0.5f, 255.0f));
        }
      }
    }
    tables_ = {.bits = codebook.shape_.bits,
               .rows = codebook.code_bytes() - 1,
               .entries = entries_};
  }
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  void Scan(std::span<const uint8_t> blocks,
            std::span<float> out) const override {
    const size_t block_bytes = codebook_.code_bytes() * kBlockCodes;
    CHECK_GE(blocks.size() / block_bytes,
             (out.size() + kBlockCodes - 1) / kBlockCodes);
    uint16_t sums[16 * kBlockCodes];
    for (size_t first = 0; first < out.size(); first += std::size(sums)) {
      const size_t count = std::min(out.size() - first, std::size(sums));
      const uint8_t* begin = blocks.data() + first / kBlockCodes * block_bytes;
      SumBlocks(tables_, begin, (count + kBlockCodes - 1) / kBlockCodes, sums);
      for (size_t i = 0; i < count; ++i) {
        const size_t block = i / kBlockCodes;
        const size_t code = i % kBlockCodes;
        const uint8_t scale =
            begin[block * block_bytes + tables_.rows * kBlockCodes + code];
        out[first + i] = Estimate(
            sums[block * kBlockCodes + code / 2 + code % 2 * kBlockCodes / 2],
            scale);
      }
    }
  }

  void Score(std::span<const uint8_t> codes, std::span<const uint32_t> nodes,
             std::span<float> out) const override {
    CHECK_EQ(nodes.size(), out.size());
    const size_t code_bytes = codebook_.code_bytes();
    uint16_t sums[64];
    for (size_t first = 0; first < nodes.size(); first += std::size(sums)) {
      const std::span<const uint32_t> part =
          nodes.subspan(first, std::min(nodes.size() - first, std::size(sums)));
      for (const uint32_t node : part) {
        CHECK_LT(node, codes.size() / code_bytes);
        __builtin_prefetch(&codes[size_t{node} * code_bytes]);
        __builtin_prefetch(&codes[size_t{node} * code_bytes + code_bytes - 1]);
      }
      SumCodes(tables_, codes.data(), part, sums);
      for (size_t i = 0; i < part.size(); ++i) {
        out[first + i] = Estimate(
            sums[i], codes[size_t{part[i]} * code_bytes + tables_.rows]);
      }
    }
  }

 private:
  float Estimate(uint16_t sum, uint8_t scale) const {
    return (bias_ + step_ * static_cast<float>(sum)) * codebook_.scales_[scale];
  }

  const Codebook& codebook_;
  std::vector<uint8_t> entries_;
  CodeTables tables_;
  float bias_ = 0;
  float step_ = 0;
};

Codebook::Codebook(const CodebookParts& parts)
    : dimension_(parts.dimension),
      shape_(parts.shape),
      padded_dimension_(PaddedDimension(parts.shape, parts.dimension)),
      centroids_(parts.centroids),
      scales_(parts.scales),
      shrinkage_(parts.shrinkage),
      bias_factor_(parts.bias_factor),
      spread_factor_(parts.spread_factor),
      score_slope_(parts.score_slope) {
  const auto rows = static_cast<size_t>(dimension_);
  const size_t columns = padded_dimension_;
  const size_t stride = RoundUpToLanes(columns);
  const size_t inverse_stride = RoundUpToLanes(rows);
  rotation_.resize(rows * stride);
  inverse_.resize(columns * inverse_stride);
  for (size_t i = 0; i < rows; ++i) {
    for (size_t j = 0; j < columns; ++j) {
      const float value = parts.rotation[i * columns + j];
      rotation_[i * stride + j] = value;
      inverse_[j * inverse_stride + i] = value;
    }
  }
  const size_t count = shape_.centroid_count();
  half_norms_.resize(static_cast<size_t>(shape_.subquantizers) * count);
  for (size_t i = 0; i < columns; ++i) {
    float* const norms = &half_norms_[i / SubDimension() * count];
    for (size_t k = 0; k < count; ++k) {
      const float value = centroids_[i * count + k];
      norms[k] += 0.5f * (value * value);
    }
  }
  Sha256 hash;
  hash.Update(Serialize());
  hash_ = hash.FinishContent();
}

std::shared_ptr<const Codebook> Codebook::FromParts(
    const CodebookParts& parts) {
  CHECK(CheckCodeShape(parts.shape, parts.dimension).ok());
  CHECK_EQ(parts.rotation.size(), RotationSize(parts.shape, parts.dimension));
  CHECK_EQ(parts.centroids.size(), CentroidsSize(parts.shape, parts.dimension));
  CHECK(parts.shrinkage >= 0 && parts.shrinkage <= kMaxShrinkage);
  return std::shared_ptr<const Codebook>(new Codebook(parts));
}

absl::StatusOr<std::shared_ptr<const Codebook>> Codebook::Parse(
    std::string_view bytes) {
  if (bytes.size() < kHeaderBytes + kChecksumBytes) {
    return SectionError("header",
                        absl::StrCat("is ", bytes.size(), " bytes, not ",
                                     kHeaderBytes + kChecksumBytes));
  }
  Decoder decoder(bytes);
  if (decoder.Bytes(kMagic.size()) != kMagic) {
    return SectionError("header", "does not begin as a codebook's does");
  }
  const uint32_t version = decoder.Fixed32();
  const uint32_t dimension = decoder.Fixed32();
  const uint32_t subquantizers = decoder.Fixed32();
  const uint32_t bits = decoder.Fixed32();
  PITH_RETURN_IF_ERROR(
      CheckSum("header", bytes.substr(0, kHeaderBytes), decoder.Fixed32()));
  if (version > kVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("codebook has version ", version,
                     ", the newest that this program reads is ", kVersion));
  }
  if (version != kVersion) {
    return SectionError("header", "has version 0");
  }
  constexpr uint32_t kMaxInt = std::numeric_limits<int>::max();
  CodebookParts parts{
      .dimension = static_cast<int>(std::min(dimension, kMaxInt)),
      .shape = {
          .subquantizers = static_cast<int>(std::min(subquantizers, kMaxInt)),
          .bits = static_cast<int>(std::min(bits, kMaxInt))}};
  if (const absl::Status status = CheckCodeShape(parts.shape, parts.dimension);
      !status.ok()) {
    return SectionError("header", absl::StrCat("has a ", status.message()));
  }
  const size_t rotation = RotationSize(parts.shape, parts.dimension);
  const size_t centroids = CentroidsSize(parts.shape, parts.dimension);
  const size_t expected =
      (rotation + centroids + parts.scales.size() + 4) * sizeof(float) +
      4 * kChecksumBytes;
  if (decoder.remaining() != expected) {
    return absl::DataLossError(absl::StrCat(
        "codebook: sections after \"header\" are ", decoder.remaining(),
        " bytes, the header says ", expected));
  }
  parts.rotation.resize(rotation);
  PITH_RETURN_IF_ERROR(TakeFloats("rotation", decoder, parts.rotation));
  parts.centroids.resize(centroids);
  PITH_RETURN_IF_ERROR(TakeFloats("centroids", decoder, parts.centroids));
  PITH_RETURN_IF_ERROR(TakeFloats("scales", decoder, parts.scales));
  for (size_t i = 0; i < parts.scales.size(); ++i) {
    const float before = i == 0 ? 0 : parts.scales[i - 1];
    if (!(parts.scales[i] > before)) {
      return SectionError(
          "scales", absl::StrCat("has ", parts.scales[i], " as element ", i,
                                 ", which must be greater than ", before));
    }
  }
  std::array<float, 4> calibration;
  PITH_RETURN_IF_ERROR(TakeFloats("calibration", decoder, calibration));
  parts.shrinkage = static_cast<int>(calibration[0]);
  if (static_cast<float>(parts.shrinkage) != calibration[0] ||
      parts.shrinkage < 0 || parts.shrinkage > kMaxShrinkage) {
    return SectionError("calibration",
                        absl::StrCat("has a shrinkage of ", calibration[0],
                                     ", which must be 0 to ", kMaxShrinkage));
  }
  parts.bias_factor = calibration[1];
  parts.spread_factor = calibration[2];
  parts.score_slope = calibration[3];
  if (!(parts.score_slope > 0)) {
    return SectionError("calibration",
                        absl::StrCat("has a slope of ", parts.score_slope,
                                     ", which must be greater than 0"));
  }
  if (!(parts.spread_factor > 0)) {
    return SectionError("calibration",
                        absl::StrCat("has a spread of ", parts.spread_factor,
                                     ", which must be greater than 0"));
  }
  return FromParts(parts);
}

std::string Codebook::Serialize() const {
  std::string out(kMagic);
  PutFixed32(kVersion, out);
  PutFixed32(static_cast<uint32_t>(dimension_), out);
  PutFixed32(static_cast<uint32_t>(shape_.subquantizers), out);
  PutFixed32(static_cast<uint32_t>(shape_.bits), out);
  PutFixed32(Crc32(out), out);
  std::vector<float> rotation;
  rotation.reserve(RotationSize(shape_, dimension_));
  const size_t stride = RoundUpToLanes(padded_dimension_);
  for (size_t i = 0; i < rotation_.size(); i += stride) {
    rotation.insert(
        rotation.end(), rotation_.begin() + static_cast<ptrdiff_t>(i),
        rotation_.begin() + static_cast<ptrdiff_t>(i + padded_dimension_));
  }
  PutFloats(rotation, out);
  PutFloats(centroids_, out);
  PutFloats(scales_, out);
  PutFloats(std::array{static_cast<float>(shrinkage_), bias_factor_,
                       spread_factor_, score_slope_},
            out);
  return out;
}

size_t Codebook::SubDimension() const {
  return padded_dimension_ / static_cast<size_t>(shape_.subquantizers);
}

size_t Codebook::SubCode(std::span<const uint8_t> code, size_t m) const {
  return shape_.bits == 8 ? code[m] : code[m / 2] >> (m % 2 * 4) & 0xF;
}

std::vector<float> Codebook::Rotate(std::span<const float> vector) const {
  CHECK_EQ(vector.size(), static_cast<size_t>(dimension_));
  std::vector<float> rotated(RoundUpToLanes(padded_dimension_));
  AddProduct(vector.data(), 0, 1, 1, vector.size(), rotation_.data(),
             rotated.size(), rotated.data());
  return rotated;
}

void Codebook::Encode(std::span<const float> vector,
                      std::span<uint8_t> code) const {
  CHECK_EQ(code.size(), code_bytes());
  const float norm = Norm(vector);
  CHECK(norm > 0.99f && norm < 1.01f) << "norm " << norm;

  const std::vector<float> rotated = Rotate(vector);
  const size_t count = shape_.centroid_count();
  const size_t part = SubDimension();
  float product = 0;
  std::fill(code.begin(), code.end(), uint8_t{0});
  for (size_t m = 0; m < static_cast<size_t>(shape_.subquantizers); ++m) {
    const float* const x = &rotated[m * part];
    const float* const centroids = &centroids_[m * part * count];
    uint8_t nearest = 0;
    FindNearest(x, part, 1, part, centroids, &half_norms_[m * count], count,
                &nearest, 1);
    for (size_t j = 0; j < part; ++j) {
      product += x[j] * centroids[j * count + nearest];
    }
    if (shape_.bits == 8) {
      code[m] = nearest;
    } else {
      code[m / 2] = static_cast<uint8_t>(code[m / 2] | nearest << (m % 2 * 4));
    }
  }
  // The nearest on a logarithmic scale; its greatest for what cannot be
  // estimated at all.
  size_t scale = scales_.size() - 1;
  if (product > 0) {
    float f = 1.0f / product;
    const float root = std::sqrt(std::sqrt(product / NormOf(code)));
    for (int i = 0; i < shrinkage_; ++i) {
      f *= root;
    }
    scale = 0;
    while (scale + 1 < scales_.size() &&
           f * f > scales_[scale] * scales_[scale + 1]) {
      ++scale;
    }
  }
  code.back() = static_cast<uint8_t>(scale);
}

void Codebook::Decode(std::span<const uint8_t> code,
                      std::span<float> vector) const {
  CHECK_EQ(code.size(), code_bytes());
  CHECK_EQ(vector.size(), static_cast<size_t>(dimension_));
  const size_t count = shape_.centroid_count();
  const size_t part = SubDimension();
  std::vector<float> rotated(padded_dimension_);
  for (size_t i = 0; i < rotated.size(); ++i) {
    rotated[i] = centroids_[i * count + SubCode(code, i / part)];
  }
  std::vector<float> decoded(RoundUpToLanes(vector.size()));
  AddProduct(rotated.data(), 0, 1, 1, rotated.size(), inverse_.data(),
             decoded.size(), decoded.data());
  const float norm = Norm(decoded);
  if (!(norm > 0)) {
    // Centroids of zero stand for no direction; any unit vector is as good.
    decoded[0] = 1;
  }
  for (size_t i = 0; i < vector.size(); ++i) {
    vector[i] = norm > 0 ? decoded[i] / norm : decoded[i];
  }
}

std::unique_ptr<CodeQuery> Codebook::Prepare(
    std::span<const float> query) const {
  return std::make_unique<Query>(*this, query);
}

std::vector<uint8_t> Codebook::ToBlocks(std::span<const uint8_t> codes) const {
  const size_t bytes = code_bytes();
  CHECK_EQ(codes.size() % bytes, 0u);
  const size_t count = codes.size() / bytes;
  std::vector<uint8_t> blocks((count + kBlockCodes - 1) / kBlockCodes *
                              kBlockCodes * bytes);
  for (size_t i = 0; i < count; ++i) {
    uint8_t* const block =
        &blocks[i / kBlockCodes * kBlockCodes * bytes + i % kBlockCodes];
    for (size_t r = 0; r < bytes; ++r) {
      block[r * kBlockCodes] = codes[i * bytes + r];
    }
  }
  return blocks;
}

void Codebook::CopyCode(std::span<const uint8_t> blocks, size_t index,
                        std::span<uint8_t> code) const {
  CHECK_EQ(code.size(), code_bytes());
  const uint8_t* const block =
      &blocks[index / kBlockCodes * kBlockCodes * code.size()];
  for (size_t r = 0; r < code.size(); ++r) {
    code[r] = block[r * kBlockCodes + index % kBlockCodes];
  }
}

float Codebook::NormOf(std::span<const uint8_t> code) const {
  const size_t count = shape_.centroid_count();
  float half_square = 0;
  for (size_t m = 0; m < static_cast<size_t>(shape_.subquantizers); ++m) {
    half_square += half_norms_[m * count + SubCode(code, m)];
  }
  return std::sqrt(2.0f * half_square);
}

float Codebook::Tangent(std::span<const uint8_t> code) const {
  CHECK_EQ(code.size(), code_bytes());
  // <x, xhat> = |xhat| cos(theta), so f |xhat| = cos(theta)^(p - 1). Rounding f
  // may take the cosine past 1.
  const float power = 8.0f / static_cast<float>(4 - shrinkage_);
  const float inverse_square =
      std::pow(scales_[code.back()] * NormOf(code), power);
  return std::sqrt(std::clamp(inverse_square - 1.0f, 0.0f, kMaxValue));
}

EstimateError Codebook::ErrorOf(std::span<const uint8_t> code) const {
  const float tangent = Tangent(code);
  return {.bias = bias_factor_ * tangent, .spread = spread_factor_ * tangent};
}

}  // namespace pith
