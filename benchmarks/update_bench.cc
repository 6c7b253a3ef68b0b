// What it costs to change a collection, and what changes leave behind: the
// library itself over the daemon's store, in a directory of its own. Parts:
//
//   edits      with the model in workers: how long a changed document takes
//              from acknowledged to searchable, how many passages each kind of
//              change embeds, search latency beside adding and merging
//   rounds     recall and bytes over rounds that each replace a share of the
//              passages, write amplification, beside a fresh collection
//   deletion   bytes on disk when nine documents of ten are deleted
//   searches   search latency without the model beside adding, merging and
//              training
//   bulk       memory, files and time of adding --bulk made-up passages; alone
//
//   PITH_MODEL=... update_bench --json
//   update_bench --bulk 1000000 --json
//
// Vectors of rounds, deletion and searches are the model's, but known before:
// texts are embedded once, cut to their first 70 tokens, and kept on disk
// (--cache), with those of recall_bench. Only edits embeds while it measures.
// --data made-up has texts of made-up words instead, and needs no model but for
// edits; --small is all of it in seconds.
//
// Rows are printed as they come on standard error, and with --json as one
// object (report.h). Exit status: 0, 2 after an error, 77 if data, model or
// worker are missing.

#include <stdlib.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
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
#include "glog/logging.h"
#include "nlohmann/json.hpp"

#include "benchmarks/corpus.h"
#include "benchmarks/embedding_cache.h"
#include "benchmarks/report.h"
#include "benchmarks/update/bulk.h"
#include "benchmarks/update/edits.h"
#include "benchmarks/update/rounds.h"
#include "benchmarks/update/texts.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"
#include "core/index/seal_throttle.h"
#include "embedder/model_embedder.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

using Json = nlohmann::ordered_json;

constexpr int kExitError = 2;
constexpr int kExitMissing = 77;

constexpr char kMadeUp[] = "made-up";
// Tokens that vectors of real texts cover, as recall_bench has them.
constexpr int kCut = 70;
// Sentences that are read for edits: whole files of the cache.
constexpr size_t kSentences = 24 * 4096;
constexpr size_t kMadeUpBytes = 80;
constexpr size_t kMadeUpDimension = 96;

struct Config {
  std::vector<std::string> parts = {"edits", "rounds", "deletion", "searches"};
  std::string data = "arxiv_200k";
  fs::path data_directory = PITH_DEFAULT_DATA;
  size_t queries = 1000;
  RoundsOptions rounds;
  EditsOptions edits;
  SearchesOptions searches = {.searches = 1000, .embedder = "known"};
  // Passages a second that are added beside searches without the model.
  double adding_rate = 200;
  BulkOptions bulk;
  bool small = false;
  EmbeddingCache::Options cache;
  // Of edits; the cache has its own.
  fs::path worker;
  std::string precision = "auto";
  int workers =
      std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  bool json = false;
};

bool Wants(const Config& config, std::string_view part) {
  return std::find(config.parts.begin(), config.parts.end(), part) !=
         config.parts.end();
}

void TakeFirst(size_t rows, Matrix& matrix) {
  if (rows < matrix.rows()) {
    const std::span<const float> first =
        matrix.values().first(rows * matrix.columns());
    matrix = Matrix(rows, matrix.columns(), {first.begin(), first.end()});
  }
}

// `count` texts and config.queries queries; of the dataset config.data and
// `suffix`, or made up.
absl::StatusOr<VectorTexts> ReadTexts(const Config& config,
                                      std::string_view suffix, size_t count) {
  if (config.data == kMadeUp) {
    return MakeUpVectorTexts(count, kMadeUpBytes, config.queries,
                             kMadeUpDimension);
  }
  PITH_ASSIGN_OR_RETURN(
      Corpus corpus,
      ReadCorpus(config.data_directory,
                 absl::StrCat(config.data, AbslView(suffix)), count));
  PITH_ASSIGN_OR_RETURN(const std::unique_ptr<EmbeddingCache> cache,
                        EmbeddingCache::Open(config.cache));
  VectorTexts texts;
  PITH_ASSIGN_OR_RETURN(texts.queries,
                        cache->Embed(corpus.queries, TextRole::kQuery, 0));
  TakeFirst(config.queries, texts.queries);
  PITH_ASSIGN_OR_RETURN(
      texts.vectors, cache->Embed(corpus.passages, TextRole::kPassage, kCut));
  texts.texts = std::move(corpus.passages);
  // White space is all the same to the model.
  for (std::string& text : texts.texts) {
    std::replace(text.begin(), text.end(), '\n', ' ');
  }
  return texts;
}

