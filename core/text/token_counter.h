#ifndef PITH_CORE_TEXT_TOKEN_COUNTER_H_
#define PITH_CORE_TEXT_TOKEN_COUNTER_H_

#include <string_view>

namespace pith {

// Measures text in a model's tokens. Thread-safe.
class TokenCounter {
 public:
  virtual ~TokenCounter() = default;

  // Tokens of `text` alone, without the special tokens that surround an input.
  // Any bytes are accepted. Linear in their number. The counts of two texts
  // that white space divides add up to no less than the count of both together.
  virtual int CountTokens(std::string_view text) const = 0;

  // Tokens of text that one input of the model holds beside its special tokens.
  virtual int max_tokens() const = 0;
};

}  // namespace pith

#endif  // PITH_CORE_TEXT_TOKEN_COUNTER_H_
