#include "core/base/secret.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

#include "core/base/file.h"
#include "core/base/hash.h"
#include "core/base/status_macros.h"

namespace pith {
namespace {

std::array<uint8_t, 32> Digest(std::string_view bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.Finish();
}

}  // namespace

absl::StatusOr<std::string> ParseSecret(std::string text) {
  absl::StripAsciiWhitespace(&text);
  if (text.empty()) {
    return absl::FailedPreconditionError("it is empty");
  }
  if (text.size() > kMaxSecretBytes || !std::ranges::all_of(text, [](char c) {
        return absl::ascii_isgraph(static_cast<unsigned char>(c));
      })) {
    return absl::FailedPreconditionError(
        "it is no sequence of printable ASCII without spaces");
  }
  return text;
}

absl::StatusOr<std::string> ReadPrivateSecret(
    const std::filesystem::path& path) {
  PITH_ASSIGN_OR_RETURN(std::string text,
                        ReadPrivateFile(path, kMaxSecretBytes));
  return Annotate(ParseSecret(std::move(text)),
                  absl::StrCat("read ", path.string()));
}

bool SecretsEqual(std::string_view a, std::string_view b) {
  const std::array<uint8_t, 32> digest_a = Digest(a);
  const std::array<uint8_t, 32> digest_b = Digest(b);
  uint8_t difference = 0;
  for (size_t i = 0; i < digest_a.size(); ++i) {
    difference |= static_cast<uint8_t>(digest_a[i] ^ digest_b[i]);
  }
  return difference == 0;
}

}  // namespace pith
