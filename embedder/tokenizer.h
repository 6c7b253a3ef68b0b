#ifndef PITH_EMBEDDER_TOKENIZER_H_
#define PITH_EMBEDDER_TOKENIZER_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace pith {

struct Encoding {
  // Special tokens included.
  std::vector<int32_t> ids;
  // Tokens of text that were cut off.
  int truncated_tokens = 0;
};

// Text to token ids exactly as Hugging Face `tokenizers` does it for a given
// tokenizer.json: WordPiece as BERT has it, byte-level BPE as RoBERTa, Unigram
// as XLM-RoBERTa and other models converted from SentencePiece; normalizers,
// added tokens, special tokens around a text. Truncation and padding in the
// file are ignored: the caller says. Bytes that are not UTF-8 are read as
// U+FFFD, one for each maximal part of a character. Immutable, thread-safe; no
// LibTorch.
class Tokenizer {
 public:
  // Reads tokenizer.json, or vocab.txt (with tokenizer_config.json's
  // do_lower_case and so on) if there is none, from a model directory.
  // kNotFound, or kInvalidArgument naming the file, what is unsupported and
  // what is supported.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(
      const std::filesystem::path& directory);
  ~Tokenizer();

  // At most `max_tokens` ids, special tokens included: text beyond is cut off.
  // max_tokens of at least special_tokens().
  Encoding Encode(std::string_view text, int max_tokens) const;

  // Tokens of `text` without special tokens.
  int Count(std::string_view text) const;

  // How many special tokens surround a text (2 for BERT).
  int special_tokens() const;
  // One more than the largest id of any token, added and special ones
  // included.
  int vocab_size() const;

 private:
  class State;

  explicit Tokenizer(std::unique_ptr<const State> state);

  std::unique_ptr<const State> state_;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_TOKENIZER_H_
