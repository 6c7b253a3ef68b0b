#ifndef PITH_EMBEDDER_ONEDNN_PACKED_LINEAR_H_
#define PITH_EMBEDDER_ONEDNN_PACKED_LINEAR_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "core/base/matrix.h"
#include "embedder/engine.h"

namespace pith {

// Rows that one product takes: a multiple of kRowMultiple up to kMaxRows. More
// gains nothing, and every number of rows is a program of its own.
inline constexpr size_t kRowMultiple = 16;
inline constexpr size_t kMaxRows = 64;

// Whether this CPU computes products of `precision` faster than those of f32.
bool CpuHas(Precision precision);

// The CPU's vector instructions as oneDNN uses them, and oneDNN's version:
// results of one such name are the same.
std::string CpuName();

// A weight in the layout that oneDNN's products want, for one precision. Not
// thread-safe: one thread at a time, with one thread's work.
class PackedLinear {
 public:
  // `weight` has a row an output. In int8 each row is rounded to a scale of its
  // own. kInternal, or kResourceExhausted if memory runs out.
  static absl::StatusOr<PackedLinear> Create(Precision precision,
                                             const Matrix& weight);
  PackedLinear(PackedLinear&&) noexcept;
  PackedLinear& operator=(PackedLinear&&) noexcept;
  ~PackedLinear();

  // output = input * transposed weight, `rows` rows. Inputs are float, uint16_t
  // (bf16) or int8_t by precision; a row's own scale is left to the caller.
  absl::Status Multiply(size_t rows, const void* input, float* output);

  size_t inputs() const;
  size_t outputs() const;

 private:
  // Keeps oneDNN out of this header.
  struct State;
  explicit PackedLinear(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_ONEDNN_PACKED_LINEAR_H_
