#include "embedder/torch/torch_engine.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <exception>
#include <new>
#include <numeric>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "torch/torch.h"

#include "core/base/status_macros.h"
#include "embedder/encoder_weights.h"

namespace pith {
namespace {

// Tokens that go through the layers together. On a CPU more gains little
// (activations leave the cache) and makes an even split over threads harder; a
// GPU wants much larger matrices.
constexpr int64_t kCpuUnitTokens = 256;
constexpr int64_t kCudaUnitTokens = 16384;

// oneDNN generates code for every number of rows that a bf16 product has. Few
// numbers are few programs; and for some that are no multiple of this, Debian's
// version (2.6) fails with std::bad_array_new_length.
constexpr size_t kRowMultiple = 16;

// LibTorch reports failures by exceptions; none leaves this file.
template <typename Function>
absl::Status CatchTorch(const std::string& action, const Function& function) {
  try {
    function();
    return absl::OkStatus();
  } catch (const c10::OutOfMemoryError& error) {
    return absl::ResourceExhaustedError(
        absl::StrCat(action, ": ", error.what_without_backtrace()));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        absl::StrCat(action, ": out of memory"));
  } catch (const c10::Error& error) {
    // The CPU allocator has no exception type of its own.
    const std::string message = error.what_without_backtrace();
    return absl::StrContains(message, "allocate memory")
               ? absl::ResourceExhaustedError(
                     absl::StrCat(action, ": ", message))
               : absl::InternalError(absl::StrCat(action, ": ", message));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat(action, ": ", error.what()));
  }
}

struct Linear {
  at::Tensor weight;
  at::Tensor bias;

  at::Tensor operator()(const at::Tensor& input) const {
    return at::linear(input.to(weight.scalar_type()), weight, bias);
  }
};

struct LayerNorm {
  at::Tensor weight;
  at::Tensor bias;
  double epsilon;

  at::Tensor operator()(const at::Tensor& input) const {
    return at::layer_norm(input, weight.sizes(), weight, bias, epsilon);
  }
};

struct Layer {
  // Queries (scaled by 1 / sqrt(head size)), keys and values in one product.
  Linear query_key_value;
  Linear attention_output;
  LayerNorm attention_norm;
  Linear up;
  Linear down;
  LayerNorm output_norm;
};

// Texts of equal length, one after another in a unit.
struct Group {
  int64_t begin;  // first token
  int64_t texts;
  int64_t length;  // tokens of each

  at::Tensor Rows(const at::Tensor& matrix) const {
    return matrix.narrow(0, begin, texts * length);
  }
};

// Texts that go through the layers together, longest first.
struct Unit {
  std::vector<size_t> texts;
  std::vector<Group> groups;
  std::vector<int32_t> ids;
  std::vector<int32_t> positions;

  // Adds tokens that belong to no text until their number is a multiple.
  void Pad(size_t multiple) {
    const size_t padded = (ids.size() + multiple - 1) / multiple * multiple;
    ids.resize(padded);
    positions.resize(padded);
  }
};

// Sorted by length, so that equal lengths meet in one product and the longest
// work is handed out first.
std::vector<Unit> MakeUnits(const PackedTokens& tokens, int64_t unit_tokens) {
  const auto length = [&](size_t text) {
    return tokens.offsets[text + 1] - tokens.offsets[text];
  };
  std::vector<size_t> order(tokens.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return length(a) > length(b); });

  std::vector<Unit> units;
  for (const size_t text : order) {
    const int32_t count = length(text);
    if (units.empty() ||
        static_cast<int64_t>(units.back().ids.size()) + count > unit_tokens) {
      units.emplace_back();
    }
    Unit& unit = units.back();
    if (unit.groups.empty() || unit.groups.back().length != count) {
      unit.groups.push_back({.begin = static_cast<int64_t>(unit.ids.size()),
                             .texts = 0,
                             .length = count});
    }
    ++unit.groups.back().texts;
    unit.texts.push_back(text);
    unit.ids.insert(unit.ids.end(), tokens.ids.begin() + tokens.offsets[text],
                    tokens.ids.begin() + tokens.offsets[text + 1]);
    for (int32_t position = 0; position < count; ++position) {
      unit.positions.push_back(position);
    }
  }
  return units;
}

}  // namespace

struct TorchEngine::Encoder {
  EncoderConfig config;
  Pooling pooling;
  at::Device device = at::kCPU;
  Precision precision = Precision::kF32;
  int threads = 1;

  at::Tensor words;
  // With the embedding of token type 0, the only one in use, added.
  at::Tensor positions;
  LayerNorm embedding_norm;
  std::vector<Layer> layers;

  bool pads_rows() const {
    return device.is_cpu() &&
           layers.front().up.weight.scalar_type() == at::kBFloat16;
  }

