#include "embedder/engine.h"

#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"

namespace pith {

std::string_view PrecisionName(Precision precision) {
  switch (precision) {
    case Precision::kF32:
      return "f32";
    case Precision::kBf16:
      return "bf16";
    case Precision::kInt8:
      return "int8";
  }
  return "";
}

std::optional<Precision> PrecisionNamed(std::string_view name) {
  for (const Precision precision :
       {Precision::kF32, Precision::kBf16, Precision::kInt8}) {
    if (name == PrecisionName(precision)) {
      return precision;
    }
  }
  return std::nullopt;
}

absl::Status CheckTokens(const PackedTokens& tokens, int vocab_size,
                         int max_positions) {
  if (tokens.offsets.empty() || tokens.offsets.front() != 0 ||
      static_cast<size_t>(tokens.offsets.back()) != tokens.ids.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("offsets of packed tokens end at ",
                     tokens.offsets.empty() ? -1 : tokens.offsets.back(),
                     ", there are ", tokens.ids.size(), " tokens"));
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    const int length = tokens.offsets[i + 1] - tokens.offsets[i];
    if (length < 1 || length > max_positions) {
      return absl::InvalidArgumentError(
          absl::StrCat("text ", i, " has ", length,
                       " tokens, the model takes 1 to ", max_positions));
    }
  }
  for (const int32_t id : tokens.ids) {
    if (id < 0 || id >= vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("token id ", id, ", the vocabulary has ", vocab_size));
    }
  }
  return absl::OkStatus();
}

absl::Status WriteUnitNorm(std::span<const float> pooled, size_t text,
                           std::span<float> out) {
  const double squares =
      std::inner_product(pooled.begin(), pooled.end(), pooled.begin(), 0.0);
  if (!std::isfinite(squares) || squares == 0) {
    return absl::InternalError(absl::StrCat("the model gave text ", text,
                                            " a vector of norm ",
                                            std::sqrt(squares)));
  }
  const float scale = static_cast<float>(1 / std::sqrt(squares));
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = pooled[i] * scale;
  }
  return absl::OkStatus();
}

}  // namespace pith
