#include "core/index/stored_vector.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "core/base/coding.h"
#include "core/base/float16.h"
#include "core/base/vector_math.h"

namespace pith {
namespace {

constexpr float kLargestInt8 = 127;

// How far from 1 the norm of a decoded f16 vector may be: a unit vector whose
// elements were each rounded by a part of 2^-11 is well within.
constexpr float kNormTolerance = 0.01F;

void AppendInt8(std::span<const float> vector, std::string& bytes) {
  float largest = 0;
  for (const float value : vector) {
    largest = std::max(largest, std::abs(value));
  }
  for (const float value : vector) {
    bytes.push_back(
        static_cast<char>(std::lrint(value * (kLargestInt8 / largest))));
  }
}

}  // namespace

std::string EncodeStoredVector(std::span<const float> vector,
                               VectorFormat format,
                               std::string_view precision) {
  std::string bytes;
  bytes.push_back(static_cast<char>(format));
  PutString(precision, bytes);
  switch (format) {
    case VectorFormat::kF16:
      for (const float value : vector) {
        PutFixed16(F16FromFloat(value), bytes);
      }
      break;
    case VectorFormat::kI8:
      AppendInt8(vector, bytes);
      break;
  }
  return bytes;
}

absl::StatusOr<std::string_view> DecodeStoredVector(std::string_view bytes,
                                                    std::span<float> out) {
  Decoder decoder(bytes);
  const uint8_t format = decoder.Byte();
  const std::string_view precision = decoder.String();
  if (format == static_cast<uint8_t>(VectorFormat::kF16)) {
    for (float& value : out) {
      value = F16ToFloat(decoder.Fixed16());
    }
  } else if (format == static_cast<uint8_t>(VectorFormat::kI8)) {
    float largest = 0;
    for (float& value : out) {
      value = static_cast<float>(static_cast<int8_t>(decoder.Byte()));
      largest = std::max(largest, std::abs(value));
    }
    // The scale is not stored: it is what makes a unit vector. None if no
    // encoder wrote this.
    const float scale = largest == kLargestInt8 ? 1 / Norm(out) : 0;
    for (float& value : out) {
      value *= scale;
    }
  }
  // Written so that a NaN is refused, too.
  if (!decoder.done() || !(std::abs(Norm(out) - 1) <= kNormTolerance)) {
    return absl::DataLossError(absl::StrCat("stored vector of ", bytes.size(),
                                            " bytes is no unit vector of ",
                                            out.size(), " elements"));
  }
  return precision;
}

}  // namespace pith
