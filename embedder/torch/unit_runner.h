#ifndef PITH_EMBEDDER_TORCH_UNIT_RUNNER_H_
#define PITH_EMBEDDER_TORCH_UNIT_RUNNER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "embedder/engine.h"
#include "embedder/torch/text_units.h"

namespace pith {

// Shares texts out, in units, to lanes that compute at the same time: a CPU's
// threads, a GPU's streams. Where memory runs out it goes on with smaller
// units, and keeps to them. Knows nothing of the model. Not thread-safe.
class UnitRunner {
 public:
  // Computes a unit on a lane of [0, lanes). kResourceExhausted means that
  // memory ran out, and that the unit may be tried again, whole or in parts.
  using Compute = absl::FunctionRef<absl::Status(int lane, const TextUnit&)>;

  // After how many units in a row without a failure twice as large ones are
  // tried again: what took the memory may have been another process.
  static constexpr int64_t kUnitsBeforeGrowth = 1000;

  UnitRunner(const TextPacking& packing, int lanes)
      : packing_(packing), unit_rows_(packing.unit_rows), lanes_(lanes) {}

  // Has every text of `tokens` computed, lanes at the same time, each on a
  // thread. Units for which memory ran out are computed again in units of half
  // the size, on one lane with the others idle, and halved until they fit.
  // kResourceExhausted, naming the text, if one alone does not; any other
  // failure of a unit is that of the call.
  absl::Status Run(const PackedTokens& tokens, Compute compute);

  // Most rows of a unit that the next call makes; see TextPacking.
  int64_t unit_rows() const { return unit_rows_; }

 private:
  TextPacking Packing() const;
  // Alone on lane 0.
  absl::Status RunAlone(const PackedTokens& tokens, std::vector<size_t> texts,
                        Compute compute);
  void CountWorked(int64_t units);

  TextPacking packing_;
  int64_t unit_rows_;
  int lanes_;
  // Since memory last ran out or units last grew.
  int64_t units_worked_ = 0;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_TORCH_UNIT_RUNNER_H_
