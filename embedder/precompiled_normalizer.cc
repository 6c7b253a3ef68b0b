#include "embedder/precompiled_normalizer.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "unicode/utf8.h"

#include "core/base/coding.h"
#include "core/text/utf8.h"
#include "embedder/grapheme.h"

namespace pith {
namespace {

// Longer grapheme clusters are looked up character by character.
constexpr size_t kMaxClusterBytes = 5;
// The longest of NFKC, of U+FDFA, has 33.
constexpr size_t kMaxReplacementBytes = 256;
// A node's children are in the aligned block of this many units that its
// offset leads to.
constexpr size_t kBlock = 256;

// A unit of the double array: a node, or the value of one.
constexpr uint32_t kIsValue = uint32_t{1} << 31;

bool HasValue(uint32_t unit) {
  return (unit >> 8 & 1) != 0;
}
uint32_t Value(uint32_t unit) {
  return unit & ~kIsValue;
}
// Differs from any byte in a unit that is a value.
uint32_t Label(uint32_t unit) {
  return unit & (kIsValue | 0xFF);
}
size_t Offset(uint32_t unit) {
  return size_t{unit >> 10} << ((unit & (uint32_t{1} << 9)) >> 6);
}

bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    if (NextCodePoint(text, &i) < 0) {
      return false;
    }
  }
  return true;
}

}  // namespace

absl::StatusOr<PrecompiledNormalizer> PrecompiledNormalizer::Parse(
    std::string_view charsmap) {
  Decoder decoder(charsmap);
  const size_t trie_bytes = decoder.Fixed32();
  if (!decoder.ok() || trie_bytes > decoder.remaining() ||
      trie_bytes % (kBlock * sizeof(uint32_t)) != 0 || trie_bytes == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("a charsmap of ", charsmap.size(), " bytes has a trie of ",
                     trie_bytes));
  }
  std::vector<uint32_t> trie(trie_bytes / sizeof(uint32_t));
  for (uint32_t& unit : trie) {
    unit = decoder.Fixed32();
  }
  std::string replacements(charsmap.substr(sizeof(uint32_t) + trie_bytes));
  if (!IsUtf8(replacements)) {
    return absl::InvalidArgumentError("a charsmap's replacements are no UTF-8");
  }
  // With this, no walk through the trie leaves it.
  for (size_t i = 0; i < trie.size(); ++i) {
    if (i > 0 && (trie[i] & kIsValue) != 0) {
      continue;
    }
    const size_t children = i ^ Offset(trie[i]);
    if (children >= trie.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("unit ", i, " of a charsmap's trie leads to unit ",
                       children, " of ", trie.size()));
    }
    if (!HasValue(trie[i])) {
      continue;
    }
    const size_t begin = Value(trie[children]);
    const size_t end = replacements.find('\0', begin);
    if (end == std::string::npos || end - begin > kMaxReplacementBytes ||
        U8_IS_TRAIL(replacements[begin])) {
      return absl::InvalidArgumentError(absl::StrCat(
          "unit ", i, " of a charsmap's trie has its replacement at byte ",
          begin, " of ", replacements.size(),
          ", which is no character or is not followed by a zero byte within ",
          kMaxReplacementBytes));
    }
  }
  return PrecompiledNormalizer(std::move(trie), std::move(replacements));
}

std::optional<std::string_view> PrecompiledNormalizer::Find(
    std::string_view key) const {
  size_t position = Offset(trie_[0]);
  for (const char c : key) {
    const auto byte = static_cast<uint8_t>(c);
    position ^= byte;
    const uint32_t unit = trie_[position];
    if (byte == 0 || Label(unit) != byte) {
      return std::nullopt;
    }
    position ^= Offset(unit);
    if (HasValue(unit)) {
      // Up to its zero byte.
      return std::string_view(replacements_.c_str() + Value(trie_[position]));
    }
  }
  return std::nullopt;
}

void PrecompiledNormalizer::Normalize(std::string_view text,
                                      std::string& normalized) const {
  normalized.clear();
  normalized.reserve(text.size());
  for (size_t begin = 0; begin < text.size();) {
    const size_t cluster_end = GraphemeEnd(text, begin);
    const std::string_view cluster = text.substr(begin, cluster_end - begin);
    begin = cluster_end;
    if (cluster.size() <= kMaxClusterBytes) {
      if (const auto replacement = Find(cluster); replacement.has_value()) {
        normalized += *replacement;
        continue;
      }
    }
    for (size_t i = 0; i < cluster.size();) {
      const size_t character_begin = i;
      NextCodePoint(cluster, &i);
      const std::string_view character =
          cluster.substr(character_begin, i - character_begin);
      normalized += Find(character).value_or(character);
    }
  }
}

}  // namespace pith
