#include "embedder/encoder_weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <functional>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"

#include "core/base/status_macros.h"

namespace pith {
namespace {

void Scale(LinearWeights& linear, float factor) {
  for (float& value : linear.weight.values()) {
    value *= factor;
  }
  for (float& value : linear.bias) {
    value *= factor;
  }
}

// One product that gives the outputs of all, one after another.
LinearWeights Join(std::span<const LinearWeights> parts) {
  size_t outputs = 0;
  for (const LinearWeights& part : parts) {
    outputs += part.weight.rows();
  }
  LinearWeights joined;
  joined.weight = Matrix(outputs, parts.front().weight.columns());
  float* next = joined.weight.values().data();
  for (const LinearWeights& part : parts) {
    next = std::ranges::copy(part.weight.values(), next).out;
    joined.bias.insert(joined.bias.end(), part.bias.begin(), part.bias.end());
  }
  return joined;
}

}  // namespace

absl::StatusOr<EncoderWeightReader> EncoderWeightReader::Open(
    const ModelSpec& spec) {
  PITH_ASSIGN_OR_RETURN(
      SafetensorsFile file,
      SafetensorsFile::Open(spec.directory / "model.safetensors"));
  return EncoderWeightReader(spec.encoder, std::move(file));
}

EncoderWeightReader::EncoderWeightReader(const EncoderConfig& config,
                                         SafetensorsFile file)
    : config_(config), file_(std::move(file)) {
  for (const char* prefix : {"bert.", "roberta."}) {
    if (file_.tensors().contains(
            absl::StrCat(prefix, "embeddings.word_embeddings.weight"))) {
      prefix_ = prefix;
    }
  }
}

absl::StatusOr<Matrix> EncoderWeightReader::Words() const {
  return ReadMatrix("embeddings.word_embeddings.weight", config_.vocab_size,
                    config_.hidden_size);
}

absl::StatusOr<Matrix> EncoderWeightReader::Positions() const {
  PITH_ASSIGN_OR_RETURN(
      const Matrix table,
      ReadMatrix("embeddings.position_embeddings.weight",
                 config_.position_offset + config_.max_positions,
                 config_.hidden_size));
  PITH_ASSIGN_OR_RETURN(const Matrix types,
                        ReadMatrix("embeddings.token_type_embeddings.weight",
                                   config_.token_types, config_.hidden_size));
  const std::span<const float> type = types.row(0);
  Matrix positions(static_cast<size_t>(config_.max_positions), type.size());
  for (size_t i = 0; i < positions.rows(); ++i) {
    std::ranges::transform(
        table.row(i + static_cast<size_t>(config_.position_offset)), type,
        positions.row(i).begin(), std::plus<>());
  }
  return positions;
}

absl::StatusOr<LayerNormWeights> EncoderWeightReader::EmbeddingNorm() const {
  return Norm("embeddings.LayerNorm");
}

absl::StatusOr<EncoderLayerWeights> EncoderWeightReader::Layer(
    int index) const {
  const std::string name = absl::StrCat("encoder.layer.", index, ".");
  const std::string attention = absl::StrCat(name, "attention.");
  const int hidden = config_.hidden_size;
  std::array<LinearWeights, 3> parts;
  PITH_ASSIGN_OR_RETURN(
      parts[0], Linear(absl::StrCat(attention, "self.query"), hidden, hidden));
  PITH_ASSIGN_OR_RETURN(
      parts[1], Linear(absl::StrCat(attention, "self.key"), hidden, hidden));
  PITH_ASSIGN_OR_RETURN(
      parts[2], Linear(absl::StrCat(attention, "self.value"), hidden, hidden));
  Scale(parts[0], 1 / std::sqrt(static_cast<float>(hidden / config_.heads)));

  EncoderLayerWeights layer;
  layer.query_key_value = Join(parts);
  PITH_ASSIGN_OR_RETURN(
      layer.attention_output,
      Linear(absl::StrCat(attention, "output.dense"), hidden, hidden));
  PITH_ASSIGN_OR_RETURN(layer.attention_norm,
                        Norm(absl::StrCat(attention, "output.LayerNorm")));
  PITH_ASSIGN_OR_RETURN(layer.up,
                        Linear(absl::StrCat(name, "intermediate.dense"),
                               config_.intermediate_size, hidden));
  PITH_ASSIGN_OR_RETURN(layer.down, Linear(absl::StrCat(name, "output.dense"),
                                           hidden, config_.intermediate_size));
  PITH_ASSIGN_OR_RETURN(layer.output_norm,
                        Norm(absl::StrCat(name, "output.LayerNorm")));
  return layer;
}

absl::StatusOr<std::vector<float>> EncoderWeightReader::Read(
    const std::string& name, std::span<const int64_t> shape) const {
  PITH_ASSIGN_OR_RETURN(std::vector<float> values,
                        file_.ReadFloats(absl::StrCat(prefix_, name), shape));
  const auto bad = std::ranges::find_if(
      values, [](float value) { return !std::isfinite(value); });
  if (bad != values.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor \"", prefix_, name, "\" has the value ", *bad,
                     " at ", bad - values.begin()));
  }
  return values;
}

absl::StatusOr<std::vector<float>> EncoderWeightReader::Vector(
    const std::string& name, int size) const {
  return Read(name, std::array{static_cast<int64_t>(size)});
}

absl::StatusOr<Matrix> EncoderWeightReader::ReadMatrix(const std::string& name,
                                                       int rows,
                                                       int columns) const {
  PITH_ASSIGN_OR_RETURN(std::vector<float> values,
                        Read(name, std::array{static_cast<int64_t>(rows),
                                              static_cast<int64_t>(columns)}));
  return Matrix(static_cast<size_t>(rows), static_cast<size_t>(columns),
                std::move(values));
}

absl::StatusOr<LinearWeights> EncoderWeightReader::Linear(
    const std::string& name, int outputs, int inputs) const {
  LinearWeights linear;
  PITH_ASSIGN_OR_RETURN(linear.weight, ReadMatrix(absl::StrCat(name, ".weight"),
                                                  outputs, inputs));
  PITH_ASSIGN_OR_RETURN(linear.bias,
                        Vector(absl::StrCat(name, ".bias"), outputs));
  return linear;
}

absl::StatusOr<LayerNormWeights> EncoderWeightReader::Norm(
    const std::string& name) const {
  LayerNormWeights norm;
  PITH_ASSIGN_OR_RETURN(
      norm.weight, Vector(absl::StrCat(name, ".weight"), config_.hidden_size));
  PITH_ASSIGN_OR_RETURN(
      norm.bias, Vector(absl::StrCat(name, ".bias"), config_.hidden_size));
  return norm;
}

}  // namespace pith
