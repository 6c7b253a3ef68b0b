#include "core/index/segment_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"

#include "core/base/coding.h"
#include "core/base/crc32.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"

namespace pith {
namespace {

constexpr std::string_view kMagic = "pithsegm";
// The newest; changed nodes came with version 2, the slope with version 3. A
// segment is of the first that has all that it has.
constexpr uint32_t kVersion = 3;

// In the order of the file; the number is the section's kind there, less one.
enum Section : uint32_t { kProperties, kIds, kCodes, kGraph, kSectionCount };
constexpr std::array<std::string_view, kSectionCount> kSectionNames = {
    "properties", "ids", "codes", "graph"};
// The graph is the only one that a segment may lack.
constexpr uint32_t kMinSections = kGraph;

constexpr size_t kPrologueBytes = 16;  // magic, version, count of sections
constexpr size_t kEntryBytes = 16;     // kind, CRC, length
constexpr size_t kCrcBytes = 4;

size_t HeaderBytes(size_t sections) {
  return kPrologueBytes + sections * kEntryBytes + kCrcBytes;
}

template <typename... Parts>
absl::Status Damaged(std::string_view name, const Parts&... parts) {
  return absl::DataLossError(
      absl::StrCat("decode segment ", AbslView(name), ": ", parts...));
}

std::string Quoted(size_t section) {
  return absl::StrCat("section \"", AbslView(kSectionNames[section]), "\"");
}

uint32_t VersionOf(const SegmentContent& content) {
  return content.score_slope ? 3 : content.changed_nodes > 0 ? 2 : 1;
}

std::string EncodeProperties(const SegmentContent& content) {
  std::string bytes(content.codebook.bytes.begin(),
                    content.codebook.bytes.end());
  PutFixed32(static_cast<uint32_t>(content.code_bytes), bytes);
  const uint32_t version = VersionOf(content);
  if (version > 1) {
    PutFixed32(content.changed_nodes, bytes);
  }
  if (version > 2) {
    PutFixed32(std::bit_cast<uint32_t>(*content.score_slope), bytes);
  }
  return bytes;
}

absl::Status DecodeProperties(std::string_view bytes, uint32_t version,
                              std::string_view name, SegmentContent& content) {
  Decoder decoder(bytes);
  const std::string_view hash = decoder.Bytes(content.codebook.bytes.size());
  std::copy(hash.begin(), hash.end(), content.codebook.bytes.begin());
  content.code_bytes = decoder.Fixed32();
  if (version > 1) {
    content.changed_nodes = decoder.Fixed32();
  }
  if (version > 2) {
    content.score_slope = std::bit_cast<float>(decoder.Fixed32());
  }
  if (!decoder.done()) {
    return Damaged(name, Quoted(kProperties), " has ", bytes.size(),
                   " bytes, it takes ",
                   content.codebook.bytes.size() + 4 * size_t{version});
  }
  if (version == 2 && content.changed_nodes == 0) {
    return Damaged(name, Quoted(kProperties), ": version ", version,
                   " with no changed nodes");
  }
  if (content.score_slope &&
      !(std::isfinite(*content.score_slope) && *content.score_slope > 0)) {
    return Damaged(name, Quoted(kProperties), ": a slope of ",
                   *content.score_slope, ", it is finite and positive");
  }
  if (content.code_bytes == 0 || content.code_bytes > kMaxCodeBytes) {
    return Damaged(name, Quoted(kProperties), ": a code of ",
                   content.code_bytes, " bytes, 1 to ", kMaxCodeBytes,
                   " are possible");
  }
  return absl::OkStatus();
}

struct Sections {
  uint32_t version;
  // As many as there are, which match their CRCs.
  std::vector<std::string_view> bytes;
};

absl::StatusOr<Sections> SplitSections(std::string_view bytes,
                                       std::string_view name) {
  Decoder decoder(bytes);
  const std::string_view magic = decoder.Bytes(kMagic.size());
  const uint32_t version = decoder.Fixed32();
  const uint64_t count = decoder.Fixed32();
  if (!decoder.ok()) {
    return Damaged(name, "header: file has ", bytes.size(),
                   " bytes, a header starts with ", kPrologueBytes);
  }
  if (magic != kMagic) {
    return Damaged(name, "header: magic is not that of a segment");
  }
  // Every version has this much in common, so that it can be told from damage.
  if (count > bytes.size() / kEntryBytes || HeaderBytes(count) > bytes.size()) {
    return Damaged(name, "header: ", count, " sections in a file of ",
                   bytes.size(), " bytes");
  }
  const size_t covered = HeaderBytes(count) - kCrcBytes;
  const uint32_t crc = Crc32(bytes.substr(0, covered));
  const uint32_t stored_crc =
      Decoder(bytes.substr(covered, kCrcBytes)).Fixed32();
  if (crc != stored_crc) {
    return Damaged(name, "header: CRC-32 is ", absl::Hex(crc), ", not ",
                   absl::Hex(stored_crc));
  }
  if (version > kVersion) {
    return absl::FailedPreconditionError(absl::StrCat(
        "decode segment ", AbslView(name), ": version ", version,
        " is newer than this build, which reads up to ", kVersion));
  }
  if (version == 0 || count < kMinSections || count > kSectionCount) {
    return Damaged(name, "header: version ", version, " with ", count,
                   " sections, it has ", kMinSections, " to ", kSectionCount);
  }
  std::string_view rest = bytes.substr(HeaderBytes(count));
  std::vector<std::string_view> sections;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t kind = decoder.Fixed32();
    const uint32_t section_crc = decoder.Fixed32();
    const uint64_t length = decoder.Fixed64();
    if (kind != i + 1) {
      return Damaged(name, "header: section ", i + 1, " is of kind ", kind);
    }
    if (length > rest.size()) {
      return Damaged(name, Quoted(i), " has ", length, " bytes, ", rest.size(),
                     " are left of the file");
    }
    const std::string_view section = rest.substr(0, length);
    rest.remove_prefix(length);
    if (const uint32_t actual = Crc32(section); actual != section_crc) {
      return Damaged(name, Quoted(i), ": CRC-32 is ", absl::Hex(actual),
                     ", not ", absl::Hex(section_crc));
    }
    sections.push_back(section);
  }
  if (!rest.empty()) {
    return Damaged(name, "file has ", bytes.size(), " bytes, sections end at ",
                   bytes.size() - rest.size());
  }
  return Sections{version, std::move(sections)};
}

}  // namespace

