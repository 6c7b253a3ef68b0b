#ifndef PITH_CORE_INDEX_CODEBOOK_CHOICE_H_
#define PITH_CORE_INDEX_CODEBOOK_CHOICE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "absl/status/statusor.h"

#include "core/codes/codebook.h"
#include "core/index/sealing.h"

namespace pith {

// A codebook for what `passages` decode to; of very many, a sample.
absl::StatusOr<std::shared_ptr<const Codebook>> TrainFromCodes(
    const CodedPassages& passages, const CodeShape& shape, uint64_t seed,
    const SealControl& control);

struct CodebookChoice {
  // Of the existing ones, the one whose codes err least.
  std::shared_ptr<const Codebook> existing;
  // One that was trained on the passages; null if the other fits.
  std::shared_ptr<const Codebook> own;
  // How much more the former errs than the latter: the ratio of the means of
  // tan(theta), the angle between a vector and its decoded code, over passages
  // that were not trained on. nullopt if there are too few to find that.
  std::optional<double> misfit;
};

// A codebook that errs more than so many times what one of its own would does
// not fit. Passages of one kind were seen at .98 to 1.02, of another at 1.15 to
// 1.9 (docs/decisions/0006-codes.md).
inline constexpr double kMaxMisfit = 1.1;

// Which codebook `passages` are to be encoded with. `existing`: at least one.
// Takes as long as training one.
absl::StatusOr<CodebookChoice> ChooseCodebook(
    const CodedPassages& passages,
    std::span<const std::shared_ptr<const Codebook>> existing,
    const CodeShape& shape, uint64_t seed, const SealControl& control);

}  // namespace pith

#endif  // PITH_CORE_INDEX_CODEBOOK_CHOICE_H_
