#ifndef PITH_CORE_CODES_SCORE_SLOPE_H_
#define PITH_CORE_CODES_SCORE_SLOPE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "absl/status/statusor.h"

#include "core/base/parallel.h"
#include "core/codes/codebook.h"

namespace pith {

// How many codes there must be at least: twice as many as are looked at of each
// query.
inline constexpr size_t kMinSlopeCodes = 512;

// How fast scores thin out among passages with these codes, which lie one after
// another, below a query's best: passages with an estimate of x or more get
// fewer as exp(-r x), and r is returned. Measured where a search decides how
// many to recompute, from the 32nd to the 256th of all others, with 512 of the
// passages themselves, at random, for queries; the median. Unlike that of a
// sample it grows as passages get denser (docs/decisions/0008-recompute.md).
// nullopt of fewer codes than kMinSlopeCodes. kCancelled as `control` says.
absl::StatusOr<std::optional<float>> MeasureScoreSlope(
    const Codebook& codebook, std::span<const uint8_t> codes,
    const BuildControl& control);

}  // namespace pith

#endif  // PITH_CORE_CODES_SCORE_SLOPE_H_
