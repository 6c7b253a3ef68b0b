#ifndef PITH_BENCHMARKS_UPDATE_SEARCHES_H_
#define PITH_BENCHMARKS_UPDATE_SEARCHES_H_

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

#include "benchmarks/update/live_collection.h"
#include "core/base/matrix.h"
#include "core/index/collection.h"

namespace pith {

// What goes on beside searches.
struct BackgroundLoad {
  std::string name;
  // Called over and over on a thread of its own; null for nothing.
  std::function<absl::Status()> step;
};

struct SearchesOptions {
  // In each repetition, with each load; repetitions take turns, so that what
  // else the machine does meets all loads alike.
  size_t searches = 200;
  size_t repetitions = 5;
  // Named in the rows.
  std::string embedder;
};

// A row of latencies for each load, the first of which the others are compared
// with.
absl::StatusOr<std::vector<nlohmann::ordered_json>> MeasureSearches(
    const SearchesOptions& options, Collection& collection,
    const Matrix& queries, const std::vector<BackgroundLoad>& loads);

// Whatever it takes to make Compact move all passages: `edit` is called first.
BackgroundLoad MergingLoad(Collection& collection,
                           std::function<absl::Status()> edit);
// Trains a codebook and encodes all passages with it, of vectors that the
// embedder gives again.
BackgroundLoad RecodingLoad(Collection& collection);

}  // namespace pith

#endif  // PITH_BENCHMARKS_UPDATE_SEARCHES_H_
