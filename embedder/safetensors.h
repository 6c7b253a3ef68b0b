#ifndef PITH_EMBEDDER_SAFETENSORS_H_
#define PITH_EMBEDDER_SAFETENSORS_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

#include "core/base/file.h"

namespace pith {

// A safetensors file: eight bytes of header length, a JSON header, tensor
// bytes. Everything is checked at open: header length, names, dtypes, shapes
// against byte ranges, ranges against the file and one another (no gap, no
// overlap, none beyond the end).
class SafetensorsFile {
 public:
  struct Tensor {
    enum class Type { kF32, kF16, kBf16, kOther } type;
    std::vector<int64_t> shape;
    uint64_t begin;  // from the start of the file
    uint64_t end;
  };

  // kNotFound, or kDataLoss naming the file and the two values that disagree.
  static absl::StatusOr<SafetensorsFile> Open(
      const std::filesystem::path& path);

  const std::map<std::string, Tensor, std::less<>>& tensors() const {
    return tensors_;
  }

  // The values of tensor `name` as f32 (converted from f16 or bf16).
  // kInvalidArgument if there is none, its shape is not `shape`, or it is of
  // another type; kDataLoss if the file has become shorter.
  absl::StatusOr<std::vector<float>> ReadFloats(
      std::string_view name, std::span<const int64_t> shape) const;

 private:
  SafetensorsFile(std::filesystem::path path, UniqueFd fd)
      : path_(std::move(path)), fd_(std::move(fd)) {}

  std::filesystem::path path_;
  UniqueFd fd_;
  std::map<std::string, Tensor, std::less<>> tensors_;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_SAFETENSORS_H_
