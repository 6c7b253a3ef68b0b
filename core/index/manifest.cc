#include "core/index/manifest.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"

#include "core/base/coding.h"

namespace pith {
namespace {

constexpr uint64_t kVersion = 1;
constexpr uint64_t kMaxPassages = UINT32_MAX;
// Three varints of a byte or more, and a hash.
constexpr size_t kMinRefBytes = 19;

template <typename... Parts>
absl::Status Damaged(std::string_view bytes, const Parts&... parts) {
  return absl::DataLossError(
      absl::StrCat("decode manifest of ", bytes.size(), " bytes: ", parts...));
}

}  // namespace

std::string EncodeManifest(const Manifest& manifest) {
  std::string bytes;
  PutVarint(kVersion, bytes);
  PutVarint(manifest.next_segment, bytes);
  PutVarint(manifest.segments.size(), bytes);
  for (size_t i = 0; i < manifest.segments.size(); ++i) {
    const SegmentRef& segment = manifest.segments[i];
    CHECK_LT(segment.number, manifest.next_segment);
    CHECK(i == 0 || manifest.segments[i - 1].number < segment.number);
    CHECK_LE(segment.passages, kMaxPassages);
    PutVarint(segment.number, bytes);
    PutVarint(segment.passages, bytes);
    PutVarint(segment.file_bytes, bytes);
    bytes.append(segment.codebook.bytes.begin(), segment.codebook.bytes.end());
  }
  return bytes;
}

absl::StatusOr<Manifest> DecodeManifest(std::string_view bytes) {
  Decoder decoder(bytes);
  const uint64_t version = decoder.Varint();
  if (decoder.ok() && version > kVersion) {
    return absl::FailedPreconditionError(absl::StrCat(
        "decode manifest: version ", version,
        " is newer than this build, which reads up to ", kVersion));
  }
  Manifest manifest;
  manifest.next_segment = decoder.Varint();
  const uint64_t count = decoder.Varint();
  if (!decoder.ok() || version == 0) {
    return Damaged(bytes, "no version, next segment and count");
  }
  if (count > decoder.remaining() / kMinRefBytes) {
    return Damaged(bytes, count, " segments in ", decoder.remaining(),
                   " bytes");
  }
  manifest.segments.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    SegmentRef segment;
    segment.number = decoder.Varint();
    segment.passages = decoder.Varint();
    segment.file_bytes = decoder.Varint();
    const std::string_view hash = decoder.Bytes(segment.codebook.bytes.size());
    std::copy(hash.begin(), hash.end(), segment.codebook.bytes.begin());
    if (!decoder.ok()) {
      return Damaged(bytes, "it ends within segment ", i + 1, " of ", count);
    }
    if (segment.number >= manifest.next_segment) {
      return Damaged(bytes, "segment number ", segment.number,
                     ", the next one is ", manifest.next_segment);
    }
    if (i > 0 && segment.number <= manifest.segments.back().number) {
      return Damaged(bytes, "segment number ", segment.number, " after ",
                     manifest.segments.back().number);
    }
    if (segment.passages > kMaxPassages) {
      return Damaged(bytes, "segment ", segment.number, " of ",
                     segment.passages, " passages, at most ", kMaxPassages);
    }
    manifest.segments.push_back(segment);
  }
  if (!decoder.done()) {
    return Damaged(bytes, decoder.remaining(), " bytes follow the last of ",
                   count, " segments");
  }
  return manifest;
}

}  // namespace pith
