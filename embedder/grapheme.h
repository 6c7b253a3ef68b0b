#ifndef PITH_EMBEDDER_GRAPHEME_H_
#define PITH_EMBEDDER_GRAPHEME_H_

#include <cstddef>
#include <string_view>

namespace pith {

// Where the extended grapheme cluster that begins at `begin` ends, by Unicode's
// Standard Annex 29, as Hugging Face `tokenizers` splits text. Two things
// differ that show in no cluster of fewer than six bytes: a flag is two
// clusters, and above U+10000 no consonants join (rules GB9c, GB12, GB13).
// `text` is UTF-8, `begin` inside it.
size_t GraphemeEnd(std::string_view text, size_t begin);

}  // namespace pith

#endif  // PITH_EMBEDDER_GRAPHEME_H_
