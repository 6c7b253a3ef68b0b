#ifndef PITH_EMBEDDER_ADDED_TOKENS_H_
#define PITH_EMBEDDER_ADDED_TOKENS_H_

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"

#include "embedder/token_trie.h"

namespace pith {

// A token that is found in text as it stands, before words are split.
struct AddedToken {
  int32_t id = 0;
  std::string content;
  // Only where no word character touches it.
  bool single_word = false;
  // With the white space before or after it.
  bool lstrip = false;
  bool rstrip = false;
  // In the normalised text rather than the raw one.
  bool normalized = true;
  bool special = false;
};

// Finds added tokens as `tokenizers` does: the leftmost, and of those that
// begin at one place the longest. Immutable, thread-safe.
class AddedTokenMatcher {
 public:
  // Of tokens with equal content the first counts.
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  bool empty() const { return tokens_.empty(); }

  // Calls `text_piece` and `token_id` in the order of `text`, which is UTF-8,
  // for what is between tokens and for each token.
  void Split(std::string_view text,
             absl::FunctionRef<void(std::string_view)> text_piece,
             absl::FunctionRef<void(int32_t)> token_id) const;

 private:
  std::vector<AddedToken> tokens_;
  TokenTrie trie_;  // values are positions in tokens_
  std::array<bool, 256> begins_token_ = {};
};

}  // namespace pith

#endif  // PITH_EMBEDDER_ADDED_TOKENS_H_
