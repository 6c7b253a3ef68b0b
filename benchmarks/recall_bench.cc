// What each way to find passages costs: recall against exact search, passages
// recomputed, codes evaluated, time of the scan or walk on one thread, bytes.
// The strategies are those of recall/strategies.h. Vectors are kept on disk
// between runs (--cache), and recomputing is counted, not done: the model runs
// once for each text.
//
// Prints a table, or with --json one object (report.h) with rows
//
//   {"strategy", "code_bytes", "n", "recall_at_3", "recall_at_10",
//    "recomputed_per_query", "code_evaluations_per_query", "walk_ms_p50",
//    "bytes_per_passage": {"codes", "graph", "ids", "other", "total",
//                          "codebook"},
//    "memory_bytes_per_passage", "build_seconds", "setting"}
//
// Recall at k is the share of the exact k that are among what is ranked at
// last; of passages that tie, any counts.
//
// Milliseconds are CPU time of the preparation of the query and the scan or
// walk, to its ordered candidates. Exact scores of recomputed passages are no
// part of it, nor what an adaptive stop decides from them: walks that need them
// to go on (graph-two-level-*, hnsw-graph-recompute) read scores computed
// before. Only of "exact" they are the scan. Scores of stored vectors are part
// of a walk on them (hnsw-graph-f32), but not where they rank its candidates at
// last (hnsw-graph-pq96-rescore, ivf-recompute).
//
// Bytes are the index's without text and metadata; other projects' indexes are
// counted as they keep them. What is trained and shared by all passages (a
// codebook; of ivf-recompute the centroids, which are more the more passages
// there are) is "codebook", no part of the total or of the bytes in memory.
//
// "setting" is the knob's value of a row where a strategy has one.
//
// Exit status: 0, 2 after an error, 77 if data, model or worker are missing.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "benchmarks/corpus.h"
#include "benchmarks/embedding_cache.h"
#include "benchmarks/recall/artifact_cache.h"
#include "benchmarks/recall/measurement.h"
#include "benchmarks/recall/strategies.h"
#include "benchmarks/recall/truth.h"
#include "benchmarks/report.h"
#include "core/base/hash.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

constexpr size_t kDepth = 10;
constexpr int kExitError = 2;
constexpr int kExitMissing = 77;

struct Config {
  std::string data = "arxiv_200k";
  fs::path data_directory = PITH_DEFAULT_DATA;
  size_t n = 100'000;
  size_t queries = 0;
  int cut = 70;
  std::vector<std::string> strategies;
  RecallOptions options = {
      .recompute = {7, 10, 20, 30, 50, 100},
      .beams = {100, 200, 400},
      .threads =
          std::max(1, static_cast<int>(std::thread::hardware_concurrency()))};
  EmbeddingCache::Options cache;
  bool json = false;
};

std::string_view AsBytes(std::span<const float> values) {
  return {reinterpret_cast<const char*>(values.data()),  // NOLINT(*-cast)
          values.size_bytes()};
}

std::string Fingerprint(const Matrix& matrix) {
  Sha256 hash;
  hash.Update(absl::StrCat(matrix.columns(), " "));
  hash.Update(AsBytes(matrix.values()));
  return ToHex(hash.Finish());
}

absl::StatusOr<Truth> CachedTruth(const Config& config,
                                  const ArtifactCache& cache,
                                  const std::string& fingerprint,
                                  const Matrix& passages,
                                  const Matrix& queries) {
  PITH_ASSIGN_OR_RETURN(
      const ArtifactCache::Artifact artifact,
      cache.GetOrBuild(absl::StrCat("truth ", fingerprint, " ",
                                    Fingerprint(queries), " ", kDepth),
                       [&]() -> absl::StatusOr<std::string> {
                         const Truth truth = Truth::Find(
                             passages, queries, kDepth, config.options.threads);
                         return std::string(AsBytes(truth.scores()));
                       }));
  const size_t depth = std::min(kDepth, passages.rows());
  std::vector<float> scores(queries.rows() * depth);
  if (artifact.bytes.size() != scores.size() * sizeof(float)) {
    return absl::DataLossError(
        absl::StrCat("cached exact answers are ", artifact.bytes.size(),
                     " bytes, not ", scores.size() * sizeof(float)));
  }
  std::copy_n(artifact.bytes.data(), artifact.bytes.size(),
              reinterpret_cast<char*>(scores.data()));  // NOLINT(*-cast)
  return Truth(depth, std::move(scores));
}

absl::StatusOr<RecallInput> Prepare(const Config& config) {
  PITH_ASSIGN_OR_RETURN(
      Corpus corpus, ReadCorpus(config.data_directory, config.data, config.n));
  if (corpus.passages.empty() || corpus.queries.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(config.data, " has no passages or no queries"));
  }
  PITH_ASSIGN_OR_RETURN(std::unique_ptr<EmbeddingCache> cache,
                        EmbeddingCache::Open(config.cache));
  // All queries, so that --queries does not change what is cached.
  PITH_ASSIGN_OR_RETURN(Matrix all_queries,
                        cache->Embed(corpus.queries, TextRole::kQuery, 0));
  PITH_ASSIGN_OR_RETURN(
      Matrix passages,
      cache->Embed(corpus.passages, TextRole::kPassage, config.cut));
  Matrix queries = std::move(all_queries);
  if (config.queries != 0 && config.queries < queries.rows()) {
    Matrix first(config.queries, queries.columns());
    std::copy_n(queries.values().begin(), first.values().size(),
                first.values().begin());
    queries = std::move(first);
  }
  const ArtifactCache artifacts(config.cache.directory);
  std::string fingerprint = Fingerprint(passages);
  PITH_ASSIGN_OR_RETURN(Truth truth, CachedTruth(config, artifacts, fingerprint,
                                                 passages, queries));
  return RecallInput{.passages = std::move(passages),
                     .queries = std::move(queries),
                     .truth = std::move(truth),
                     .cache = artifacts,
                     .fingerprint = std::move(fingerprint)};
}

