#include "embedder/torch/torch_engine.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <new>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "torch/torch.h"

#include "core/base/status_macros.h"
#include "embedder/encoder_weights.h"
#include "embedder/torch/text_units.h"
#include "embedder/torch/unit_runner.h"

namespace pith {
namespace {

// On a CPU more gains little (activations leave the cache) and makes an even
// split over threads harder. oneDNN generates code for every number of rows
// that a bf16 product has: few numbers are few programs; and for some that are
// no multiple of 16, Debian's version (2.6) fails with
// std::bad_array_new_length.
TextPacking CpuPacking(at::ScalarType type) {
  return {.unit_rows = 256, .row_multiple = type == at::kBFloat16 ? 16 : 1};
}

// While one copies or waits for its host thread, which must launch a kernel
// every few microseconds, the other computes.
constexpr int kCudaStreams = 2;

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
    // The allocators of the CPU and of pinned memory have no exception type of
    // their own, nor have CUDA's libraries.
    const std::string message = error.what_without_backtrace();
    for (const char* shortage :
         {"allocate memory", "out of memory", "ALLOC_FAILED"}) {
      if (absl::StrContains(message, shortage)) {
        return absl::ResourceExhaustedError(
            absl::StrCat(action, ": ", message));
      }
    }
    return absl::InternalError(absl::StrCat(action, ": ", message));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat(action, ": ", error.what()));
  }
}

// Of text x head x token x value; queries are scaled already.
at::Tensor Attention(const at::Tensor& queries, const at::Tensor& keys,
                     const at::Tensor& values) {
#if TORCH_VERSION_MAJOR >= 2
  return at::scaled_dot_product_attention(
      queries, keys, values, /*attn_mask=*/std::nullopt, /*dropout_p=*/0,
      /*is_causal=*/false, /*scale=*/1.0);
#else
  // In f32: in bf16, oneDNN would generate code for every length and number of
  // texts anew.
  return at::matmul(
      at::softmax(at::matmul(queries.to(at::kFloat),
                             keys.to(at::kFloat).transpose(-1, -2)),
                  -1),
      values.to(at::kFloat));
#endif
}

// Attention within each text of a unit: from rows of a layer's queries, keys
// and values, side by side, to as many rows of their hidden size.
using UnitAttention = std::function<at::Tensor(const at::Tensor&)>;

UnitAttention AttentionByLength(const TextUnit& unit, int64_t heads,
                                int64_t hidden_size) {
  return [&offsets = unit.offsets, heads,
          hidden_size](const at::Tensor& query_key_value) {
    at::Tensor result = at::empty({query_key_value.size(0), hidden_size},
                                  query_key_value.options());
    for (size_t begin = 0; begin + 1 < offsets.size();) {
      const int32_t length = offsets[begin + 1] - offsets[begin];
      size_t end = begin + 1;
      while (end + 1 < offsets.size() &&
             offsets[end + 1] - offsets[end] == length) {
        ++end;
      }
      const auto texts = static_cast<int64_t>(end - begin);
      const auto rows = [&](const at::Tensor& matrix) {
        return matrix.narrow(0, offsets[begin], texts * length);
      };
      // Three tensors of text x head x token x value.
      const at::Tensor parts =
          rows(query_key_value)
              .view({texts, length, 3, heads, hidden_size / heads})
              .permute({2, 0, 3, 1, 4});
      rows(result)
          .view({texts, length, heads, hidden_size / heads})
          .copy_(Attention(parts.select(0, 0), parts.select(0, 1),
                           parts.select(0, 2))
                     .transpose(1, 2));
      begin = end;
    }
    return result;
  };
}

#if TORCH_VERSION_MAJOR >= 2
// On views of the rows, a head x token x value for each text, which LibTorch
// calls nested. Its kernels for GPUs read and write the rows where they are.
UnitAttention PackedAttention(const TextUnit& unit, int64_t heads,
                              int64_t hidden_size) {
  const at::Tensor offsets = at::tensor(unit.offsets, at::kLong);
  const at::Tensor lengths = offsets.diff();
  const int64_t head_size = hidden_size / heads;
  const at::Tensor sizes = at::stack({at::full_like(lengths, heads), lengths,
                                      at::full_like(lengths, head_size)},
                                     1);
  const at::Tensor strides =
      at::tensor({head_size, 3 * hidden_size, int64_t{1}}, at::kLong)
          .repeat({lengths.size(0), 1});
  const at::Tensor begins =
      offsets.narrow(0, 0, lengths.size(0)) * (3 * hidden_size);
  return [=](const at::Tensor& query_key_value) {
    const auto part = [&](int64_t index) {
      return at::_nested_view_from_buffer(query_key_value.view(-1), sizes,
                                          strides,
                                          begins + index * hidden_size);
    };
    at::Tensor queries = part(0);
    at::Tensor keys = part(1);
    at::Tensor values = part(2);
    // Where LibTorch has no such kernel, it wants copies.
    if (at::_fused_sdp_choice(queries, keys, values) ==
        static_cast<int64_t>(at::SDPBackend::math)) {
      queries = queries.contiguous();
      keys = keys.contiguous();
      values = values.contiguous();
    }
    return Attention(queries, keys, values)
        .transpose(1, 2)
        .contiguous()
        .values()
        .view({-1, hidden_size});
  };
}
#endif

