#include "core/text/structure.h"

#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pith {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// "depth title" of each heading.
std::vector<std::string> Headings(std::string_view text, TextFormat format) {
  std::vector<std::string> result;
  for (const Heading& heading : ParseStructure(text, format).headings) {
    result.push_back(absl::StrCat(heading.depth, " ", heading.title));
  }
  return result;
}

std::vector<std::string> MarkdownHeadings(std::string_view text) {
  return Headings(text, TextFormat::kMarkdown);
}

std::vector<std::string> RstHeadings(std::string_view text) {
  return Headings(text, TextFormat::kRestructuredText);
}

// The strength in front of the block that starts with `start`.
int StrengthBefore(std::string_view text, TextFormat format,
                   std::string_view start) {
  for (const TextBlock& block : ParseStructure(text, format).blocks) {
    if (text.substr(block.offset).starts_with(start)) {
      return block.strength;
    }
  }
  return -1;
}

TEST(MarkdownStructure, FindsAtxHeadings) {
  EXPECT_THAT(MarkdownHeadings("# A\ntext\n## B ##\n###### C #\n   # D\n#\n"),
              ElementsAre("1 A", "2 B", "6 C", "1 D", "1 "));
}

TEST(MarkdownStructure, TakesNoOtherHashForAHeading) {
  EXPECT_THAT(MarkdownHeadings("#no\n####### seven\n    # indented\na # b\n"),
              IsEmpty());
  EXPECT_THAT(MarkdownHeadings("# C#\n# a#b #c\n"),
              ElementsAre("1 C#", "1 a#b #c"));
}

TEST(MarkdownStructure, FindsSetextHeadings) {
  EXPECT_THAT(MarkdownHeadings("One\n===\n\nTwo\nlines\n---\ntext\n"),
              ElementsAre("1 One", "2 Two lines"));
}

TEST(MarkdownStructure, TakesNoOtherDashesForASetextHeading) {
  EXPECT_THAT(MarkdownHeadings("- item\n---\n\n---\n\n> quote\n---\n\n"
                               "a | b\n--- | ---\n\n***\n\nx\n- - -\n"),
              IsEmpty());
}

TEST(MarkdownStructure, DoesNotLookIntoFences) {
  EXPECT_THAT(MarkdownHeadings("```sh\n# a\n``\n~~~\n# b\n````  \n# C\n"),
              ElementsAre("1 C"));
  EXPECT_THAT(MarkdownHeadings("~~~ x `y`\n# a\n```\n# b\n~~~\n# C\n"),
              ElementsAre("1 C"));
  EXPECT_THAT(MarkdownHeadings("- x\n\n    ```\n# a\n    ```\n# B\n"),
              ElementsAre("1 B"));
  EXPECT_THAT(MarkdownHeadings("``` inline ``` code\n# A\n"),
              ElementsAre("1 A"));
  EXPECT_THAT(MarkdownHeadings("```\n# to the end\n"), IsEmpty());
}

TEST(MarkdownStructure, DoesNotLookIntoFrontMatter) {
  EXPECT_THAT(MarkdownHeadings("---\n# comment\ntitle: x\n---\n# A\n"),
              ElementsAre("1 A"));
  EXPECT_THAT(MarkdownHeadings("\xEF\xBB\xBF---\n# c\n...\n# A\n"),
              ElementsAre("1 A"));
  EXPECT_THAT(MarkdownHeadings("---\n\n# A\n\n---\n"), ElementsAre("1 A"));
}

TEST(MarkdownStructure, ReadsBothLineEndings) {
  EXPECT_THAT(MarkdownHeadings("# A\r\n\r\nB\r\n==\r\n```\r\n# c\r\n```\r\n"),
              ElementsAre("1 A", "1 B"));
}

TEST(MarkdownStructure, KeepsHeadingsWithWhatFollows) {
  const std::string_view text =
      "# A\n\ntext\n\n# B\n## C\n### D\n\nmore\n\n```\ncode\n```\n";
  const auto strength = [&](std::string_view start) {
    return StrengthBefore(text, TextFormat::kMarkdown, start);
  };
  EXPECT_EQ(strength("text"), kCutGlued);
  EXPECT_EQ(strength("## C"), kCutGlued);
  EXPECT_EQ(strength("### D"), kCutGlued);
  EXPECT_EQ(strength("more"), kCutGlued);
  EXPECT_EQ(strength("code"), kCutGlued);
  EXPECT_EQ(strength("# B"), kCutAtDeepestHeading + kMaxHeadingDepth - 1);
  // Below an empty section of its own depth, a heading starts another.
  EXPECT_EQ(StrengthBefore("## A\n## B\n", TextFormat::kMarkdown, "## B"),
            kCutAtDeepestHeading + kMaxHeadingDepth - 2);
}

