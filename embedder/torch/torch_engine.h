#ifndef PITH_EMBEDDER_TORCH_TORCH_ENGINE_H_
#define PITH_EMBEDDER_TORCH_TORCH_ENGINE_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

#include "core/base/matrix.h"
#include "embedder/engine.h"
#include "embedder/model_directory.h"
#include "embedder/torch/text_units.h"
#include "embedder/torch/unit_runner.h"

namespace pith {

// A BERT encoder in LibTorch, on a CPU or a CUDA device. Texts are packed:
// linear layers see one matrix of all tokens, attention runs within each text.
// In bf16, so is all that is kept between operations, from the embedding's
// norm to pooling, which are f32; sums within an operation are f32.
class TorchEngine : public Engine {
 public:
  // What suits a GPU, by arithmetic. A batch of the daemon's is of up to 16,384
  // tokens: two units, one for each stream. In tiles of 128 x 128, 8,192 rows
  // by 384 dimensions are 192, more than a GPU has multiprocessors; and memory
  // they take little: up to 9 values a row and hidden dimension, 150 MB for
  // 1,024 dimensions in bf16.
  static constexpr TextPacking kCudaPacking = {.unit_rows = 8192};

  // How attention, within each text either way, is called.
  enum class TextAttention {
    kByLength,  // once for all texts of a length
    kPacked,    // once for all texts of a unit
  };

  // Whether this LibTorch has kPacked: from 2.1 on.
  static bool HasPackedAttention();

  struct Options {
    // Of f32 and bf16; by default bf16 on CUDA and f32 on the CPU.
    std::optional<Precision> precision;
    // How many CPU threads run the model, each on texts of its own; LibTorch
    // itself is set to one thread for the whole process. Ignored on CUDA, where
    // two launch work, each on a stream of its own.
    int threads = 1;
    // "cpu", "cuda:N", or "auto": the first CUDA device if there is one.
    std::string device = "auto";
    // By default what suits the device.
    std::optional<TextPacking> packing;
    // By default kPacked on CUDA, if there is any, and kByLength on the CPU,
    // where the model takes at least twice as long with the other.
    std::optional<TextAttention> attention;
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
  TorchEngine(std::unique_ptr<Encoder> encoder, UnitRunner runner);

  std::unique_ptr<Encoder> encoder_;
  UnitRunner runner_;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_TORCH_TORCH_ENGINE_H_
