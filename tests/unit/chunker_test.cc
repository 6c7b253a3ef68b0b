#include "core/text/chunker.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/word_counter.h"

namespace pith {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::Ge;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::SizeIs;
using ::testing::StartsWith;

std::string Words(int count, std::string_view word) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    absl::StrAppend(&text, i == 0 ? "" : " ", std::string(word), i);
  }
  return text;
}

// A paragraph of `sentences` with ten words each.
std::string Paragraph(int sentences, std::string_view word) {
  std::string text;
  for (int i = 0; i < sentences; ++i) {
    absl::StrAppend(&text, "The ", Words(8, absl::StrCat(std::string(word), i)),
                    ". ");
  }
  text.back() = '\n';
  return text;
}

std::vector<std::string> Texts(std::string_view text,
                               const ChunkedText& chunked) {
  std::vector<std::string> texts;
  for (const Chunk& chunk : chunked.chunks) {
    texts.emplace_back(text.substr(chunk.offset, chunk.bytes));
  }
  return texts;
}

std::vector<int> Sizes(std::string_view text, const ChunkedText& chunked) {
  std::vector<int> sizes;
  for (const std::string& chunk : Texts(text, chunked)) {
    sizes.push_back(WordCounter().CountTokens(chunk));
  }
  return sizes;
}

ChunkedText Cut(std::string_view text, TextFormat format = TextFormat::kPlain,
                int max_tokens = 254) {
  return ChunkText(text, format, {}, WordCounter(max_tokens));
}

TEST(Chunker, CutsNothingOutOfNothing) {
  EXPECT_THAT(Cut("").chunks, IsEmpty());
  EXPECT_THAT(Cut(" \n\t\r\n ").chunks, IsEmpty());
  EXPECT_THAT(Cut("\xEF\xBB\xBF").chunks, IsEmpty());
  EXPECT_THAT(Cut(" \n", TextFormat::kMarkdown).chunks, IsEmpty());
}

TEST(Chunker, KeepsAShortTextWhole) {
  const std::string text = "\n\n  A note.\r\n\r\nAnd another.\r\n\r\n";
  EXPECT_THAT(Texts(text, Cut(text)), testing::ElementsAre(text));
}

TEST(Chunker, KeepsSizesNearTheTarget) {
  std::string text;
  for (int i = 0; i < 200; ++i) {
    absl::StrAppend(&text, Paragraph(1 + i * 7 % 9, absl::StrCat("p", i)),
                    "\n");
  }
  EXPECT_THAT(Sizes(text, Cut(text)), Each(AllOf(Ge(100), Le(254))));
  // Four more for "The" and the full stops of paragraphs.
  EXPECT_THAT(Sizes(text, ChunkText(text, TextFormat::kPlain,
                                    {.target_tokens = 100}, WordCounter())),
              Each(AllOf(Ge(50), Le(140))));
}

TEST(Chunker, CutsAtParagraphsRatherThanSentences) {
  std::string text;
  for (int i = 0; i < 50; ++i) {
    absl::StrAppend(&text, Paragraph(5, absl::StrCat("p", i)), "\n");
  }
  const std::vector<std::string> chunks = Texts(text, Cut(text));
  ASSERT_GT(chunks.size(), 10);
  for (const std::string& chunk : chunks) {
    EXPECT_TRUE(chunk.ends_with("\n\n")) << chunk;
  }
}

TEST(Chunker, CutsHardWrappedTextAtSentences) {
  std::string text;
  for (int i = 0; i < 100; ++i) {
    absl::StrAppend(&text, "One line of a sentence that\ngoes on ", i,
                    " and ends\nhere. Then ");
  }
  for (const std::string& chunk : Texts(text, Cut(text))) {
    EXPECT_TRUE(chunk.ends_with("here. ") || chunk.ends_with("Then ")) << chunk;
  }
}

TEST(Chunker, HeadingsStartChunksAndGiveTheirPath) {
  std::string text = "# Guide\n\n" + Paragraph(15, "intro");
  for (const char* name : {"Install", "Use", "Stop"}) {
    absl::StrAppend(&text, "\n## ", name, "\n\n", Paragraph(15, name),
                    "\n### More\n\n", Paragraph(14, name));
  }
  const ChunkedText chunked = Cut(text, TextFormat::kMarkdown);
  const std::vector<std::string> chunks = Texts(text, chunked);
  EXPECT_EQ(chunked.title, "Guide");
  ASSERT_THAT(chunks, SizeIs(7));
  EXPECT_EQ(chunked.chunks[0].heading_path, "Guide");
  EXPECT_THAT(chunks[0], StartsWith("# Guide\n"));
  EXPECT_EQ(chunked.chunks[1].heading_path, "Guide > Install");
  EXPECT_THAT(chunks[1], StartsWith("## Install\n"));
  EXPECT_EQ(chunked.chunks[4].heading_path, "Guide > Use > More");
  EXPECT_THAT(chunks[4], StartsWith("### More\n"));
  EXPECT_EQ(chunked.chunks[6].heading_path, "Guide > Stop > More");
}

TEST(Chunker, TextBeforeTheFirstHeadingHasNoPath) {
  const std::string text =
      Paragraph(15, "a") + "\n# A\n\n" + Paragraph(15, "b");
  const ChunkedText chunked = Cut(text, TextFormat::kMarkdown);
  ASSERT_THAT(chunked.chunks, SizeIs(2));
  EXPECT_EQ(chunked.chunks[0].heading_path, "");
  EXPECT_EQ(chunked.chunks[1].heading_path, "A");
  EXPECT_EQ(chunked.title, "A");
}

