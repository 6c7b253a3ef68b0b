// What a query waits for when passages are recomputed: 1, 4 and 16 queries at a
// time, each embedding its text and then 30 passages of 70 or 170 tokens in one
// call, with and without ingest running. Vectors are not cached. --json prints
// one object, else a table. For example:
//
//   PITH_MODEL=... pool_bench --precision int8
//
// Each client starts its next query when the last one is answered, so that
// concurrency is exact; passages are drawn at random from --passages, and those
// that several queries want at once are embedded once.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "glog/logging.h"
#include "nlohmann/json.hpp"

#include "benchmarks/dataset.h"
#include "benchmarks/ranking_metrics.h"
#include "benchmarks/report.h"
#include "core/base/mutex.h"
#include "core/base/random.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"
#include "embedder/model_embedder.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

constexpr int kExitError = 2;
constexpr int kExitMissing = 77;
// Passages in one call of ingest, as the daemon's indexer makes them.
constexpr size_t kIngestTexts = 32;

struct Config {
  std::string data = "arxiv_200k";
  fs::path data_directory = PITH_DEFAULT_DATA;
  fs::path model;
  fs::path worker;
  std::string precision = "auto";
  int workers = static_cast<int>(std::thread::hardware_concurrency());
  std::vector<int> concurrency = {1, 4, 16};
  std::vector<int> tokens = {70, 170};
  size_t recomputed = 30;
  size_t passages = 4000;
  int queries = 200;
  bool json = false;
};

struct Row {
  int concurrency = 0;
  int tokens_per_passage = 0;
  bool with_ingest = false;
  std::vector<double> milliseconds;
  // Of the queries' passages, as they asked for them.
  double tokens_per_second = 0;
  double ingest_tokens_per_second = 0;
  double batch_fill = 0;
  double shared = 0;
};

struct Texts {
  // Each of at least as many tokens as the model is cut to.
  std::vector<std::string> passages;
  std::vector<std::string> queries;
};

// Passages are abstracts put together until they have `tokens`.
absl::StatusOr<Texts> MakeTexts(const Dataset& dataset,
                                const Tokenizer& tokenizer, int tokens,
                                size_t count) {
  Texts texts;
  std::string passage;
  for (const Dataset::Text& text : dataset.corpus) {
    passage += (passage.empty() ? "" : " ") + text.text;
    if (tokenizer.Count(passage) >= tokens) {
      texts.passages.push_back(std::move(passage));
      passage.clear();
    }
    if (texts.passages.size() == count) {
      break;
    }
  }
  // The model is cut to `tokens` for queries, too.
  for (const Dataset::Query& query : dataset.queries) {
    if (tokenizer.Count(query.text) + tokenizer.special_tokens() <= tokens) {
      texts.queries.push_back(query.text);
    }
  }
  if (texts.queries.empty()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--tokens %d: no query is as short", tokens));
  }
  if (texts.passages.size() < count) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--passages %d: the dataset makes %d of %d tokens",
                        count, texts.passages.size(), tokens));
  }
  return texts;
}

// Embeds a query and its passages over and over from `concurrency` threads.
class Load {
 public:
  Load(const Config& config, ModelEmbedder& embedder, const Texts& texts)
      : config_(config), embedder_(embedder), texts_(texts) {}

  absl::Status Run(Row& row) {
    const WorkerPool::Status before = embedder_.status();
    const absl::Time begin = absl::Now();
    std::atomic<bool> stop = false;
    std::atomic<int64_t> ingested = 0;
    {
      std::jthread ingest;
      if (row.with_ingest) {
        ingest = std::jthread([&] { Ingest(stop, ingested); });
      }
      {
        std::vector<std::jthread> clients;
        std::atomic<int> left = config_.queries;
        for (int i = 0; i < row.concurrency; ++i) {
          clients.emplace_back([&, i] {
            while (left-- > 0) {
              Query(static_cast<uint64_t>(i), row);
            }
          });
        }
      }
      stop = true;
    }
    const double seconds = absl::ToDoubleSeconds(absl::Now() - begin);
    const BatchQueue::Counters after = embedder_.status().batches;
    row.tokens_per_second =
        static_cast<double>(row.milliseconds.size() * config_.recomputed) *
        row.tokens_per_passage / seconds;
    row.ingest_tokens_per_second =
        static_cast<double>(ingested) * row.tokens_per_passage / seconds;
    row.batch_fill = static_cast<double>(after.tokens - before.batches.tokens) /
                     static_cast<double>(after.room - before.batches.room);
    row.shared =
        static_cast<double>(after.shared_texts - before.batches.shared_texts);
    MutexLock lock(mutex_);
    return status_;
  }

