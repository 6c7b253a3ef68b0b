#ifndef PITH_CORE_CODES_CODEBOOK_TRAINING_H_
#define PITH_CORE_CODES_CODEBOOK_TRAINING_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"

#include "core/base/matrix.h"
#include "core/codes/codebook.h"

namespace pith {

// Of those that are given, at most so many calibrate; an eighth, of few.
inline constexpr size_t kCalibrationVectors = 4096;

struct TrainingOptions {
  CodeShape shape;
  uint64_t seed = 0;
  int threads = 1;
  // Of more vectors than this and kCalibrationVectors, a random sample is
  // trained on. More trains
  // longer: docs/decisions/0006-codes.md has what it gains.
  size_t max_vectors = 40'000;
  // Of Lloyd's algorithm.
  int iterations = 20;
  // Asked by every thread, many times a second, but heeded before each of them;
  // not while principal components are found, which takes time as the
  // dimension's cube: seconds from a thousand on. May keep a thread waiting.
  std::function<bool()> cancelled = [] { return false; };
};

// The fewest vectors a codebook of this shape can be trained on: four for each
// centroid of a sub-quantiser.
size_t MinTrainingVectors(const CodeShape& shape);

// Trains a codebook on rows of unit norm, and calibrates its errors on rows
// that it did not train on. The result is the same whatever the number of
// threads.
//
// kInvalidArgument if the shape does not fit the dimension (CheckCodeShape),
// there are fewer rows than MinTrainingVectors or a row's norm is not 1 to
// within a hundredth; kCancelled when told.
//
// Principal components are dealt to sub-quantisers so that each gets an equal
// product of variances (Ge, He, Ke, Sun, CVPR 2013, section 3.3), and centroids
// are found by Lloyd's algorithm. Rotations learnt further, in turns with the
// centroids, recall no more (docs/decisions/0006-codes.md).
absl::StatusOr<std::shared_ptr<const Codebook>> TrainCodebook(
    const Matrix& vectors, const TrainingOptions& options);

}  // namespace pith

#endif  // PITH_CORE_CODES_CODEBOOK_TRAINING_H_
