#include "embedder/onednn/onednn_engine.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "core/base/status_macros.h"

namespace pith {
namespace {

// A unit is closed when it has as many tokens: few enough for its activations
// to stay in the second and third cache, enough that a last tile that is not
// full costs little.
constexpr size_t kUnitTokens = 256;

size_t RoundUp(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// The parts of a matrix of `rows` that one product takes.
template <typename Function>
absl::Status ForEachTile(size_t rows, const Function& function) {
  for (size_t row = 0; row < rows; row += kMaxRows) {
    PITH_RETURN_IF_ERROR(function(row, std::min(kMaxRows, rows - row)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<OnednnEngine>> OnednnEngine::Load(
    const ModelSpec& spec, Precision precision) {
  if (!CpuHas(precision)) {
    return absl::FailedPreconditionError(
        absl::StrCat("model ", spec.name, ": this CPU has no instructions for ",
                     std::string(PrecisionName(precision))));
  }
  for (const auto& [name, size] :
       {std::pair("hidden_size", spec.encoder.hidden_size),
        std::pair("intermediate_size", spec.encoder.intermediate_size)}) {
    if (static_cast<size_t>(size) % kLaneMultiple != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("model ", spec.name, ": ", name, " is ", size,
                       ", the onednn engine takes multiples of ", kLaneMultiple,
                       "; the torch engine takes any"));
    }
  }
  std::unique_ptr<OnednnEngine> engine(new OnednnEngine(spec, precision));
  PITH_RETURN_IF_ERROR(engine->LoadWeights(spec));
  return engine;
}

OnednnEngine::OnednnEngine(const ModelSpec& spec, Precision precision)
    : config_(spec.encoder),
      pooling_(spec.pooling),
      precision_(precision),
      hidden_rotation_(static_cast<size_t>(config_.hidden_size)),
      intermediate_rotation_(static_cast<size_t>(config_.intermediate_size)) {}

absl::Status OnednnEngine::LoadWeights(const ModelSpec& spec) {
  PITH_ASSIGN_OR_RETURN(const EncoderWeightReader reader,
                        EncoderWeightReader::Open(spec));
  PITH_ASSIGN_OR_RETURN(words_, reader.Words());
  PITH_ASSIGN_OR_RETURN(positions_, reader.Positions());
  PITH_ASSIGN_OR_RETURN(embedding_norm_, reader.EmbeddingNorm());
  for (int i = 0; i < config_.layers; ++i) {
    PITH_ASSIGN_OR_RETURN(EncoderLayerWeights weights, reader.Layer(i));
    PITH_ASSIGN_OR_RETURN(Linear query_key_value,
                          Pack(std::move(weights.query_key_value)));
    PITH_ASSIGN_OR_RETURN(Linear attention_output,
                          Pack(std::move(weights.attention_output)));
    PITH_ASSIGN_OR_RETURN(Linear up, Pack(std::move(weights.up)));
    PITH_ASSIGN_OR_RETURN(Linear down, Pack(std::move(weights.down)));
    layers_.push_back({.query_key_value = std::move(query_key_value),
                       .attention_output = std::move(attention_output),
                       .attention_norm = std::move(weights.attention_norm),
                       .up = std::move(up),
                       .down = std::move(down),
                       .output_norm = std::move(weights.output_norm)});
  }
  return absl::OkStatus();
}

absl::StatusOr<OnednnEngine::Linear> OnednnEngine::Pack(
    LinearWeights weights) const {
  if (precision_ == Precision::kInt8) {
    const InputRotation& rotation = RotationOf(weights.weight.columns());
    for (size_t i = 0; i < weights.weight.rows(); ++i) {
      Rotate(rotation, weights.weight.row(i));
    }
  }
  PITH_ASSIGN_OR_RETURN(PackedLinear product,
                        PackedLinear::Create(precision_, weights.weight));
  return Linear{std::move(product), std::move(weights.bias)};
}

NormView OnednnEngine::View(const LayerNormWeights& norm) const {
  return {.weight = norm.weight.data(),
          .bias = norm.bias.data(),
          .epsilon = static_cast<float>(config_.layer_norm_epsilon)};
}

const InputRotation& OnednnEngine::RotationOf(size_t size) const {
  return size == hidden_rotation_.size() ? hidden_rotation_
                                         : intermediate_rotation_;
}

absl::StatusOr<Matrix> OnednnEngine::Embed(const PackedTokens& tokens) {
  PITH_RETURN_IF_ERROR(
      CheckTokens(tokens, config_.vocab_size, config_.max_positions));
  Matrix result(tokens.size(), static_cast<size_t>(dimension()));
  Unit unit;
  for (size_t text = 0; text < tokens.size(); ++text) {
    const size_t length =
        static_cast<size_t>(tokens.offsets[text + 1] - tokens.offsets[text]);
    unit.texts.push_back(text);
    unit.lengths.push_back(length);
    unit.tokens += length;
    if (unit.tokens >= kUnitTokens || text + 1 == tokens.size()) {
      PITH_RETURN_IF_ERROR(Run(unit, tokens, result));
      unit = {};
    }
  }
  return result;
}

absl::Status OnednnEngine::Run(const Unit& unit, const PackedTokens& tokens,
                               Matrix& result) {
  const size_t hidden = static_cast<size_t>(config_.hidden_size);
  const size_t wide = static_cast<size_t>(config_.intermediate_size);
  const size_t rows = RoundUp(unit.tokens, kRowMultiple);
  hidden_.resize(rows * hidden);
  query_key_value_.resize(rows * 3 * hidden);
  context_.resize(rows * hidden);
  scales_.resize(rows);
  rotated_.resize(std::max(hidden, wide));
  wide_.resize(kMaxRows * wide);
  narrow_.resize(kMaxRows * hidden);
  int8_input_.resize(kMaxRows * std::max(hidden, wide));
  bf16_input_.resize(kMaxRows * std::max(hidden, wide));

  float* row = hidden_.data();
  for (size_t i = 0; i < unit.texts.size(); ++i) {
    const int32_t* ids =
        &tokens.ids[static_cast<size_t>(tokens.offsets[unit.texts[i]])];
    for (size_t t = 0; t < unit.lengths[i]; ++t, row += hidden) {
      EmbedToken(words_.row(static_cast<size_t>(ids[t])).data(),
                 positions_.row(t).data(), View(embedding_norm_),
                 {row, hidden});
    }
  }
  for (Layer& layer : layers_) {
    PITH_RETURN_IF_ERROR(RunLayer(layer, unit));
  }
  return Pool(unit, result);
}

absl::Status OnednnEngine::Multiply(Linear& linear, size_t rows,
                                    const float* input, float* product,
                                    float* scales) {
  const size_t size = linear.product.inputs();
  const void* operand = input;
  std::fill_n(scales, rows, 1.0f);
  switch (precision_) {
    case Precision::kF32:
      break;
    case Precision::kBf16:
      RoundToBf16({input, rows * size}, bf16_input_.data());
      operand = bf16_input_.data();
      break;
    case Precision::kInt8: {
      const InputRotation& rotation = RotationOf(size);
      for (size_t i = 0; i < rows; ++i) {
        scales[i] = RotateAndQuantize(rotation, input + i * size,
                                      {rotated_.data(), size},
                                      int8_input_.data() + i * size);
      }
      operand = int8_input_.data();
      break;
    }
  }
  return linear.product.Multiply(RoundUp(rows, kRowMultiple), operand, product);
}

absl::Status OnednnEngine::RunLayer(Layer& layer, const Unit& unit) {
  const size_t hidden = static_cast<size_t>(config_.hidden_size);
  const size_t wide = static_cast<size_t>(config_.intermediate_size);
  PITH_RETURN_IF_ERROR(ForEachTile(unit.tokens, [&](size_t first, size_t rows) {
    return Multiply(
        layer.query_key_value, rows, hidden_.data() + first * hidden,
        query_key_value_.data() + first * 3 * hidden, scales_.data() + first);
  }));

  size_t first = 0;
  for (const size_t length : unit.lengths) {
    AttendWithinText({.product = query_key_value_.data() + first * 3 * hidden,
                      .scales = scales_.data() + first,
                      .bias = layer.query_key_value.bias.data(),
                      .length = length,
                      .heads = static_cast<size_t>(config_.heads),
                      .head_size = hidden / static_cast<size_t>(config_.heads)},
                     attention_, context_.data() + first * hidden);
    first += length;
  }

  return ForEachTile(unit.tokens, [&](size_t tile, size_t rows) {
    float* states = hidden_.data() + tile * hidden;
    const auto add_and_normalize = [&](const Linear& linear,
                                       const LayerNormWeights& norm) {
      for (size_t i = 0; i < rows; ++i) {
        AddAndNormalize({states + i * hidden, hidden},
                        narrow_.data() + i * hidden, scales_[i],
                        linear.bias.data(), View(norm));
      }
    };
    PITH_RETURN_IF_ERROR(Multiply(layer.attention_output, rows,
                                  context_.data() + tile * hidden,
                                  narrow_.data(), scales_.data()));
    add_and_normalize(layer.attention_output, layer.attention_norm);
    PITH_RETURN_IF_ERROR(
        Multiply(layer.up, rows, states, wide_.data(), scales_.data()));
    for (size_t i = 0; i < rows; ++i) {
      Activate(config_.activation, scales_[i], layer.up.bias.data(),
               {wide_.data() + i * wide, wide});
    }
    PITH_RETURN_IF_ERROR(Multiply(layer.down, rows, wide_.data(),
                                  narrow_.data(), scales_.data()));
    add_and_normalize(layer.down, layer.output_norm);
    return absl::OkStatus();
  });
}

absl::Status OnednnEngine::Pool(const Unit& unit, Matrix& result) const {
  const size_t hidden = static_cast<size_t>(config_.hidden_size);
  const float* states = hidden_.data();
  for (size_t i = 0; i < unit.texts.size(); ++i) {
    std::vector<float> pooled(states, states + hidden);
    if (pooling_ == Pooling::kMean) {
      for (size_t t = 1; t < unit.lengths[i]; ++t) {
        for (size_t j = 0; j < hidden; ++j) {
          pooled[j] += states[t * hidden + j];
        }
      }
    }
    PITH_RETURN_IF_ERROR(
        WriteUnitNorm(pooled, unit.texts[i], result.row(unit.texts[i])));
    states += unit.lengths[i] * hidden;
  }
  return absl::OkStatus();
}

}  // namespace pith
