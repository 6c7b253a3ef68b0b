#ifndef PITH_EMBEDDER_TORCH_TORCH_ENGINE_H_
#define PITH_EMBEDDER_TORCH_TORCH_ENGINE_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

#include "core/base/matrix.h"
#include "embedder/engine.h"
#include "embedder/model_directory.h"

namespace pith {

// A BERT encoder in LibTorch, on a CPU or a CUDA device. Texts are packed:
// linear layers see one matrix of all tokens, attention runs within each text.
// In bf16, weights and matrix products are bf16; the residual stream, layer
// norms and pooling stay f32.
class TorchEngine : public Engine {
 public:
  struct Options {
    // Of f32 and bf16; by default bf16 on CUDA and f32 on the CPU.
    std::optional<Precision> precision;
    // How many CPU threads run the model, each on texts of its own; LibTorch
    // itself is set to one thread for the whole process. Ignored on CUDA.
    int threads = 1;
    // "cpu", "cuda:N", or "auto": the first CUDA device if there is one.
    std::string device = "auto";
  };

  // Reads the weights from model.safetensors. kInvalidArgument for options that
  // cannot be met or weights that do not fit the configuration; what
  // SafetensorsFile says of a file that is missing or damaged.
  static absl::StatusOr<std::unique_ptr<TorchEngine>> Load(
      const ModelSpec& spec, const Options& options);
  ~TorchEngine() override;

  int dimension() const override;
  absl::StatusOr<Matrix> Embed(const PackedTokens& tokens) override;

  // What computes: "cpu" or "cuda:0".
  std::string device() const;
  Precision precision() const;

 private:
  // Keeps LibTorch out of this header.
  struct Encoder;
  explicit TorchEngine(std::unique_ptr<Encoder> encoder);

  std::unique_ptr<Encoder> encoder_;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_TORCH_TORCH_ENGINE_H_