  at::Tensor ToDevice(const std::vector<int32_t>& values) const {
    // from_blob borrows; Forward keeps `values` alive and never writes to them.
    return torch::from_blob(const_cast<int32_t*>(values.data()),
                            {static_cast<int64_t>(values.size())}, at::kInt)
        .to(device);
  }

  at::Tensor Attend(const at::Tensor& query_key_value,
                    const std::vector<Group>& groups) const {
    const int64_t head_size = config.hidden_size / config.heads;
    // In f32 on the CPU: in bf16, oneDNN would generate code for every length
    // and number of texts anew.
    const at::Tensor projected =
        device.is_cpu() ? query_key_value.to(at::kFloat) : query_key_value;
    at::Tensor context =
        at::zeros({projected.size(0), config.hidden_size}, projected.options());
    for (const Group& group : groups) {
      // Three tensors of text x head x token x head_size.
      const at::Tensor parts =
          group.Rows(projected)
              .view({group.texts, group.length, 3, config.heads, head_size})
              .permute({2, 0, 3, 1, 4});
      const at::Tensor weights = at::softmax(
          at::matmul(parts.select(0, 0), parts.select(0, 1).transpose(-1, -2)),
          -1);
      group.Rows(context)
          .view({group.texts, group.length, config.heads, head_size})
          .copy_(at::matmul(weights, parts.select(0, 2)).transpose(1, 2));
    }
    return context;
  }

  at::Tensor Activate(at::Tensor values) const {
    switch (config.activation) {
      case Activation::kGelu:
        return at::gelu_(values);
      case Activation::kGeluTanh:
        return at::gelu_(values, "tanh");
      case Activation::kRelu:
        return at::relu_(values);
    }
    return values;
  }

  // One row for each of unit.texts, not normalised, f32 on the CPU.
  at::Tensor Forward(const Unit& unit) const {
    at::Tensor hidden =
        embedding_norm(words.index_select(0, ToDevice(unit.ids)) +
                       positions.index_select(0, ToDevice(unit.positions)));
    for (const Layer& layer : layers) {
      hidden = layer.attention_norm(
          hidden + layer.attention_output(
                       Attend(layer.query_key_value(hidden), unit.groups)));
      hidden =
          layer.output_norm(hidden + layer.down(Activate(layer.up(hidden))));
    }
    std::vector<at::Tensor> pooled;
    for (const Group& group : unit.groups) {
      const at::Tensor states = group.Rows(hidden).view(
          {group.texts, group.length, config.hidden_size});
      pooled.push_back(pooling == Pooling::kMean ? states.mean(1)
                                                 : states.select(1, 0));
    }
    return at::cat(pooled).to(at::kCPU, at::kFloat).contiguous();
  }

  // Writes the rows of unit.texts.
  absl::Status Embed(const Unit& unit, Matrix& result) const {
    at::Tensor vectors;
    PITH_RETURN_IF_ERROR(CatchTorch("run the model", [&] {
      const c10::InferenceMode no_gradients;
      vectors = Forward(unit);
    }));
    const float* values = vectors.data_ptr<float>();
    for (const size_t text : unit.texts) {
      const std::span<float> row = result.row(text);
      PITH_RETURN_IF_ERROR(WriteUnitNorm({values, row.size()}, text, row));
      values += row.size();
    }
    return absl::OkStatus();
  }
};

namespace {

// Puts weights where and how the engine wants them.
struct WeightPlacement {
  at::Device device;
  at::ScalarType product_type;

  static at::Tensor Copy(std::span<const float> values, at::IntArrayRef shape) {
    return torch::from_blob(const_cast<float*>(values.data()), shape,
                            at::kFloat)
        .clone();
  }
  at::Tensor Place(const Matrix& matrix) const {
    return Copy(matrix.values(), {static_cast<int64_t>(matrix.rows()),
                                  static_cast<int64_t>(matrix.columns())})
        .to(device);
  }
  at::Tensor Place(std::span<const float> vector) const {
    return Copy(vector, {static_cast<int64_t>(vector.size())}).to(device);
  }
  Linear Place(const LinearWeights& linear) const {
    return {Place(linear.weight).to(product_type),
            Place(linear.bias).to(product_type)};
  }
  LayerNorm Place(const LayerNormWeights& norm, double epsilon) const {
    return {Place(norm.weight), Place(norm.bias), epsilon};
  }
};

absl::StatusOr<at::Device> ChooseDevice(const std::string& name) {
  const bool has_cuda = torch::cuda::is_available();
  if (name == "auto") {
    return has_cuda ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU);
  }
  if (name == "cpu") {
    return at::Device(at::kCPU);
  }
  if (int index = 0; absl::StartsWith(name, "cuda:") &&
                     absl::SimpleAtoi(name.substr(5), &index) && index >= 0) {
    const size_t count = torch::cuda::device_count();
    if (static_cast<size_t>(index) >= count) {
      return absl::InvalidArgumentError(absl::StrCat(
          "device ", name, ": LibTorch sees ", count, " CUDA devices"));
    }
    return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("device \"", name, "\": supported are auto, cpu, cuda:N"));
}

}  // namespace