 private:
  void Fail(const absl::Status& status) {
    MutexLock lock(mutex_);
    status_.Update(status);
  }

  void Query(uint64_t client, Row& row) {
    std::vector<std::string_view> passages;
    uint64_t state = 0;
    {
      MutexLock lock(mutex_);
      state = MixBits(++queries_ * 1000 + client);
    }
    for (const size_t position :
         RandomPositions(texts_.passages.size(), config_.recomputed, state)) {
      passages.emplace_back(texts_.passages[position]);
    }
    const std::string_view query =
        texts_.queries[state % texts_.queries.size()];
    const absl::Time begin = absl::Now();
    Fail(embedder_.Embed({&query, 1}, TextRole::kQuery, {}).status());
    Fail(embedder_.Embed(passages, TextRole::kPassage, {}).status());
    const double time = absl::ToDoubleMilliseconds(absl::Now() - begin);
    MutexLock lock(mutex_);
    row.milliseconds.push_back(time);
  }

  void Ingest(const std::atomic<bool>& stop, std::atomic<int64_t>& ingested) {
    const RequestContext context = {
        .cancelled = [&stop] { return stop.load(); },
        .priority = EmbedPriority::kIngest};
    // Texts that no query wants.
    uint64_t number = 0;
    while (!stop) {
      std::vector<std::string> texts;
      for (size_t i = 0; i < kIngestTexts; ++i) {
        ++number;
        texts.push_back(absl::StrFormat(
            "%d %s", number, texts_.passages[number % texts_.passages.size()]));
      }
      const std::vector<std::string_view> views(texts.begin(), texts.end());
      const absl::Status status =
          embedder_.Embed(views, TextRole::kPassage, context).status();
      if (status.ok()) {
        ingested += kIngestTexts;
      } else if (!absl::IsCancelled(status)) {
        Fail(status);
        return;
      }
    }
  }

  const Config& config_;
  ModelEmbedder& embedder_;
  const Texts& texts_;
  Mutex mutex_;
  uint64_t queries_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

absl::StatusOr<std::vector<Row>> Measure(const Config& config) {
  PITH_ASSIGN_OR_RETURN(const Dataset dataset,
                        ReadDataset(config.data_directory / config.data));
  std::vector<Row> rows;
  for (const int tokens : config.tokens) {
    PITH_ASSIGN_OR_RETURN(ModelSpec spec, LoadModelSpec(config.model));
    spec.max_tokens = std::min(spec.max_tokens, tokens);
    PITH_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer,
                          Tokenizer::Load(config.model));
    PITH_ASSIGN_OR_RETURN(
        const Texts texts,
        MakeTexts(dataset, *tokenizer, spec.max_tokens, config.passages));
    WorkerPool::Options options;
    for (int i = 0; i < config.workers; ++i) {
      options.workers.push_back({config.worker,
                                 {"--model", spec.directory.string(),
                                  "--precision", config.precision}});
    }
    PITH_ASSIGN_OR_RETURN(const std::unique_ptr<ModelEmbedder> embedder,
                          ModelEmbedder::Create(spec, "", std::move(tokenizer),
                                                std::move(options)));
    // Workers are warm, and their speed is known.
    Row ignored = {.concurrency = 2 * config.workers,
                   .tokens_per_passage = spec.max_tokens};
    PITH_RETURN_IF_ERROR(Load(config, *embedder, texts).Run(ignored));
    for (const bool with_ingest : {false, true}) {
      for (const int concurrency : config.concurrency) {
        Row row = {.concurrency = concurrency,
                   .tokens_per_passage = spec.max_tokens,
                   .with_ingest = with_ingest};
        PITH_RETURN_IF_ERROR(Load(config, *embedder, texts).Run(row));
        rows.push_back(std::move(row));
      }
    }
  }
  return rows;
}