TEST(MarkdownStructure, RanksParagraphsItemsAndNestedItems) {
  const std::string_view text = "x\n\n1. one\n   - sub\n- two\n\nafter\n";
  const auto strength = [&](std::string_view start) {
    return StrengthBefore(text, TextFormat::kMarkdown, start);
  };
  EXPECT_EQ(strength("1. one"), kCutAtItem);
  EXPECT_EQ(strength("   - sub"), kCutAtNested);
  EXPECT_EQ(strength("- two"), kCutAtItem);
  EXPECT_EQ(strength("after"), kCutAtParagraph);
}

TEST(RstStructure, LevelsFollowTheOrderOfAppearance) {
  EXPECT_THAT(RstHeadings("====\nDoc\n====\n\nPart\n----\n\nSub\n~~~\n\n"
                          "Part 2\n------\n\nDoc 2\n=====\n"),
              ElementsAre("1 Doc", "2 Part", "3 Sub", "2 Part 2", "4 Doc 2"));
}

TEST(RstStructure, TakesNothingElseForATitle) {
  EXPECT_THAT(RstHeadings("A paragraph of\ntwo lines\n---------\n"), IsEmpty());
  EXPECT_THAT(RstHeadings("before\n\n--------\n\nafter\n"), IsEmpty());
  EXPECT_THAT(RstHeadings("Code::\n\n    Literal\n    =======\n"), IsEmpty());
  EXPECT_THAT(RstHeadings(".. note::\n   Inner\n   -----\n"), IsEmpty());
  EXPECT_THAT(RstHeadings("===== =====\nA     B\n===== =====\n"), IsEmpty());
  EXPECT_THAT(RstHeadings("Longer\n---\n"), IsEmpty());
}

TEST(RstStructure, MeasuresTitlesInCharacters) {
  EXPECT_THAT(RstHeadings("\xC3\xA9t\xC3\xA9\n===\n"),
              ElementsAre("1 \xC3\xA9t\xC3\xA9"));
}

TEST(CodeStructure, RanksDefinitionsAboveBlocksAboveLines) {
  const std::string_view text =
      "class A:\n    def b(self):\n        x = 1\n\n        y = 2\n"
      "        z = 3\n\n    def c(self):\n        pass\n\nclass D:\n    pass\n";
  const auto strength = [&](std::string_view start) {
    return StrengthBefore(text, TextFormat::kCode, start);
  };
  EXPECT_EQ(strength("class D"), kCutAtDefinition);
  EXPECT_GT(strength("class D"), strength("    def c"));
  EXPECT_GT(strength("    def c"), strength("        y = 2"));
  EXPECT_GT(strength("        y = 2"), strength("        z = 3"));
  EXPECT_GT(strength("        z = 3"), strength("        x = 1"));
}

TEST(CodeStructure, KeepsBracketsWithWhatTheyBelongTo) {
  const std::string_view text = "int f()\n{\n  g(\n      1);\n}\nint h;\n";
  const auto strength = [&](std::string_view start) {
    return StrengthBefore(text, TextFormat::kCode, start);
  };
  EXPECT_EQ(strength("{"), kCutGlued);
  EXPECT_EQ(strength("      1);"), kCutGlued);
  EXPECT_EQ(strength("}"), kCutGlued);
  EXPECT_EQ(strength("int h"), kCutAtNested);
}

TEST(Structure, BoundsTitles) {
  std::string title;
  while (title.size() < 1000) {
    title += "\xE2\x82\xAC";
  }
  const TextStructure structure =
      ParseStructure("# " + title, TextFormat::kMarkdown);
  ASSERT_EQ(structure.headings.size(), 1);
  EXPECT_EQ(structure.headings[0].title, title.substr(0, 126));
}

TEST(FormatFromPath, KnowsExtensionsAndNames) {
  EXPECT_EQ(FormatFromPath("/a/b.md"), TextFormat::kMarkdown);
  EXPECT_EQ(FormatFromPath("README"), TextFormat::kMarkdown);
  EXPECT_EQ(FormatFromPath("/a/NOTES.MD"), TextFormat::kMarkdown);
  EXPECT_EQ(FormatFromPath("x.rst"), TextFormat::kRestructuredText);
  EXPECT_EQ(FormatFromPath("/a.md/x.cc"), TextFormat::kCode);
  EXPECT_EQ(FormatFromPath("/a/Makefile"), TextFormat::kCode);
  EXPECT_EQ(FormatFromPath("/a/CMakeLists.txt"), TextFormat::kCode);
  EXPECT_EQ(FormatFromPath("/a/notes.txt"), TextFormat::kPlain);
  EXPECT_EQ(FormatFromPath("/a.py/notes"), TextFormat::kPlain);
  EXPECT_EQ(FormatFromPath(""), TextFormat::kPlain);
}

}  // namespace
}  // namespace pith