TEST(Chunker, LeadingBlankLinesDoNotHideAHeading) {
  const ChunkedText chunked =
      Cut("\xEF\xBB\xBF\n\n# A\n\ntext\n", TextFormat::kMarkdown);
  ASSERT_THAT(chunked.chunks, SizeIs(1));
  EXPECT_EQ(chunked.chunks[0].heading_path, "A");
}

TEST(Chunker, OnlyMarkupHasHeadings) {
  const std::string text = "# A\n\ntext\n\nB\n=\n";
  EXPECT_EQ(Cut(text, TextFormat::kCode).title, "");
  EXPECT_EQ(Cut(text, TextFormat::kPlain).title, "");
  EXPECT_EQ(Cut(text, TextFormat::kRestructuredText).title, "B");
}

TEST(Chunker, CutsALongSentenceBetweenWords) {
  const std::string text = Words(3000, "w");
  const ChunkedText chunked = Cut(text);
  EXPECT_THAT(Sizes(text, chunked), Each(AllOf(Ge(100), Le(254))));
  for (const Chunk& chunk : chunked.chunks) {
    EXPECT_EQ(text[chunk.offset], 'w');
  }
}

TEST(Chunker, CutsALongWordBetweenCharacters) {
  std::string text;
  for (int i = 0; i < 10'000; ++i) {
    text += i % 3 == 0 ? "\xE2\x82\xAC" : (i % 3 == 1 ? "x" : "e\xCC\x81");
  }
  const ChunkedText chunked = Cut(text);
  ASSERT_GT(chunked.chunks.size(), 2);
  for (const Chunk& chunk : chunked.chunks) {
    EXPECT_LE(chunk.bytes, 254 * 128);
    EXPECT_NE(text[chunk.offset] & 0xC0, 0x80);
    EXPECT_NE(text.substr(chunk.offset, 2), "\xCC\x81");
  }
}

// A counter whose counts do not add up where no white space is: a word costs
// the square of its length.
class SquareCounter : public TokenCounter {
 public:
  int CountTokens(std::string_view text) const override {
    int tokens = 0;
    int length = 0;
    for (const char c : text) {
      length = c == ' ' ? 0 : length + 1;
      tokens += length == 0 ? 0 : 2 * length - 1;
    }
    return tokens;
  }
  int max_tokens() const override { return 100; }
};

TEST(Chunker, HoldsTheMaximumWhereCountsDoNotAddUp) {
  const std::string text(500, 'x');
  const ChunkedText chunked =
      ChunkText(text, TextFormat::kPlain, {}, SquareCounter());
  for (const std::string& chunk : Texts(text, chunked)) {
    EXPECT_LE(SquareCounter().CountTokens(chunk), 100);
  }
}

TEST(Chunker, CutsChineseAtSentences) {
  std::string text;
  for (int i = 0; i < 100; ++i) {
    absl::StrAppend(&text, "\xE6\x88\x91\xE4\xBB\xAC", i,
                    "\xE5\x8E\xBB\xE3\x80\x82");
  }
  const ChunkedText chunked =
      ChunkText(text, TextFormat::kPlain, {.target_tokens = 20}, WordCounter());
  ASSERT_GT(chunked.chunks.size(), 3);
  for (const std::string& chunk : Texts(text, chunked)) {
    EXPECT_TRUE(chunk.ends_with("\xE3\x80\x82")) << chunk;
  }
}

TEST(Chunker, CutsRepetitiveTextIntoFullChunks) {
  std::string text;
  for (int i = 0; i < 5000; ++i) {
    text += "the same line\n";
  }
  const std::vector<int> sizes = Sizes(text, Cut(text));
  EXPECT_LE(sizes.size(), 15000 / 200);
  EXPECT_THAT(sizes, Each(AllOf(Ge(100), Le(254))));
}

TEST(Chunker, ServesTheSmallestMaximum) {
  const std::string text = "one two three. four\n\nfive";
  EXPECT_THAT(Sizes(text, Cut(text, TextFormat::kPlain, 1)), Each(1));
}

TEST(Chunker, TilesHostileText) {
  // Enough for quadratic work on any of these to exceed the time limit.
  const size_t bytes = size_t{1} << 18;
  const auto repeat = [&](std::string_view piece) {
    std::string text;
    while (text.size() < bytes) {
      text += piece;
    }
    return text;
  };
  std::string deep;
  for (int i = 0; deep.size() < bytes; ++i) {
    deep += std::string(i % 2000, ' ') + "- x\n";
  }
  for (const std::string& text :
       {repeat("x"), repeat("x "), repeat(". "), repeat("# a\n"),
        repeat("a\n===\n\n"), repeat("a\n"), repeat("```\n"), repeat("\n"),
        repeat("x\n\n"), repeat("\xCC\x81"), repeat(" "), repeat("1. "),
        repeat("===\n"), repeat("{"), repeat("\""), repeat("e.g. a"),
        repeat("---\n"), std::string("x") + repeat(" ") + "y", deep}) {
    for (const TextFormat format :
         {TextFormat::kPlain, TextFormat::kMarkdown,
          TextFormat::kRestructuredText, TextFormat::kCode}) {
      const ChunkedText chunked = Cut(text, format);
      uint64_t end = 0;
      for (const Chunk& chunk : chunked.chunks) {
        ASSERT_EQ(chunk.offset, end);
        end += chunk.bytes;
      }
      EXPECT_TRUE(end == text.size() || chunked.chunks.empty());
    }
  }
}

}  // namespace
}  // namespace pith
