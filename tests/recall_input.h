#ifndef PITH_TESTS_RECALL_INPUT_H_
#define PITH_TESTS_RECALL_INPUT_H_

#include <cmath>
#include <cstddef>
#include <filesystem>
#include <random>
#include <span>
#include <utility>

#include "benchmarks/recall/measurement.h"
#include "core/base/matrix.h"
#include "core/base/vector_math.h"

namespace pith {

// Rows of unit norm in all directions alike.
inline Matrix RandomUnitRows(size_t rows, size_t columns, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Matrix matrix(rows, columns);
  for (size_t i = 0; i < rows; ++i) {
    const std::span<float> row = matrix.row(i);
    for (float& value : row) {
      value = normal(random);
    }
    const float norm = Norm(row);
    for (float& value : row) {
      value /= norm;
    }
  }
  return matrix;
}

// What strategies are measured on; artifacts go to `cache`.
inline RecallInput MakeRecallInput(Matrix passages, Matrix queries,
                                   const std::filesystem::path& cache) {
  Truth truth = Truth::Find(passages, queries, 10, 1);
  return {.passages = std::move(passages),
          .queries = std::move(queries),
          .truth = std::move(truth),
          .cache = ArtifactCache(cache),
          .fingerprint = "test"};
}

}  // namespace pith

#endif  // PITH_TESTS_RECALL_INPUT_H_
