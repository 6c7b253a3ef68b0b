#ifndef PITH_BENCHMARKS_UPDATE_BULK_H_
#define PITH_BENCHMARKS_UPDATE_BULK_H_

#include <cstddef>
#include <filesystem>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

#include "benchmarks/update/live_collection.h"

namespace pith {

struct BulkOptions {
  std::filesystem::path directory;
  LiveCollection::Options live;
  size_t passages = 1'000'000;
  size_t passage_bytes = 80;
  size_t document_passages = 1;
  size_t dimension = 384;
};

// Memory, files, bytes and time of adding many small passages of made-up words;
// and what an empty collection takes on disk. Peaks are this process's: no
// other measurement's memory should be held.
absl::StatusOr<std::vector<nlohmann::ordered_json>> MeasureBulk(
    const BulkOptions& options);

}  // namespace pith

#endif  // PITH_BENCHMARKS_UPDATE_BULK_H_
