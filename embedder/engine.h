#ifndef PITH_EMBEDDER_ENGINE_H_
#define PITH_EMBEDDER_ENGINE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

#include "core/base/matrix.h"

namespace pith {

enum class Precision { kF32, kBf16 };

// Token ids of several texts one after another, without padding. Text i is
// ids[offsets[i], offsets[i + 1]).
struct PackedTokens {
  std::vector<int32_t> ids;
  std::vector<int32_t> offsets = {0};

  size_t size() const { return offsets.size() - 1; }
};

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
