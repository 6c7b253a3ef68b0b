#ifndef PITH_CORE_TEXT_STRUCTURE_H_
#define PITH_CORE_TEXT_STRUCTURE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/text/chunker.h"

namespace pith {

// How good a place to cut the text is, the higher the better. Weaker than all
// of structure: inside a word, between words, and between a heading or the
// opening of a fence and what belongs to it.
using CutStrength = uint8_t;
inline constexpr CutStrength kCutInWord = 0;
inline constexpr CutStrength kCutAtWord = 1;
inline constexpr CutStrength kCutGlued = 2;
inline constexpr CutStrength kCutAtLine = 3;
inline constexpr CutStrength kCutAtSentence = 4;
// A nested list item, an indented paragraph.
inline constexpr CutStrength kCutAtNested = 5;
inline constexpr CutStrength kCutAtItem = 6;
// A blank line. In code, up to kCutAtDefinition for lines indented less.
inline constexpr CutStrength kCutAtParagraph = 7;
inline constexpr CutStrength kCutAtDefinition = 15;
// The deepest heading; each level up is one stronger.
inline constexpr CutStrength kCutAtDeepestHeading = 16;
inline constexpr int kMaxHeadingDepth = 8;

// Reaches from its offset to the next block's.
struct TextBlock {
  uint64_t offset = 0;
  // Of a cut in front of the block.
  CutStrength strength = 0;
  // Holds sentences; otherwise it is one line or one heading.
  bool prose = false;
};

struct Heading {
  uint64_t offset = 0;
  // 1 is outermost, kMaxHeadingDepth stands for all that is deeper.
  int depth = 0;
  // In one line, without markup of the heading itself, at most 128 bytes.
  std::string title;
};

// The blocks tile the text; blank lines belong to the block in front of them
// and, at the start of the text, to the first one.
struct TextStructure {
  std::vector<TextBlock> blocks;
  std::vector<Heading> headings;
};

// Linear in the size of `text`.
TextStructure ParseStructure(std::string_view text, TextFormat format);

}  // namespace pith

#endif  // PITH_CORE_TEXT_STRUCTURE_H_
