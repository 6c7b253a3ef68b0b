#include "embedder/rust_unicode.h"

namespace pith {
namespace {

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
