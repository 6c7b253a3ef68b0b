#include "benchmarks/embed/parts.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"

#include "benchmarks/embed/fma_rate.h"
#include "benchmarks/embed/gemm_bound.h"
#include "benchmarks/ranking_metrics.h"
#include "core/base/thread_time.h"
#include "core/base/status_macros.h"
#include "embedder/engine.h"
#include "embedder/onednn/encoder_kernels.h"
#include "embedder/onednn/packed_linear.h"

namespace pith {
namespace {

// Tokens that a part is measured on, about the engine's unit.
constexpr size_t kTokens = 256;
constexpr int kRounds = 20;

// `size` values for each of `tokens` tokens.
std::vector<float> Values(size_t tokens, size_t size) {
  std::vector<float> values(tokens * size);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = std::sin(static_cast<float>(i));
  }
  return values;
}

// Operations for each value, counted in encoder_kernels.cc. The sign of a
// rotation, a stage for each power of two of a block, the reflection; then the
// largest magnitude, and scaling and rounding.
double RotationOperations(const InputRotation& rotation) {
  const int stages = std::countr_zero(rotation.block());
  const int reflection = rotation.block() == rotation.size() ? 0 : 2;
  return 1 + stages + reflection + 2 + 2;
}
constexpr double kBf16Operations = 5;
constexpr double kNormOperations = 8;
double ActivationOperations(Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return 19;
    case Activation::kGeluTanh:
      return 20;
    case Activation::kRelu:
      return 2;
  }
  return 0;
}

class PartMeter {
 public:
  PartMeter(const EncoderConfig& config, int repetitions)
      : config_(config),
        hidden_(static_cast<size_t>(config.hidden_size)),
        wide_(static_cast<size_t>(config.intermediate_size)),
        repetitions_(repetitions),
        fma_rate_(MeasureFmaRate()) {}

  absl::Status AddProducts(Precision precision) {
    PITH_ASSIGN_OR_RETURN(EncoderProducts products,
                          EncoderProducts::Create(config_, precision));
    const double speed = precision == Precision::kInt8   ? 4
                         : precision == Precision::kBf16 ? 2
                                                         : 1;
    const auto multiply_adds =
        static_cast<double>(hidden_ * (4 * hidden_ + 2 * wide_));
    absl::Status result;
    Add(
        absl::StrCat("products, ", std::string(PrecisionName(precision))),
        multiply_adds / speed, [&] { result.Update(products.MultiplyUnit()); },
        EncoderProducts::kUnitTokens * static_cast<size_t>(config_.layers));
    return result;
  }

  // Three products take rows of one size, one of the other.
  void AddRoundingToBf16() {
    const std::vector<float> narrow = Values(kTokens, hidden_);
    const std::vector<float> wide = Values(kTokens, wide_);
    std::vector<uint16_t> rounded(std::max(narrow.size(), wide.size()));
    Add("rounding to bf16",
        static_cast<double>(3 * hidden_ + wide_) * kBf16Operations, [&] {
          for (int i = 0; i < 3; ++i) {
            RoundToBf16(narrow, rounded.data());
          }
          RoundToBf16(wide, rounded.data());
        });
  }

  void AddRotation() {
    const std::vector<float> narrow = Values(kTokens, hidden_);
    const std::vector<float> wide = Values(kTokens, wide_);
    const InputRotation narrow_rotation(hidden_);
    const InputRotation wide_rotation(wide_);
    std::vector<float> room(std::max(hidden_, wide_));
    std::vector<int8_t> rounded(room.size());
    const auto rotate = [&](const InputRotation& rotation,
                            const std::vector<float>& rows) {
      for (size_t i = 0; i < rows.size(); i += rotation.size()) {
        RotateAndQuantize(rotation, &rows[i], {room.data(), rotation.size()},
                          rounded.data());
      }
    };
    Add("rotation and rounding to int8",
        static_cast<double>(3 * hidden_) * RotationOperations(narrow_rotation) +
            static_cast<double>(wide_) * RotationOperations(wide_rotation),
        [&] {
          for (int i = 0; i < 3; ++i) {
            rotate(narrow_rotation, narrow);
          }
          rotate(wide_rotation, wide);
        });
  }

