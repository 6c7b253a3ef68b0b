#ifndef PITH_BENCHMARKS_UPDATE_ROUNDS_H_
#define PITH_BENCHMARKS_UPDATE_ROUNDS_H_

#include <cstddef>
#include <filesystem>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

#include "benchmarks/update/live_collection.h"
#include "benchmarks/update/searches.h"
#include "benchmarks/update/texts.h"

namespace pith {

struct RoundsOptions {
  // Where collections are made and removed.
  std::filesystem::path directory;
  LiveCollection::Options live;
  // A multiple of document_passages.
  size_t passages = 50'000;
  size_t rounds = 50;
  // Of the passages, replaced in each round.
  double share = 0.02;
  size_t document_passages = 8;
  // Passages replaced in a document that is changed, at most all.
  size_t changed_passages = 2;
  // Rounds between two looks at recall and bytes.
  size_t check_every = 10;
  // Recomputed at a fixed R.
  size_t rerank = 30;
  // Of the exact search.
  int threads = 1;
  // Of the model that is not part of the measurement.
  std::optional<double> model_passages_per_second;
};

// Texts that the rounds need.
size_t RoundsTexts(const RoundsOptions& options);

// Replaces passages of a collection of the first `texts` by those that follow,
// round after round, each place once before any place a second time; then the
// same with all that is left in a fresh collection. Rows of recall and bytes at
// some rounds, at the end, after Compact and of the fresh collection, a row of
// what all rounds cost.
absl::StatusOr<std::vector<nlohmann::ordered_json>> MeasureRounds(
    const RoundsOptions& options, const VectorTexts& texts);

// What becomes of the directory when nine documents of ten are deleted, beside
// a fresh collection of those that stay.
absl::StatusOr<std::vector<nlohmann::ordered_json>> MeasureDeletion(
    const RoundsOptions& options, const VectorTexts& texts);

// Search latency without the model beside adding `adding_rate` passages a
// second, merging and training.
absl::StatusOr<std::vector<nlohmann::ordered_json>> MeasureKnownSearches(
    const RoundsOptions& options, const SearchesOptions& searches,
    double adding_rate, const VectorTexts& texts);

}  // namespace pith

#endif  // PITH_BENCHMARKS_UPDATE_ROUNDS_H_
