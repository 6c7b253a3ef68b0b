#ifndef PITH_BENCHMARKS_EMBED_PARTS_H_
#define PITH_BENCHMARKS_EMBED_PARTS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "embedder/model_directory.h"

namespace pith {

// What a part of the onednn engine's work takes on one thread.
struct EncoderPart {
  std::string name;
  // For one token in one layer.
  double nanoseconds;
  // The same if a core did nothing but the part's floating-point operations, at
  // the rate of multiply-adds that was measured on it: an addition takes as
  // long as a multiply-add, a product of bf16 half of that, of int8 a quarter.
  double bound;
};

// Every part alone, through the functions that the engine calls: products in
// each precision that the CPU has and what goes before them, attention within
// texts of each of `lengths`, activation, norms. Medians of `repetitions`.
absl::StatusOr<std::vector<EncoderPart>> MeasureParts(
    const EncoderConfig& config, const std::vector<int>& lengths,
    int repetitions);

}  // namespace pith

#endif  // PITH_BENCHMARKS_EMBED_PARTS_H_
