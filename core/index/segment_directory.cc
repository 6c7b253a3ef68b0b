#include "core/index/segment_directory.h"

#include <algorithm>
#include <system_error>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"

#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"

namespace pith {
namespace fs = std::filesystem;

namespace {

constexpr std::string_view kSegmentPrefix = "segment-";
constexpr std::string_view kCodebookPrefix = "codebook-";
constexpr std::string_view kExtension = ".pith";
// Of a temporary file: a dot and six characters that mkostemp chooses.
constexpr size_t kTemporaryBytes = 7;

// A rotation of 16,384 dimensions.
constexpr uint64_t kMaxCodebookBytes = uint64_t{1} << 30;

std::string SegmentName(uint64_t number) {
  return absl::StrCat(AbslView(kSegmentPrefix), number, AbslView(kExtension));
}

std::string CodebookName(const ContentHash& hash) {
  return absl::StrCat(AbslView(kCodebookPrefix), ToHex(hash.bytes),
                      AbslView(kExtension));
}

ContentHash HashOf(std::string_view bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.FinishContent();
}

bool IsSegmentOrCodebook(std::string_view name) {
  if (!name.ends_with(kExtension)) {
    return false;
  }
  const std::string_view stem = name.substr(0, name.size() - kExtension.size());
  if (stem.starts_with(kSegmentPrefix)) {
    uint64_t number = 0;
    return absl::SimpleAtoi(AbslView(stem.substr(kSegmentPrefix.size())),
                            &number) &&
           name == SegmentName(number);
  }
  if (!stem.starts_with(kCodebookPrefix)) {
    return false;
  }
  const std::string_view hash = stem.substr(kCodebookPrefix.size());
  return hash.size() == 2 * sizeof(ContentHash) &&
         std::all_of(hash.begin(), hash.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

bool IsTemporary(std::string_view name) {
  if (name.size() <= kTemporaryBytes) {
    return false;
  }
  const std::string_view tail = name.substr(name.size() - kTemporaryBytes);
  return tail[0] == '.' &&
         std::all_of(
             tail.begin() + 1, tail.end(),
             [](char c) {
               return absl::ascii_isalnum(static_cast<unsigned char>(c));
             }) &&
         IsSegmentOrCodebook(name.substr(0, name.size() - kTemporaryBytes));
}

absl::flat_hash_set<std::string> NamedFiles(const Manifest& manifest) {
  absl::flat_hash_set<std::string> named;
  for (const SegmentRef& segment : manifest.segments) {
    named.insert(SegmentName(segment.number));
    named.insert(CodebookName(segment.codebook));
  }
  return named;
}

// `status` of reading a file that the manifest names.
absl::Status AsNamed(const absl::Status& status) {
  if (!absl::IsNotFound(status)) {
    return status;
  }
  return absl::DataLossError(
      absl::StrCat(status.message(), ", but the manifest names it"));
}

}  // namespace

absl::StatusOr<SegmentRef> SegmentDirectory::WriteSegment(
    uint64_t number, const SegmentContent& content) const {
  const std::string bytes = EncodeSegment(content);
  PITH_RETURN_IF_ERROR(
      WriteFileAtomically(directory_ / SegmentName(number), bytes));
  return SegmentRef{.number = number,
                    .passages = content.passages.size(),
                    .file_bytes = bytes.size(),
                    .codebook = content.codebook};
}

absl::StatusOr<SegmentContent> SegmentDirectory::ReadSegment(
    const SegmentRef& segment) const {
  const fs::path path = directory_ / SegmentName(segment.number);
  std::error_code error;
  const uint64_t size = fs::file_size(path, error);
  if (error) {
    return AsNamed(ErrnoStatus(error.value(), "read", path));
  }
  if (size != segment.file_bytes) {
    return absl::DataLossError(absl::StrCat("read ", path.string(), ": it has ",
                                            size, " bytes, the manifest says ",
                                            segment.file_bytes));
  }
  const absl::StatusOr<std::string> bytes = ReadFile(path);
  if (!bytes.ok()) {
    return AsNamed(bytes.status());
  }
  PITH_ASSIGN_OR_RETURN(SegmentContent content,
                        DecodeSegment(*bytes, path.string()));
  if (content.passages.size() != segment.passages ||
      content.codebook != segment.codebook) {
    return absl::DataLossError(
        absl::StrCat("read ", path.string(), ": ", content.passages.size(),
                     " passages and codebook ", ToHex(content.codebook.bytes),
                     ", the manifest says ", segment.passages, " and ",
                     ToHex(segment.codebook.bytes)));
  }
  return content;
}

absl::StatusOr<std::shared_ptr<const Segment>> SegmentDirectory::LoadSegment(
    const SegmentRef& ref, int dimension,
    std::span<const std::shared_ptr<const Segment>> loaded) const {
  PITH_ASSIGN_OR_RETURN(SegmentContent content, ReadSegment(ref));
  for (const auto& segment : loaded) {
    if (segment->codebook()->hash() == ref.codebook) {
      return Segment::Make(ref.number, std::move(content), segment->codebook());
    }
  }
  PITH_ASSIGN_OR_RETURN(const std::string bytes, ReadCodebook(ref.codebook));
  PITH_ASSIGN_OR_RETURN(
      std::shared_ptr<const Codebook> codebook,
      Annotate(Codebook::Parse(bytes),
               absl::StrCat("codebook ", ToHex(ref.codebook.bytes))));
  if (codebook->dimension() != dimension) {
    return absl::DataLossError(absl::StrCat(
        "codebook ", ToHex(ref.codebook.bytes), " is of dimension ",
        codebook->dimension(), ", not ", dimension));
  }
  return Segment::Make(ref.number, std::move(content), std::move(codebook));
}

absl::Status SegmentDirectory::WriteCodebook(const ContentHash& hash,
                                             std::string_view bytes) const {
  CHECK(HashOf(bytes) == hash) << ToHex(hash.bytes);
  const fs::path path = directory_ / CodebookName(hash);
  if (bytes.size() > kMaxCodebookBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("write ", path.string(), ": ", bytes.size(),
                     " bytes are more than ", kMaxCodebookBytes));
  }
  return WriteFileAtomically(path, bytes);
}

absl::StatusOr<std::string> SegmentDirectory::ReadCodebook(
    const ContentHash& hash) const {
  const fs::path path = directory_ / CodebookName(hash);
  absl::StatusOr<std::string> bytes = ReadFile(path, kMaxCodebookBytes);
  if (!bytes.ok()) {
    return AsNamed(bytes.status());
  }
  if (const ContentHash actual = HashOf(*bytes); actual != hash) {
    return absl::DataLossError(absl::StrCat("read ", path.string(),
                                            ": the hash of its ", bytes->size(),
                                            " bytes is ", ToHex(actual.bytes)));
  }
  return bytes;
}

absl::Status SegmentDirectory::CopyTo(const fs::path& directory,
                                      const Manifest& manifest) const {
  for (const std::string& name : NamedFiles(manifest)) {
    const fs::path from = directory_ / name;
    std::error_code error;
    fs::create_hard_link(from, directory / name, error);
    if (!error) {
      continue;
    }
    // Another file system, or one without links.
    const absl::StatusOr<std::string> bytes = ReadFile(from);
    if (!bytes.ok()) {
      return AsNamed(bytes.status());
    }
    PITH_RETURN_IF_ERROR(WriteFileAtomically(directory / name, *bytes));
  }
  return SyncPath(directory);
}

absl::Status SegmentDirectory::RemoveUnreferenced(
    const Manifest& manifest) const {
  const absl::flat_hash_set<std::string> named = NamedFiles(manifest);
  std::vector<fs::path> garbage;
  std::error_code error;
  for (fs::directory_iterator it(directory_, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    std::error_code ignored;
    const bool ours = IsSegmentOrCodebook(name) || IsTemporary(name);
    if (ours && !named.contains(name) &&
        fs::is_regular_file(it->symlink_status(ignored))) {
      garbage.push_back(it->path());
    }
  }
  if (error) {
    return ErrnoStatus(error.value(), "list", directory_);
  }
  for (const fs::path& path : garbage) {
    if (!fs::remove(path, error) && error) {
      return ErrnoStatus(error.value(), "remove", path);
    }
    LOG(INFO) << "removed " << path.string() << ", which no manifest names";
  }
  return absl::OkStatus();
}

}  // namespace pith
