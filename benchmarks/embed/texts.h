#ifndef PITH_BENCHMARKS_EMBED_TEXTS_H_
#define PITH_BENCHMARKS_EMBED_TEXTS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "embedder/tokenizer.h"

namespace pith {

// Token ids of texts as a model takes them, special tokens included.
using TokenizedTexts = std::vector<std::vector<int32_t>>;

size_t CountTokens(const TokenizedTexts& texts);

// As many texts as hold `tokens` tokens, made of `passages` (not empty), cut or
// put together to the lengths that `mix` names: a number of tokens, special
// ones included, or "mixed" for log-normal ones, of median 70 and up to
// `max_tokens`. Each begins where a passage begins. kInvalidArgument if `mix`
// is neither, or no number of 3 to `max_tokens`.
absl::StatusOr<TokenizedTexts> MakeTexts(const Tokenizer& tokenizer,
                                         std::span<const std::string> passages,
                                         const std::string& mix, size_t tokens,
                                         int max_tokens);

}  // namespace pith

#endif  // PITH_BENCHMARKS_EMBED_TEXTS_H_
