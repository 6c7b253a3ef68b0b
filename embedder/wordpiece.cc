#include "embedder/wordpiece.h"

#include <algorithm>
#include <array>

#include "unicode/uchar.h"
#include "unicode/utf8.h"

#include "core/text/utf8.h"
#include "embedder/rust_unicode.h"

namespace pith {
namespace {

enum class CharacterKind : uint8_t { kWord, kSpace, kPunctuation };

constexpr CharacterKind AsciiKind(char c) {
  if (c == ' ' || (c >= '\t' && c <= '\r')) {
    return CharacterKind::kSpace;
  }
  const bool is_punctuation = (c >= '!' && c <= '/') ||
                              (c >= ':' && c <= '@') ||
                              (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
  return is_punctuation ? CharacterKind::kPunctuation : CharacterKind::kWord;
}

constexpr auto kAsciiKinds = [] {
  std::array<CharacterKind, 128> kinds = {};
  for (size_t i = 0; i < kinds.size(); ++i) {
    kinds[i] = AsciiKind(static_cast<char>(i));
  }
  return kinds;
}();

CharacterKind NonAsciiKind(UChar32 c) {
  if (u_isUWhiteSpace(c)) {
    return CharacterKind::kSpace;
  }
  return (U_MASK(RustCategory(c)) & U_GC_P_MASK) != 0
             ? CharacterKind::kPunctuation
             : CharacterKind::kWord;
}

bool BeginsCharacter(char byte) {
  return !U8_IS_TRAIL(byte);
}

}  // namespace

WordPiece::WordPiece(
    std::span<const std::pair<std::string_view, int32_t>> vocabulary,
    const Options& options)
    : trie_(vocabulary),
      continuing_(trie_.Find(options.continuing_prefix)),
      unknown_id_(options.unknown_id),
      max_word_characters_(static_cast<size_t>(options.max_word_characters)) {}

void WordPiece::Tokenize(std::string_view text, bool /*begins_input*/,
                         LimitedIds& ids) const {
  size_t word_begin = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    CharacterKind kind;
    if (const auto byte = static_cast<uint8_t>(text[i]); byte < 0x80) {
      kind = kAsciiKinds[byte];
      ++i;
    } else {
      kind = NonAsciiKind(NextCodePoint(text, &i));
    }
    if (kind == CharacterKind::kWord) {
      continue;
    }
    if (word_begin < begin) {
      AddWord(text.substr(word_begin, begin - word_begin), ids);
    }
    if (kind == CharacterKind::kPunctuation) {
      AddWord(text.substr(begin, i - begin), ids);
    }
    word_begin = i;
  }
  if (word_begin < text.size()) {
    AddWord(text.substr(word_begin), ids);
  }
}

void WordPiece::AddWord(std::string_view word, LimitedIds& ids) const {
  if (word.size() > max_word_characters_ &&
      static_cast<size_t>(std::ranges::count_if(word, BeginsCharacter)) >
          max_word_characters_) {
    ids.Add(unknown_id_);
    return;
  }
  const size_t before = ids.added();
  TokenTrie::Node from = TokenTrie::kRoot;
  while (!word.empty()) {
    const TokenTrie::Match match = trie_.LongestMatch(from, word);
    word.remove_prefix(match.length);
    if (match.length == 0 || (!word.empty() && !continuing_.has_value())) {
      ids.Rewind(before);
      ids.Add(unknown_id_);
      return;
    }
    ids.Add(match.value);
    from = continuing_.value_or(TokenTrie::kRoot);
  }
}

}  // namespace pith
