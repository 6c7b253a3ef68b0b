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

// What \p{L}, \p{N} and \s of the regular expressions are (crate onig), in
// Unicode 16.
enum class RegexClass : uint8_t { kLetter, kNumber, kSpace, kOther };
RegexClass RustRegexClass(UChar32 c);

// Grapheme_Cluster_Break and Extended_Pictographic in Unicode 17 (crate
// unicode-segmentation).
UGraphemeClusterBreak RustGraphemeBreak(UChar32 c);
bool RustIsPictograph(UChar32 c);

// Indic_Conjunct_Break in Unicode 17, without consonants above U+10000.
enum class ConjunctBreak : uint8_t { kNone, kConsonant, kLinker };
ConjunctBreak RustConjunctBreak(UChar32 c);

// char::to_lowercase in Unicode 17, for one character: U+0130, the only one
// with two, is the caller's.
UChar32 RustLowercase(UChar32 c);

}  // namespace pith

#endif  // PITH_EMBEDDER_RUST_UNICODE_H_
