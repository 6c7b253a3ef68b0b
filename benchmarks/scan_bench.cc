// How fast 100,000 codes of 384 dimensions are scanned: for each kind of code
// the vectorised kernel beside a scalar loop. --json prints one object, else a
// table.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "benchmark/benchmark.h"
#include "nlohmann/json.hpp"

#include "benchmarks/report.h"
#include "benchmarks/run_benchmarks.h"
#include "core/codes/codebook.h"
#include "core/codes/rotated_code.h"

namespace pith {
namespace {

constexpr int kDimension = 384;
constexpr size_t kCodes = 100'000;

using ScalarScan = std::function<void(std::span<const uint8_t> codes,
                                      size_t code_bytes, std::span<float> out)>;

// Codes of one kind and a query. Any bytes cost the same, so random ones stand
// for codes.
struct Input {
  Input(std::string code_name, std::shared_ptr<const Codec> code_codec,
        ScalarScan scalar_scan)
      : name(std::move(code_name)),
        codec(std::move(code_codec)),
        scalar(std::move(scalar_scan)),
        codes(kCodes * codec->code_bytes()) {
    std::mt19937_64 random(1);
    for (uint8_t& byte : codes) {
      byte = static_cast<uint8_t>(random());
    }
    blocks = codec->ToBlocks(codes);
    std::normal_distribution<float> normal(0.0f,
                                           1.0f / std::sqrt(float{kDimension}));
    std::vector<float> vector(kDimension);
    for (float& value : vector) {
      value = normal(random);
    }
    query = codec->Prepare(vector);
  }

  std::string name;
  std::shared_ptr<const Codec> codec;
  ScalarScan scalar;
  std::vector<uint8_t> codes;
  std::vector<uint8_t> blocks;
  std::unique_ptr<CodeQuery> query;
  std::vector<float> scores = std::vector<float>(kCodes);
};

std::shared_ptr<const Codec> RandomCodebook(CodeShape shape) {
  std::mt19937_64 random(2);
  std::normal_distribution<float> normal(0.0f,
                                         1.0f / std::sqrt(float{kDimension}));
  CodebookParts parts{.dimension = kDimension, .shape = shape};
  parts.rotation.resize(size_t{kDimension} * kDimension);
  for (size_t i = 0; i < kDimension; ++i) {
    parts.rotation[i * kDimension + i] = 1;
  }
  parts.centroids.resize(kDimension * shape.centroid_count());
  for (float& value : parts.centroids) {
    value = normal(random);
  }
  for (size_t i = 0; i < parts.scales.size(); ++i) {
    parts.scales[i] = 1.0f + static_cast<float>(i) / 256.0f;
  }
  parts.spread_factor = 0.05f;
  return Codebook::FromParts(parts);
}

void ScanRotated(std::span<const uint8_t> codes, size_t code_bytes,
                 std::span<float> out) {
  static const std::vector<int16_t> coordinates(kDimension, 100);
  const size_t words = coordinates.size() / 4;
  for (size_t i = 0; i < out.size(); ++i) {
    const uint8_t* code = &codes[i * code_bytes];
    int32_t sum = 0;
    for (size_t j = 0; j < words; ++j) {
      const int word = code[2 * j] | code[2 * j + 1] << 8;
      for (size_t part = 0; part < 4; ++part) {
        sum += coordinates[part * words + j] * (word >> (4 * part) & 0xF);
      }
    }
    out[i] = static_cast<float>(2 * sum);
  }
}

// Tables of floats, a code at a time.
template <int kBits>
void ScanTables(std::span<const uint8_t> codes, size_t code_bytes,
                std::span<float> out) {
  constexpr size_t kCount = size_t{1} << kBits;
  static const std::vector<float> tables(256 * kCount, 0.01f);
  for (size_t i = 0; i < out.size(); ++i) {
    const uint8_t* code = &codes[i * code_bytes];
    float sum = 0;
    for (size_t j = 0; j + 1 < code_bytes; ++j) {
      if constexpr (kBits == 8) {
        sum += tables[j * kCount + code[j]];
      } else {
        sum += tables[2 * j * kCount + (code[j] & 15)] +
               tables[(2 * j + 1) * kCount + (code[j] >> 4)];
      }
    }
    out[i] = sum * (1.0f + static_cast<float>(code[code_bytes - 1]) / 256.0f);
  }
}

std::array<Input, 4>& Inputs() {
  static std::array<Input, 4> inputs = {
      Input("rotated", std::make_shared<RotatedCodec>(kDimension), ScanRotated),
      Input("48x8", RandomCodebook({.subquantizers = 48, .bits = 8}),
            ScanTables<8>),
      Input("32x8", RandomCodebook({.subquantizers = 32, .bits = 8}),
            ScanTables<8>),
      Input("96x4", RandomCodebook({.subquantizers = 96, .bits = 4}),
            ScanTables<4>)};
  return inputs;
}

// Run i is of Inputs()[i / 2], vectorised if i is even.
void RegisterBenchmarks() {
  for (Input& input : Inputs()) {
    for (const bool vectorised : {true, false}) {
      const std::string name =
          "scan/" + input.name + (vectorised ? "/vectorised" : "/scalar");
      benchmark::RegisterBenchmark(name.c_str(), [&input, vectorised](
                                                     benchmark::State& state) {
        for (auto _ : state) {
          if (vectorised) {
            input.query->Scan(input.blocks, input.scores);
          } else {
            input.scalar(input.codes, input.codec->code_bytes(), input.scores);
          }
          benchmark::DoNotOptimize(input.scores.data());
          benchmark::ClobberMemory();
        }
        state.SetBytesProcessed(static_cast<int64_t>(input.codes.size()) *
                                state.iterations());
      })->Unit(benchmark::kMillisecond);
    }
  }
}

int Main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  bool json = false;
  CLI::App app("Measures how fast codes are scanned.");
  app.add_flag("--json", json, "print one JSON object");
  CLI11_PARSE(app, argc, argv);

  RegisterBenchmarks();
  const auto runs = RunBenchmarks(json);
  if (!runs.has_value()) {
    return EXIT_FAILURE;
  }
  std::vector<nlohmann::ordered_json> rows;
  for (size_t i = 0; i < runs->size(); ++i) {
    const std::string name = (*runs)[i].run_name.function_name;
    const auto input =
        std::find_if(Inputs().begin(), Inputs().end(), [&](const Input& other) {
          return name.starts_with("scan/" + other.name + "/");
        });
    const bool scalar = name.ends_with("/scalar");
    const double milliseconds = (*runs)[i].GetAdjustedCPUTime();
    rows.push_back(
        {{"code", input->name},
         {"code_bytes", input->codec->code_bytes()},
         {"method", scalar ? "scalar" : "vectorised"},
         {"codes", kCodes},
         {"dimension", kDimension},
         {"milliseconds", milliseconds},
         {"gigabytes_per_second",
          static_cast<double>(input->codes.size()) / milliseconds / 1e6}});
    if (scalar && i > 0 &&
        (*runs)[i - 1].run_name.function_name ==
            "scan/" + input->name + "/vectorised") {
      const double ratio = milliseconds / (*runs)[i - 1].GetAdjustedCPUTime();
      rows.back()["ratio"] = ratio;
      if (!json) {
        std::cout << absl::StrFormat("%s: scalar / vectorised: %.1f\n",
                                     input->name, ratio);
      }
    }
  }
  if (json) {
    std::cout << Report("scan_bench", rows).dump() << "\n";
  }
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace pith

int main(int argc, char** argv) {
  return pith::Main(argc, argv);
}