nlohmann::ordered_json ToJson(Row& row, size_t recomputed) {
  return {{"concurrency", row.concurrency},
          {"recomputed", recomputed},
          {"tokens_per_passage", row.tokens_per_passage},
          {"with_ingest", row.with_ingest},
          {"p50_ms", Percentile(row.milliseconds, 50)},
          {"p99_ms", Percentile(row.milliseconds, 99)},
          {"tokens_per_second", row.tokens_per_second},
          {"ingest_tokens_per_second", row.ingest_tokens_per_second},
          {"batch_fill", row.batch_fill},
          {"shared_texts", row.shared},
          {"queries", row.milliseconds.size()}};
}

void PrintTable(std::vector<Row>& rows, size_t recomputed) {
  std::cout << absl::StreamFormat("%5s %10s %6s %6s %8s %8s %9s %9s %5s %6s\n",
                                  "conc.", "recomputed", "tokens", "ingest",
                                  "p50 ms", "p99 ms", "tokens/s", "ingest/s",
                                  "fill", "shared");
  for (Row& row : rows) {
    std::cout << absl::StreamFormat(
        "%5d %10d %6d %6s %8.1f %8.1f %9.0f %9.0f %5.2f %6.0f\n",
        row.concurrency, recomputed, row.tokens_per_passage,
        row.with_ingest ? "yes" : "no", Percentile(row.milliseconds, 50),
        Percentile(row.milliseconds, 99), row.tokens_per_second,
        row.ingest_tokens_per_second, row.batch_fill, row.shared);
  }
}

int Main(int argc, char** argv) {
  Config config;
  std::error_code ignored;
  config.worker = fs::read_symlink("/proc/self/exe", ignored).parent_path() /
                  "pith-embedder";
  CLI::App app("Latency of recomputing, by concurrent queries.");
  app.add_option("--data", config.data, "dataset of passages and queries");
  app.add_option("--data-dir", config.data_directory, "folder of the datasets")
      ->envname("PITH_DATA");
  app.add_option("--model", config.model, "directory of the model")
      ->envname("PITH_MODEL")
      ->required();
  app.add_option("--worker", config.worker, "the worker's executable");
  app.add_option("--precision", config.precision, "of the model");
  app.add_option("--workers", config.workers, "worker processes")
      ->check(CLI::PositiveNumber);
  app.add_option("--concurrency", config.concurrency, "queries at a time")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  app.add_option("--tokens", config.tokens, "tokens a passage is cut to")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  app.add_option("--recomputed", config.recomputed, "passages a query")
      ->check(CLI::PositiveNumber);
  app.add_option("--passages", config.passages, "passages drawn from")
      ->check(CLI::PositiveNumber);
  app.add_option("--queries", config.queries, "queries a row")
      ->check(CLI::PositiveNumber);
  app.add_flag("--json", config.json, "print one JSON object");
  CLI11_PARSE(app, argc, argv);
  if (config.passages < config.recomputed) {
    std::cerr << "pool_bench: --passages is less than --recomputed\n";
    return kExitError;
  }

  absl::StatusOr<std::vector<Row>> rows = Measure(config);
  if (!rows.ok()) {
    std::cerr << "pool_bench: " << StdView(rows.status().message()) << "\n";
    return absl::IsNotFound(rows.status()) ? kExitMissing : kExitError;
  }
  if (config.json) {
    std::vector<nlohmann::ordered_json> objects;
    for (Row& row : *rows) {
      objects.push_back(ToJson(row, config.recomputed));
    }
    std::cout << Report("pool_bench", std::move(objects)).dump() << "\n";
  } else {
    PrintTable(*rows, config.recomputed);
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
