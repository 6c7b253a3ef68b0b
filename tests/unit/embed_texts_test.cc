#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "benchmarks/embed/texts.h"
#include "tests/status_matchers.h"

namespace pith {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

std::unique_ptr<Tokenizer> LoadTokenizer() {
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer =
      Tokenizer::Load(std::filesystem::path(PITH_TEST_DATA) / "tiny-bert");
  EXPECT_OK(tokenizer);
  return *std::move(tokenizer);
}

TEST(MakeTexts, JoinsAndCutsPassagesBetweenSpecialTokens) {
  const std::unique_ptr<Tokenizer> tokenizer = LoadTokenizer();
  const std::vector<std::string> passages = {"the cat", "a dog ran",
                                             "water is on the old mountain"};
  const auto encoded = [&](const char* text) {
    return tokenizer->Encode(text, 64).ids;
  };
  const absl::StatusOr<TokenizedTexts> texts =
      MakeTexts(*tokenizer, passages, "6", 18, 64);
  ASSERT_OK(texts);
  ASSERT_THAT(encoded("the cat"), SizeIs(4));
  // Two joined and cut, one cut, and from the beginning again.
  EXPECT_THAT(*texts,
              ElementsAre(encoded("the cat a dog"), encoded("water is on the"),
                          encoded("the cat a dog")));
  EXPECT_EQ(CountTokens(*texts), 18u);
}

TEST(MakeTexts, MixedLengthsAreLogNormal) {
  const std::unique_ptr<Tokenizer> tokenizer = LoadTokenizer();
  const absl::StatusOr<TokenizedTexts> texts = MakeTexts(
      *tokenizer, std::vector<std::string>{"the cat"}, "mixed", 100'000, 256);
  ASSERT_OK(texts);
  std::vector<size_t> lengths;
  for (const std::vector<int32_t>& text : *texts) {
    lengths.push_back(text.size());
  }
  std::ranges::sort(lengths);
  EXPECT_GE(lengths.front(), 3u);
  EXPECT_EQ(lengths.back(), 256u);
  EXPECT_NEAR(static_cast<double>(lengths[lengths.size() / 2]), 70, 5);
  // As much as is asked for and no text more.
  EXPECT_GE(CountTokens(*texts), 100'000u);
  EXPECT_LT(CountTokens(*texts) - texts->back().size(), 100'000u);
}

TEST(MakeTexts, RefusesLengthsThatTheModelDoesNotTake) {
  const std::unique_ptr<Tokenizer> tokenizer = LoadTokenizer();
  for (const std::string mix : {"2", "65", "-1", "long", ""}) {
    EXPECT_THAT(
        MakeTexts(*tokenizer, std::vector<std::string>{"the cat"}, mix, 100,
                  64),
        StatusIs(absl::StatusCode::kInvalidArgument,
                 "tokens per text \"" + mix + "\": are \"mixed\" or 3 to 64"));
  }
}

}  // namespace
}  // namespace pith
