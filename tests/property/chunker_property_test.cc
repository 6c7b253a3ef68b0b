#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "core/text/chunker.h"
#include "tests/word_counter.h"

namespace pith {
namespace {

constexpr int kSeeds = 200;

class TextMaker {
 public:
  explicit TextMaker(int seed) : random_(static_cast<unsigned>(seed)) {}

  int Below(int bound) {
    return static_cast<int>(random_() % static_cast<unsigned>(bound));
  }

  std::string Sentence() {
    std::string text;
    for (int words = 3 + Below(20); words > 0; --words) {
      absl::StrAppend(&text, text.empty() ? "A" : " ", Below(5000));
    }
    return text + ".";
  }

  std::string Paragraph() {
    std::string text;
    for (int sentences = 1 + Below(7); sentences > 0; --sentences) {
      absl::StrAppend(&text, text.empty() ? "" : (Below(3) == 0 ? "\n" : " "),
                      Sentence());
    }
    return text + "\n\n";
  }

  // Anything at all: bits of every markup, long words, odd white space.
  std::string Noise(int pieces) {
    static constexpr std::string_view kPieces[] = {"# ",
                                                   "\n",
                                                   "\r\n",
                                                   "\n\n",
                                                   "```\n",
                                                   "===\n",
                                                   "---\n",
                                                   "- ",
                                                   "  ",
                                                   "\t",
                                                   "{",
                                                   "}",
                                                   ".",
                                                   "?! ",
                                                   "\xE3\x80\x82",
                                                   "\xC3\xA9",
                                                   "\xE2\x82\xAC",
                                                   "\xF0\x9F\x98\x80",
                                                   "\xCC\x81",
                                                   "\xE2\x80\x8B",
                                                   "\xC2\xA0",
                                                   "::\n",
                                                   ".. x::\n"};
    std::string text;
    for (; pieces > 0; --pieces) {
      switch (Below(8)) {
        case 0:
          text += Sentence();
          break;
        case 1:
          text += std::string(static_cast<size_t>(Below(400)), 'x');
          break;
        default:
          text += kPieces[Below(std::size(kPieces))];
      }
    }
    return text;
  }

