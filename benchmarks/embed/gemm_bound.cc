#include "benchmarks/embed/gemm_bound.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "benchmarks/ranking_metrics.h"
#include "core/base/matrix.h"
#include "core/base/status_macros.h"
#include "embedder/onednn/encoder_kernels.h"

namespace pith {
namespace {

// Of each thread in one repetition.
constexpr size_t kTokens = 4096;

std::vector<float> RandomValues(size_t count) {
  std::mt19937 random(static_cast<unsigned>(count));
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  std::ranges::generate(values, [&] { return normal(random); });
  return values;
}

// The input of a tile, `size` values a row, as a product of `precision` wants
// it.
std::vector<std::byte> RandomInput(Precision precision, size_t size) {
  const std::vector<float> values = RandomValues(kMaxRows * size);
  std::vector<std::byte> input(values.size() * sizeof(float));
  switch (precision) {
    case Precision::kF32:
      std::ranges::copy(std::as_bytes(std::span(values)), input.begin());
      break;
    case Precision::kBf16: {
      std::vector<uint16_t> rounded(values.size());
      RoundToBf16(values, rounded.data());
      std::ranges::copy(std::as_bytes(std::span(rounded)), input.begin());
      break;
    }
    case Precision::kInt8:
      std::ranges::transform(values, input.begin(), [](float value) {
        return static_cast<std::byte>(
            static_cast<int8_t>(std::clamp(value * 32, -127.0f, 127.0f)));
      });
      break;
  }
  return input;
}

}  // namespace

absl::StatusOr<EncoderProducts> EncoderProducts::Create(
    const EncoderConfig& config, Precision precision) {
  const auto hidden = static_cast<size_t>(config.hidden_size);
  const auto wide = static_cast<size_t>(config.intermediate_size);
  EncoderProducts products;
  for (int i = 0; i < config.layers; ++i) {
    for (const auto& [outputs, inputs] :
         {std::pair(3 * hidden, hidden), std::pair(hidden, hidden),
          std::pair(wide, hidden), std::pair(hidden, wide)}) {
      PITH_ASSIGN_OR_RETURN(
          PackedLinear linear,
          PackedLinear::Create(
              precision,
              Matrix(outputs, inputs, RandomValues(outputs * inputs))));
      products.linears_.push_back(std::move(linear));
    }
  }
  products.input_ = RandomInput(precision, std::max(hidden, wide));
  products.output_.resize(kMaxRows * std::max(3 * hidden, wide));
  return products;
}

absl::Status EncoderProducts::MultiplyUnit() {
  for (size_t layer = 0; layer < linears_.size(); layer += 4) {
    // Attention is between the first and the others.
    PITH_RETURN_IF_ERROR(MultiplyTiles(layer, layer + 1));
    PITH_RETURN_IF_ERROR(MultiplyTiles(layer + 1, layer + 4));
  }
  return absl::OkStatus();
}

absl::Status EncoderProducts::MultiplyTiles(size_t first, size_t end) {
  for (size_t token = 0; token < kUnitTokens; token += kMaxRows) {
    for (size_t i = first; i < end; ++i) {
      PITH_RETURN_IF_ERROR(
          linears_[i].Multiply(kMaxRows, input_.data(), output_.data()));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<double> MeasureGemmBound(const EncoderConfig& config,
                                        Precision precision, int threads,
                                        int repetitions) {
  std::vector<EncoderProducts> encoders;
  for (int i = 0; i < threads; ++i) {
    PITH_ASSIGN_OR_RETURN(EncoderProducts products,
                          EncoderProducts::Create(config, precision));
    encoders.push_back(std::move(products));
  }
  std::vector<double> seconds;
  for (int i = 0; i < repetitions; ++i) {
    std::vector<absl::Status> results(encoders.size());
    const absl::Time start = absl::Now();
    {
      std::vector<std::jthread> running;
      for (size_t t = 0; t < encoders.size(); ++t) {
        running.emplace_back([&, t] {
          for (size_t done = 0; done < kTokens;
               done += EncoderProducts::kUnitTokens) {
            results[t].Update(encoders[t].MultiplyUnit());
          }
        });
      }
    }
    seconds.push_back(absl::ToDoubleSeconds(absl::Now() - start));
    for (const absl::Status& result : results) {
      PITH_RETURN_IF_ERROR(result);
    }
  }
  return static_cast<double>(kTokens * encoders.size()) /
         Percentile(seconds, 50);
}

}  // namespace pith
