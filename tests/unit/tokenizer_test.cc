#include "embedder/tokenizer.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
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

fs::path TinyRoberta() {
  return fs::path(PITH_TEST_DATA) / "tiny-roberta";
}

fs::path TinyXlmRoberta() {
  return fs::path(PITH_TEST_DATA) / "tiny-xlm-roberta";
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

// What tests/scripts/make_{wordpiece,tokenizer}_cases.py write: a line that
// changes the tokenizer of `model`, and texts with their ids.
void ExpectCases(const fs::path& model, const std::string& file,
                 int least_cases) {
  const json base = ReadJson(model / "tokenizer.json");
  std::ifstream cases(fs::path(PITH_TEST_DATA) / file);
  std::unique_ptr<Tokenizer> tokenizer;
  std::string name;
  int checked = 0;
  for (std::string line; std::getline(cases, line);) {
    const json entry = json::parse(line);
    if (entry.contains("tokenizer")) {
      name = entry["tokenizer"];
      json changed = base;
      changed.merge_patch(entry["patch"]);
      auto loaded = LoadJson(changed);
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
  EXPECT_GT(checked, least_cases);
}

TEST(Tokenizer, MatchesTheReferenceOnHardCasesForWordPiece) {
  ExpectCases(TinyBert(), "wordpiece_cases.jsonl", 300);
}

TEST(Tokenizer, MatchesTheReferenceOnHardCasesForByteLevelBpe) {
  ExpectCases(TinyRoberta(), "byte_level_bpe_cases.jsonl", 200);
}

TEST(Tokenizer, MatchesTheReferenceOnHardCasesForUnigram) {
  ExpectCases(TinyXlmRoberta(), "unigram_cases.jsonl", 200);
}

TEST(Tokenizer, MatchesTheIdsOfTheTinyModelsReference) {
  for (const fs::path& model : {TinyBert(), TinyRoberta(), TinyXlmRoberta()}) {
    SCOPED_TRACE(model);
    const auto tokenizer = Tokenizer::Load(model);
    ASSERT_OK(tokenizer);
    EXPECT_EQ((*tokenizer)->vocab_size(),
              ReadJson(model / "config.json")["vocab_size"]);
    const int max_tokens =
        ReadJson(model / "sentence_bert_config.json")["max_seq_length"];
    for (const json& row : ReadJson(model / "reference.json")) {
      SCOPED_TRACE(row["text"]);
      const std::vector<int32_t> ids = row["ids"];
      const std::string text =
          row.value("prompt", std::string()) + row["text"].get<std::string>();
      EXPECT_THAT((*tokenizer)->Encode(text, max_tokens).ids,
                  ElementsAreArray(ids));
    }
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

void ExpectRefusals(const fs::path& model, std::span<const Refusal> refusals) {
  for (const Refusal& refusal : refusals) {
    SCOPED_TRACE(std::string(refusal.pointer) + ": " + refusal.message);
    json file = ReadJson(model / "tokenizer.json");
    file[json::json_pointer(refusal.pointer)] = refusal.value;
    const auto tokenizer = LoadJson(file);
    EXPECT_THAT(tokenizer,
                StatusIs(absl::StatusCode::kInvalidArgument, refusal.message));
    EXPECT_THAT(tokenizer,
                StatusIs(absl::StatusCode::kInvalidArgument, "tokenizer.json"));
  }
}

TEST(Tokenizer, RefusesWhatItDoesNotSupportByName) {
  const Refusal refusals[] = {
      {"/normalizer/type", "NFKC",
       "normalizer: type is \"NFKC\"; supported: BertNormalizer, "
       "Precompiled, Replace, Strip"},
      {"/normalizer", 3, "normalizer is 3; supported: an object"},
      {"/normalizer/lowercase", 1, "lowercase is 1; supported: true or false"},
      {"/pre_tokenizer/type", "Metaspace",
       "pre_tokenizer: type is \"Metaspace\"; supported: BertPreTokenizer"},
      {"/post_processor/type", "Other",
       "type is \"Other\"; supported: TemplateProcessing, BertProcessing, "
       "RobertaProcessing"},
      {"/post_processor", nullptr,
       "post_processor is missing; supported: TemplateProcessing"},
      {"/post_processor/single", json::array(), "a template with the text"},
      {"/post_processor/special_tokens", json::object(), "[CLS] is missing"},
      {"/post_processor/special_tokens/[SEP]/ids", {-1}, "ids is an array"},
      {"/model/type", "WordLevel",
       "model: type is \"WordLevel\"; supported: BPE, Unigram, WordPiece"},
      {"/model/unk_token", "[NONE]", "has no \"[NONE]\""},
      {"/model/vocab/the", -1, "the is -1; supported: an integer from 0"},
      {"/model/vocab/the", 1e9, "the is 1000000000.0; supported"},
      {"/model/max_input_chars_per_word", 0, "max_input_chars_per_word is 0"},
      {"/added_tokens", 3, "added_tokens is 3; supported: an array"},
      {"/added_tokens/0/id", 7, "id is 7; supported: 0, the id of \"[PAD]\""},
      {"/added_tokens/1/content", "[PAD]", "each once"},
      {"/added_tokens/1/lstrip", nullptr, "lstrip is missing"},
  };
  ExpectRefusals(TinyBert(), refusals);
}

TEST(Tokenizer, RefusesWhatItDoesNotSupportOfByteLevelBpe) {
  const Refusal refusals[] = {
      {"/pre_tokenizer/type", "Whitespace",
       "pre_tokenizer: type is \"Whitespace\"; supported: ByteLevel"},
      {"/pre_tokenizer", nullptr,
       "pre_tokenizer has 0 components; supported: ByteLevel next"},
      {"/pre_tokenizer/use_regex", false, "use_regex is false"},
      {"/pre_tokenizer/add_prefix_space", nullptr,
       "add_prefix_space is missing"},
      {"/model/dropout", 0.1, "dropout is 0.1; supported: null"},
      {"/model/continuing_subword_prefix", "##",
       "continuing_subword_prefix is \"##\"; supported: null"},
      {"/model/end_of_word_suffix", "</w>", "end_of_word_suffix is \"</w>\""},
      {"/model/byte_fallback", true, "byte_fallback is true; supported: false"},
      {"/model/ignore_merges", true, "ignore_merges is true; supported: false"},
      {"/model/unk_token", "[NONE]", "has no \"[NONE]\""},
      {"/model/merges", 3, "merges is 3; supported: an array"},
      {"/model/merges/0", "a b c",
       "merges has \"a b c\"; supported: two tokens"},
      {"/model/merges/0", {"a", "q"}, "merges has [\"a\",\"q\"]"},
      {"/model/merges/0", 7, "merges has 7"},
      {"/model/vocab/a", "b", "a is \"b\"; supported: an integer"},
      {"/post_processor/cls", {"<s>", -1}, "cls is an array; supported"},
  };
  ExpectRefusals(TinyRoberta(), refusals);
}

TEST(Tokenizer, RefusesWhatItDoesNotSupportOfUnigram) {
  const json metaspace = {{"type", "Metaspace"}, {"replacement", "_"}};
  const json split = {{"type", "WhitespaceSplit"}};
  const Refusal refusals[] = {
      {"/pre_tokenizer/pretokenizers/0/type", "Digits",
       "pretokenizers: type is \"Digits\"; supported: WhitespaceSplit"},
      {"/pre_tokenizer/pretokenizers/1", split,
       "type is \"WhitespaceSplit\"; supported: Metaspace"},
      {"/pre_tokenizer/pretokenizers",
       {split, metaspace, split},
       "type is \"WhitespaceSplit\"; supported: nothing"},
      {"/pre_tokenizer/pretokenizers/1/prepend_scheme", "last",
       "prepend_scheme is \"last\"; supported: always, first, never"},
      {"/pre_tokenizer/pretokenizers/1/prepend_scheme", "first",
       "supported: always, never, after WhitespaceSplit"},
      {"/pre_tokenizer/pretokenizers/1/add_prefix_space", false,
       "prepend_scheme is \"always\"; supported: never, as add_prefix_space"},
      {"/pre_tokenizer/pretokenizers/1/replacement", "ab",
       "replacement is \"ab\"; supported: one character"},
      {"/model/unk_id", nullptr, "unk_id is missing; supported: an integer"},
      {"/model/unk_id", 100000, "unk_id is 100000; supported: an integer"},
      {"/model/vocab", json::object(), "vocab is an object; supported: an"},
      {"/model/vocab/5",
       {"a"},
       "vocab has [\"a\"] as its entry 5; supported: a piece and its score"},
      {"/normalizer/type", "NFKC", "type is \"NFKC\"; supported"},
      {"/normalizer/precompiled_charsmap", "*", "bytes in base64"},
      {"/normalizer/precompiled_charsmap", "AAAA",
       "normalizer: a charsmap of 3 bytes"},
      {"/normalizer",
       {{"type", "Replace"}, {"pattern", {{"Regex", "a+"}}}, {"content", "b"}},
       "pattern: Regex is \"a+\"; supported: \" {2,}\""},
      {"/normalizer",
       {{"type", "Replace"}, {"pattern", {{"String", ""}}}, {"content", "b"}},
       "String is \"\"; supported: a text"},
      {"/normalizer",
       {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", ""}},
       "content is \"\"; supported: a text of up to 256 bytes"},
      {"/normalizer",
       {{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}},
       "strip_left is true; supported: false"},
      {"/post_processor",
       {{"type", "Sequence"},
        {"processors", json::array({{{"type", "ByteLevel"}}})}},
       "post_processor is an object; supported: TemplateProcessing"},
  };
  ExpectRefusals(TinyXlmRoberta(), refusals);
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
