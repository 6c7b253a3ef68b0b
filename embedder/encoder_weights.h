#ifndef PITH_EMBEDDER_ENCODER_WEIGHTS_H_
#define PITH_EMBEDDER_ENCODER_WEIGHTS_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "core/base/matrix.h"
#include "embedder/model_directory.h"
#include "embedder/safetensors.h"

namespace pith {

// y = weight x + bias. Row i of `weight` makes output i.
struct LinearWeights {
  Matrix weight;
  std::vector<float> bias;
};

struct LayerNormWeights {
  std::vector<float> weight;
  std::vector<float> bias;
};

struct EncoderLayerWeights {
  // Queries, keys and values in one product, in that order.
  LinearWeights query_key_value;
  LinearWeights attention_output;
  LayerNormWeights attention_norm;
  LinearWeights up;
  LinearWeights down;
  LayerNormWeights output_norm;
};

// Reads an encoder's weights from model.safetensors as f32, part by part, so
// that no more than one part need be in memory beside what an engine makes of
// it. Each read gives kInvalidArgument if a tensor is missing, its shape does
// not fit the configuration or a value is not finite (rounding to int8 would
// make some number of it), and what SafetensorsFile says of a damaged file.
class EncoderWeightReader {
 public:
  static absl::StatusOr<EncoderWeightReader> Open(const ModelSpec& spec);

  // One row a token id.
  absl::StatusOr<Matrix> Words() const;
  // One row a position, from that of a text's first token on, with the embedding of token type 0, the only one in
  // use, added.
  absl::StatusOr<Matrix> Positions() const;
  absl::StatusOr<LayerNormWeights> EmbeddingNorm() const;
  // Layer `index` of the configuration's, with queries scaled by
  // 1 / sqrt(head size), as attention wants them.
  absl::StatusOr<EncoderLayerWeights> Layer(int index) const;

 private:
  EncoderWeightReader(const EncoderConfig& config, SafetensorsFile file);

  absl::StatusOr<std::vector<float>> Read(const std::string& name,
                                          std::span<const int64_t> shape) const;
  absl::StatusOr<std::vector<float>> Vector(const std::string& name,
                                            int size) const;
  absl::StatusOr<Matrix> ReadMatrix(const std::string& name, int rows,
                                    int columns) const;
  absl::StatusOr<LinearWeights> Linear(const std::string& name, int outputs,
                                       int inputs) const;
  absl::StatusOr<LayerNormWeights> Norm(const std::string& name) const;

  EncoderConfig config_;
  SafetensorsFile file_;
  // What a task's model puts in front of its encoder's names.
  std::string prefix_;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_ENCODER_WEIGHTS_H_
