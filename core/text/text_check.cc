#include "core/text/text_check.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "core/base/reason.h"
#include "core/base/string_view.h"
#include "core/text/utf8.h"

namespace pith {
namespace {

using namespace std::string_view_literals;

struct Signature {
  std::string_view bytes;
  std::string_view name;
};

constexpr Signature kSignatures[] = {
    {"%PDF-"sv, "PDF document"},
    {"\x89PNG\r\n"sv, "PNG image"},
    {"\xFF\xD8\xFF"sv, "JPEG image"},
    {"GIF87a"sv, "GIF image"},
    {"GIF89a"sv, "GIF image"},
    {"II*\0"sv, "TIFF image"},
    {"MM\0*"sv, "TIFF image"},
    {"PK\x03\x04"sv, "ZIP archive"},
    {"PK\x05\x06"sv, "ZIP archive"},
    {"\x1F\x8B"sv, "gzip archive"},
    {"BZh9"sv, "bzip2 archive"},
    {"\xFD"
     "7zXZ"sv,
     "xz archive"},
    {"\x28\xB5\x2F\xFD"sv, "Zstandard archive"},
    {"7z\xBC\xAF\x27\x1C"sv, "7-Zip archive"},
    {"Rar!\x1A\x07"sv, "RAR archive"},
    {"\x7F"
     "ELF"sv,
     "ELF object"},
    {"\xCF\xFA\xED\xFE"sv, "Mach-O object"},
    {"\xCA\xFE\xBA\xBE"sv, "Java class or Mach-O object"},
    {"\0asm"sv, "WebAssembly module"},
    {"!<arch>\n"sv, "static library"},
    {"SQLite format 3\0"sv, "SQLite database"},
    {"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"sv, "OLE document"},
    {"OggS\0"sv, "Ogg stream"},
    {"fLaC\0"sv, "FLAC audio"},
    {"wOF2"sv, "web font"},
};

std::optional<size_t> FirstInvalidUtf8(std::string_view bytes) {
  size_t i = 0;
  while (i < bytes.size()) {
    uint64_t word = 0;
    if (bytes.size() - i >= sizeof word) {
      std::memcpy(&word, bytes.data() + i, sizeof word);
      if ((word & 0x8080808080808080) == 0) {
        i += sizeof word;
        continue;
      }
    }
    const size_t start = i;
    if (NextCodePoint(bytes, &i) < 0) {
      return start;
    }
  }
  return std::nullopt;
}

}  // namespace

absl::Status CheckText(std::string_view bytes) {
  for (const Signature& signature : kSignatures) {
    if (bytes.starts_with(signature.bytes)) {
      return WithReason(absl::InvalidArgumentError(absl::StrCat(
                            "is a binary file: ", AbslView(signature.name))),
                        kBinaryReason);
    }
  }
  // The little-endian mark of UTF-32 starts with that of UTF-16.
  if (bytes.starts_with("\xFF\xFE\0\0"sv)) {
    return WithReason(absl::InvalidArgumentError(
                          "is UTF-32, not UTF-8: byte order mark at byte 0"),
                      kNotUtf8Reason);
  }
  if (bytes.starts_with("\xFF\xFE") || bytes.starts_with("\xFE\xFF")) {
    return WithReason(absl::InvalidArgumentError(
                          "is UTF-16, not UTF-8: byte order mark at byte 0"),
                      kNotUtf8Reason);
  }
  return CheckUtf8Text(bytes);
}

absl::Status CheckUtf8Text(std::string_view bytes) {
  if (const size_t nul = bytes.find('\0'); nul != bytes.npos) {
    return WithReason(absl::InvalidArgumentError(
                          absl::StrCat("is a binary file: NUL at byte ", nul)),
                      kBinaryReason);
  }
  if (const std::optional<size_t> at = FirstInvalidUtf8(bytes)) {
    return WithReason(absl::InvalidArgumentError(absl::StrFormat(
                          "is not UTF-8: 0x%02X at byte %d",
                          static_cast<unsigned char>(bytes[*at]), *at)),
                      kNotUtf8Reason);
  }
  return absl::OkStatus();
}

}  // namespace pith
