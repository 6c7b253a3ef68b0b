#ifndef PITH_EMBEDDER_ONEDNN_ONEDNN_ENGINE_H_
#define PITH_EMBEDDER_ONEDNN_ONEDNN_ENGINE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "core/base/matrix.h"
#include "embedder/encoder_weights.h"
#include "embedder/engine.h"
#include "embedder/model_directory.h"
#include "embedder/onednn/encoder_kernels.h"
#include "embedder/onednn/packed_linear.h"

namespace pith {

// An encoder on one CPU core: oneDNN's matrix products over tiles of rows that
// stay in cache, and vectorised kernels that do all between two products in one
// pass. Texts are packed: products see the tokens of many texts, attention runs
// within each.
//
// In bf16 and int8 the products' inputs and weights are rounded; all else is
// f32. In int8 the inputs are rotated first, which spreads outliers over all
// values.
class OnednnEngine : public Engine {
 public:
  // kFailedPrecondition if this CPU does not have `precision`, kInvalidArgument
  // if a size of the model is no multiple of 16 or weights do not fit the
  // configuration; what SafetensorsFile says of a file that is missing or
  // damaged.
  static absl::StatusOr<std::unique_ptr<OnednnEngine>> Load(
      const ModelSpec& spec, Precision precision);

  int dimension() const override { return config_.hidden_size; }
  absl::StatusOr<Matrix> Embed(const PackedTokens& tokens) override;

 private:
  struct Linear {
    PackedLinear product;
    std::vector<float> bias;
  };
  struct Layer {
    Linear query_key_value;
    Linear attention_output;
    LayerNormWeights attention_norm;
    Linear up;
    Linear down;
    LayerNormWeights output_norm;
  };
  // Texts that go through the layers together, and their tokens.
  struct Unit {
    std::vector<size_t> texts;
    std::vector<size_t> lengths;
    size_t tokens = 0;
  };

  OnednnEngine(const ModelSpec& spec, Precision precision);

  absl::Status LoadWeights(const ModelSpec& spec);
  absl::StatusOr<Linear> Pack(LinearWeights weights) const;

  NormView View(const LayerNormWeights& norm) const;
  const InputRotation& RotationOf(size_t size) const;

  absl::Status Run(const Unit& unit, const PackedTokens& tokens,
                   Matrix& result);
  // product = input * weight; row i is to be multiplied by scales[i]. `rows`
  // rows, at most kMaxRows; the room is that of the next multiple of
  // kRowMultiple.
  absl::Status Multiply(Linear& linear, size_t rows, const float* input,
                        float* product, float* scales);
  absl::Status RunLayer(Layer& layer, const Unit& unit);
  absl::Status Pool(const Unit& unit, Matrix& result) const;

  const EncoderConfig config_;
  const Pooling pooling_;
  const Precision precision_;
  // Of the two sizes of product inputs; used in int8.
  const InputRotation hidden_rotation_;
  const InputRotation intermediate_rotation_;

  Matrix words_;
  Matrix positions_;
  LayerNormWeights embedding_norm_;
  std::vector<Layer> layers_;

  // What a unit is computed in.
  std::vector<float> hidden_;
  std::vector<float> query_key_value_;
  std::vector<float> context_;
  std::vector<float> scales_;
  std::vector<float> rotated_;
  std::vector<float> wide_;
  std::vector<float> narrow_;
  std::vector<int8_t> int8_input_;
  std::vector<uint16_t> bf16_input_;
  AttentionScratch attention_;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_ONEDNN_ONEDNN_ENGINE_H_
