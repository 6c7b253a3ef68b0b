#ifndef PITH_BENCHMARKS_EMBED_GEMM_BOUND_H_
#define PITH_BENCHMARKS_EMBED_GEMM_BOUND_H_

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "embedder/engine.h"
#include "embedder/model_directory.h"
#include "embedder/onednn/packed_linear.h"

namespace pith {

// One thread's matrix products of an encoder, without anything between them:
// all four of every layer in the engine's tiles, of random weights and the same
// random input.
class EncoderProducts {
 public:
  // Tokens that go through the layers together.
  static constexpr size_t kUnitTokens = 256;

  // Errors are PackedLinear's.
  static absl::StatusOr<EncoderProducts> Create(const EncoderConfig& config,
                                                Precision precision);

  // The products of kUnitTokens tokens, in the engine's order.
  absl::Status MultiplyUnit();

 private:
  EncoderProducts() = default;

  // Linears [first, end), tile by tile.
  absl::Status MultiplyTiles(size_t first, size_t end);

  // Four a layer.
  std::vector<PackedLinear> linears_;
  std::vector<std::byte> input_;
  std::vector<float> output_;
};

// Tokens a second of an encoder that were nothing but its matrix products, on
// `threads` threads. The median of `repetitions`, wall time.
absl::StatusOr<double> MeasureGemmBound(const EncoderConfig& config,
                                        Precision precision, int threads,
                                        int repetitions);

}  // namespace pith

#endif  // PITH_BENCHMARKS_EMBED_GEMM_BOUND_H_
