#include "core/index/codebook_choice.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "glog/logging.h"

#include "core/base/matrix.h"
#include "core/base/parallel.h"
#include "core/base/random.h"
#include "core/base/status_macros.h"
#include "core/base/vector_math.h"
#include "core/codes/codebook_training.h"

namespace pith {
namespace {

// Passages on which codebooks are compared; an eighth, of few.
constexpr size_t kComparedVectors = 1000;

// Passages that a thread takes at a time.
constexpr size_t kGrain = 64;

// Positions among `passages`, ascending: `wanted` of them at random, or all.
std::vector<size_t> Sample(const CodedPassages& passages, size_t wanted,
                           uint64_t seed) {
  const size_t count = passages.passages.size();
  std::vector<size_t> positions =
      RandomPositions(count, std::min(count, wanted), seed);
  std::sort(positions.begin(), positions.end());
  return positions;
}

// Row i is what passage positions[i] decodes to.
absl::StatusOr<Matrix> Decoded(const CodedPassages& passages,
                               std::span<const size_t> positions,
                               const SealControl& control) {
  Matrix vectors(positions.size(),
                 static_cast<size_t>(passages.codec->dimension()));
  PITH_RETURN_IF_ERROR(ParallelFor(
      control.build(), positions.size(), kGrain,
      [&](size_t /*worker*/, size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) {
          passages.codec->Decode(passages.code(positions[i]), vectors.row(i));
        }
      }));
  return vectors;
}

// The mean tan(theta) between `vectors` and what their codes decode to.
absl::StatusOr<double> MeanTangent(const Codebook& codebook,
                                   const Matrix& vectors,
                                   const SealControl& control) {
  std::vector<double> tangents(vectors.rows());
  PITH_RETURN_IF_ERROR(ParallelFor(
      control.build(), vectors.rows(), kGrain,
      [&](size_t /*worker*/, size_t begin, size_t end) {
        std::vector<uint8_t> code(codebook.code_bytes());
        std::vector<float> decoded(vectors.columns());
        for (size_t i = begin; i < end; ++i) {
          codebook.Encode(vectors.row(i), code);
          codebook.Decode(code, decoded);
          // A right angle has no tangent, and codes of no use come close.
          const double cosine =
              std::max(double{Dot(vectors.row(i), decoded)}, 0.01);
          tangents[i] = std::sqrt(std::max(0.0, 1 - cosine * cosine)) / cosine;
        }
      }));
  return std::accumulate(tangents.begin(), tangents.end(), 0.0) /
         static_cast<double>(tangents.size());
}

TrainingOptions ToTrainingOptions(const CodeShape& shape, uint64_t seed,
                                  const SealControl& control) {
  return {.shape = shape,
          .seed = seed,
          .threads = control.threads,
          .cancelled = control.build().cancelled};
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Codebook>> TrainFromCodes(
    const CodedPassages& passages, const CodeShape& shape, uint64_t seed,
    const SealControl& control) {
  control.progress(SealPhase::kTraining);
  const TrainingOptions options = ToTrainingOptions(shape, seed, control);
  PITH_ASSIGN_OR_RETURN(
      const Matrix vectors,
      Decoded(passages,
              Sample(passages, options.max_vectors + kCalibrationVectors, seed),
              control));
  return TrainCodebook(vectors, options);
}

absl::StatusOr<CodebookChoice> ChooseCodebook(
    const CodedPassages& passages,
    std::span<const std::shared_ptr<const Codebook>> existing,
    const CodeShape& shape, uint64_t seed, const SealControl& control) {
  CHECK(!existing.empty());
  control.progress(SealPhase::kTraining);
  const TrainingOptions options = ToTrainingOptions(shape, seed, control);
  const std::vector<size_t> sample = Sample(
      passages, options.max_vectors + kCalibrationVectors + kComparedVectors,
      seed);
  const bool can_train =
      sample.size() - sample.size() / 8 >= MinTrainingVectors(shape);
  if (!can_train && existing.size() == 1) {
    return CodebookChoice{.existing = existing[0]};
  }
  // Every n-th is compared on, so that both halves are of all of them.
  const size_t step = std::max<size_t>(8, sample.size() / kComparedVectors);
  std::vector<size_t> compared_on;
  std::vector<size_t> trained_on;
  for (size_t i = 0; i < sample.size(); ++i) {
    (i % step == step - 1 || !can_train ? compared_on : trained_on)
        .push_back(sample[i]);
  }
  PITH_ASSIGN_OR_RETURN(const Matrix compared,
                        Decoded(passages, compared_on, control));
  CodebookChoice choice;
  double least = 0;
  for (const std::shared_ptr<const Codebook>& codebook : existing) {
    PITH_ASSIGN_OR_RETURN(const double tangent,
                          MeanTangent(*codebook, compared, control));
    if (choice.existing == nullptr || tangent < least) {
      choice.existing = codebook;
      least = tangent;
    }
  }
  if (!can_train) {
    return choice;
  }
  PITH_ASSIGN_OR_RETURN(const Matrix training,
                        Decoded(passages, trained_on, control));
  PITH_ASSIGN_OR_RETURN(auto own, TrainCodebook(training, options));
  PITH_ASSIGN_OR_RETURN(const double tangent,
                        MeanTangent(*own, compared, control));
  choice.misfit = least / tangent;
  if (*choice.misfit > kMaxMisfit) {
    choice.own = std::move(own);
  }
  return choice;
}

}  // namespace pith
