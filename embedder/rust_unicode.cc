#include "embedder/rust_unicode.h"

#include <algorithm>
#include <iterator>

namespace pith {
namespace {

struct Range {
  UChar32 first;
  UChar32 last;
};

// Sorted ranges that do not overlap.
template <size_t kSize>
bool Contains(const Range (&ranges)[kSize], UChar32 c) {
  const auto* range = std::ranges::lower_bound(ranges, c, {}, &Range::last);
  return range != std::end(ranges) && range->first <= c;
}

// Letters and numbers of Unicode 15.1 and 16, which ICU 72 does not know.
constexpr Range kYoungLetters[] = {
    {0x1C89, 0x1C8A},   {0xA7CB, 0xA7CD},   {0xA7DA, 0xA7DC},
    {0x105C0, 0x105F3}, {0x10D4A, 0x10D65}, {0x10D6F, 0x10D85},
    {0x10EC2, 0x10EC4}, {0x11380, 0x11389}, {0x1138B, 0x1138B},
    {0x1138E, 0x1138E}, {0x11390, 0x113B5}, {0x113B7, 0x113B7},
    {0x113D1, 0x113D1}, {0x113D3, 0x113D3}, {0x11BC0, 0x11BE0},
    {0x13460, 0x143FA}, {0x16100, 0x1611D}, {0x16D40, 0x16D6C},
    {0x18CFF, 0x18CFF}, {0x1E5D0, 0x1E5ED}, {0x1E5F0, 0x1E5F0},
    {0x2EBF0, 0x2EE5D}};
constexpr Range kYoungNumbers[] = {{0x10D40, 0x10D49}, {0x116D0, 0x116E3},
                                   {0x11BF0, 0x11BF9}, {0x16130, 0x16139},
                                   {0x16D70, 0x16D79}, {0x1CCF0, 0x1CCF9},
                                   {0x1E5F1, 0x1E5FA}};

// Characters that ICU 72 does not know or takes for another kind.
constexpr Range kExtend[] = {
    {0x897, 0x897},     {0xCC0, 0xCC0},     {0xCC7, 0xCC8},
    {0xCCA, 0xCCB},     {0x1715, 0x1715},   {0x1734, 0x1734},
    {0x1ACF, 0x1ADD},   {0x1AE0, 0x1AEB},   {0x1B3B, 0x1B3B},
    {0x1B3D, 0x1B3D},   {0x1B43, 0x1B44},   {0x1BAA, 0x1BAA},
    {0x1BF2, 0x1BF3},   {0xA953, 0xA953},   {0xA9C0, 0xA9C0},
    {0x10D69, 0x10D6D}, {0x10EFA, 0x10EFC}, {0x111C0, 0x111C0},
    {0x11235, 0x11235}, {0x1134D, 0x1134D}, {0x113B8, 0x113B8},
    {0x113BB, 0x113C0}, {0x113C2, 0x113C2}, {0x113C5, 0x113C5},
    {0x113C7, 0x113C9}, {0x113CE, 0x113D0}, {0x113D2, 0x113D2},
    {0x113E1, 0x113E2}, {0x116B6, 0x116B6}, {0x1193D, 0x1193D},
    {0x11B60, 0x11B60}, {0x11B62, 0x11B64}, {0x11B66, 0x11B66},
    {0x11F41, 0x11F41}, {0x11F5A, 0x11F5A}, {0x1611E, 0x16129},
    {0x1612D, 0x1612F}, {0x16FF0, 0x16FF1}, {0x1D166, 0x1D166},
    {0x1D16D, 0x1D16D}, {0x1E5EE, 0x1E5EF}, {0x1E6E3, 0x1E6E3},
    {0x1E6E6, 0x1E6E6}, {0x1E6EE, 0x1E6EF}, {0x1E6F5, 0x1E6F5}};
constexpr Range kSpacingMarks[] = {{0x113B9, 0x113BA}, {0x113CA, 0x113CA},
                                   {0x113CC, 0x113CD}, {0x11B61, 0x11B61},
                                   {0x11B65, 0x11B65}, {0x11B67, 0x11B67},
                                   {0x1612A, 0x1612C}};
constexpr Range kHangulVowels[] = {{0x16D63, 0x16D63}, {0x16D67, 0x16D6A}};
// Unassigned in ICU 72 and no emoji since.
constexpr Range kYoungSymbols[] = {{0x1F777, 0x1F77A},
                                   {0x1F8B2, 0x1F8BB},
                                   {0x1F8C0, 0x1F8C1},
                                   {0x1F8D0, 0x1F8D8},
                                   {0x1FA54, 0x1FA57}};

// ICU 72 lacks this property.
constexpr Range kConjunctConsonants[] = {
    {0x915, 0x939},   {0x958, 0x95F},   {0x978, 0x97F},   {0x995, 0x9A8},
    {0x9AA, 0x9B0},   {0x9B2, 0x9B2},   {0x9B6, 0x9B9},   {0x9DC, 0x9DD},
    {0x9DF, 0x9DF},   {0x9F0, 0x9F1},   {0xA95, 0xAA8},   {0xAAA, 0xAB0},
    {0xAB2, 0xAB3},   {0xAB5, 0xAB9},   {0xAF9, 0xAF9},   {0xB15, 0xB28},
    {0xB2A, 0xB30},   {0xB32, 0xB33},   {0xB35, 0xB39},   {0xB5C, 0xB5D},
    {0xB5F, 0xB5F},   {0xB71, 0xB71},   {0xC15, 0xC28},   {0xC2A, 0xC39},
    {0xC58, 0xC5A},   {0xD15, 0xD3A},   {0x1000, 0x102A}, {0x103F, 0x103F},
    {0x1050, 0x1055}, {0x105A, 0x105D}, {0x1061, 0x1061}, {0x1065, 0x1066},
    {0x106E, 0x1070}, {0x1075, 0x1081}, {0x108E, 0x108E}, {0x1780, 0x17B3},
    {0x1A20, 0x1A54}, {0x1B0B, 0x1B0C}, {0x1B13, 0x1B33}, {0x1B45, 0x1B4C},
    {0x1B83, 0x1BA0}, {0x1BAE, 0x1BAF}, {0x1BBB, 0x1BBD}, {0xA989, 0xA98B},
    {0xA98F, 0xA9B2}, {0xA9E0, 0xA9E4}, {0xA9E7, 0xA9EF}, {0xA9FA, 0xA9FE},
    {0xAA60, 0xAA6F}, {0xAA71, 0xAA73}, {0xAA7A, 0xAA7A}, {0xAA7E, 0xAA7F},
    {0xAAE0, 0xAAEA}, {0xABC0, 0xABDA}};
constexpr Range kConjunctLinkers[] = {
    {0x94D, 0x94D},     {0x9CD, 0x9CD},     {0xACD, 0xACD},
    {0xB4D, 0xB4D},     {0xC4D, 0xC4D},     {0xD4D, 0xD4D},
    {0x1039, 0x1039},   {0x17D2, 0x17D2},   {0x1A60, 0x1A60},
    {0x1B44, 0x1B44},   {0x1BAB, 0x1BAB},   {0xA9C0, 0xA9C0},
    {0xAAF6, 0xAAF6},   {0x10A3F, 0x10A3F}, {0x11133, 0x11133},
    {0x113D0, 0x113D0}, {0x1193E, 0x1193E}, {0x11A47, 0x11A47},
    {0x11A99, 0x11A99}, {0x11F42, 0x11F42}};

bool IsYoungerThan(UChar32 c, uint8_t unicode_version) {
  UVersionInfo age;
  u_charAge(c, age);
  return age[0] > unicode_version || (age[0] == unicode_version && age[1] > 0);
}

}  // namespace

UCharCategory RustCategory(UChar32 c) {
  switch (c) {
    case 0x166D:   // CANADIAN SYLLABICS CHI SIGN
    case 0x111C9:  // SHARADA SANDHI MARK
      return U_OTHER_PUNCTUATION;
    case 0x1734:  // HANUNOO SIGN PAMUDPOD
      return U_NON_SPACING_MARK;
    case 0x1885:  // MONGOLIAN LETTER ALI GALI BALUDA
    case 0x1886:  // MONGOLIAN LETTER ALI GALI THREE BALUDA
      return U_OTHER_LETTER;
    case 0xA9BD:  // JAVANESE CONSONANT SIGN KERET
      return U_COMBINING_SPACING_MARK;
    default:
      return IsYoungerThan(c, 8) ? U_UNASSIGNED
                                 : static_cast<UCharCategory>(u_charType(c));
  }
}

uint8_t RustCombiningClass(UChar32 c) {
  const uint8_t combining_class = u_getCombiningClass(c);
  return combining_class != 0 && IsYoungerThan(c, 9) ? 0 : combining_class;
}

bool RustMayDecompose(UChar32 c) {
  return c != 0x11938;  // DIVES AKURU VOWEL SIGN O, of Unicode 13
}

RegexClass RustRegexClass(UChar32 c) {
  const uint32_t category = U_GET_GC_MASK(c);
  if ((category & U_GC_L_MASK) != 0 || Contains(kYoungLetters, c)) {
    return RegexClass::kLetter;
  }
  if ((category & U_GC_N_MASK) != 0 || Contains(kYoungNumbers, c)) {
    return RegexClass::kNumber;
  }
  return u_isUWhiteSpace(c) ? RegexClass::kSpace : RegexClass::kOther;
}

UGraphemeClusterBreak RustGraphemeBreak(UChar32 c) {
  if (Contains(kExtend, c)) {
    return U_GCB_EXTEND;
  }
  if (Contains(kSpacingMarks, c)) {
    return U_GCB_SPACING_MARK;
  }
  if (Contains(kHangulVowels, c)) {
    return U_GCB_V;
  }
  switch (c) {
    case 0x113D1:  // TULU-TIGALARI REPHA, of Unicode 16
      return U_GCB_PREPEND;
    case 0x11A3A:  // ZANABAZAR SQUARE CLUSTER-INITIAL LETTER RA
      return U_GCB_OTHER;
    case 0x1171E:  // AHOM CONSONANT SIGN MEDIAL RA
      return U_GCB_SPACING_MARK;
    default:
      return static_cast<UGraphemeClusterBreak>(
          u_getIntPropertyValue(c, UCHAR_GRAPHEME_CLUSTER_BREAK));
  }
}

bool RustIsPictograph(UChar32 c) {
  return u_hasBinaryProperty(c, UCHAR_EXTENDED_PICTOGRAPHIC) &&
         (u_hasBinaryProperty(c, UCHAR_EMOJI) ||
          (u_charType(c) == U_UNASSIGNED && !Contains(kYoungSymbols, c)));
}

ConjunctBreak RustConjunctBreak(UChar32 c) {
  if (Contains(kConjunctConsonants, c)) {
    return ConjunctBreak::kConsonant;
  }
  return Contains(kConjunctLinkers, c) ? ConjunctBreak::kLinker
                                       : ConjunctBreak::kNone;
}

UChar32 RustLowercase(UChar32 c) {
  // Capitals that ICU 72 (Unicode 15.0) does not know.
  if (c >= 0x10D50 && c <= 0x10D65) {  // Garay
    return c + 0x20;
  }
  if (c >= 0x16EA0 && c <= 0x16EB8) {  // Beria Erfe
    return c + 0x1B;
  }
  switch (c) {
    case 0x1C89:
    case 0xA7CC:
    case 0xA7CE:
    case 0xA7D2:
    case 0xA7D4:
    case 0xA7DA:
      return c + 1;
    case 0xA7CB:
      return 0x264;
    case 0xA7DC:
      return 0x19B;
    default:
      return u_tolower(c);
  }
}

}  // namespace pith
