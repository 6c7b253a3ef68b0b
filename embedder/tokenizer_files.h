#ifndef PITH_EMBEDDER_TOKENIZER_FILES_H_
#define PITH_EMBEDDER_TOKENIZER_FILES_H_

#include <cstdint>
#include <filesystem>
#include <vector>

#include "absl/status/statusor.h"

#include "embedder/added_tokens.h"
#include "embedder/text_normalizer.h"
#include "embedder/token_model_json.h"

namespace pith {

// What a tokenizer's files say.
struct TokenizerSpec {
  TextNormalizer normalizer;
  NamedModel model;
  std::vector<AddedToken> added_tokens;
  // Ids before and after those of the text.
  std::vector<int32_t> prefix;
  std::vector<int32_t> suffix;
};

// Errors of both: ReadFile's, or kInvalidArgument naming the file, the field,
// what it holds and what is supported.
absl::StatusOr<TokenizerSpec> ReadTokenizerJson(
    const std::filesystem::path& path);

// BERT's vocab.txt, with do_lower_case and so on from tokenizer_config.json if
// that is there.
absl::StatusOr<TokenizerSpec> ReadVocabText(
    const std::filesystem::path& path,
    const std::filesystem::path& config_path);

}  // namespace pith

#endif  // PITH_EMBEDDER_TOKENIZER_FILES_H_
