#include <locale.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "clients/cli/text.h"
#include "tests/temp_directory.h"

namespace pith::cli {
namespace {

using testing::ElementsAre;

class CliText : public testing::Test {
 protected:
  static void SetUpTestSuite() { ::setlocale(LC_CTYPE, "C.UTF-8"); }
};

TEST_F(CliText, ControlCharactersAreRemoved) {
  EXPECT_EQ(Printable("a\033[31mb\x07\r\n\tc\x7f"), "a[31mb\n\tc");
  // U+009B is a control sequence introducer of one character.
  EXPECT_EQ(Printable("x\xc2\x9by"), "xy");
  EXPECT_EQ(Printable(std::string("a\0b", 3)), "ab");
  EXPECT_EQ(PrintableLine("a\n\tb"), "a  b");
}

TEST_F(CliText, BytesThatAreNoUtf8AreReplaced) {
  EXPECT_EQ(Printable("a\xff\xe4z"), "a\uFFFD\uFFFDz");
  EXPECT_EQ(Printable("cut \xe2\x82"), "cut \uFFFD\uFFFD");
  EXPECT_EQ(Printable("gr\u00fc\u00df \u65e5\u672c"),
            "gr\u00fc\u00df \u65e5\u672c");
}

TEST_F(CliText, Utf8IsToldFromOtherBytes) {
  for (const char* text : {"", "a", "gr\u00fc\u00df", "\xc2\x80", "\xdf\xbf",
                           "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
                           "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(IsUtf8(text)) << text;
  }
  for (const char* bytes :
       {"caf\xe9.txt", "\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80",
        "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xff",
        "\xe2\x82", "\xe2(\xa1"}) {
    EXPECT_FALSE(IsUtf8(bytes)) << Printable(bytes);
  }
}

TEST_F(CliText, SnippetShowsTheLinesWithMostQueryWords) {
  const std::string text =
      "first line\n\nsecond line\nthe segment is sealed\nafter sealing\nlast\n";
  EXPECT_THAT(
      Snippet(text, "Sealed segments: segment", 80, 2, false),
      ElementsAre("\u2026 second line", "the segment is sealed \u2026"));
  EXPECT_THAT(Snippet(text, "nothing of this", 80, 2, false),
              ElementsAre("first line", "second line \u2026"));
}

TEST_F(CliText, SnippetKeepsToItsWidthInColumns) {
  std::string text;
  for (int i = 0; i < 30; ++i) {
    text += "\u65e5\u672c\u8a9e wide text ";
  }
  for (const std::string& line : Snippet(text, "wide", 20, 3, false)) {
    EXPECT_EQ(CutToWidth(line, 20), line);
  }
  EXPECT_EQ(Snippet(text, "wide", 20, 3, false).size(), 3u);
}

TEST_F(CliText, SnippetOfNoTextIsEmpty) {
  EXPECT_TRUE(Snippet(" \n\t\n", "query", 80, 3, false).empty());
}

TEST_F(CliText, SnippetIsLinearInHostileText) {
  const std::string spaces(2'000'000, ' ');
  EXPECT_EQ(Snippet(spaces + "end", "end", 40, 3, false).size(), 1u);
  EXPECT_EQ(
      Snippet(std::string(2'000'000, '\t') + "x", "x", 40, 3, false).size(),
      1u);
}

TEST_F(CliText, HighlightMarksQueryWordsWhateverTheirCase) {
  EXPECT_THAT(Snippet("\u00dcber Graphs, not photographs", "\u00fcber graph",
                      80, 3, true),
              ElementsAre("\033[1m\u00dcber\033[0m \033[1mGraphs\033[0m, not "
                          "photographs"));
}

TEST_F(CliText, CutLinesEndInAnEllipsis) {
  EXPECT_EQ(CutToWidth("abcdef", 6), "abcdef");
  EXPECT_EQ(CutToWidth("abcdefg", 6), "abcde\u2026");
  EXPECT_EQ(CutToWidth("\u65e5\u672c\u8a9e", 5), "\u65e5\u672c\u2026");
}

TEST_F(CliText, IdsBelowTheWorkingDirectoryAreShownRelative) {
  EXPECT_EQ(DisplayId("/a/b/c.md", "/a"), "b/c.md");
  EXPECT_EQ(DisplayId("/ab/c.md", "/a"), "/ab/c.md");
  EXPECT_EQ(DisplayId("/a/b", "/"), "a/b");
  EXPECT_EQ(DisplayId("key", "/a"), "key");
  EXPECT_EQ(DisplayId("/a/x\033\ny", "/a"), "x y");
}

TEST_F(CliText, AnArgumentMayBeAnIdOrAPath) {
  TempDirectory directory;
  const auto root = std::filesystem::canonical(directory.path());
  std::filesystem::create_directory(root / "real");
  std::filesystem::create_directory_symlink("real", root / "link");
  EXPECT_THAT(IdCandidates("key", root),
              ElementsAre("key", (root / "key").string()));
  EXPECT_THAT(IdCandidates("./link/../gone.md", root),
              ElementsAre("./link/../gone.md", (root / "gone.md").string()));
  EXPECT_THAT(IdCandidates("link/gone.md", root),
              ElementsAre("link/gone.md", (root / "link/gone.md").string(),
                          (root / "real/gone.md").string()));
  EXPECT_THAT(IdCandidates("/a/b", root), ElementsAre("/a/b"));
  EXPECT_THAT(IdCandidates("", root), ElementsAre(""));
}

TEST_F(CliText, APathThatIsNotUtf8IsNoId) {
  EXPECT_THAT(IdCandidates("key", "/caf\xe9"), ElementsAre("key"));
}

TEST_F(CliText, APrefixKeepsItsFinalSlash) {
  TempDirectory directory;
  const auto root = std::filesystem::canonical(directory.path());
  std::filesystem::create_directory(root / "docs");
  EXPECT_THAT(IdCandidates("docs/", root),
              ElementsAre("docs/", (root / "docs/").string()));
}

TEST_F(CliText, NumbersAreForPeople) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(1234567), "1,234,567");
  EXPECT_EQ(FormatCount(-1234), "-1,234");
  EXPECT_EQ(FormatBytes(999), "999 B");
  EXPECT_EQ(FormatBytes(1000), "1.0 kB");
  EXPECT_EQ(FormatBytes(999'960), "1.0 MB");
  EXPECT_EQ(FormatBytes(34'500'000), "34.5 MB");
  EXPECT_EQ(FormatSeconds(absl::Milliseconds(85)), "85 ms");
  EXPECT_EQ(FormatSeconds(absl::Milliseconds(4160)), "4.2 s");
  EXPECT_EQ(FormatSeconds(absl::Seconds(725)), "12:05 min");
  EXPECT_EQ(FormatRemaining(absl::Seconds(7)), "0:07");
  EXPECT_EQ(FormatRemaining(absl::Seconds(3723)), "1:02:03");
  EXPECT_EQ(Plural(1, "file"), "1 file");
  EXPECT_EQ(Plural(2000, "file"), "2,000 files");
}

TEST_F(CliText, TablesAlignTheirColumns) {
  EXPECT_EQ(Table({{"name", "n"}, {"\u65e5\u672c\u8a9e", "12"}, {"x", "3"}}),
            "name     n\n\u65e5\u672c\u8a9e  12\nx        3\n");
}

}  // namespace
}  // namespace pith::cli
