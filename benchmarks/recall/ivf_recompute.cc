#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "benchmarks/recall/faiss_index.h"
#include "benchmarks/recall/inner_products.h"
#include "benchmarks/recall/strategies.h"
#include "core/base/status_macros.h"
#include "core/base/vector_math.h"

namespace pith {
namespace {

constexpr size_t kProbes[] = {1, 2, 4, 8, 16, 32, 64};
constexpr int kIterations = 10;
// A cluster so many times the mean size is stored.
constexpr double kHeavy = 2;

struct Clusters {
  Matrix centroids;
  // |c|^2 / 2 of each.
  std::vector<float> half_squares;
  std::vector<std::vector<uint32_t>> members;
  // Whose vectors are stored.
  std::vector<bool> heavy;
  size_t stored_vectors = 0;
  double build_seconds = 0;
};

// For each centroid, larger is nearer: <vector, c> - |c|^2 / 2, the order of
// Euclidean distance, by which k-means assigns.
void ScoreCentroids(const Clusters& clusters, std::span<const float> vector,
                    std::span<float> scores) {
  InnerProducts(vector, clusters.centroids, 0, scores);
  for (size_t c = 0; c < scores.size(); ++c) {
    scores[c] -= clusters.half_squares[c];
  }
}

absl::StatusOr<Clusters> BuildClusters(const RecallInput& input) {
  const Matrix& passages = input.passages;
  // FAISS's advice for so many vectors.
  const auto count = std::min(
      passages.rows(),
      static_cast<size_t>(
          std::lround(4 * std::sqrt(static_cast<double>(passages.rows())))));
  PITH_ASSIGN_OR_RETURN(
      const ArtifactCache::Artifact artifact,
      input.cache.GetOrBuild(
          absl::StrCat("k-means ", input.fingerprint, " ", count, " ",
                       kIterations),
          [&]() -> absl::StatusOr<std::string> {
            PITH_ASSIGN_OR_RETURN(const Matrix centroids,
                                  KMeans(passages, count, kIterations));
            std::string bytes(centroids.values().size_bytes(), '\0');
            std::memcpy(bytes.data(), centroids.values().data(), bytes.size());
            return bytes;
          }));
  Clusters clusters{.centroids = Matrix(count, passages.columns()),
                    .members = std::vector<std::vector<uint32_t>>(count),
                    .heavy = std::vector<bool>(count)};
  const std::span<float> values = clusters.centroids.values();
  if (artifact.bytes.size() != values.size_bytes()) {
    return absl::DataLossError(
        absl::StrCat("cached centroids are ", artifact.bytes.size(),
                     " bytes, not ", values.size_bytes()));
  }
  std::memcpy(values.data(), artifact.bytes.data(), values.size_bytes());

  const absl::Time start = absl::Now();
  for (size_t c = 0; c < count; ++c) {
    clusters.half_squares.push_back(
        Dot(clusters.centroids.row(c), clusters.centroids.row(c)) / 2);
  }
  std::vector<float> scores(count);
  for (size_t i = 0; i < passages.rows(); ++i) {
    ScoreCentroids(clusters, passages.row(i), scores);
    const auto nearest = std::max_element(scores.begin(), scores.end());
    clusters.members[static_cast<size_t>(nearest - scores.begin())].push_back(
        static_cast<uint32_t>(i));
  }
  const double limit = kHeavy * static_cast<double>(passages.rows()) /
                       static_cast<double>(count);
  for (size_t c = 0; c < count; ++c) {
    if (static_cast<double>(clusters.members[c].size()) > limit) {
      clusters.heavy[c] = true;
      clusters.stored_vectors += clusters.members[c].size();
    }
  }
  clusters.build_seconds =
      artifact.build_seconds + absl::ToDoubleSeconds(absl::Now() - start);
  return clusters;
}

SearchOutcome Search(const Matrix& passages, const Clusters& clusters,
                     std::span<const float> query, size_t probes) {
  std::vector<float> scores(clusters.centroids.rows());
  ScoreCentroids(clusters, query, scores);
  SearchOutcome outcome{.code_evaluations = scores.size()};
  for (const uint32_t cluster : TopPositions(scores, probes)) {
    const std::vector<uint32_t>& members = clusters.members[cluster];
    outcome.passages.insert(outcome.passages.end(), members.begin(),
                            members.end());
    if (!clusters.heavy[cluster]) {
      outcome.recomputed += members.size();
      continue;
    }
    outcome.code_evaluations += members.size();
    // What a stored vector costs the walk; the ranking is the caller's.
    for (const uint32_t passage : members) {
      float product = 0;
      InnerProducts(query, passages, passage, {&product, 1});
    }
  }
  return outcome;
}

absl::StatusOr<std::vector<RecallRow>> Run(const RecallInput& input,
                                           const RecallOptions& /*options*/) {
  PITH_ASSIGN_OR_RETURN(const Clusters clusters, BuildClusters(input));
  const auto n = static_cast<double>(input.passages.rows());
  const auto vector_bytes =
      static_cast<double>(input.passages.columns() * sizeof(float));
  const double centroids =
      vector_bytes * static_cast<double>(clusters.centroids.rows()) / n;
  const double stored =
      vector_bytes * static_cast<double>(clusters.stored_vectors) / n;
  const StrategyFacts facts{.name = "ivf-recompute",
                            .bytes = {.ids = sizeof(uint32_t),
                                      .other = stored,
                                      .codebook = centroids},
                            .memory_bytes_per_passage = sizeof(uint32_t),
                            .build_seconds = clusters.build_seconds};
  std::vector<RecallRow> rows;
  for (const size_t probes : kProbes) {
    const auto search =
        [&](std::span<const float> query) -> absl::StatusOr<SearchOutcome> {
      return Search(input.passages, clusters, query, probes);
    };
    PITH_ASSIGN_OR_RETURN(
        RecallRow row,
        MeasureResults(input, facts, absl::StrCat("nprobe ", probes), search));
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

Strategy IvfRecomputeStrategy() {
  return {.name = "ivf-recompute", .run = Run};
}

}  // namespace pith
