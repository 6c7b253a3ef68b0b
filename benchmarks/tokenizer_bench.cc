// Tokens a second of the tokenizer on one thread, on the passages of data sets.
// --json prints one object, else a table. For example:
//
//   PITH_MODEL=... tokenizer_bench --data arxiv_200k

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "benchmark/benchmark.h"
#include "nlohmann/json.hpp"

#include "benchmarks/dataset.h"
#include "benchmarks/report.h"
#include "benchmarks/run_benchmarks.h"
#include "embedder/tokenizer.h"

namespace pith {
namespace {

constexpr char kTokensPerSecond[] = "tokens/s";

struct Config {
  std::vector<std::string> datasets = {"arxiv_200k", "cosqa_code"};
  std::filesystem::path data_directory = PITH_DEFAULT_DATA;
  std::filesystem::path model;
  bool json = false;
};

void Encode(benchmark::State& state, const std::filesystem::path& model,
            const std::filesystem::path& dataset_directory) {
  const auto tokenizer = Tokenizer::Load(model);
  if (!tokenizer.ok()) {
    state.SkipWithError(tokenizer.status().ToString().c_str());
    return;
  }
  const auto dataset = ReadDataset(dataset_directory);
  if (!dataset.ok()) {
    state.SkipWithError(dataset.status().ToString().c_str());
    return;
  }
  size_t next = 0;
  int64_t tokens = 0;
  int64_t bytes = 0;
  for (auto _ : state) {
    const std::string& text = dataset->corpus[next].text;
    next = (next + 1) % dataset->corpus.size();
    const Encoding encoding = (*tokenizer)->Encode(text, 1 << 20);
    tokens += static_cast<int64_t>(encoding.ids.size());
    bytes += static_cast<int64_t>(text.size());
  }
  state.counters[kTokensPerSecond] = benchmark::Counter(
      static_cast<double>(tokens), benchmark::Counter::kIsRate);
  state.SetBytesProcessed(bytes);
}

int Main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  Config config;
  CLI::App app("Measures how fast texts are tokenized.");
  app.add_option("--data", config.datasets, "datasets, separated by commas")
      ->delimiter(',');
  app.add_option("--data-dir", config.data_directory, "folder of the datasets")
      ->envname("PITH_DATA");
  app.add_option("--model", config.model, "directory of the model")
      ->envname("PITH_MODEL");
  app.add_flag("--json", config.json, "print one JSON object");
  CLI11_PARSE(app, argc, argv);

  for (const std::string& name : config.datasets) {
    benchmark::RegisterBenchmark(name.c_str(), Encode, config.model,
                                 config.data_directory / name);
  }
  const auto runs = RunBenchmarks(config.json);
  if (!runs.has_value()) {
    return EXIT_FAILURE;
  }
  if (config.json) {
    std::vector<nlohmann::ordered_json> rows;
    for (const auto& run : *runs) {
      rows.push_back(
          {{"dataset", run.run_name.function_name},
           {"tokens_per_second", run.counters.at(kTokensPerSecond).value},
           {"bytes_per_second", run.counters.at("bytes_per_second").value}});
    }
    std::cout << Report("tokenizer_bench", rows).dump() << "\n";
  }
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace pith

int main(int argc, char** argv) {
  return pith::Main(argc, argv);
}