  void AddAttention(int length) {
    const auto size = static_cast<size_t>(length);
    const size_t tokens = std::max<size_t>(kTokens / size, 1) * size;
    const std::vector<float> product = Values(tokens, 3 * hidden_);
    const std::vector<float> scales(tokens, 1.0f);
    const std::vector<float> bias(3 * hidden_, 0.1f);
    std::vector<float> out(tokens * hidden_);
    AttentionScratch scratch;
    // The scores and the averages; softmax comes on top.
    Add(
        absl::StrCat("attention, ", length, " tokens"),
        static_cast<double>(2 * size * hidden_),
        [&] {
          for (size_t first = 0; first < tokens; first += size) {
            AttendWithinText(
                {.product = &product[first * 3 * hidden_],
                 .scales = &scales[first],
                 .bias = bias.data(),
                 .length = size,
                 .heads = static_cast<size_t>(config_.heads),
                 .head_size = hidden_ / static_cast<size_t>(config_.heads)},
                scratch, &out[first * hidden_]);
          }
        },
        tokens);
  }

  void AddActivation() {
    std::vector<float> values = Values(kTokens, wide_);
    // Without it values would fade to zero from round to round.
    const std::vector<float> bias(wide_, 1.0f);
    Add("activation",
        static_cast<double>(wide_) * ActivationOperations(config_.activation),
        [&] {
          for (size_t i = 0; i < values.size(); i += wide_) {
            Activate(config_.activation, 1, bias.data(), {&values[i], wide_});
          }
        });
  }

  void AddNorms() {
    std::vector<float> rows = Values(kTokens, hidden_);
    const std::vector<float> product = Values(kTokens, hidden_);
    const std::vector<float> ones(hidden_, 1.0f);
    const NormView norm = {
        .weight = ones.data(), .bias = ones.data(), .epsilon = 1e-12f};
    Add("two sums and norms",
        2 * static_cast<double>(hidden_) * kNormOperations, [&] {
          for (size_t i = 0; i < 2 * rows.size(); i += hidden_) {
            const size_t row = i % rows.size();
            AddAndNormalize({&rows[row], hidden_}, &product[row], 1,
                            ones.data(), norm);
          }
        });
  }

  std::vector<EncoderPart> parts() && { return std::move(parts_); }

 private:
  // In nanoseconds.
  double Bound(double operations) const { return operations / fma_rate_ * 1e9; }

  // `work` is that of `tokens` tokens in one layer.
  template <typename Work>
  void Add(const std::string& name, double operations, const Work& work,
           size_t tokens = kTokens) {
    std::vector<double> times;
    for (int i = 0; i < repetitions_; ++i) {
      const double start = ThreadMilliseconds();
      for (int round = 0; round < kRounds; ++round) {
        work();
      }
      times.push_back((ThreadMilliseconds() - start) * 1e6 /
                      static_cast<double>(kRounds * tokens));
    }
    parts_.push_back({.name = name,
                      .nanoseconds = Percentile(times, 50),
                      .bound = Bound(operations)});
  }

  const EncoderConfig& config_;
  const size_t hidden_;
  const size_t wide_;
  const int repetitions_;
  const double fma_rate_;
  std::vector<EncoderPart> parts_;
};

}  // namespace

absl::StatusOr<std::vector<EncoderPart>> MeasureParts(
    const EncoderConfig& config, const std::vector<int>& lengths,
    int repetitions) {
  PartMeter meter(config, repetitions);
  for (const Precision precision :
       {Precision::kF32, Precision::kBf16, Precision::kInt8}) {
    if (CpuHas(precision)) {
      PITH_RETURN_IF_ERROR(meter.AddProducts(precision));
    }
  }
  meter.AddRoundingToBf16();
  meter.AddRotation();
  for (const int length : lengths) {
    meter.AddAttention(length);
  }
  meter.AddActivation();
  meter.AddNorms();
  return std::move(meter).parts();
}

}  // namespace pith
