#ifndef PITH_EMBEDDER_REMOTE_TOKEN_ESTIMATE_H_
#define PITH_EMBEDDER_REMOTE_TOKEN_ESTIMATE_H_

#include <string_view>

#include "core/text/token_counter.h"

namespace pith {

// Tokens of `text` in a model whose tokenizer is not at hand, more likely too
// many than too few: one for each 4 letters of an ASCII word or part of it, for
// each 2 ASCII digits, for each other ASCII character that is no space, for
// each line feed, and for each 2 bytes of every other character. docs/models.md
// has what common tokenizers make of the same texts.
int EstimateTokens(std::string_view text);

// The longest prefix of `text`, whole characters of UTF-8, of which `counter`
// counts at most `max_tokens`, as far as counts grow with the text.
std::string_view CutToTokens(std::string_view text, const TokenCounter& counter,
                             int max_tokens);

}  // namespace pith

#endif  // PITH_EMBEDDER_REMOTE_TOKEN_ESTIMATE_H_
