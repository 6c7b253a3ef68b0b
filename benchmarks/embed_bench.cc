// How fast engines embed, and how near to f32. Texts are a dataset's, cut or
// put together to each length of --tokens; an engine is given their ids, and is
// warm. Time is wall time, the median of --repetitions.
//
// Prints a table, or with --json one object (report.h) with rows
//
//   {"engine", "precision", "tokens_per_text", "threads", "tokens_per_second",
//    "texts_per_second", "cosine_mean", "cosine_min", "recall_at_10_vs_f32",
//    "gemm_bound_share", "device"}
//
// "tokens_per_text" counts special tokens; "mixed" is of log-normal lengths.
// "threads" is how many cores compute: onednn has an engine on each, as there
// would be worker processes, torch and sentence-transformers as many threads.
//
// The cosine is that to the vector of the same ids in f32, by torch if that is
// built, else by onednn. "gemm_bound_share" is tokens a second over those of
// the model's matrix products alone, by oneDNN in the same precision, on as
// many threads, measured in the same run (embed/gemm_bound.h).
//
// With --device, torch runs on that device instead of the CPU, and so does what
// its vectors are compared with; "threads" is 1, "gemm_bound_share" null.
//
// With --recall N, "recall_at_10_vs_f32" is how much of exact search in f32,
// for all queries of the dataset among its first N passages cut to 70 tokens,
// exact search on the engine's own vectors finds; one value for all rows of an
// engine and precision, else null.
//
// With --peer-python, a Python that has it runs sentence-transformers on the
// same texts (embed/peer.py); the table has each row's speed over its fastest
// row of the same texts and threads.
//
// With --parts, a table of where the time of onednn's goes, and nothing else
// (embed/parts.h).

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"

#include "benchmarks/corpus.h"
#include "benchmarks/embed/engine_group.h"
#include "benchmarks/embed/gemm_bound.h"
#include "benchmarks/embed/parts.h"
#include "benchmarks/embed/peer.h"
#include "benchmarks/embed/row.h"
#include "benchmarks/embed/texts.h"
#include "benchmarks/ranking_metrics.h"
#include "benchmarks/recall/inner_products.h"
#include "benchmarks/recall/truth.h"
#include "benchmarks/report.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"
#include "core/base/vector_math.h"
#include "embedder/engine.h"
#include "embedder/model_directory.h"
#include "embedder/onednn/packed_linear.h"
#include "embedder/tokenizer.h"