// Gives made-up texts the model's vectors, and makes queries of them.
absl::Status EmbedMadeUp(Embedder& model, VectorTexts& texts) {
  const std::vector<std::string_view> views(texts.texts.begin(),
                                            texts.texts.end());
  PITH_ASSIGN_OR_RETURN(texts.vectors,
                        model.Embed(views, TextRole::kPassage,
                                    {.priority = EmbedPriority::kIngest}));
  const size_t queries = texts.queries.rows();
  texts.queries = texts.vectors;
  TakeFirst(queries, texts.queries);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<ModelEmbedder>> StartModel(
    const Config& config) {
  PITH_ASSIGN_OR_RETURN(const ModelSpec spec,
                        LoadModelSpec(config.cache.model));
  PITH_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer,
                        Tokenizer::Load(config.cache.model));
  WorkerPool::Options options;
  for (int i = 0; i < config.workers; ++i) {
    options.workers.push_back({config.worker,
                               {"--model", spec.directory.string(),
                                "--precision", config.precision}});
  }
  return ModelEmbedder::Create(spec, "bench", std::move(tokenizer),
                               std::move(options));
}

// How fast the model embeds texts when nothing else asks it.
absl::StatusOr<Json> MeasureModel(Embedder& model,
                                  const std::vector<std::string>& texts) {
  constexpr size_t kPassages = 512;
  constexpr size_t kWarmUp = 128;
  const std::vector<std::string_view> views(
      texts.begin(), texts.begin() + static_cast<ptrdiff_t>(
                                         std::min(kPassages, texts.size())));
  double tokens = 0;
  for (const std::string_view text : views) {
    tokens += std::min(model.CountTokens(text), model.max_tokens());
  }
  const RequestContext context = {.priority = EmbedPriority::kIngest};
  const auto embed = [&](std::span<const std::string_view> some) {
    return model.Embed(some, TextRole::kPassage, context).status();
  };
  PITH_RETURN_IF_ERROR(
      embed(std::span(views).first(std::min(kWarmUp, views.size()))));
  const absl::Time start = absl::Now();
  PITH_RETURN_IF_ERROR(embed(views));
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  const auto passages = static_cast<double>(views.size());
  Json row = {{"row", "model"},
              {"model", model.identity().name},
              {"precision", model.precision()},
              {"tokens_per_passage", tokens / passages},
              {"passages_per_second", passages / seconds},
              {"tokens_per_second", tokens / seconds}};
  absl::FPrintF(stderr, "%s\n", row.dump());
  return row;
}

absl::StatusOr<std::vector<Json>> Measure(Config config) {
  std::vector<Json> rows;
  const auto append = [&rows](std::vector<Json> more) {
    std::move(more.begin(), more.end(), std::back_inserter(rows));
  };
  if (Wants(config, "bulk")) {
    return MeasureBulk(config.bulk);
  }
  VectorTexts texts;
  if (Wants(config, "rounds") || Wants(config, "deletion") ||
      Wants(config, "searches")) {
    PITH_ASSIGN_OR_RETURN(texts,
                          ReadTexts(config, "", RoundsTexts(config.rounds)));
  }
  if (Wants(config, "edits")) {
    PITH_ASSIGN_OR_RETURN(const std::unique_ptr<ModelEmbedder> model,
                          StartModel(config));
    PITH_ASSIGN_OR_RETURN(
        VectorTexts sentences,
        ReadTexts(config, "/sentences",
                  config.small ? 2 * config.edits.passages : kSentences));
    if (config.data == kMadeUp) {
      PITH_RETURN_IF_ERROR(EmbedMadeUp(*model, sentences));
    }
    PITH_ASSIGN_OR_RETURN(
        Json row, MeasureModel(*model, texts.texts.empty() ? sentences.texts
                                                           : texts.texts));
    config.rounds.model_passages_per_second =
        row["passages_per_second"].get<double>();
    rows.push_back(std::move(row));
    PITH_ASSIGN_OR_RETURN(std::vector<Json> edits,
                          MeasureEdits(config.edits, sentences, *model));
    append(std::move(edits));
  }
  if (Wants(config, "rounds")) {
    PITH_ASSIGN_OR_RETURN(std::vector<Json> more,
                          MeasureRounds(config.rounds, texts));
    append(std::move(more));
  }
  if (Wants(config, "deletion")) {
    PITH_ASSIGN_OR_RETURN(std::vector<Json> more,
                          MeasureDeletion(config.rounds, texts));
    append(std::move(more));
  }
  if (Wants(config, "searches")) {
    PITH_ASSIGN_OR_RETURN(std::vector<Json> more,
                          MeasureKnownSearches(config.rounds, config.searches,
                                               config.adding_rate, texts));
    append(std::move(more));
  }
  return rows;
}

