// How fast 100,000 rotated codes of 384 dimensions are scanned: the vectorised
// kernel beside a scalar loop. --json prints one object, else a table.

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>
#include <span>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "benchmark/benchmark.h"
#include "nlohmann/json.hpp"

#include "benchmarks/report.h"
#include "benchmarks/run_benchmarks.h"
#include "core/codes/rotated_code.h"

namespace pith {
namespace {

constexpr int kDimension = 384;
constexpr size_t kCodes = 100'000;

struct Input {
  RotatedCodec codec{kDimension};
  std::vector<uint8_t> codes;
  RotatedQuery query;
  std::vector<float> scores = std::vector<float>(kCodes);

  // Any nibbles cost the same, so random bytes stand for codes.
  Input() : codes(kCodes * codec.code_bytes()) {
    std::mt19937_64 random(1);
    for (uint8_t& byte : codes) {
      byte = static_cast<uint8_t>(random());
    }
    std::normal_distribution<float> normal;
    std::vector<float> vector(kDimension);
    for (float& value : vector) {
      value = normal(random);
    }
    query = codec.Prepare(vector);
  }
};

Input& SharedInput() {
  static Input input;
  return input;
}

void ScoreScalar(const RotatedQuery& query, size_t code_bytes,
                 std::span<const uint8_t> codes, std::span<float> out) {
  const size_t words = query.coordinates.size() / 4;
  for (size_t i = 0; i < out.size(); ++i) {
    const uint8_t* code = &codes[i * code_bytes];
    int32_t sum = 0;
    for (size_t j = 0; j < words; ++j) {
      const int word = code[2 * j] | code[2 * j + 1] << 8;
      for (size_t part = 0; part < 4; ++part) {
        sum += query.coordinates[part * words + j] * (word >> (4 * part) & 0xF);
      }
    }
    out[i] = static_cast<float>(2 * sum - query.offset) * query.scale;
  }
}

void SetBytes(benchmark::State& state, const Input& input) {
  state.SetBytesProcessed(static_cast<int64_t>(input.codes.size()) *
                          state.iterations());
}

void BM_ScanVectorised(benchmark::State& state) {
  Input& input = SharedInput();
  for (auto _ : state) {
    input.codec.Score(input.query, input.codes, input.scores);
    benchmark::DoNotOptimize(input.scores.data());
    benchmark::ClobberMemory();
  }
  SetBytes(state, input);
}
BENCHMARK(BM_ScanVectorised)->Unit(benchmark::kMillisecond);

void BM_ScanScalar(benchmark::State& state) {
  Input& input = SharedInput();
  for (auto _ : state) {
    ScoreScalar(input.query, input.codec.code_bytes(), input.codes,
                input.scores);
    benchmark::DoNotOptimize(input.scores.data());
    benchmark::ClobberMemory();
  }
  SetBytes(state, input);
}
BENCHMARK(BM_ScanScalar)->Unit(benchmark::kMillisecond);

nlohmann::ordered_json Row(const benchmark::BenchmarkReporter::Run& run) {
  const double milliseconds = run.GetAdjustedCPUTime();
  return {
      {"method",
       run.run_name.function_name == "BM_ScanScalar" ? "scalar" : "vectorised"},
      {"codes", kCodes},
      {"dimension", kDimension},
      {"milliseconds", milliseconds},
      {"gigabytes_per_second",
       static_cast<double>(SharedInput().codes.size()) / milliseconds / 1e6}};
}

int Main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  bool json = false;
  CLI::App app("Measures how fast codes are scanned.");
  app.add_flag("--json", json, "print one JSON object");
  CLI11_PARSE(app, argc, argv);

  const auto runs = RunBenchmarks(json);
  if (!runs.has_value()) {
    return EXIT_FAILURE;
  }
  if (json) {
    std::vector<nlohmann::ordered_json> rows;
    for (const auto& run : *runs) {
      rows.push_back(Row(run));
    }
    std::cout << Report("scan_bench", rows).dump() << "\n";
  } else if (runs->size() == 2) {
    std::cout << absl::StrFormat(
        "scalar / vectorised: %.1f\n",
        (*runs)[1].GetAdjustedCPUTime() / (*runs)[0].GetAdjustedCPUTime());
  }
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace pith

int main(int argc, char** argv) {
  return pith::Main(argc, argv);
}
