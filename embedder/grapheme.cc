#include "embedder/grapheme.h"

#include <cstdint>

#include "unicode/uchar.h"

#include "core/text/utf8.h"
#include "embedder/rust_unicode.h"

namespace pith {
namespace {

bool IsControl(UGraphemeClusterBreak kind) {
  return kind == U_GCB_CONTROL || kind == U_GCB_CR || kind == U_GCB_LF;
}

// GB6 to GB8: the letters of one Hangul syllable.
bool JoinsHangul(UGraphemeClusterBreak left, UGraphemeClusterBreak right) {
  switch (left) {
    case U_GCB_L:
      return right == U_GCB_L || right == U_GCB_V || right == U_GCB_LV ||
             right == U_GCB_LVT;
    case U_GCB_LV:
    case U_GCB_V:
      return right == U_GCB_V || right == U_GCB_T;
    case U_GCB_LVT:
    case U_GCB_T:
      return right == U_GCB_T;
    default:
      return false;
  }
}

// What of a cluster, as far as it was read, decides whether it goes on.
class Cluster {
 public:
  explicit Cluster(UChar32 first) { Take(first, RustGraphemeBreak(first)); }

  // Adds `c` if it belongs to the cluster.
  bool Add(UChar32 c) {
    const UGraphemeClusterBreak kind = RustGraphemeBreak(c);
    if (last_ == U_GCB_CR && kind == U_GCB_LF) {
      Take(c, kind);
      return true;
    }
    if (IsControl(last_) || IsControl(kind)) {
      return false;
    }
    const bool joins =
        kind == U_GCB_EXTEND || kind == U_GCB_ZWJ ||
        kind == U_GCB_SPACING_MARK || last_ == U_GCB_PREPEND ||
        JoinsHangul(last_, kind) ||
        (pictograph_joiner_ && RustIsPictograph(c)) ||
        (linked_ && RustConjunctBreak(c) == ConjunctBreak::kConsonant);
    if (joins) {
      Take(c, kind);
    }
    return joins;
  }

 private:
  void Take(UChar32 c, UGraphemeClusterBreak kind) {
    constexpr UChar32 kZeroWidthNonJoiner = 0x200C;
    pictograph_joiner_ = pictograph_ && kind == U_GCB_ZWJ;
    pictograph_ = RustIsPictograph(c) || (pictograph_ && kind == U_GCB_EXTEND);
    const ConjunctBreak conjunct = RustConjunctBreak(c);
    if (conjunct == ConjunctBreak::kConsonant) {
      consonant_ = true;
      linked_ = false;
    } else if ((kind != U_GCB_EXTEND && kind != U_GCB_ZWJ) ||
               c == kZeroWidthNonJoiner) {
      consonant_ = false;
      linked_ = false;
    } else if (conjunct == ConjunctBreak::kLinker) {
      linked_ = consonant_;
    }
    last_ = kind;
  }

  UGraphemeClusterBreak last_ = U_GCB_OTHER;
  // GB11: a pictograph and Extend so far, and the same with a joiner after it.
  bool pictograph_ = false;
  bool pictograph_joiner_ = false;
  // GB9c: a consonant and Extend so far, and the same with a linker in it.
  bool consonant_ = false;
  bool linked_ = false;
};

}  // namespace

size_t GraphemeEnd(std::string_view text, size_t begin) {
  const auto is_ascii = [&](size_t i) {
    return static_cast<uint8_t>(text[i]) < 0x80;
  };
  if (is_ascii(begin) && text[begin] != '\r' &&
      (begin + 1 == text.size() || is_ascii(begin + 1))) {
    return begin + 1;
  }
  size_t end = begin;
  Cluster cluster(NextCodePoint(text, &end));
  while (end < text.size()) {
    size_t next = end;
    if (!cluster.Add(NextCodePoint(text, &next))) {
      break;
    }
    end = next;
  }
  return end;
}

}  // namespace pith
