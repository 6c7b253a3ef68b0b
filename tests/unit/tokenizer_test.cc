#include "embedder/tokenizer.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "glog/logging.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::ElementsAreArray;

constexpr int kNoLimit = 1 << 20;

json ReadJson(const fs::path& path) {
  return json::parse(std::ifstream(path));
}

fs::path TinyBert() {
  return fs::path(PITH_TEST_DATA) / "tiny-bert";
}

json TinyTokenizer() {
  return ReadJson(TinyBert() / "tokenizer.json");
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadJson(const json& file) {
  const TempDirectory directory;
  std::ofstream(directory.path() / "tokenizer.json") << file;
  return Tokenizer::Load(directory.path());
}

std::vector<int32_t> Ids(const Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.Encode(text, kNoLimit).ids;
}

std::unique_ptr<Tokenizer> Tiny() {
  auto tokenizer = Tokenizer::Load(TinyBert());
  CHECK(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

TEST(Tokenizer, MatchesTheReferenceOnHardCases) {
  const json base = TinyTokenizer();
  std::ifstream cases(fs::path(PITH_TEST_DATA) / "wordpiece_cases.jsonl");
  std::unique_ptr<Tokenizer> tokenizer;
  std::string name;
  int checked = 0;
  for (std::string line; std::getline(cases, line);) {
    const json entry = json::parse(line);
    if (entry.contains("tokenizer")) {
      name = entry["tokenizer"];
      json file = base;
      file.merge_patch(entry["patch"]);
      auto loaded = LoadJson(file);
      ASSERT_OK(loaded) << name;
      tokenizer = *std::move(loaded);
      continue;
    }
    SCOPED_TRACE(name + ": " + line);
    const std::string text = entry["text"];
    const std::vector<int32_t> ids = entry["ids"];
    EXPECT_THAT(Ids(*tokenizer, text), ElementsAreArray(ids));
    EXPECT_EQ(tokenizer->Count(text), static_cast<int>(ids.size()) - 2);
    ++checked;
  }
  EXPECT_GT(checked, 300);
}

TEST(Tokenizer, MatchesTheIdsOfTheTinyModelsReference) {
  const auto tokenizer = Tiny();
  const int max_tokens =
      ReadJson(TinyBert() / "sentence_bert_config.json")["max_seq_length"];
  for (const json& row : ReadJson(TinyBert() / "reference.json")) {
    SCOPED_TRACE(row["text"]);
    const std::vector<int32_t> ids = row["ids"];
    const std::string text = row["text"];
    EXPECT_THAT(tokenizer->Encode(text, max_tokens).ids, ElementsAreArray(ids));
  }
}

TEST(Tokenizer, CutsTheEndOfTheTextAndKeepsSpecialTokens) {
  const auto tokenizer = Tiny();
  const std::vector<int32_t> whole = Ids(*tokenizer, "the quick brown fox");
  ASSERT_EQ(whole.size(), 6u);
  for (int max_tokens = 2; max_tokens <= 7; ++max_tokens) {
    SCOPED_TRACE(max_tokens);
    std::vector<int32_t> expected = whole;
    if (max_tokens < 6) {
      expected.resize(static_cast<size_t>(max_tokens - 1));
      expected.push_back(whole.back());
    }
    const Encoding encoding =
        tokenizer->Encode("the quick brown fox", max_tokens);
    EXPECT_THAT(encoding.ids, ElementsAreArray(expected));
    EXPECT_EQ(encoding.truncated_tokens, std::max(0, 6 - max_tokens));
  }
}

// A word is cut into pieces before it is known that it cannot be: the pieces
// must not count against the limit.
TEST(Tokenizer, CutsAtTheLimitAfterAWordThatFails) {
  const auto tokenizer = Tiny();
  const std::vector<int32_t> whole = Ids(*tokenizer, "abc☃ the fox");
  ASSERT_EQ(whole.size(), 5u);
  const Encoding encoding = tokenizer->Encode("abc☃ the fox", 4);
  EXPECT_THAT(encoding.ids,
              ElementsAreArray({whole[0], whole[1], whole[2], whole[4]}));
  EXPECT_EQ(encoding.truncated_tokens, 1);
}

TEST(Tokenizer, KnowsItsSizes) {
  const auto tokenizer = Tiny();
  EXPECT_EQ(tokenizer->special_tokens(), 2);
  EXPECT_EQ(tokenizer->vocab_size(),
            ReadJson(TinyBert() / "config.json")["vocab_size"]);
}

TEST(Tokenizer, CountsAddedTokensIntoTheVocabularySize) {
  json file = TinyTokenizer();
  const int size = static_cast<int>(file["model"]["vocab"].size());
  json added = file["added_tokens"][0];
  added["content"] = "[NEW]";
  added["id"] = size;
  file["added_tokens"].push_back(added);
  const auto tokenizer = LoadJson(file);
  ASSERT_OK(tokenizer);
  EXPECT_EQ((*tokenizer)->vocab_size(), size + 1);
}

TEST(Tokenizer, CountsIdsOfTheTemplateIntoTheVocabularySize) {
  json file = TinyTokenizer();
  file["post_processor"]["special_tokens"]["[SEP]"]["ids"] = {2000};
  const auto tokenizer = LoadJson(file);
  ASSERT_OK(tokenizer);
  EXPECT_EQ((*tokenizer)->vocab_size(), 2001);
}

// Cleaning drops U+FFFD, so it is looked at without.
TEST(Tokenizer, ReadsEachMaximalPartThatIsNotUtf8AsOneReplacement) {
  json file = TinyTokenizer();
  file["normalizer"]["clean_text"] = false;
  const auto size = file["model"]["vocab"].size();
  file["model"]["vocab"]["\uFFFD"] = size;
  file["model"]["vocab"]["##\uFFFD"] = size + 1;
  const auto tokenizer = LoadJson(file);
  ASSERT_OK(tokenizer);
  // What Python's bytes.decode(errors="replace") makes of the same bytes.
  const std::pair<std::string, std::string> cases[] = {
      {"\xFF", "\uFFFD"},
      {"\x80\x80", "\uFFFD\uFFFD"},
      {"a\xC3", "a\uFFFD"},
      {"\xC3"
       "b",
       "\uFFFDb"},
      {"\xC0\xAF", "\uFFFD\uFFFD"},
      {"\xE2\x82", "\uFFFD"},
      {"\xE2\x82 the", "\uFFFD the"},
      {"\xE0\x80\x80", "\uFFFD\uFFFD\uFFFD"},
      {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"},
      {"\xF0\x9F\x98", "\uFFFD"},
      {"\xF0\x9F\x98\xF0\x9F\x98\x80", "\uFFFD\U0001F600"},
      {"\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
      {"\xF8\x88\x80\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD"},
      {"the \xFE fox", "the \uFFFD fox"},
  };
  for (const auto& [bytes, text] : cases) {
    SCOPED_TRACE(text);
    EXPECT_EQ(Ids(**tokenizer, bytes), Ids(**tokenizer, text));
  }
}

TEST(Tokenizer, DropsBytesThatAreNotUtf8WhenItCleans) {
  const auto tokenizer = Tiny();
  EXPECT_EQ(Ids(*tokenizer, "the\xFF fox\x80"), Ids(*tokenizer, "the fox"));
}

TEST(Tokenizer, ReadsVocabTextAsTheSameVocabulary) {
  const TempDirectory temporary;
  const fs::path& directory = temporary.path();
  const json vocab = TinyTokenizer()["model"]["vocab"];
  std::vector<std::string> tokens(vocab.size());
  for (const auto& [token, id] : vocab.items()) {
    tokens[id.get<size_t>()] = token;
  }
  std::ofstream file(directory / "vocab.txt");
  for (const std::string& token : tokens) {
    file << token << "\n";
  }
  file.close();
  const std::string text = "The [MASK] Fox É 日本 running☃";
  auto tokenizer = Tokenizer::Load(directory);
  ASSERT_OK(tokenizer);
  EXPECT_EQ(Ids(**tokenizer, text), Ids(*Tiny(), text));
  EXPECT_EQ((*tokenizer)->vocab_size(), Tiny()->vocab_size());

  std::ofstream(directory / "tokenizer_config.json")
      << R"({"do_lower_case": false, "mask_token": {"content": "fox"}})";
  tokenizer = Tokenizer::Load(directory);
  ASSERT_OK(tokenizer);
  json cased = TinyTokenizer();
  cased["normalizer"]["lowercase"] = false;
  const auto expected = LoadJson(cased);
  ASSERT_OK(expected);
  EXPECT_EQ(Ids(**tokenizer, "The FOX É"), Ids(**expected, "The FOX É"));
  EXPECT_EQ(Ids(**tokenizer, "[MASK]"), Ids(**expected, "[ MASK ]"));
}

TEST(Tokenizer, NamesAConfigFileThatCannotBeOpened) {
  const TempDirectory temporary;
  const fs::path& directory = temporary.path();
  std::ofstream(directory / "vocab.txt") << "[UNK]\n";
  fs::create_symlink("tokenizer_config.json",
                     directory / "tokenizer_config.json");
  EXPECT_THAT(Tokenizer::Load(directory),
              StatusIs(absl::StatusCode::kInternal, "tokenizer_config.json"));
}

TEST(Tokenizer, RefusesADirectoryWithoutTokenizer) {
  const TempDirectory directory;
  EXPECT_THAT(Tokenizer::Load(directory.path()),
              StatusIs(absl::StatusCode::kNotFound,
                       "supported: tokenizer.json, vocab.txt"));
}

TEST(Tokenizer, RefusesVocabTextWithoutASpecialToken) {
  const TempDirectory temporary;
  const fs::path& directory = temporary.path();
  std::ofstream(directory / "vocab.txt") << "[UNK]\nthe\n";
  EXPECT_THAT(Tokenizer::Load(directory),
              StatusIs(absl::StatusCode::kInvalidArgument, "no \"[SEP]\""));
}

struct Refusal {
  const char* pointer;
  json value;
  const char* message;
};

TEST(Tokenizer, RefusesWhatItDoesNotSupportByName) {
  const Refusal refusals[] = {
      {"/normalizer/type", "NFKC",
       "normalizer: type is \"NFKC\"; supported: BertNormalizer"},
      {"/normalizer", nullptr, "normalizer is missing; supported: an object"},
      {"/normalizer/lowercase", 1, "lowercase is 1; supported: true or false"},
      {"/pre_tokenizer/type", "Metaspace",
       "pre_tokenizer: type is \"Metaspace\"; supported: BertPreTokenizer"},
      {"/post_processor/type", "RobertaProcessing",
       "type is \"RobertaProcessing\"; supported: TemplateProcessing, "
       "BertProcessing"},
      {"/post_processor/single", json::array(), "a template with the text"},
      {"/post_processor/special_tokens", json::object(), "[CLS] is missing"},
      {"/post_processor/special_tokens/[SEP]/ids", {-1}, "ids is an array"},
      {"/model/type", "BPE", "model: type is \"BPE\"; supported: WordPiece"},
      {"/model/unk_token", "[NONE]", "has no \"[NONE]\""},
      {"/model/vocab/the", -1, "the is -1; supported: an integer from 0"},
      {"/model/vocab/the", 1e9, "the is 1000000000.0; supported"},
      {"/model/max_input_chars_per_word", 0, "max_input_chars_per_word is 0"},
      {"/added_tokens", 3, "added_tokens is 3; supported: an array"},
      {"/added_tokens/0/id", 7, "id is 7; supported: 0, the id of \"[PAD]\""},
      {"/added_tokens/1/content", "[PAD]", "each once"},
      {"/added_tokens/1/lstrip", nullptr, "lstrip is missing"},
  };
  for (const Refusal& refusal : refusals) {
    SCOPED_TRACE(refusal.pointer);
    json file = TinyTokenizer();
    file[json::json_pointer(refusal.pointer)] = refusal.value;
    const auto tokenizer = LoadJson(file);
    EXPECT_THAT(tokenizer,
                StatusIs(absl::StatusCode::kInvalidArgument, refusal.message));
    EXPECT_THAT(tokenizer,
                StatusIs(absl::StatusCode::kInvalidArgument, "tokenizer.json"));
  }
}

TEST(Tokenizer, RefusesAnAddedTokenThatNormalisesToNothing) {
  json file = TinyTokenizer();
  json added = file["added_tokens"][0];
  added["content"] = "\u0301";
  added["id"] = file["model"]["vocab"].size();
  added["normalized"] = true;
  file["added_tokens"].push_back(added);
  EXPECT_THAT(LoadJson(file), StatusIs(absl::StatusCode::kInvalidArgument,
                                       "is empty when normalised"));
}

TEST(Tokenizer, RefusesAFileThatIsNotJson) {
  const TempDirectory temporary;
  const fs::path& directory = temporary.path();
  std::ofstream(directory / "tokenizer.json") << "{\"model\": ";
  EXPECT_THAT(Tokenizer::Load(directory),
              StatusIs(absl::StatusCode::kInvalidArgument, "is not JSON"));
}

}  // namespace
}  // namespace pith