// Those of --strategy, or all; in the order of AllStrategies.
absl::StatusOr<std::vector<Strategy>> ChosenStrategies(const Config& config) {
  std::vector<Strategy> all = AllStrategies();
  for (const std::string& prefix : config.strategies) {
    if (std::none_of(all.begin(), all.end(), [&](const Strategy& strategy) {
          return strategy.name.starts_with(prefix);
        })) {
      std::string names;
      for (const Strategy& strategy : all) {
        absl::StrAppend(&names, " ", strategy.name);
      }
      return absl::InvalidArgumentError(absl::StrCat(
          "no strategy's name begins with \"", prefix, "\"; there are", names));
    }
  }
  if (!config.strategies.empty()) {
    std::erase_if(all, [&](const Strategy& strategy) {
      return std::none_of(config.strategies.begin(), config.strategies.end(),
                          [&](const std::string& prefix) {
                            return strategy.name.starts_with(prefix);
                          });
    });
  }
  return all;
}

absl::StatusOr<std::vector<RecallRow>> Run(
    const Config& config, const std::vector<Strategy>& strategies,
    const RecallInput& input) {
  std::vector<RecallRow> rows;
  for (const Strategy& strategy : strategies) {
    if (input.passages.rows() < strategy.min_passages) {
      absl::FPrintF(stderr, "%s: left out, needs %d passages\n", strategy.name,
                    strategy.min_passages);
      continue;
    }
    const absl::Time start = absl::Now();
    absl::StatusOr<std::vector<RecallRow>> some =
        strategy.run(input, config.options);
    if (!some.ok()) {
      return Annotate(some.status(), strategy.name);
    }
    std::move(some->begin(), some->end(), std::back_inserter(rows));
    absl::FPrintF(stderr, "%s: %.1f s\n", strategy.name,
                  absl::ToDoubleSeconds(absl::Now() - start));
  }
  return rows;
}

int Fail(const absl::Status& status, int exit_code) {
  std::cerr << "recall_bench: " << StdView(status.message()) << "\n";
  return exit_code;
}

int Main(int argc, char** argv) {
  Config config;
  std::error_code ignored;
  config.cache.directory = EmbeddingCache::DefaultDirectory();
  config.cache.threads = config.options.threads;
  config.cache.worker =
      fs::read_symlink("/proc/self/exe", ignored).parent_path() /
      "pith-embedder-torch";

  CLI::App app("Measures recall against what it costs.");
  app.add_option("--data", config.data,
                 "a dataset, DATASET/sentences, or pool");
  app.add_option("--data-dir", config.data_directory, "folder of the datasets")
      ->envname("PITH_DATA");
  app.add_option("--n", config.n, "passages; 0 takes all");
  app.add_option("--queries", config.queries,
                 "queries; 0, the default, takes all: 2,000 of arxiv_200k, "
                 "2,225 of pool");
  app.add_option("--cut", config.cut,
                 "tokens kept of each passage; 0 keeps all")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--strategy", config.strategies,
                 "strategies whose names begin so, separated by commas")
      ->delimiter(',');
  app.add_option("--recompute", config.options.recompute,
                 "candidates recomputed per query: a row for each")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  app.add_option("--beam", config.options.beams,
                 "beams of walks on codes: rows for each")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  app.add_flag("--from-exact", config.options.from_exact,
               "make trained codes from exact vectors, and not from decoded "
               "delta codes, as the daemon does");
  app.add_option("--threads", config.options.threads, "threads of builds")
      ->check(CLI::PositiveNumber);
  app.add_option("--model", config.cache.model, "directory of the model")
      ->envname("PITH_MODEL")
      ->required();
  app.add_option("--worker", config.cache.worker, "the worker's executable");
  app.add_option("--cache", config.cache.directory,
                 "folder of vectors and indexes kept between runs");
  app.add_flag("--json", config.json, "print one JSON object");
  CLI11_PARSE(app, argc, argv);

  const auto strategies = ChosenStrategies(config);
  if (!strategies.ok()) {
    return Fail(strategies.status(), kExitError);
  }
  const auto input = Prepare(config);
  if (!input.ok()) {
    return Fail(input.status(),
                absl::IsNotFound(input.status()) ? kExitMissing : kExitError);
  }
  const auto rows = Run(config, *strategies, *input);
  if (!rows.ok()) {
    return Fail(rows.status(), kExitError);
  }
  if (config.json) {
    std::vector<nlohmann::ordered_json> objects;
    for (const RecallRow& row : *rows) {
      objects.push_back(ToJson(row));
    }
    std::cout << Report("recall_bench", std::move(objects)).dump() << "\n";
  } else {
    PrintTable(*rows);
  }
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace pith

int main(int argc, char** argv) {
  return pith::Main(argc, argv);
}