std::string EncodeSegment(const SegmentContent& content) {
  CHECK_GE(content.code_bytes, size_t{1});
  CHECK_LE(content.code_bytes, kMaxCodeBytes);
  CHECK_EQ(content.codes.size(), content.passages.size() * content.code_bytes);
  const std::string properties = EncodeProperties(content);
  const std::string ids = content.passages.Encode();
  std::vector<std::string_view> sections = {
      properties,
      ids,
      {reinterpret_cast<const char*>(content.codes.data()),
       content.codes.size()}};
  if (content.graph.has_value()) {
    sections.push_back(*content.graph);
  }
  size_t size = HeaderBytes(sections.size());
  for (const std::string_view section : sections) {
    size += section.size();
  }

  std::string bytes;
  bytes.reserve(size);
  bytes.append(kMagic);
  PutFixed32(VersionOf(content), bytes);
  PutFixed32(static_cast<uint32_t>(sections.size()), bytes);
  for (size_t i = 0; i < sections.size(); ++i) {
    PutFixed32(static_cast<uint32_t>(i + 1), bytes);
    PutFixed32(Crc32(sections[i]), bytes);
    PutFixed64(sections[i].size(), bytes);
  }
  PutFixed32(Crc32(bytes), bytes);
  for (const std::string_view section : sections) {
    bytes.append(section);
  }
  return bytes;
}

absl::StatusOr<SegmentContent> DecodeSegment(std::string_view bytes,
                                             std::string_view name) {
  PITH_ASSIGN_OR_RETURN(const Sections split, SplitSections(bytes, name));
  const std::vector<std::string_view>& sections = split.bytes;
  SegmentContent content;
  PITH_RETURN_IF_ERROR(
      DecodeProperties(sections[kProperties], split.version, name, content));
  absl::StatusOr<PassageIds> passages = PassageIds::Decode(sections[kIds]);
  if (!passages.ok()) {
    return Damaged(name, Quoted(kIds), ": ", passages.status().message());
  }
  content.passages = *std::move(passages);
  const std::string_view codes = sections[kCodes];
  const uint64_t expected =
      uint64_t{content.passages.size()} * content.code_bytes;
  if (codes.size() != expected) {
    return Damaged(name, Quoted(kCodes), " has ", codes.size(), " bytes, ",
                   content.passages.size(), " codes of ", content.code_bytes,
                   " take ", expected);
  }
  content.codes.assign(codes.begin(), codes.end());
  if (sections.size() > kGraph) {
    content.graph = std::string(sections[kGraph]);
  }
  return content;
}

}  // namespace pith
