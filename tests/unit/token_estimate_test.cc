#include "embedder/remote/token_estimate.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "core/base/string_view.h"
#include "tests/word_counter.h"

namespace pith {
namespace {

class EstimateCounter : public TokenCounter {
 public:
  int CountTokens(std::string_view text) const override {
    return EstimateTokens(text);
  }
  int max_tokens() const override { return 100; }
};

TEST(EstimateTokensTest, ByKindOfCharacter) {
  struct Case {
    std::string text;
    int tokens;
  };
  for (const Case& c :
       {Case{"", 0}, Case{" \t\r ", 0}, Case{"a", 1}, Case{"word", 1},
        Case{"words", 2}, Case{"two words", 3}, Case{"12345", 3}, Case{"a1", 2},
        Case{"a, b.", 4}, Case{"\n\n", 2}, Case{"\xC3\xA9", 1},
        // Three bytes each, six and a half of them.
        Case{"\xE6\x97\xA5\xE6\x9C\xAC", 3}, Case{"\xF0\x9F\x98\x80", 2},
        Case{std::string("\0\x01", 2), 2}, Case{"\xFF\xFF\xFF", 2}}) {
    EXPECT_EQ(EstimateTokens(c.text), c.tokens) << c.text;
  }
}

// What TokenCounter asks for.
TEST(EstimateTokensTest, PartsDividedByWhiteSpaceAddUp) {
  const std::string text =
      "Fig. 3: x1 \xC3\xA9t\xC3\xA9  \n\n de 1999\t(\xE6\x97\xA5)   end";
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ' ' || text[i] == '\n' || text[i] == '\t') {
      EXPECT_GE(
          EstimateTokens(text.substr(0, i)) + EstimateTokens(text.substr(i)),
          EstimateTokens(text))
          << i;
    }
  }
}

TEST(CutToTokensTest, LongestPrefixThatFits) {
  const WordCounter counter;
  const std::string text = "one two three four";
  EXPECT_EQ(CutToTokens(text, counter, 4), text);
  EXPECT_EQ(CutToTokens(text, counter, 9), text);
  EXPECT_EQ(CutToTokens(text, counter, 2), "one two ");
  EXPECT_EQ(CutToTokens(text, counter, 0), "");
  EXPECT_EQ(CutToTokens("", counter, 0), "");
}

TEST(CutToTokensTest, WholeCharacters) {
  const EstimateCounter counter;
  std::string text;
  for (int i = 0; i < 50; ++i) {
    text += "\xE6\x97\xA5";
  }
  for (int tokens = 0; tokens <= 75; ++tokens) {
    const std::string_view cut = CutToTokens(text, counter, tokens);
    EXPECT_EQ(cut.size() % 3, 0) << tokens;
    EXPECT_LE(EstimateTokens(cut), tokens);
    // The next character would not fit.
    if (cut.size() < text.size()) {
      EXPECT_GT(EstimateTokens(text.substr(0, cut.size() + 3)), tokens);
    }
  }
  // Bytes that continue no character are one with what stands before them.
  EXPECT_EQ(CutToTokens(std::string(9, '\x80'), counter, 2), "");
}

}  // namespace
}  // namespace pith