void MakeSmall(Config& config) {
  config.data = kMadeUp;
  config.queries = 20;
  config.rounds.passages = 2400;
  config.rounds.rounds = 4;
  config.rounds.check_every = 2;
  config.rounds.live.collection.seal_passages = 1200;
  config.edits.live.collection.seal_passages = 1200;
  config.edits.passages = 1300;
  config.edits.large_document_paragraphs = 20;
  config.edits.edits = 2;
  config.edits.searches.searches = 5;
  config.edits.searches.repetitions = 2;
  config.rounds.live.quiet_time = absl::Milliseconds(300);
  config.edits.live.quiet_time = absl::Milliseconds(300);
  config.searches.searches = 20;
  config.searches.repetitions = 2;
}

// The fields of a row in one line.
void PrintRow(const Json& row) {
  for (const auto& [name, value] : row.items()) {
    std::cout << name << "=" << value << " ";
  }
  std::cout << "\n";
}

int Main(int argc, char** argv) {
  Config config;
  std::error_code ignored;
  config.cache.directory = EmbeddingCache::DefaultDirectory();
  const fs::path binaries =
      fs::read_symlink("/proc/self/exe", ignored).parent_path();
  config.worker = binaries / "pith-embedder";
  config.cache.worker = binaries / "pith-embedder-torch";
  fs::path directory = fs::temp_directory_path(ignored);
  Collection::Options collection = {
      .seal_threads =
          std::max(1, static_cast<int>(std::thread::hardware_concurrency()))};
  size_t bulk = 0;
  int cpu_percent = 50;

  CLI::App app("Measures what changes of a collection cost and leave.");
  app.add_option("--part", config.parts, "edits, rounds, deletion, searches")
      ->delimiter(',')
      ->check(CLI::IsMember({"edits", "rounds", "deletion", "searches"}));
  app.add_option("--data", config.data, "a dataset, or made-up");
  app.add_option("--data-dir", config.data_directory, "folder of the datasets")
      ->envname("PITH_DATA");
  app.add_option("--dir", directory, "folder for the collections");
  app.add_option("--passages", config.rounds.passages,
                 "passages of rounds, deletion and searches")
      ->check(CLI::PositiveNumber);
  app.add_option("--rounds", config.rounds.rounds, "rounds of replacing")
      ->check(CLI::PositiveNumber);
  app.add_option("--share", config.rounds.share, "replaced in each round")
      ->check(CLI::Range(0.0001, 1.0));
  app.add_option("--document-passages", config.rounds.document_passages,
                 "passages of a document")
      ->check(CLI::PositiveNumber);
  app.add_option("--changed-passages", config.rounds.changed_passages,
                 "passages replaced in a document that is changed")
      ->check(CLI::PositiveNumber);
  app.add_option("--check-every", config.rounds.check_every,
                 "rounds between two rows")
      ->check(CLI::PositiveNumber);
  app.add_option("--rerank", config.rounds.rerank, "R of a fixed R")
      ->check(CLI::Range(size_t{10}, kMaxRerank));
  app.add_option("--queries", config.queries, "queries that measure recall")
      ->check(CLI::PositiveNumber);
  app.add_option("--searches", config.searches.searches,
                 "searches of a load and repetition, without the model")
      ->check(CLI::PositiveNumber);
  app.add_option("--repetitions", config.searches.repetitions,
                 "turns that loads take")
      ->check(CLI::PositiveNumber);
  app.add_option("--adding-rate", config.adding_rate,
                 "passages a second added beside searches without the model")
      ->check(CLI::PositiveNumber);
  app.add_option("--seal-passages", collection.seal_passages,
                 "passages from which on the delta is sealed");
  app.add_option("--min-graph-passages", collection.min_graph_passages,
                 "passages from which on a segment has a graph");
  app.add_option("--threads", collection.seal_threads, "threads that seal")
      ->check(CLI::PositiveNumber);
  app.add_option("--cpu-share", cpu_percent,
                 "as pithd --compaction-cpu-share; 100: no bound")
      ->check(CLI::Range(1, 100));
  app.add_option("--bulk", bulk, "measure nothing but adding so many passages");
  app.add_option("--bulk-bytes", config.bulk.passage_bytes,
                 "of a passage of --bulk");
  app.add_option("--bulk-document-passages", config.bulk.document_passages,
                 "passages of a document of --bulk")
      ->check(CLI::PositiveNumber);
  app.add_flag("--small", config.small, "made-up texts, seconds");
  app.add_option("--model", config.cache.model, "directory of the model")
      ->envname("PITH_MODEL");
  app.add_option("--worker", config.worker, "worker's executable in edits");
  app.add_option("--precision", config.precision, "of the model in edits");
  app.add_option("--workers", config.workers, "worker processes in edits")
      ->check(CLI::PositiveNumber);
  app.add_option("--cache", config.cache.directory,
                 "folder of vectors kept between runs");
  app.add_option("--cache-worker", config.cache.worker,
                 "executable of the worker for vectors that are not there");
  app.add_flag("--json", config.json, "print one JSON object");
  CLI11_PARSE(app, argc, argv);

  const auto fail = [](std::string_view message, int exit_code) {
    std::cerr << "update_bench: " << message << "\n";
    return exit_code;
  };
  std::optional<SealThrottle> throttle;
  if (cpu_percent < 100) {
    throttle.emplace(SealThrottle::Options{.cpu_share = cpu_percent / 100.0});
    collection.throttle = &*throttle;
  }
  config.rounds.live.collection = collection;
  config.edits.live.collection = collection;
  config.bulk.live.collection = collection;
  config.rounds.threads = collection.seal_threads;
  config.cache.threads = collection.seal_threads;
  if (config.small) {
    MakeSmall(config);
  }
  if (bulk > 0) {
    config.parts = {"bulk"};
    config.data = kMadeUp;
    config.bulk.passages = bulk;
  }
  if (config.rounds.passages % config.rounds.document_passages != 0) {
    return fail("--passages is no multiple of --document-passages", kExitError);
  }
  if (config.rounds.changed_passages > config.rounds.document_passages) {
    return fail("--changed-passages is more than --document-passages",
                kExitError);
  }
  if (config.cache.model.empty() &&
      (Wants(config, "edits") || config.data != kMadeUp)) {
    return fail("--model is needed", kExitMissing);
  }
  std::string own = (directory / "update_bench-XXXXXX").string();
  if (mkdtemp(own.data()) == nullptr) {
    return fail(absl::StrCat("cannot make a directory in ", directory.string()),
                kExitError);
  }
  config.rounds.directory = own;
  config.edits.directory = own;
  config.bulk.directory = own;

  const absl::StatusOr<std::vector<Json>> rows = Measure(config);
  fs::remove_all(own, ignored);
  if (!rows.ok()) {
    return fail(StdView(rows.status().message()),
                absl::IsNotFound(rows.status()) ? kExitMissing : kExitError);
  }
  if (config.json) {
    std::cout << Report("update_bench", *rows).dump() << "\n";
  } else {
    std::for_each(rows->begin(), rows->end(), PrintRow);
  }
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace pith

int main(int argc, char** argv) {
  FLAGS_logtostderr = true;
  FLAGS_minloglevel = google::GLOG_WARNING;
  google::InitGoogleLogging(argv[0]);
  return pith::Main(argc, argv);
}
