#include "embedder/added_tokens.h"

#include <utility>

#include "unicode/uchar.h"
#include "unicode/utf8.h"

#include "core/text/utf8.h"

namespace pith {
namespace {

// \w of Rust's regular expressions.
bool IsWordCharacter(UChar32 c) {
  constexpr uint32_t kCategories = U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK;
  return (U_GET_GC_MASK(c) & kCategories) != 0 || u_isUAlphabetic(c) ||
         u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL);
}

// The first character of `text` and where the next one begins.
std::pair<UChar32, size_t> FirstCharacter(std::string_view text) {
  size_t position = 0;
  const UChar32 c = NextCodePoint(text, &position);
  return {c, position};
}

// The last character of `text` and where it begins.
std::pair<UChar32, size_t> LastCharacter(std::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && U8_IS_TRAIL(text[begin])) {
    --begin;
  }
  return {FirstCharacter(text.substr(begin)).first, begin};
}

bool BeginsWithWord(std::string_view text) {
  return !text.empty() && IsWordCharacter(FirstCharacter(text).first);
}

bool EndsWithWord(std::string_view text) {
  return !text.empty() && IsWordCharacter(LastCharacter(text).first);
}

std::vector<std::pair<std::string_view, int32_t>> Contents(
    const std::vector<AddedToken>& tokens) {
  std::vector<std::pair<std::string_view, int32_t>> contents;
  for (size_t i = 0; i < tokens.size(); ++i) {
    contents.emplace_back(tokens[i].content, static_cast<int32_t>(i));
  }
  return contents;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens)
    : tokens_(std::move(tokens)), trie_(Contents(tokens_)) {
  for (const AddedToken& token : tokens_) {
    begins_token_[static_cast<uint8_t>(token.content.front())] = true;
  }
}

void AddedTokenMatcher::Split(
    std::string_view text, absl::FunctionRef<void(std::string_view)> text_piece,
    absl::FunctionRef<void(int32_t)> token_id) const {
  size_t done = 0;
  for (size_t i = 0; i < text.size();) {
    if (!begins_token_[static_cast<uint8_t>(text[i])]) {
      ++i;
      continue;
    }
    const TokenTrie::Match match =
        trie_.LongestMatch(TokenTrie::kRoot, text.substr(i));
    if (match.length == 0) {
      ++i;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(match.value)];
    size_t begin = i;
    size_t end = i + match.length;
    // A match that is refused here hides those that begin inside it.
    i = end;
    if (token.single_word && (EndsWithWord(text.substr(0, begin)) ||
                              BeginsWithWord(text.substr(end)))) {
      continue;
    }
    if (token.lstrip) {
      while (begin > done) {
        const auto [c, position] = LastCharacter(text.substr(0, begin));
        if (!u_isUWhiteSpace(c)) {
          break;
        }
        begin = position;
      }
    }
    if (token.rstrip) {
      while (end < text.size()) {
        const auto [c, length] = FirstCharacter(text.substr(end));
        if (!u_isUWhiteSpace(c)) {
          break;
        }
        end += length;
      }
    }
    if (done < begin) {
      text_piece(text.substr(done, begin - done));
    }
    token_id(token.id);
    done = end;
  }
  if (done < text.size()) {
    text_piece(text.substr(done));
  }
}

}  // namespace pith