struct Linear {
  at::Tensor weight;
  at::Tensor bias;

  at::Tensor operator()(const at::Tensor& input) const {
    return at::linear(input, weight, bias);
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

}  // namespace

struct TorchEngine::Encoder {
  EncoderConfig config;
  Pooling pooling;
  TextAttention attention;
  at::Device device = at::kCPU;
  // Of the layers' weights and activations.
  at::ScalarType type = at::kFloat;
  // One for each of the runner's lanes.
  std::vector<c10::Stream> streams;

  at::Tensor words;
  // With the embedding of token type 0, the only one in use, added.
  at::Tensor positions;
  LayerNorm embedding_norm;
  std::vector<Layer> layers;

  // What the model reads of a unit, on the device; see WriteUnit.
  struct Input {
    at::Tensor ids;
    at::Tensor positions;
    at::Tensor offsets;
  };

  // Pinned memory, which LibTorch keeps and gives out again, is what a GPU
  // copies without the host waiting.
  at::Tensor HostTensor(at::IntArrayRef shape, at::ScalarType value) const {
    return at::empty(shape,
                     at::TensorOptions(value).pinned_memory(device.is_cuda()));
  }

  Input Stage(const PackedTokens& tokens, const TextUnit& unit) const {
    const int64_t rows = unit.rows();
    const auto ends = static_cast<int64_t>(unit.offsets.size());
    const at::Tensor whole = HostTensor({2 * rows + ends}, at::kInt);
    auto* numbers = whole.data_ptr<int32_t>();
    WriteUnit(tokens, unit, {numbers, static_cast<size_t>(rows)},
              {numbers + rows, static_cast<size_t>(rows)});
    std::ranges::copy(unit.offsets, numbers + 2 * rows);
    const at::Tensor there = whole.to(device, /*non_blocking=*/true);
    return {there.narrow(0, 0, rows), there.narrow(0, rows, rows),
            there.narrow(0, 2 * rows, ends)};
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

  UnitAttention AttentionOf(const TextUnit& unit) const {
#if TORCH_VERSION_MAJOR >= 2
    if (attention == TextAttention::kPacked) {
      return PackedAttention(unit, config.heads, config.hidden_size);
    }
#endif
    return AttentionByLength(unit, config.heads, config.hidden_size);
  }

  // One row for each of unit.texts and one for what pads, not normalised, f32.
  at::Tensor Forward(const Input& input, const UnitAttention& attend) const {
    at::Tensor hidden =
        embedding_norm(words.index_select(0, input.ids) +
                       positions.index_select(0, input.positions))
            .to(type);
    for (const Layer& layer : layers) {
      hidden = layer.attention_norm(
          layer.attention_output(attend(layer.query_key_value(hidden)))
              .add_(hidden));
      hidden = layer.output_norm(
          layer.down(Activate(layer.up(hidden))).add_(hidden));
    }
    if (pooling == Pooling::kMean) {
      // Unsafe: without checks that would wait for the device.
      return at::segment_reduce(hidden.to(at::kFloat), "mean", /*lengths=*/{},
                                /*indices=*/{}, input.offsets, /*axis=*/0,
                                /*unsafe=*/true);
    }
    return hidden
        .index_select(0, input.offsets.narrow(0, 0, input.offsets.size(0) - 1))
        .to(at::kFloat);
  }

  // Writes the rows of unit.texts.
  absl::Status Embed(const PackedTokens& tokens, const TextUnit& unit, int lane,
                     Matrix& result) const {
    at::Tensor vectors;
    PITH_RETURN_IF_ERROR(CatchTorch("run the model", [&] {
      const c10::InferenceMode no_gradients;
      at::init_num_threads();
      const c10::Stream& stream = streams[static_cast<size_t>(lane)];
      const c10::StreamGuard guard(stream);
      const at::Tensor there = Forward(Stage(tokens, unit), AttentionOf(unit));
      vectors = HostTensor(there.sizes(), at::kFloat);
      vectors.copy_(there, /*non_blocking=*/true);
      stream.synchronize();
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
  at::ScalarType type;

  // Converted before they are copied, so that the device never holds both.
  at::Tensor Copy(std::span<const float> values, at::IntArrayRef shape) const {
    return torch::from_blob(const_cast<float*>(values.data()), shape,
                            at::kFloat)
        .to(device, type, /*non_blocking=*/false, /*copy=*/true);
  }
  at::Tensor Place(const Matrix& matrix) const {
    return Copy(matrix.values(), {static_cast<int64_t>(matrix.rows()),
                                  static_cast<int64_t>(matrix.columns())});
  }
  at::Tensor Place(std::span<const float> vector) const {
    return Copy(vector, {static_cast<int64_t>(vector.size())});
  }
  Linear Place(const LinearWeights& linear) const {
    return {Place(linear.weight), Place(linear.bias)};
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

std::vector<c10::Stream> MakeStreams(at::Device device, int lanes) {
  const c10::impl::VirtualGuardImpl guard(device.type());
  std::vector<c10::Stream> streams;
  for (int i = 0; i < lanes; ++i) {
    // A CPU has only one, which nothing waits for.
    streams.push_back(device.is_cuda() ? guard.getStreamFromGlobalPool(device)
                                       : guard.getStream(device));
  }
  return streams;
}

}  // namespace

TorchEngine::TorchEngine(std::unique_ptr<Encoder> encoder, UnitRunner runner)
    : encoder_(std::move(encoder)), runner_(std::move(runner)) {}
TorchEngine::~TorchEngine() = default;

int TorchEngine::dimension() const {
  return encoder_->config.hidden_size;
}
std::string TorchEngine::device() const {
  return encoder_->device.str();
}

Precision TorchEngine::precision() const {
  return encoder_->type == at::kBFloat16 ? Precision::kBf16 : Precision::kF32;
}

bool TorchEngine::HasPackedAttention() {
  return TORCH_VERSION_MAJOR >= 2;
}

absl::StatusOr<std::unique_ptr<TorchEngine>> TorchEngine::Load(
    const ModelSpec& spec, const Options& options) {
  if (options.threads < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("threads is ", options.threads, ", at least 1 is needed"));
  }
  if (options.precision == Precision::kInt8) {
    return absl::InvalidArgumentError(
        "precision int8: the torch engine has f32 and bf16");
  }
  if (options.attention == TextAttention::kPacked && !HasPackedAttention()) {
    return absl::InvalidArgumentError(
        "packed attention: LibTorch " TORCH_VERSION ", 2.1 is needed");
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
    const bool cuda = encoder->device.is_cuda();
    encoder->type =
        options.precision.value_or(cuda ? Precision::kBf16 : Precision::kF32) ==
                Precision::kBf16
            ? at::kBFloat16
            : at::kFloat;
    encoder->streams =
        MakeStreams(encoder->device, cuda ? kCudaStreams : options.threads);
    encoder->config = spec.encoder;
    encoder->pooling = spec.pooling;
    encoder->attention = options.attention.value_or(
        cuda && HasPackedAttention() ? TextAttention::kPacked
                                     : TextAttention::kByLength);

    const WeightPlacement exact = {encoder->device, at::kFloat};
    const WeightPlacement placement = {encoder->device, encoder->type};
    const double epsilon = encoder->config.layer_norm_epsilon;
    PITH_ASSIGN_OR_RETURN(const Matrix words, reader.Words());
    encoder->words = exact.Place(words);
    PITH_ASSIGN_OR_RETURN(const Matrix positions, reader.Positions());
    encoder->positions = exact.Place(positions);
    PITH_ASSIGN_OR_RETURN(const LayerNormWeights norm, reader.EmbeddingNorm());
    encoder->embedding_norm = exact.Place(norm, epsilon);
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
  UnitRunner runner(options.packing.value_or(encoder->device.is_cuda()
                                                 ? TorchEngine::kCudaPacking
                                                 : CpuPacking(encoder->type)),
                    static_cast<int>(encoder->streams.size()));
  return std::unique_ptr<TorchEngine>(
      new TorchEngine(std::move(encoder), std::move(runner)));
}

absl::StatusOr<Matrix> TorchEngine::Embed(const PackedTokens& tokens) {
  PITH_RETURN_IF_ERROR(CheckTokens(tokens, encoder_->config.vocab_size,
                                   encoder_->config.max_positions));
  Matrix result(tokens.size(), static_cast<size_t>(dimension()));
  PITH_RETURN_IF_ERROR(runner_.Run(tokens, [&](int lane, const TextUnit& unit) {
    return encoder_->Embed(tokens, unit, lane, result);
  }));
  return result;
}

}  // namespace pith
