#ifndef PITH_EMBEDDER_ENGINE_H_
#define PITH_EMBEDDER_ENGINE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "core/base/matrix.h"

namespace pith {

// Of weights and of the inputs of matrix products.
enum class Precision { kF32, kBf16, kInt8 };

// "f32", "bf16", "int8", and back; nullopt for any other name.
std::string_view PrecisionName(Precision precision);
std::optional<Precision> PrecisionNamed(std::string_view name);

// Token ids of several texts one after another, without padding. Text i is
// ids[offsets[i], offsets[i + 1]).
struct PackedTokens {
  std::vector<int32_t> ids;
  std::vector<int32_t> offsets = {0};

  size_t size() const { return offsets.size() - 1; }
};

// kInvalidArgument unless every text has 1 to `max_positions` tokens, all in
// [0, vocab_size).
absl::Status CheckTokens(const PackedTokens& tokens, int vocab_size,
                         int max_positions);

// Writes `pooled`, scaled to unit norm, to `out`. kInternal, naming `text`, if
// its norm is zero or not finite: the model failed.
absl::Status WriteUnitNorm(std::span<const float> pooled, size_t text,
                           std::span<float> out);

// The model's forward pass. Not thread-safe.
class Engine {
 public:
  virtual ~Engine() = default;

  virtual int dimension() const = 0;

  // Row i is the pooled unit-norm embedding of text i, independent of the other
  // texts. kInvalidArgument if an id is outside the vocabulary or a text is
  // empty or longer than the model's positions, kResourceExhausted if memory
  // runs out, kInternal if the model fails.
  virtual absl::StatusOr<Matrix> Embed(const PackedTokens& tokens) = 0;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_ENGINE_H_
