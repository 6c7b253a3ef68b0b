// Tokens a second of the tokenizer on one thread, on the passages of a data
// set:
//
//   PITH_MODEL=... PITH_DATA=... tokenizer_bench

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "benchmark/benchmark.h"

#include "benchmarks/dataset.h"
#include "embedder/tokenizer.h"

namespace pith {
namespace {

std::filesystem::path Environment(const char* name, const char* absent) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : absent;
}

void BM_Encode(benchmark::State& state, const char* dataset_name) {
  const auto tokenizer = Tokenizer::Load(Environment("PITH_MODEL", ""));
  if (!tokenizer.ok()) {
    state.SkipWithError(tokenizer.status().ToString().c_str());
    return;
  }
  const auto dataset =
      ReadDataset(Environment("PITH_DATA", PITH_DEFAULT_DATA) / dataset_name);
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
  state.counters["tokens/s"] = benchmark::Counter(static_cast<double>(tokens),
                                                  benchmark::Counter::kIsRate);
  state.SetBytesProcessed(bytes);
}

BENCHMARK_CAPTURE(BM_Encode, arxiv, "arxiv_200k");
BENCHMARK_CAPTURE(BM_Encode, code, "cosqa_code");

}  // namespace
}  // namespace pith

BENCHMARK_MAIN();
