#ifndef PITH_EMBEDDER_RUST_UNICODE_H_
#define PITH_EMBEDDER_RUST_UNICODE_H_

#include <cstdint>

#include "unicode/uchar.h"

namespace pith {

// Characters as Hugging Face `tokenizers` sees them. Its properties come from
// Rust crates that follow different versions of Unicode, none of them ICU's,
// and a vocabulary's ids depend on them. ICU knows since when a character
// exists, which explains all differences but those listed in the .cc; a run
// over all code points found them
// (tests/integration/tokenizer_equivalence_test.py).

// General category in Unicode 8.0 (crate unicode_categories). U_UNASSIGNED for
// younger characters.
UCharCategory RustCategory(UChar32 c);

// Combining class and whether there is a canonical decomposition, in Unicode
// 9.0 (crate unicode-normalization-alignments).
uint8_t RustCombiningClass(UChar32 c);
bool RustMayDecompose(UChar32 c);

// char::to_lowercase in Unicode 17, for one character: U+0130, the only one
// with two, is the caller's.
UChar32 RustLowercase(UChar32 c);

}  // namespace pith

#endif  // PITH_EMBEDDER_RUST_UNICODE_H_
