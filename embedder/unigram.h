#ifndef PITH_EMBEDDER_UNIGRAM_H_
#define PITH_EMBEDDER_UNIGRAM_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "embedder/token_model.h"
#include "embedder/token_trie.h"

namespace pith {

// Metaspace and Unigram of `tokenizers`, as SentencePiece's models are
// converted to: a sign takes the place of spaces, and words are cut into the
// pieces with the greatest sum of scores. Linear in the text times the longest
// piece. Immutable, thread-safe.
class Unigram final : public TokenModel {
 public:
  // Where the sign is put in front of a text that does not begin with it.
  enum class Prepend { kAlways, kFirst, kNever };

  struct Options {
    // By id. Of equal pieces the last counts.
    std::span<const std::pair<std::string, double>> pieces;
    int32_t unknown_id = 0;
    // Bytes of unknown text are pieces such as <0x0A>, if there are all.
    bool byte_fallback = false;
    // White space separates words before anything else.
    bool split_at_white_space = false;
    // In UTF-8, one character; it takes the place of each space.
    std::string sign;
    Prepend prepend = Prepend::kAlways;
    // Each sign begins a word.
    bool split_at_sign = true;
  };

  explicit Unigram(const Options& options);

  void Tokenize(std::string_view text, bool begins_input,
                LimitedIds& ids) const override;

 private:
  struct Node;
  struct Scratch;

  void AddSpaced(std::string_view text, bool begins_input, Scratch& scratch,
                 LimitedIds& ids) const;
  void AddWord(std::string_view word, Scratch& scratch, LimitedIds& ids) const;
  void AddUnknown(std::string_view text, LimitedIds& ids) const;

  TokenTrie trie_;
  std::vector<double> scores_;  // by id
  double unknown_score_;
  int32_t unknown_id_;
  // Of every byte, or nothing.
  std::array<std::optional<int32_t>, 256> byte_ids_;
  bool split_at_white_space_;
  std::string sign_;
  Prepend prepend_;
  bool split_at_sign_;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_UNIGRAM_H_
