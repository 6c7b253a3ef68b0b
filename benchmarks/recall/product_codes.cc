#include "benchmarks/recall/product_codes.h"

#include <cstring>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "benchmarks/recall/inner_products.h"
#include "core/base/status_macros.h"

namespace pith {
namespace {

constexpr size_t kCentroids = 256;
// As many as our codebooks are trained with (TrainingOptions).
constexpr size_t kTrainingVectors = 40'000;
constexpr int kIterations = 20;

std::string ToBytes(const ProductCodes& codes) {
  std::string bytes(codes.centroids.values().size_bytes() + codes.codes.size(),
                    '\0');
  std::memcpy(bytes.data(), codes.centroids.values().data(),
              codes.centroids.values().size_bytes());
  std::memcpy(bytes.data() + codes.centroids.values().size_bytes(),
              codes.codes.data(), codes.codes.size());
  return bytes;
}

}  // namespace

absl::StatusOr<BuiltProductCodes> BuildProductCodes(const RecallInput& input,
                                                    size_t parts) {
  PITH_ASSIGN_OR_RETURN(
      const ArtifactCache::Artifact artifact,
      input.cache.GetOrBuild(
          absl::StrCat("pq, random sample ", input.fingerprint, " ", parts, " ",
                       kTrainingVectors, " ", kIterations),
          [&]() -> absl::StatusOr<std::string> {
            PITH_ASSIGN_OR_RETURN(
                const ProductCodes codes,
                TrainProductCodes(input.passages, parts, kTrainingVectors,
                                  kIterations));
            return ToBytes(codes);
          }));
  BuiltProductCodes built{
      .codes = {.parts = parts,
                .centroids = Matrix(parts * kCentroids,
                                    input.passages.columns() / parts),
                .codes = std::vector<uint8_t>(input.passages.rows() * parts)},
      .build_seconds = artifact.build_seconds};
  const std::span<float> centroids = built.codes.centroids.values();
  if (artifact.bytes.size() !=
      centroids.size_bytes() + built.codes.codes.size()) {
    return absl::DataLossError(absl::StrCat(
        "cached product codes are ", artifact.bytes.size(), " bytes, not ",
        centroids.size_bytes() + built.codes.codes.size()));
  }
  std::memcpy(centroids.data(), artifact.bytes.data(), centroids.size_bytes());
  std::memcpy(built.codes.codes.data(),
              artifact.bytes.data() + centroids.size_bytes(),
              built.codes.codes.size());
  return built;
}

std::vector<float> SimilarityTable(const ProductCodes& codes,
                                   std::span<const float> query) {
  std::vector<float> table(codes.parts * kCentroids);
  const size_t width = codes.centroids.columns();
  for (size_t part = 0; part < codes.parts; ++part) {
    InnerProducts(query.subspan(part * width, width), codes.centroids,
                  part * kCentroids,
                  std::span(table).subspan(part * kCentroids, kCentroids));
  }
  return table;
}

float TableSimilarity(const ProductCodes& codes, std::span<const float> table,
                      uint32_t node) {
  const uint8_t* code = codes.codes.data() + node * codes.parts;
  float sum = 0;
  for (size_t part = 0; part < codes.parts; ++part) {
    sum += table[part * kCentroids + code[part]];
  }
  return sum;
}

}  // namespace pith