TorchEngine::TorchEngine(std::unique_ptr<Encoder> encoder)
    : encoder_(std::move(encoder)) {}
TorchEngine::~TorchEngine() = default;

int TorchEngine::dimension() const {
  return encoder_->config.hidden_size;
}
std::string TorchEngine::device() const {
  return encoder_->device.str();
}

Precision TorchEngine::precision() const {
  return encoder_->precision;
}

absl::StatusOr<std::unique_ptr<TorchEngine>> TorchEngine::Load(
    const ModelSpec& spec, const Options& options) {
  if (options.threads < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("threads is ", options.threads, ", at least 1 is needed"));
  }
  PITH_ASSIGN_OR_RETURN(const EncoderWeightReader reader,
                        EncoderWeightReader::Open(spec));

  auto encoder = std::make_unique<Encoder>();
  const auto load = [&]() -> absl::Status {
    const c10::InferenceMode no_gradients;
    // Each of our threads runs whole texts by itself. Threads inside LibTorch
    // and BLAS on top of that cost a factor of six when they outnumber cores.
    at::set_num_threads(1);
    PITH_ASSIGN_OR_RETURN(encoder->device, ChooseDevice(options.device));
    encoder->precision = options.precision.value_or(
        encoder->device.is_cuda() ? Precision::kBf16 : Precision::kF32);
    if (encoder->precision == Precision::kInt8) {
      return absl::InvalidArgumentError(
          "precision int8: the torch engine has f32 and bf16");
    }
    encoder->config = spec.encoder;
    encoder->pooling = spec.pooling;
    encoder->threads = encoder->device.is_cuda() ? 1 : options.threads;

    const WeightPlacement placement = {
        .device = encoder->device,
        .product_type =
            options.precision == Precision::kBf16 ? at::kBFloat16 : at::kFloat};
    const double epsilon = encoder->config.layer_norm_epsilon;
    PITH_ASSIGN_OR_RETURN(const Matrix words, reader.Words());
    encoder->words = placement.Place(words);
    PITH_ASSIGN_OR_RETURN(const Matrix positions, reader.Positions());
    encoder->positions = placement.Place(positions);
    PITH_ASSIGN_OR_RETURN(const LayerNormWeights norm, reader.EmbeddingNorm());
    encoder->embedding_norm = placement.Place(norm, epsilon);
    for (int i = 0; i < encoder->config.layers; ++i) {
      PITH_ASSIGN_OR_RETURN(const EncoderLayerWeights layer, reader.Layer(i));
      encoder->layers.push_back(
          {.query_key_value = placement.Place(layer.query_key_value),
           .attention_output = placement.Place(layer.attention_output),
           .attention_norm = placement.Place(layer.attention_norm, epsilon),
           .up = placement.Place(layer.up),
           .down = placement.Place(layer.down),
           .output_norm = placement.Place(layer.output_norm, epsilon)});
    }
    return absl::OkStatus();
  };
  absl::Status loaded;
  PITH_RETURN_IF_ERROR(
      CatchTorch(absl::StrCat("load ", spec.directory.string()),
                 [&] { loaded = load(); }));
  PITH_RETURN_IF_ERROR(loaded);
  return std::unique_ptr<TorchEngine>(new TorchEngine(std::move(encoder)));
}

absl::StatusOr<Matrix> TorchEngine::Embed(const PackedTokens& tokens) {
  PITH_RETURN_IF_ERROR(CheckTokens(tokens, encoder_->config.vocab_size,
                                   encoder_->config.max_positions));
  std::vector<Unit> units = MakeUnits(
      tokens, encoder_->device.is_cuda() ? kCudaUnitTokens : kCpuUnitTokens);
  if (encoder_->pads_rows()) {
    for (Unit& unit : units) {
      unit.Pad(kRowMultiple);
    }
  }
  Matrix result(tokens.size(), static_cast<size_t>(dimension()));
  std::vector<absl::Status> statuses(units.size());
  std::atomic<size_t> next = 0;
  const auto run = [&] {
    at::init_num_threads();
    for (size_t i = next++; i < units.size(); i = next++) {
      statuses[i] = encoder_->Embed(units[i], result);
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (size_t i = 1;
         i < std::min(units.size(), static_cast<size_t>(encoder_->threads));
         ++i) {
      helpers.emplace_back(run);
    }
    run();
  }
  for (const absl::Status& status : statuses) {
    PITH_RETURN_IF_ERROR(status);
  }
  return result;
}

}  // namespace pith
