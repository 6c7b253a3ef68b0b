#ifndef PITH_EMBEDDER_WORDPIECE_H_
#define PITH_EMBEDDER_WORDPIECE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "embedder/token_model.h"
#include "embedder/token_trie.h"

namespace pith {

// BertPreTokenizer and WordPiece of `tokenizers`: white space separates words,
// punctuation is a word a character, and a word is cut into the longest pieces
// of the vocabulary from its left. Immutable, thread-safe.
class WordPiece final : public TokenModel {
 public:
  struct Options {
    // The token of a word that cannot be cut up or has more characters than
    // `max_word_characters`.
    int32_t unknown_id = 0;
    // What the vocabulary writes in front of a piece that does not begin a
    // word.
    std::string_view continuing_prefix = "##";
    int max_word_characters = 100;
  };

  WordPiece(std::span<const std::pair<std::string_view, int32_t>> vocabulary,
            const Options& options);

  void Tokenize(std::string_view text, bool begins_input,
                LimitedIds& ids) const override;

 private:
  void AddWord(std::string_view word, LimitedIds& ids) const;

  TokenTrie trie_;
  // Where pieces that continue a word begin; nullopt if there are none.
  std::optional<TokenTrie::Node> continuing_;
  int32_t unknown_id_;
  size_t max_word_characters_;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_WORDPIECE_H_
