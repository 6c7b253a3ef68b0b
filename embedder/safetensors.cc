#include "embedder/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <optional>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"

#include "core/base/float16.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"

namespace pith {
namespace {

using nlohmann::json;
using Tensor = SafetensorsFile::Tensor;

static_assert(std::endian::native == std::endian::little,
              "tensors are little-endian and read in place");

constexpr uint64_t kLengthBytes = 8;
// The format's own limit.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

struct ElementType {
  Tensor::Type type;
  uint64_t bytes;
};

std::optional<ElementType> FindElementType(std::string_view name) {
  static constexpr std::pair<std::string_view, ElementType> kTypes[] = {
      {"F32", {Tensor::Type::kF32, 4}},
      {"F16", {Tensor::Type::kF16, 2}},
      {"BF16", {Tensor::Type::kBf16, 2}},
      {"F64", {Tensor::Type::kOther, 8}},
      {"I64", {Tensor::Type::kOther, 8}},
      {"U64", {Tensor::Type::kOther, 8}},
      {"I32", {Tensor::Type::kOther, 4}},
      {"U32", {Tensor::Type::kOther, 4}},
      {"I16", {Tensor::Type::kOther, 2}},
      {"U16", {Tensor::Type::kOther, 2}},
      {"I8", {Tensor::Type::kOther, 1}},
      {"U8", {Tensor::Type::kOther, 1}},
      {"BOOL", {Tensor::Type::kOther, 1}},
      {"F8_E5M2", {Tensor::Type::kOther, 1}},
      {"F8_E4M3", {Tensor::Type::kOther, 1}},
  };
  const auto* found = std::ranges::find(
      kTypes, name, &std::pair<std::string_view, ElementType>::first);
  if (found == std::end(kTypes)) {
    return std::nullopt;
  }
  return found->second;
}

bool IsCount(const json& value) {
  return value.is_number_unsigned() &&
         value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX);
}

bool AreCounts(const json& values) {
  return values.is_array() && std::ranges::all_of(values, IsCount);
}

std::string Shown(std::span<const int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

// Reads bytes [offset, offset + size) of the file into `out`.
absl::Status ReadAt(const UniqueFd& fd, const std::filesystem::path& path,
                    uint64_t offset, char* out, uint64_t size) {
  while (size > 0) {
    // Linux reads at most 2 GiB at once.
    const ssize_t bytes =
        ::pread(fd.get(), out, size, static_cast<off_t>(offset));
    if (bytes < 0 && errno == EINTR) {
      continue;
    }
    if (bytes < 0) {
      return ErrnoStatus(errno, "read", path);
    }
    if (bytes == 0) {
      return absl::DataLossError(
          absl::StrCat(path.string(), " ends at byte ", offset, ", ", size,
                       " bytes before the end of what is read"));
    }
    const auto count = static_cast<uint64_t>(bytes);
    out += count;
    offset += count;
    size -= count;
  }
  return absl::OkStatus();
}

// The header as JSON. Names given twice are refused: a parser keeps one of
// them.
absl::StatusOr<json> ParseHeader(std::string_view text) {
  std::set<std::string, std::less<>> names;
  std::optional<std::string> repeated;
  const auto check_names = [&](int depth, json::parse_event_t event,
                               json& parsed) {
    if (event == json::parse_event_t::key && depth == 1 &&
        !names.insert(parsed.get_ref<const std::string&>()).second) {
      repeated = parsed.get<std::string>();
    }
    return true;
  };
  json header = json::parse(text, check_names, /*allow_exceptions=*/false);
  if (!header.is_object()) {
    return absl::DataLossError("header is not a JSON object");
  }
  if (repeated.has_value()) {
    return absl::DataLossError(
        absl::StrCat("header has the tensor \"", *repeated, "\" twice"));
  }
  return header;
}

// Tensor `name` of the header; its place is counted from `data_begin`, and the
// file has `data_bytes` from there on.
absl::StatusOr<Tensor> ParseTensor(std::string_view name, const json& entry,
                                   uint64_t data_begin, uint64_t data_bytes) {
  const std::string prefix = absl::StrCat("tensor \"", AbslView(name), "\" ");
  if (!entry.is_object()) {
    return absl::DataLossError(absl::StrCat(prefix, "is not an object"));
  }
  // By reference: copies of JSON that is nested deeply overflow the stack.
  static const json kMissing;
  const auto field = [&](const char* key) -> const json& {
    const auto found = entry.find(key);
    return found == entry.end() ? kMissing : *found;
  };
  const json& dtype = field("dtype");
  const json& shape = field("shape");
  const json& offsets = field("data_offsets");
  if (!dtype.is_string()) {
    return absl::DataLossError(absl::StrCat(prefix, "has no dtype"));
  }
  const auto& dtype_name = dtype.get_ref<const std::string&>();
  const std::optional<ElementType> element = FindElementType(dtype_name);
  if (!element.has_value()) {
    return absl::DataLossError(
        absl::StrCat(prefix, "has the unknown dtype \"", dtype_name, "\""));
  }
  if (!AreCounts(shape)) {
    return absl::DataLossError(absl::StrCat(prefix, "has no valid shape"));
  }
  if (!AreCounts(offsets) || offsets.size() != 2) {
    return absl::DataLossError(
        absl::StrCat(prefix, "has no valid data_offsets"));
  }
  Tensor tensor = {.type = element->type,
                   .shape = shape.get<std::vector<int64_t>>(),
                   .begin = offsets[0].get<uint64_t>(),
                   .end = offsets[1].get<uint64_t>()};
  if (tensor.begin > tensor.end || tensor.end > data_bytes) {
    return absl::DataLossError(absl::StrCat(prefix, "is at bytes ",
                                            tensor.begin, " to ", tensor.end,
                                            " of ", data_bytes));
  }
  uint64_t bytes = element->bytes;
  bool overflow = false;
  for (const int64_t size : tensor.shape) {
    overflow |=
        __builtin_mul_overflow(bytes, static_cast<uint64_t>(size), &bytes);
  }
  if (overflow || bytes != tensor.end - tensor.begin) {
    return absl::DataLossError(absl::StrCat(
        prefix, "of shape ", Shown(tensor.shape), " and type ", dtype_name,
        " needs ", overflow ? "more than 2^64" : absl::StrCat(bytes),
        " bytes, its data_offsets hold ", tensor.end - tensor.begin));
  }
  tensor.begin += data_begin;
  tensor.end += data_begin;
  return tensor;
}

// Every byte from `begin` to `end` belongs to exactly one tensor.
absl::Status CheckCoverage(
    const std::map<std::string, Tensor, std::less<>>& tensors, uint64_t begin,
    uint64_t end) {
  std::vector<std::pair<std::string_view, const Tensor*>> ordered;
  ordered.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) {
    ordered.emplace_back(name, &tensor);
  }
  std::ranges::sort(ordered, {}, [](const auto& entry) {
    return std::pair(entry.second->begin, entry.second->end);
  });
  uint64_t covered = begin;
  for (const auto& [name, tensor] : ordered) {
    if (tensor->begin != covered) {
      return absl::DataLossError(
          absl::StrCat("tensor \"", AbslView(name), "\" begins at byte ",
                       tensor->begin, ", the one before it ends at ", covered));
    }
    covered = tensor->end;
  }
  if (covered != end) {
    return absl::DataLossError(
        absl::StrCat("tensors end at byte ", covered, ", the file has ", end));
  }
  return absl::OkStatus();
}

float Bf16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

}  // namespace

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(
    const std::filesystem::path& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    return ErrnoStatus(errno, "open", path);
  }
  struct stat status;
  if (::fstat(fd.get(), &status) != 0) {
    return ErrnoStatus(errno, "stat", path);
  }
  if (!S_ISREG(status.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path.string(), " is not a file"));
  }
  const auto file_bytes = static_cast<uint64_t>(status.st_size);
  if (file_bytes < kLengthBytes) {
    return absl::DataLossError(
        absl::StrCat(path.string(), " has ", file_bytes,
                     " bytes, a safetensors file at least ", kLengthBytes));
  }
  uint64_t header_bytes = 0;
  PITH_RETURN_IF_ERROR(ReadAt(
      fd, path, 0, reinterpret_cast<char*>(&header_bytes), kLengthBytes));
  if (header_bytes > std::min(kMaxHeaderBytes, file_bytes - kLengthBytes)) {
    return absl::DataLossError(
        absl::StrCat(path.string(), " says its header has ", header_bytes,
                     " bytes; the file has ", file_bytes,
                     ", the format allows ", kMaxHeaderBytes));
  }
  std::string text(header_bytes, '\0');
  PITH_RETURN_IF_ERROR(
      ReadAt(fd, path, kLengthBytes, text.data(), text.size()));

  SafetensorsFile file(path, std::move(fd));
  absl::StatusOr<json> header = ParseHeader(text);
  if (!header.ok()) {
    return Annotate(header.status(), path.string());
  }
  const uint64_t data_begin = kLengthBytes + header_bytes;
  for (const auto& [name, entry] : header->items()) {
    if (name == "__metadata__") {
      continue;
    }
    absl::StatusOr<Tensor> tensor =
        ParseTensor(name, entry, data_begin, file_bytes - data_begin);
    if (!tensor.ok()) {
      return Annotate(tensor.status(), path.string());
    }
    file.tensors_.emplace(name, *std::move(tensor));
  }
  if (absl::Status covered =
          CheckCoverage(file.tensors_, data_begin, file_bytes);
      !covered.ok()) {
    return Annotate(covered, path.string());
  }
  return file;
}