 private:
  std::mt19937 random_;
};

std::string Concatenate(const std::vector<std::string>& pieces) {
  std::string text;
  for (const std::string& piece : pieces) {
    text += piece;
  }
  return text;
}

std::vector<uint64_t> Cuts(std::string_view text, TextFormat format) {
  std::vector<uint64_t> cuts;
  for (const Chunk& chunk : ChunkText(text, format, {}, WordCounter()).chunks) {
    cuts.push_back(chunk.offset);
  }
  cuts.push_back(text.size());
  return cuts;
}

TEST(ChunkerProperty, ChunksTileAnyTextWithinTheMaximum) {
  for (int seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    TextMaker maker(seed);
    const std::string text = maker.Noise(maker.Below(600));
    const WordCounter counter(8 + maker.Below(250));
    for (const TextFormat format :
         {TextFormat::kPlain, TextFormat::kMarkdown,
          TextFormat::kRestructuredText, TextFormat::kCode}) {
      const ChunkedText chunked = ChunkText(text, format, {}, counter);
      uint64_t end = 0;
      for (const Chunk& chunk : chunked.chunks) {
        ASSERT_EQ(chunk.offset, end);
        ASSERT_GT(chunk.bytes, 0);
        end += chunk.bytes;
        const int tokens = counter.CountTokens(
            std::string_view(text).substr(chunk.offset, chunk.bytes));
        ASSERT_LE(tokens, counter.max_tokens());
        ASSERT_GT(tokens, 0);
        ASSERT_NE(text[chunk.offset] & 0xC0, 0x80);
      }
      ASSERT_EQ(end, counter.CountTokens(text) == 0 ? 0 : text.size());
    }
  }
}

// Cuts of `before` and `after`, which differ in one range of bytes, agree but
// for at most `bound` cuts on either side of it.
void ExpectLocal(const std::vector<std::string>& before,
                 const std::vector<std::string>& after, size_t same_in_front,
                 TextFormat format, int bound) {
  const std::string old_text = Concatenate(before);
  const std::string new_text = Concatenate(after);
  uint64_t front = 0;
  for (size_t i = 0; i < same_in_front; ++i) {
    front += before[i].size();
  }
  // Where the text behind the change starts, from the end.
  uint64_t back = 0;
  const size_t same_behind = std::min(before.size(), after.size()) -
                             same_in_front -
                             (before.size() == after.size() ? 1 : 0);
  for (size_t i = 0; i < same_behind; ++i) {
    back += before[before.size() - 1 - i].size();
  }
  const std::vector<uint64_t> old_cuts = Cuts(old_text, format);
  const std::vector<uint64_t> new_cuts = Cuts(new_text, format);
  std::set<uint64_t> old_front, new_front, old_back, new_back;
  const auto divide = [&](const std::vector<uint64_t>& cuts, uint64_t size,
                          std::set<uint64_t>* in_front,
                          std::set<uint64_t>* behind) {
    for (const uint64_t cut : cuts) {
      if (cut <= front) {
        in_front->insert(front - cut);
      } else if (size - cut <= back) {
        behind->insert(back - (size - cut));
      }
    }
  };
  divide(old_cuts, old_text.size(), &old_front, &old_back);
  divide(new_cuts, new_text.size(), &new_front, &new_back);
  // Distances from the change, nearest first: beyond the nearest `bound` all
  // are in both.
  const auto expect_same = [&](const std::set<uint64_t>& a,
                               const std::set<uint64_t>& b) {
    int nearest = 0;
    for (const uint64_t cut : a) {
      if (nearest++ >= bound) {
        EXPECT_TRUE(b.count(cut)) << "cut " << nearest << " from the change";
      }
    }
  };
  expect_same(old_front, new_front);
  expect_same(new_front, old_front);
  expect_same(old_back, new_back);
  expect_same(new_back, old_back);
}

void TestLocality(bool headings, TextFormat format) {
  for (int seed = 0; seed < kSeeds; ++seed) {
    TextMaker maker(seed);
    std::vector<std::string> paragraphs;
    for (int i = 0; i < 80; ++i) {
      if (headings && maker.Below(4) == 0) {
        paragraphs.push_back(absl::StrCat(std::string(1 + maker.Below(4), '#'),
                                          " ", maker.Below(1000), "\n\n"));
      } else {
        paragraphs.push_back(maker.Paragraph());
      }
    }
    const size_t at = static_cast<size_t>(maker.Below(80));
    SCOPED_TRACE(absl::StrCat("seed ", seed, ", paragraph ", at));
    std::vector<std::string> edited = paragraphs;
    edited[at] = maker.Paragraph();
    ExpectLocal(paragraphs, edited, at, format, 3);
    std::vector<std::string> inserted = paragraphs;
    inserted.insert(inserted.begin() + static_cast<std::ptrdiff_t>(at),
                    maker.Paragraph());
    ExpectLocal(paragraphs, inserted, at, format, 3);
    ExpectLocal(inserted, paragraphs, at, format, 3);
  }
}

TEST(ChunkerProperty, AnEditInProseMovesThreeCutsOnEitherSideAtMost) {
  TestLocality(false, TextFormat::kPlain);
}

TEST(ChunkerProperty, AnEditAmongHeadingsMovesThreeCutsOnEitherSideAtMost) {
  TestLocality(true, TextFormat::kMarkdown);
}

TEST(ChunkerProperty, AnEditInOneLongLineMovesThreeCutsOnEitherSideAtMost) {
  for (int seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    TextMaker maker(seed);
    std::vector<std::string> words;
    for (int i = 0; i < 8000; ++i) {
      words.push_back(absl::StrCat(maker.Below(100000), " "));
    }
    std::vector<std::string> edited = words;
    const size_t at = static_cast<size_t>(maker.Below(8000));
    edited[at] = "changed ";
    ExpectLocal(words, edited, at, TextFormat::kPlain, 3);
  }
}

TEST(ChunkerProperty, TheSameTextIsCutTheSameWay) {
  for (int seed = 0; seed < 20; ++seed) {
    TextMaker maker(seed);
    const std::string text = maker.Noise(500);
    const std::string copy = text;
    EXPECT_EQ(Cuts(text, TextFormat::kMarkdown),
              Cuts(copy, TextFormat::kMarkdown));
  }
}

}  // namespace
}  // namespace pith