namespace pith {
namespace {

constexpr size_t kDepth = 10;
// Of passages that recall is measured on, without special tokens.
constexpr int kRecallTokens = 70;
constexpr Precision kPrecisions[] = {Precision::kF32, Precision::kBf16,
                                     Precision::kInt8};

constexpr std::string_view kCpu = "cpu";

int Cores() {
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

struct Config {
  std::vector<std::string> engines = EngineGroup::Kinds();
  std::vector<std::string> precisions = {"f32", "bf16", "int8"};
  std::vector<std::string> mixes = {"16", "70", "170", "mixed"};
  std::vector<int> threads =
      Cores() == 1 ? std::vector{1} : std::vector{1, Cores()};
  // Enough for two of the engine's units, few enough that engines end together.
  size_t batch_tokens = 512;
  size_t run_tokens = 30'000;
  int repetitions = 3;
  size_t recall_passages = 0;
  std::filesystem::path peer_python;
  std::string data = "arxiv_200k";
  std::filesystem::path data_directory = PITH_DEFAULT_DATA;
  std::filesystem::path model;
  std::string device = std::string(kCpu);
  bool parts = false;
  bool json = false;

  bool Wants(Precision precision) const {
    return std::ranges::find(precisions, PrecisionName(precision)) !=
           precisions.end();
  }
};

// What all rows are measured on.
struct Input {
  ModelSpec spec;
  // By mix.
  std::map<std::string, TokenizedTexts> texts;
  // Of recall.
  TokenizedTexts passages;
  TokenizedTexts queries;
};

struct VectorSets {
  std::map<std::string, Matrix> texts;
  Matrix passages;
  Matrix queries;
};

absl::StatusOr<Input> Prepare(const Config& config) {
  Input input;
  PITH_ASSIGN_OR_RETURN(input.spec, LoadModelSpec(config.model));
  PITH_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                        Tokenizer::Load(config.model));
  PITH_ASSIGN_OR_RETURN(
      const Corpus corpus,
      ReadCorpus(config.data_directory, config.data, config.recall_passages));
  if (corpus.passages.empty() || corpus.queries.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(config.data, " has no passages or no queries"));
  }
  for (const std::string& mix : config.mixes) {
    PITH_ASSIGN_OR_RETURN(input.texts[mix],
                          MakeTexts(*tokenizer, corpus.passages, mix,
                                    config.run_tokens, input.spec.max_tokens));
  }
  if (config.recall_passages > 0) {
    const int most = std::min(input.spec.max_tokens,
                              kRecallTokens + tokenizer->special_tokens());
    for (const std::string& passage : corpus.passages) {
      input.passages.push_back(tokenizer->Encode(passage, most).ids);
    }
    for (const std::string& query : corpus.queries) {
      input.queries.push_back(
          tokenizer->Encode(query, input.spec.max_tokens).ids);
    }
  }
  return input;
}

absl::StatusOr<VectorSets> EmbedAll(const Input& input, EngineGroup& group) {
  VectorSets vectors;
  for (const auto& [mix, texts] : input.texts) {
    PITH_ASSIGN_OR_RETURN(vectors.texts[mix], group.Embed(texts));
  }
  PITH_ASSIGN_OR_RETURN(vectors.passages, group.Embed(input.passages));
  PITH_ASSIGN_OR_RETURN(vectors.queries, group.Embed(input.queries));
  return vectors;
}

// Sets the row's cosines. Rows of both are of unit norm.
void CompareVectors(const Matrix& vectors, const Matrix& exact, EmbedRow& row) {
  row.cosine_min = 1;
  double sum = 0;
  for (size_t i = 0; i < vectors.rows(); ++i) {
    // Rounding may leave it above 1.
    const double cosine =
        std::min(1.0, double{Dot(vectors.row(i), exact.row(i))});
    sum += cosine;
    row.cosine_min = std::min(row.cosine_min, cosine);
  }
  row.cosine_mean = sum / static_cast<double>(vectors.rows());
}

double MeanRecall(const VectorSets& found, const VectorSets& exact) {
  const Truth truth =
      Truth::Find(exact.passages, exact.queries, kDepth, Cores());
  std::vector<float> scores(found.passages.rows());
  double sum = 0;
  for (size_t q = 0; q < found.queries.rows(); ++q) {
    InnerProducts(found.queries.row(q), found.passages, 0, scores);
    std::vector<float> exact_scores;
    for (const uint32_t position : TopPositions(scores, kDepth)) {
      exact_scores.push_back(
          Dot(exact.queries.row(q), exact.passages.row(position)));
    }
    sum += truth.Recall(q, kDepth, exact_scores);
  }
  return sum / static_cast<double>(found.queries.rows());
}

// Rows of one engine, precision and number of threads. `bound` is in tokens a
// second.
absl::StatusOr<std::vector<EmbedRow>> Measure(const Config& config,
                                              const Input& input,
                                              EngineGroup& group,
                                              const EmbedRow& setting,
                                              std::optional<double> bound) {
  std::vector<EmbedRow> rows;
  for (const std::string& mix : config.mixes) {
    const TokenizedTexts& texts = input.texts.at(mix);
    std::vector<double> seconds;
    for (int i = 0; i < config.repetitions; ++i) {
      const absl::Time start = absl::Now();
      PITH_RETURN_IF_ERROR(group.Embed(texts).status());
      seconds.push_back(absl::ToDoubleSeconds(absl::Now() - start));
    }
    const double median = Percentile(seconds, 50);
    EmbedRow row = setting;
    row.tokens_per_text = mix;
    row.tokens_per_second = static_cast<double>(CountTokens(texts)) / median;
    row.texts_per_second = static_cast<double>(texts.size()) / median;
    if (bound.has_value()) {
      row.gemm_bound_share = row.tokens_per_second / *bound;
    }
    rows.push_back(row);
  }
  return rows;
}

using Bounds = std::map<std::pair<std::string, int>, double>;

absl::StatusOr<Bounds> MeasureBounds(const Config& config, const Input& input) {
  Bounds bounds;
  if (config.device != kCpu) {
    return bounds;
  }
  for (const Precision precision : kPrecisions) {
    if (!config.Wants(precision) || !CpuHas(precision)) {
      continue;
    }
    for (const int threads : config.threads) {
      const std::string name(PrecisionName(precision));
      PITH_ASSIGN_OR_RETURN(const double bound,
                            MeasureGemmBound(input.spec.encoder, precision,
                                             threads, config.repetitions));
      bounds[{name, threads}] = bound;
      absl::FPrintF(stderr, "products alone, %s, %d threads: %.0f tokens/s\n",
                    name, threads, bound);
    }
  }
  return bounds;
}

std::optional<double> BoundOf(const Bounds& bounds,
                              const std::string& precision, int threads) {
  const auto found = bounds.find({precision, threads});
  return found == bounds.end() ? std::nullopt : std::optional(found->second);
}

absl::StatusOr<std::vector<EmbedRow>> MeasureEngines(const Config& config,
                                                     const Input& input,
                                                     const Bounds& bounds) {
  PITH_ASSIGN_OR_RETURN(EngineGroup reference,
                        EngineGroup::Load(EngineGroup::Kinds().back(),
                                          input.spec, Precision::kF32, Cores(),
                                          config.batch_tokens, config.device));
  PITH_ASSIGN_OR_RETURN(const VectorSets exact, EmbedAll(input, reference));
  std::vector<EmbedRow> rows;
  for (const std::string& engine : config.engines) {
    for (const Precision precision : kPrecisions) {
      if (!config.Wants(precision) || !EngineGroup::Has(engine, precision)) {
        continue;
      }
      EmbedRow setting = {.engine = engine,
                          .precision = std::string(PrecisionName(precision)),
                          .device = config.device};
      VectorSets vectors;
      for (const int threads : config.threads) {
        PITH_ASSIGN_OR_RETURN(
            EngineGroup group,
            EngineGroup::Load(engine, input.spec, precision, threads,
                              config.batch_tokens, config.device));
        setting.threads = threads;
        if (vectors.texts.empty()) {
          PITH_ASSIGN_OR_RETURN(vectors, EmbedAll(input, group));
          if (!input.passages.empty()) {
            setting.recall_at_10_vs_f32 = MeanRecall(vectors, exact);
          }
        } else {
          PITH_RETURN_IF_ERROR(
              group.Embed(input.texts.begin()->second).status());
        }
        PITH_ASSIGN_OR_RETURN(
            std::vector<EmbedRow> some,
            Measure(config, input, group, setting,
                    BoundOf(bounds, setting.precision, threads)));
        for (EmbedRow& row : some) {
          CompareVectors(vectors.texts.at(row.tokens_per_text),
                         exact.texts.at(row.tokens_per_text), row);
          rows.push_back(row);
        }
      }
    }
  }
  return rows;
}

absl::StatusOr<std::vector<EmbedRow>> Run(const Config& config) {
  PITH_ASSIGN_OR_RETURN(const Input input, Prepare(config));
  PITH_ASSIGN_OR_RETURN(const Bounds bounds, MeasureBounds(config, input));
  PITH_ASSIGN_OR_RETURN(std::vector<EmbedRow> rows,
                        MeasureEngines(config, input, bounds));
  if (!config.peer_python.empty()) {
    PITH_ASSIGN_OR_RETURN(
        std::vector<EmbedRow> peer,
        MeasurePeer(config.peer_python, config.model, input.texts,
                    config.threads, config.repetitions));
    for (EmbedRow& row : peer) {
      if (const auto bound = BoundOf(bounds, row.precision, row.threads)) {
        row.gemm_bound_share = row.tokens_per_second / *bound;
      }
      rows.push_back(row);
    }
  }
  if (rows.empty()) {
    return absl::InvalidArgumentError(
        "no engine runs in the precisions that were asked for");
  }
  return rows;
}

nlohmann::ordered_json OrNull(const std::optional<double>& value) {
  return value.has_value() ? nlohmann::ordered_json(*value) : nullptr;
}

nlohmann::ordered_json ToJson(const EmbedRow& row) {
  nlohmann::ordered_json tokens = row.tokens_per_text;
  if (int number = 0; absl::SimpleAtoi(row.tokens_per_text, &number)) {
    tokens = number;
  }
  return {{"engine", row.engine},
          {"precision", row.precision},
          {"tokens_per_text", tokens},
          {"threads", row.threads},
          {"tokens_per_second", row.tokens_per_second},
          {"texts_per_second", row.texts_per_second},
          {"cosine_mean", row.cosine_mean},
          {"cosine_min", row.cosine_min},
          {"recall_at_10_vs_f32", OrNull(row.recall_at_10_vs_f32)},
          {"gemm_bound_share", OrNull(row.gemm_bound_share)},
          {"device", row.device}};
}

void PrintTable(const std::vector<EmbedRow>& rows) {
  // Of the same texts and threads.
  const auto fastest_peer = [&](const EmbedRow& row) {
    double fastest = 0;
    for (const EmbedRow& other : rows) {
      if (other.engine == kPeerName &&
          other.tokens_per_text == row.tokens_per_text &&
          other.threads == row.threads) {
        fastest = std::max(fastest, other.tokens_per_second);
      }
    }
    return fastest;
  };
  const auto shown = [](const std::optional<double>& value) {
    return value.has_value() ? absl::StrFormat("%.4f", *value) : "-";
  };
  absl::PrintF("%-21s %-5s %6s %7s %9s %8s %11s %11s %9s %7s %7s\n", "engine",
               "", "tokens", "threads", "tokens/s", "texts/s", "mean cosine",
               "least", "recall@10", "of GEMM", "x peer");
  for (const EmbedRow& row : rows) {
    const double peer = fastest_peer(row);
    absl::PrintF(
        "%-21s %-5s %6s %7d %9.0f %8.1f %11.6f %11.6f %9s %7s %7s\n",
        row.engine, row.precision, row.tokens_per_text, row.threads,
        row.tokens_per_second, row.texts_per_second, row.cosine_mean,
        row.cosine_min, shown(row.recall_at_10_vs_f32),
        shown(row.gemm_bound_share),
        peer > 0 ? absl::StrFormat("%.2f", row.tokens_per_second / peer) : "-");
  }
}

absl::Status PrintParts(const Config& config) {
  PITH_ASSIGN_OR_RETURN(const ModelSpec spec, LoadModelSpec(config.model));
  std::vector<int> lengths;
  for (const std::string& mix : config.mixes) {
    if (int length = 0; absl::SimpleAtoi(mix, &length) && length > 0) {
      lengths.push_back(length);
    }
  }
  PITH_ASSIGN_OR_RETURN(
      const std::vector<EncoderPart> parts,
      MeasureParts(spec.encoder, lengths, config.repetitions));
  absl::PrintF("%-30s %15s %8s %8s\n", "part", "ns/token/layer", "bound",
               "x bound");
  for (const EncoderPart& part : parts) {
    absl::PrintF("%-30s %15.0f %8.0f %8.2f\n", part.name, part.nanoseconds,
                 part.bound, part.nanoseconds / part.bound);
  }
  return absl::OkStatus();
}

int Fail(const absl::Status& status) {
  std::cerr << "embed_bench: " << StdView(status.message()) << "\n";
  return EXIT_FAILURE;
}

int Main(int argc, char** argv) {
  Config config;
  CLI::App app("Measures how fast texts are embedded.");
  app.add_option("--engine", config.engines, "engines, separated by commas")
      ->delimiter(',')
      ->check(CLI::IsMember(EngineGroup::Kinds()));
  app.add_option("--precision", config.precisions,
                 "precisions; those that this CPU or an engine does not have "
                 "are left out")
      ->delimiter(',')
      ->check(CLI::IsMember({"f32", "bf16", "int8"}));
  app.add_option("--tokens", config.mixes,
                 "tokens of a text, special tokens included, or \"mixed\"")
      ->delimiter(',');
  app.add_option("--threads", config.threads, "numbers of threads")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  app.add_option("--device", config.device,
                 "cpu, or cuda:N for --engine torch alone")
      ->capture_default_str();
  app.add_option("--batch-tokens", config.batch_tokens,
                 "tokens that onednn is given at a time; with 1 each text is "
                 "embedded alone")
      ->check(CLI::PositiveNumber);
  app.add_option("--run-tokens", config.run_tokens,
                 "tokens embedded in one repetition")
      ->check(CLI::PositiveNumber);
  app.add_option("--repetitions", config.repetitions,
                 "repetitions, of which the median counts")
      ->check(CLI::PositiveNumber);
  app.add_option("--recall", config.recall_passages,
                 "passages that recall is measured on; 0 does not");
  app.add_option("--peer-python", config.peer_python,
                 "a Python that has sentence-transformers");
  app.add_option("--data", config.data, "the dataset that texts come from");
  app.add_option("--data-dir", config.data_directory, "folder of the datasets")
      ->envname("PITH_DATA");
  app.add_option("--model", config.model, "directory of the model")
      ->envname("PITH_MODEL")
      ->required();
  CLI::Option* json =
      app.add_flag("--json", config.json, "print one JSON object");
  app.add_flag("--parts", config.parts,
               "where the time of onednn goes, on one thread; a table")
      ->excludes(json);
  CLI11_PARSE(app, argc, argv);

  if (config.parts) {
    const absl::Status printed = PrintParts(config);
    return printed.ok() ? EXIT_SUCCESS : Fail(printed);
  }
  if (config.device != kCpu) {
    if (config.engines != std::vector<std::string>{"torch"} ||
        !config.peer_python.empty()) {
      return Fail(absl::InvalidArgumentError(
          absl::StrCat("--device ", config.device,
                       ": only --engine torch runs there, without a peer")));
    }
    config.threads = {1};
  }
  const auto rows = Run(config);
  if (!rows.ok()) {
    return Fail(rows.status());
  }
  if (config.json) {
    std::vector<nlohmann::ordered_json> objects;
    for (const EmbedRow& row : *rows) {
      objects.push_back(ToJson(row));
    }
    std::cout << Report("embed_bench", std::move(objects)).dump() << "\n";
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
