#include "core/source/source_list.h"

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "core/base/coding.h"

namespace pith {
namespace {

constexpr uint64_t kVersion = 1;

}  // namespace

std::string EncodeSourceList(const std::vector<std::string>& paths) {
  std::string bytes;
  PutVarint(kVersion, bytes);
  PutVarint(paths.size(), bytes);
  for (const std::string& path : paths) {
    PutString(path, bytes);
  }
  return bytes;
}

absl::StatusOr<std::vector<std::string>> DecodeSourceList(
    std::string_view bytes) {
  std::vector<std::string> paths;
  if (bytes.empty()) {
    return paths;
  }
  Decoder decoder(bytes);
  const uint64_t version = decoder.Varint();
  if (decoder.ok() && version > kVersion) {
    return absl::FailedPreconditionError(absl::StrCat(
        "decode list of sources: version ", version,
        " is newer than this build, which reads up to ", kVersion));
  }
  bool sound = version == kVersion;
  const uint64_t count = decoder.Varint();
  for (uint64_t i = 0; sound && i < count; ++i) {
    std::string path(decoder.String());
    sound = decoder.ok() && path.starts_with('/') &&
            (paths.empty() || paths.back() < path);
    paths.push_back(std::move(path));
  }
  if (!sound || !decoder.done()) {
    return absl::DataLossError(absl::StrCat("decode list of sources of ",
                                            bytes.size(), " bytes: malformed"));
  }
  return paths;
}

}  // namespace pith
