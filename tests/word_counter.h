#ifndef PITH_TESTS_WORD_COUNTER_H_
#define PITH_TESTS_WORD_COUNTER_H_

#include <string_view>

#include "core/text/token_counter.h"

namespace pith {

// Counts runs of characters between white space and punctuation, and each
// punctuation character, as a WordPiece tokenizer does that knows every word.
class WordCounter : public TokenCounter {
 public:
  explicit WordCounter(int max_tokens = 254) : max_tokens_(max_tokens) {}

  int CountTokens(std::string_view text) const override {
    int tokens = 0;
    bool in_word = false;
    for (const char c : text) {
      const bool space = c == ' ' || (c >= '\t' && c <= '\r');
      const bool word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                        (c >= 'A' && c <= 'Z') || (c & 0x80) != 0;
      tokens += !space && (!word || !in_word) ? 1 : 0;
      in_word = word;
    }
    return tokens;
  }

  int max_tokens() const override { return max_tokens_; }

 private:
  const int max_tokens_;
};

}  // namespace pith

#endif  // PITH_TESTS_WORD_COUNTER_H_
