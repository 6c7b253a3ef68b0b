#ifndef PITH_EMBEDDER_ONEDNN_PRECISION_CHOICE_H_
#define PITH_EMBEDDER_ONEDNN_PRECISION_CHOICE_H_

#include <filesystem>

#include "absl/status/statusor.h"

#include "embedder/engine.h"
#include "embedder/model_directory.h"

namespace pith {

// How far vectors may be from those of f32: the mean square of the difference,
// as a share of the mean square of what is between two texts.
// docs/performance.md has what recall and ranking lose at such an error.
inline constexpr double kMaxPrecisionError = 1e-3;

// The error of `vectors` against `exact`, both one row for each of the same
// texts, at least two.
double PrecisionError(const Matrix& exact, const Matrix& vectors);

// The fastest precision that this CPU has instructions for and whose error on
// a few built-in texts is within the bound. What was found is kept in
// `cache_file` (JSON; not if empty) by weights and CPU; a cache that cannot be
// read or written is only slower. Errors are Tokenizer::Load's and OnednnEngine's.
absl::StatusOr<Precision> ChoosePrecision(
    const ModelSpec& spec, const std::filesystem::path& cache_file);

}  // namespace pith

#endif  // PITH_EMBEDDER_ONEDNN_PRECISION_CHOICE_H_
