#ifndef PITH_BENCHMARKS_RECALL_ARTIFACT_CACHE_H_
#define PITH_BENCHMARKS_RECALL_ARTIFACT_CACHE_H_

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"

namespace pith {

// What is slow to build and does not change, kept on disk between runs: exact
// answers, other projects' indexes.
class ArtifactCache {
 public:
  struct Artifact {
    std::string bytes;
    // Wall time of the build, when it was built.
    double build_seconds = 0;
  };

  // `directory` exists.
  explicit ArtifactCache(std::filesystem::path directory)
      : directory_(std::move(directory)) {}

  // What `build` returned when it was first called with this key, which names
  // everything that the result depends on. An error is not kept.
  absl::StatusOr<Artifact> GetOrBuild(
      std::string_view key,
      const std::function<absl::StatusOr<std::string>()>& build) const;

 private:
  const std::filesystem::path directory_;
};

}  // namespace pith

#endif  // PITH_BENCHMARKS_RECALL_ARTIFACT_CACHE_H_