absl::StatusOr<std::vector<float>> SafetensorsFile::ReadFloats(
    std::string_view name, std::span<const int64_t> shape) const {
  const auto refuse = [&](const std::string& reason) {
    return absl::InvalidArgumentError(absl::StrCat(
        path_.string(), ": tensor \"", AbslView(name), "\" ", reason));
  };
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    return refuse("is missing");
  }
  const Tensor& tensor = found->second;
  if (!std::ranges::equal(tensor.shape, shape)) {
    return refuse(absl::StrCat("has the shape ", Shown(tensor.shape),
                               ", expected ", Shown(shape)));
  }
  const uint64_t bytes = tensor.end - tensor.begin;
  switch (tensor.type) {
    case Tensor::Type::kF32: {
      std::vector<float> values(bytes / sizeof(float));
      PITH_RETURN_IF_ERROR(ReadAt(fd_, path_, tensor.begin,
                                  reinterpret_cast<char*>(values.data()),
                                  bytes));
      return values;
    }
    case Tensor::Type::kF16:
    case Tensor::Type::kBf16: {
      std::vector<uint16_t> halves(bytes / sizeof(uint16_t));
      PITH_RETURN_IF_ERROR(ReadAt(fd_, path_, tensor.begin,
                                  reinterpret_cast<char*>(halves.data()),
                                  bytes));
      std::vector<float> values(halves.size());
      std::ranges::transform(
          halves, values.begin(),
          tensor.type == Tensor::Type::kF16 ? F16ToFloat : Bf16ToFloat);
      return values;
    }
    case Tensor::Type::kOther:
      break;
  }
  return refuse("is of another type than f32, f16 and bf16");
}

}  // namespace pith
