#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "benchmarks/recall/faiss_index.h"
#include "benchmarks/recall/inner_products.h"
#include "benchmarks/recall/product_codes.h"
#include "benchmarks/recall/strategies.h"
#include "core/base/status_macros.h"

namespace pith {
namespace {

constexpr FaissHnsw::Options kOptions = {.m = 32, .ef_construction = 200};
constexpr size_t kEfSearch[] = {10, 20, 50, 100, 200, 400};
// Weaviate's choice for 384 dimensions.
constexpr size_t kDimensionsPerPart = 4;

struct Links {
  std::unique_ptr<FaissHnsw> hnsw;
  double build_seconds = 0;
  // Per passage. FAISS stores every slot of a node's lists, a level (4 bytes)
  // and an offset (8).
  double faiss_bytes = 0;
  // LEANN stores the links in use and an offset (8).
  double compact_bytes = 0;
};

absl::StatusOr<Links> BuildLinks(const RecallInput& input) {
  Links links;
  PITH_ASSIGN_OR_RETURN(
      const ArtifactCache::Artifact artifact,
      input.cache.GetOrBuild(
          absl::StrCat("hnsw ", input.fingerprint, " ", kOptions.m, " ",
                       kOptions.ef_construction),
          [&]() -> absl::StatusOr<std::string> {
            PITH_ASSIGN_OR_RETURN(const std::unique_ptr<FaissHnsw> hnsw,
                                  FaissHnsw::Build(input.passages, kOptions));
            return hnsw->Serialize();
          }));
  PITH_ASSIGN_OR_RETURN(links.hnsw, FaissHnsw::Deserialize(artifact.bytes));
  links.build_seconds = artifact.build_seconds;
  const auto n = static_cast<double>(input.passages.rows());
  links.faiss_bytes =
      12 + 4 * static_cast<double>(links.hnsw->edge_slots()) / n;
  links.compact_bytes =
      8 + 4 * static_cast<double>(links.hnsw->edge_count()) / n;
  return links;
}

// A query's similarity to a node.
using NodeSimilarity = std::function<float(uint32_t)>;

// A row for each efSearch, of a walk on what is stored. `prepare` makes a query
// ready.
absl::StatusOr<std::vector<RecallRow>> Sweep(
    const RecallInput& input, const StrategyFacts& facts, FaissHnsw& hnsw,
    const std::function<NodeSimilarity(std::span<const float>)>& prepare) {
  std::vector<RecallRow> rows;
  for (const size_t ef : kEfSearch) {
    const auto search =
        [&](std::span<const float> query) -> absl::StatusOr<SearchOutcome> {
      const NodeSimilarity similarity = prepare(query);
      PITH_ASSIGN_OR_RETURN(FaissHnsw::Found found,
                            hnsw.Search(similarity, ef));
      return SearchOutcome{.passages = std::move(found.nodes),
                           .code_evaluations = found.evaluations};
    };
    PITH_ASSIGN_OR_RETURN(
        RecallRow row,
        MeasureResults(input, facts, absl::StrCat("ef ", ef), search));
    rows.push_back(std::move(row));
  }
  return rows;
}

std::function<NodeSimilarity(std::span<const float>)> StoredSimilarity(
    const Matrix& passages) {
  return [&passages](std::span<const float> query) -> NodeSimilarity {
    return [&passages, query](uint32_t node) {
      float product = 0;
      InnerProducts(query, passages, node, {&product, 1});
      return product;
    };
  };
}

absl::StatusOr<std::vector<RecallRow>> RunRecompute(
    const RecallInput& input, const RecallOptions& /*options*/) {
  PITH_ASSIGN_OR_RETURN(const Links links, BuildLinks(input));
  const StrategyFacts facts{.name = "hnsw-graph-recompute",
                            .bytes = {.graph = links.compact_bytes},
                            .memory_bytes_per_passage = links.compact_bytes,
                            .build_seconds = links.build_seconds};
  std::vector<RecallRow> rows;
  for (const size_t ef : kEfSearch) {
    const auto search = [&](std::span<const float> /*query*/,
                            ExactScore exact) -> absl::StatusOr<SearchOutcome> {
      PITH_ASSIGN_OR_RETURN(FaissHnsw::Found found,
                            links.hnsw->Search(exact, ef));
      return SearchOutcome{.passages = std::move(found.nodes),
                           .recomputed = found.evaluations};
    };
    PITH_ASSIGN_OR_RETURN(
        RecallRow row,
        MeasureInterleaved(input, facts, absl::StrCat("ef ", ef), search));
    rows.push_back(std::move(row));
  }
  return rows;
}

absl::StatusOr<std::vector<RecallRow>> RunStored(
    const RecallInput& input, const RecallOptions& /*options*/) {
  PITH_ASSIGN_OR_RETURN(const Links links, BuildLinks(input));
  const size_t vector_bytes = input.passages.columns() * sizeof(float);
  const auto codes = static_cast<double>(vector_bytes);
  const StrategyFacts facts{
      .name = "hnsw-graph-f32",
      .code_bytes = vector_bytes,
      .bytes = {.codes = codes, .graph = links.faiss_bytes},
      .memory_bytes_per_passage = codes + links.faiss_bytes,
      .build_seconds = links.build_seconds};
  return Sweep(input, facts, *links.hnsw, StoredSimilarity(input.passages));
}

absl::StatusOr<std::vector<RecallRow>> RunProductCodes(
    const RecallInput& input, const RecallOptions& /*options*/) {
  PITH_ASSIGN_OR_RETURN(const Links links, BuildLinks(input));
  PITH_ASSIGN_OR_RETURN(
      const BuiltProductCodes built,
      BuildProductCodes(input, input.passages.columns() / kDimensionsPerPart));
  const ProductCodes& codes = built.codes;
  const auto code_bytes = static_cast<double>(codes.parts);
  const StrategyFacts facts{
      .name = "hnsw-graph-pq96-rescore",
      .code_bytes = codes.parts,
      .bytes = {.codes = code_bytes,
                .graph = links.faiss_bytes,
                .other = static_cast<double>(input.passages.columns() *
                                             sizeof(float)),
                .codebook =
                    static_cast<double>(codes.centroids.values().size_bytes()) /
                    static_cast<double>(input.passages.rows())},
      .memory_bytes_per_passage = code_bytes + links.faiss_bytes,
      .build_seconds = links.build_seconds + built.build_seconds};
  return Sweep(input, facts, *links.hnsw,
               [&codes](std::span<const float> query) -> NodeSimilarity {
                 return [&codes,
                         table = SimilarityTable(codes, query)](uint32_t node) {
                   return TableSimilarity(codes, table, node);
                 };
               });
}

}  // namespace

std::vector<Strategy> HnswStrategies() {
  return {{.name = "hnsw-graph-recompute", .run = RunRecompute},
          {.name = "hnsw-graph-f32", .run = RunStored},
          {.name = "hnsw-graph-pq96-rescore",
           .min_passages = 256,
           .run = RunProductCodes}};
}

}  // namespace pith
