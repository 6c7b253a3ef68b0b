#ifndef PITH_EMBEDDER_TOKEN_MODEL_JSON_H_
#define PITH_EMBEDDER_TOKEN_MODEL_JSON_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "embedder/json_file.h"
#include "embedder/token_model.h"

namespace pith {

// Beyond every known vocabulary.
inline constexpr int kMaxTokenId = 100'000'000;

using Vocabulary = std::map<std::string, int32_t, std::less<>>;

// A model with the names of its tokens.
struct NamedModel {
  std::unique_ptr<const TokenModel> model;
  Vocabulary vocabulary;
  // The id of the first added token that the vocabulary lacks.
  int32_t next_id = 0;
};

// What tokenizer.json has as `key`: the components in `list_key` of a
// Sequence, or itself, or none.
absl::StatusOr<std::vector<JsonFields>> TokenizerComponents(
    const JsonFields& file, std::string_view key, std::string_view list_key);

// The model and pre_tokenizer of tokenizer.json: WordPiece after
// BertPreTokenizer, BPE after ByteLevel, or Unigram after Metaspace, before
// which there may be WhitespaceSplit. kInvalidArgument naming the field, what
// it holds and what is supported.
absl::StatusOr<NamedModel> ParseTokenModel(const JsonFields& file);

// WordPiece with what its model in tokenizer.json would say. Errors name
// `where`.
absl::StatusOr<NamedModel> MakeWordPieceModel(
    std::string_view where, Vocabulary vocabulary,
    std::string_view unknown_token, std::string_view continuing_prefix,
    int max_word_characters);

}  // namespace pith

#endif  // PITH_EMBEDDER_TOKEN_MODEL_JSON_H_
