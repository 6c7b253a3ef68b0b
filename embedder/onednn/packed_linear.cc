#include "embedder/onednn/packed_linear.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"

#include "omp.h"
#include "oneapi/dnnl/dnnl.hpp"

namespace pith {
namespace {

using DataType = dnnl::memory::data_type;
using Layout = dnnl::memory::format_tag;

DataType InputType(Precision precision) {
  switch (precision) {
    case Precision::kF32:
      return DataType::f32;
    case Precision::kBf16:
      return DataType::bf16;
    case Precision::kInt8:
      return DataType::s8;
  }
  return DataType::undef;
}

// oneDNN reports failures by exceptions; none leaves this file.
template <typename Function>
absl::Status CatchDnnl(const Function& function) {
  try {
    function();
    return absl::OkStatus();
  } catch (const dnnl::error& error) {
    const std::string message =
        absl::StrCat("oneDNN: ", error.what(), " (status ",
                     static_cast<int>(error.status), ")");
    return error.status == dnnl_out_of_memory
               ? absl::ResourceExhaustedError(message)
               : absl::InternalError(message);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("oneDNN: out of memory");
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("oneDNN: ", error.what()));
  }
}

const dnnl::engine& CpuEngine() {
  static const dnnl::engine& engine =
      *new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

}  // namespace

bool CpuHas(Precision precision) {
  const dnnl::cpu_isa isa = dnnl::get_effective_cpu_isa();
  const auto has = [isa](dnnl::cpu_isa wanted) {
    const auto bits = static_cast<unsigned>(wanted);
    return (static_cast<unsigned>(isa) & bits) == bits;
  };
  switch (precision) {
    case Precision::kF32:
      return true;
    case Precision::kBf16:
      return has(dnnl::cpu_isa::avx512_core_bf16);
    case Precision::kInt8:
      return has(dnnl::cpu_isa::avx512_core_vnni);
  }
  return false;
}

std::string CpuName() {
  const dnnl_version_t& version = *dnnl_version();
  return absl::StrCat("isa ", static_cast<int>(dnnl::get_effective_cpu_isa()),
                      ", oneDNN ", version.major, ".", version.minor, ".",
                      version.patch);
}

struct PackedLinear::State {
  // A product of so many rows, bound to the weight.
  struct Product {
    dnnl::matmul primitive;
    dnnl::memory input;
    dnnl::memory output;
    std::unordered_map<int, dnnl::memory> arguments;
  };

  int64_t inputs = 0;
  int64_t outputs = 0;
  dnnl::stream stream{CpuEngine()};
  // Of kRowMultiple rows, twice as many, and so on to kMaxRows.
  std::vector<Product> products;
};

absl::StatusOr<PackedLinear> PackedLinear::Create(Precision precision,
                                                  const Matrix& weight) {
  std::unique_ptr<State> state;
  // What is packed: the weight, or its rows rounded to int8.
  std::vector<int8_t> rounded;
  std::vector<float> scales;
  const auto round = [&] {
    rounded.resize(weight.values().size());
    for (size_t i = 0; i < weight.rows(); ++i) {
      const std::span<const float> row = weight.row(i);
      float largest = 0;
      for (const float value : row) {
        largest = std::max(largest, std::abs(value));
      }
      const float inverse = largest > 0 ? 127 / largest : 0;
      for (size_t j = 0; j < row.size(); ++j) {
        rounded[i * row.size() + j] =
            static_cast<int8_t>(std::lrint(row[j] * inverse));
      }
      scales.push_back(largest / 127);
    }
  };

  const auto create = [&] {
    omp_set_num_threads(1);
    state = std::make_unique<State>();
    state->inputs = static_cast<int64_t>(weight.columns());
    state->outputs = static_cast<int64_t>(weight.rows());
    dnnl::primitive_attr attributes;
    // Else a product must run in the thread that made it.
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (precision == Precision::kInt8) {
      round();
      // One scale a column of the product.
      attributes.set_output_scales(1 << 1, scales);
    }
    const dnnl::engine& engine = CpuEngine();
    const DataType input_type = InputType(precision);
    const dnnl::memory::desc any({state->inputs, state->outputs}, input_type,
                                 Layout::any);
    const auto describe = [&](int64_t rows, const dnnl::memory::desc& packed) {
      return dnnl::matmul::primitive_desc(
          dnnl::matmul::desc(
              {{rows, state->inputs}, input_type, Layout::ab}, packed,
              {{rows, state->outputs}, DataType::f32, Layout::ab}),
          attributes, engine);
    };
    // All numbers of rows share the layout that the largest wants.
    const dnnl::memory::desc packed = describe(kMaxRows, any).weights_desc();
    dnnl::memory weights(packed, engine);
    const void* plain = rounded.empty()
                            ? static_cast<const void*>(weight.values().data())
                            : rounded.data();
    // A row an output is the transpose of what the product is defined with.
    dnnl::memory source({{state->inputs, state->outputs},
                         rounded.empty() ? DataType::f32 : DataType::s8,
                         Layout::ba},
                        engine, const_cast<void*>(plain));
    dnnl::reorder(source, weights).execute(state->stream, source, weights);
    state->stream.wait();

    for (size_t rows = kRowMultiple; rows <= kMaxRows; rows += kRowMultiple) {
      const dnnl::matmul::primitive_desc description =
          describe(static_cast<int64_t>(rows), packed);
      State::Product product = {
          .primitive = dnnl::matmul(description),
          .input = dnnl::memory(description.src_desc(), engine, nullptr),
          .output = dnnl::memory(description.dst_desc(), engine, nullptr),
          .arguments = {}};
      product.arguments = {
          {DNNL_ARG_SRC, product.input},
          {DNNL_ARG_WEIGHTS, weights},
          {DNNL_ARG_DST, product.output},
          {DNNL_ARG_SCRATCHPAD,
           dnnl::memory(description.scratchpad_desc(), engine)}};
      state->products.push_back(std::move(product));
    }
  };
  const absl::Status created = CatchDnnl(create);
  if (!created.ok()) {
    return created;
  }
  return PackedLinear(std::move(state));
}

PackedLinear::PackedLinear(std::unique_ptr<State> state)
    : state_(std::move(state)) {}
PackedLinear::PackedLinear(PackedLinear&&) noexcept = default;
PackedLinear& PackedLinear::operator=(PackedLinear&&) noexcept = default;
PackedLinear::~PackedLinear() = default;

size_t PackedLinear::inputs() const {
  return static_cast<size_t>(state_->inputs);
}
size_t PackedLinear::outputs() const {
  return static_cast<size_t>(state_->outputs);
}

absl::Status PackedLinear::Multiply(size_t rows, const void* input,
                                    float* output) {
  CHECK(rows > 0 && rows % kRowMultiple == 0 && rows <= kMaxRows) << rows;
  return CatchDnnl([&] {
    // Of the calling thread alone.
    omp_set_num_threads(1);
    State::Product& product = state_->products[rows / kRowMultiple - 1];
    product.input.set_data_handle(const_cast<void*>(input));
    product.output.set_data_handle(output);
    product.primitive.execute(state_->stream, product.arguments);
    state_->stream.wait();
  });
}

}  // namespace pith
