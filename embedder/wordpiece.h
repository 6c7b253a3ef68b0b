#ifndef PITH_EMBEDDER_WORDPIECE_H_
#define PITH_EMBEDDER_WORDPIECE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "embedder/token_trie.h"

namespace pith {

// The first `limit` of the ids that are added.
class LimitedIds {
 public:
  explicit LimitedIds(size_t limit) : limit_(limit) {}

  void Add(int32_t id) {
    if (ids_.size() < limit_) {
      ids_.push_back(id);
    }
    ++added_;
  }
  // Takes back all but the first `added`.
  void Rewind(size_t added) {
    added_ = added;
    if (ids_.size() > added) {
      ids_.resize(added);
    }
  }
  // How many were added, those beyond the limit included.
  size_t added() const { return added_; }
  std::vector<int32_t>& ids() { return ids_; }

 private:
  const size_t limit_;
  size_t added_ = 0;
  std::vector<int32_t> ids_;
};

// BertPreTokenizer and WordPiece of `tokenizers`: white space separates words,
// punctuation is a word a character, and a word is cut into the longest pieces
// of the vocabulary from its left. Immutable, thread-safe.
class WordPiece {
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

  // Adds the tokens of `text`, which is normalised UTF-8.
  void Tokenize(std::string_view text, LimitedIds& ids) const;

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
