#include "embedder/model_directory.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::SizeIs;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kNotFound = absl::StatusCode::kNotFound;

fs::path TinyBert() {
  return fs::path(PITH_TEST_DATA) / "tiny-bert";
}

class ModelDirectoryTest : public testing::Test {
 protected:
  ModelDirectoryTest() {
    model_ = root_ / "model";
    fs::copy(TinyBert(), model_, fs::copy_options::recursive);
  }

  void Write(const std::string& file, const std::string& content) const {
    fs::create_directories((model_ / file).parent_path());
    std::ofstream(model_ / file) << content;
  }

  // Sets one field of a JSON file of the model.
  void Set(const std::string& file, const std::string& pointer,
           const json& value) const {
    json content = json::parse(std::ifstream(model_ / file));
    content[json::json_pointer(pointer)] = value;
    Write(file, content.dump());
  }

  void SetModules(std::initializer_list<std::string> types) const {
    json modules = json::array();
    for (const std::string& type : types) {
      modules.push_back({{"type", "sentence_transformers.models." + type},
                         {"path", type == "Pooling" ? "1_Pooling" : ""}});
    }
    Write("modules.json", modules.dump());
  }

  absl::StatusOr<ModelSpec> Load() const { return LoadModelSpec(model_); }

  const TempDirectory directory_;
  const fs::path root_ = directory_.path();
  fs::path model_;
};

TEST_F(ModelDirectoryTest, ReadsTheTinyModel) {
  const auto spec = Load();
  ASSERT_OK(spec);
  EXPECT_EQ(spec->name, "model");
  EXPECT_EQ(spec->directory, model_);
  EXPECT_EQ(spec->encoder.vocab_size, 974);
  EXPECT_EQ(spec->encoder.hidden_size, 48);
  EXPECT_EQ(spec->encoder.layers, 2);
  EXPECT_EQ(spec->encoder.heads, 4);
  EXPECT_EQ(spec->encoder.intermediate_size, 96);
  EXPECT_EQ(spec->encoder.max_positions, 64);
  EXPECT_EQ(spec->encoder.token_types, 2);
  EXPECT_EQ(spec->encoder.layer_norm_epsilon, 1e-12);
  EXPECT_EQ(spec->encoder.activation, Activation::kGelu);
  EXPECT_EQ(spec->pooling, Pooling::kMean);
  EXPECT_TRUE(spec->normalizes);
  EXPECT_EQ(spec->max_tokens, 64);
  EXPECT_EQ(spec->query_prompt, "");
  EXPECT_EQ(spec->passage_prompt, "");
}

TEST_F(ModelDirectoryTest, NamesADirectoryThatIsWrittenWithASlash) {
  const auto spec = LoadModelSpec(model_ / "");
  ASSERT_OK(spec);
  EXPECT_EQ(spec->name, "model");
}

TEST_F(ModelDirectoryTest, RefusesEncodersByTheFieldAndWhatIsSupported) {
  struct Case {
    const char* field;
    json value;
    const char* message;
  };
  const Case cases[] = {
      {"/model_type", "mpnet",
       "model_type is \"mpnet\"; supported: bert, roberta, xlm-roberta"},
      {"/model_type", "xlm-roberta-xl", "model_type is \"xlm-roberta-xl\""},
      {"/model_type", nullptr, "model_type is missing"},
      {"/hidden_act", "silu", "hidden_act is \"silu\"; supported: gelu"},
      {"/position_embedding_type", "relative_key",
       "position_embedding_type is \"relative_key\"; supported: absolute"},
      {"/is_decoder", true, "is_decoder is true; supported: false"},
      {"/vocab_size", 0, "vocab_size is 0; supported: an integer from 1"},
      {"/hidden_size", "48", "hidden_size is \"48\"; supported: an integer"},
      {"/num_hidden_layers", -1, "num_hidden_layers is -1"},
      {"/num_attention_heads", 5,
       "num_attention_heads is 5; supported: a divisor of hidden_size, which "
       "is 48"},
      {"/intermediate_size", 1.5, "intermediate_size is 1.5"},
      {"/max_position_embeddings", UINT64_MAX,
       "max_position_embeddings is 18446744073709551615"},
      {"/type_vocab_size", json::object(), "type_vocab_size is an object"},
      {"/layer_norm_eps", 0, "layer_norm_eps is 0; supported"},
  };
  for (const Case& test : cases) {
    SCOPED_TRACE(test.field);
    fs::copy(TinyBert() / "config.json", model_ / "config.json",
             fs::copy_options::overwrite_existing);
    Set("config.json", test.field, test.value);
    EXPECT_THAT(Load(), StatusIs(kInvalid, test.message));
    EXPECT_THAT(Load(), StatusIs(kInvalid, "config.json"));
  }
}

TEST_F(ModelDirectoryTest, TakesRobertasPositionsFromBehindPadding) {
  for (const char* model_type : {"roberta", "xlm-roberta"}) {
    SCOPED_TRACE(model_type);
    Set("config.json", "/model_type", model_type);
    Set("config.json", "/max_position_embeddings", 66);
    Set("config.json", "/pad_token_id", 1);
    auto spec = Load();
    ASSERT_OK(spec);
    EXPECT_EQ(spec->encoder.position_offset, 2);
    EXPECT_EQ(spec->encoder.max_positions, 64);
    EXPECT_EQ(spec->max_tokens, 64);
    Set("config.json", "/pad_token_id", nullptr);
    EXPECT_EQ(Load()->encoder.position_offset, 2);
    Set("config.json", "/pad_token_id", 0);
    EXPECT_EQ(Load()->encoder.max_positions, 65);
    Set("config.json", "/pad_token_id", 2);
    EXPECT_THAT(Load(),
                StatusIs(kInvalid,
                         "max_seq_length is 64; supported: an integer from 3 "
                         "to 63"));
    Set("config.json", "/pad_token_id", -1);
    EXPECT_THAT(Load(), StatusIs(kInvalid, "pad_token_id is -1"));
    Set("config.json", "/pad_token_id", 63);
    EXPECT_THAT(Load(), StatusIs(kInvalid,
                                 "max_position_embeddings is 66; supported: an "
                                 "integer from 67"));
  }
}

TEST_F(ModelDirectoryTest, LetsPithJsonHaveTheLastWord) {
  Write("config_sentence_transformers.json",
        R"({"prompts": {"query": "q: ", "document": "d: "}})");
  Write("pith.json", R"({"query_prompt": "query: "})");
  auto spec = Load();
  ASSERT_OK(spec);
  EXPECT_EQ(spec->query_prompt, "query: ");
  EXPECT_EQ(spec->passage_prompt, "d: ");
  EXPECT_EQ(spec->pooling, Pooling::kMean);
  Write("pith.json", R"({"passage_prompt": "", "pooling": "cls"})");
  spec = Load();
  ASSERT_OK(spec);
  EXPECT_EQ(spec->query_prompt, "q: ");
  EXPECT_EQ(spec->passage_prompt, "");
  EXPECT_EQ(spec->pooling, Pooling::kCls);
}

TEST_F(ModelDirectoryTest, RefusesWhatPithJsonCannotSay) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"prompt": "q"})",
       "pith.json: unknown field \"prompt\"; supported: query_prompt, "
       "passage_prompt, pooling"},
      {R"({"query_prompt": 3})", "query_prompt is 3; supported: a string"},
      {R"({"pooling": "max"})",
       "pith.json: the pooling is \"max\"; supported: mean, cls"},
      {"[]", "pith.json is an array, not an object"},
      {"{", "pith.json is not JSON"},
  };
  for (const auto& [content, message] : cases) {
    SCOPED_TRACE(content);
    Write("pith.json", content);
    EXPECT_THAT(Load(), StatusIs(kInvalid, message));
  }
}

TEST_F(ModelDirectoryTest, KnowsTheActivations) {
  Set("config.json", "/hidden_act", "gelu_new");
  EXPECT_EQ(Load()->encoder.activation, Activation::kGeluTanh);
  Set("config.json", "/hidden_act", "relu");
  EXPECT_EQ(Load()->encoder.activation, Activation::kRelu);
}

TEST_F(ModelDirectoryTest, NamesTheFileThatIsMissing) {
  for (const char* file : {"config.json", "model.safetensors", "tokenizer.json",
                           "1_Pooling/config.json"}) {
    SCOPED_TRACE(file);
    fs::rename(model_ / file, root_ / "aside");
    EXPECT_THAT(Load(), StatusIs(kNotFound, file));
    fs::rename(root_ / "aside", model_ / file);
  }
  EXPECT_THAT(LoadModelSpec(root_ / "nothing"), StatusIs(kNotFound, "nothing"));
}

TEST_F(ModelDirectoryTest, NamesTheFileThatIsNotJson) {
  for (const char* file :
       {"config.json", "modules.json", "1_Pooling/config.json",
        "sentence_bert_config.json", "config_sentence_transformers.json"}) {
    SCOPED_TRACE(file);
    const fs::path path = model_ / file;
    const fs::path aside = root_ / "aside";
    fs::remove(aside);
    if (fs::exists(path)) {
      fs::copy(path, aside);
    }
    for (const char* content : {"{", "3"}) {
      Write(file, content);
      EXPECT_THAT(Load(), StatusIs(kInvalid, file));
    }
    fs::remove(path);
    if (fs::exists(aside)) {
      fs::copy(aside, path);
    }
  }
}

TEST_F(ModelDirectoryTest, TakesTheMeanWithoutModules) {
  fs::remove(model_ / "modules.json");
  const auto spec = Load();
  ASSERT_OK(spec);
  EXPECT_EQ(spec->pooling, Pooling::kMean);
  EXPECT_FALSE(spec->normalizes);
}

TEST_F(ModelDirectoryTest, RefusesModulesByName) {
  SetModules({"Transformer", "Pooling", "Dense"});
  EXPECT_THAT(Load(),
              StatusIs(kInvalid,
                       "module 2 is sentence_transformers.models.Dense; "
                       "supported: Transformer, then Pooling"));
  SetModules({"Transformer", "Pooling", "Normalize", "Normalize"});
  EXPECT_THAT(Load(), StatusIs(kInvalid, "module 3 is"));
  SetModules({"Transformer"});
  EXPECT_THAT(Load(), StatusIs(kInvalid, "1 modules"));
  SetModules({"Transformer", "Pooling"});
  EXPECT_OK(Load());
  Set("modules.json", "/1/path", "../1_Pooling");
  EXPECT_THAT(Load(), StatusIs(kInvalid, "path is \"../1_Pooling\""));
  SetModules({"Transformer", "Pooling"});
  Set("modules.json", "/0/path", "0_Transformer");
  EXPECT_THAT(Load(), StatusIs(kInvalid, "path is \"0_Transformer\""));
}

TEST_F(ModelDirectoryTest, ReadsBothFormsOfPooling) {
  Write(
      "1_Pooling/config.json",
      R"({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false})");
  EXPECT_EQ(Load()->pooling, Pooling::kCls);
  Write("1_Pooling/config.json", R"({"pooling_mode": "cls"})");
  EXPECT_EQ(Load()->pooling, Pooling::kCls);
  Write("1_Pooling/config.json", R"({"pooling_mode": "mean"})");
  EXPECT_EQ(Load()->pooling, Pooling::kMean);
}

TEST_F(ModelDirectoryTest, RefusesOtherPoolingByName) {
  Set("1_Pooling/config.json", "/pooling_mode_max_tokens", true);
  EXPECT_THAT(Load(), StatusIs(kInvalid,
                               "the pooling is \"mean+max\"; "
                               "supported: mean, cls"));
  Write("1_Pooling/config.json", R"({"pooling_mode": "lasttoken"})");
  EXPECT_THAT(Load(), StatusIs(kInvalid, "\"lasttoken\""));
  Write("1_Pooling/config.json", "{}");
  EXPECT_THAT(Load(), StatusIs(kInvalid, "the pooling is \"\""));
  Write("1_Pooling/config.json",
        R"({"pooling_mode": "mean", "include_prompt": false})");
  EXPECT_THAT(Load(), StatusIs(kInvalid, "include_prompt is false"));
  Write("1_Pooling/config.json",
        R"({"pooling_mode": "mean", "word_embedding_dimension": 47})");
  EXPECT_THAT(Load(), StatusIs(kInvalid,
                               "word_embedding_dimension is 47; "
                               "supported: an integer from 48 to 48"));
}

TEST_F(ModelDirectoryTest, BoundsTheTokensOfAnInput) {
  Set("sentence_bert_config.json", "/max_seq_length", 40);
  EXPECT_EQ(Load()->max_tokens, 40);
  Set("sentence_bert_config.json", "/max_seq_length", 65);
  EXPECT_THAT(Load(), StatusIs(kInvalid,
                               "max_seq_length is 65; supported: an "
                               "integer from 3 to 64"));
  Set("sentence_bert_config.json", "/max_seq_length", nullptr);
  Set("tokenizer_config.json", "/model_max_length", 50);
  EXPECT_EQ(Load()->max_tokens, 50);
  Write("tokenizer_config.json",
        R"({"model_max_length": 1000000000000000019884624838656})");
  EXPECT_EQ(Load()->max_tokens, 64);
  Write("tokenizer_config.json", R"({"model_max_length": 0})");
  EXPECT_THAT(Load(), StatusIs(kInvalid, "model_max_length is 0"));
  fs::remove(model_ / "tokenizer_config.json");
  fs::remove(model_ / "sentence_bert_config.json");
  EXPECT_EQ(Load()->max_tokens, 64);
}

TEST_F(ModelDirectoryTest, RefusesLowerCasingOutsideTheTokenizer) {
  Set("sentence_bert_config.json", "/do_lower_case", true);
  EXPECT_THAT(Load(), StatusIs(kInvalid, "do_lower_case is true"));
}

TEST_F(ModelDirectoryTest, ReadsPrompts) {
  const char* file = "config_sentence_transformers.json";
  Write(file, R"({"prompts": {"query": "query: ", "passage": "passage: "}})");
  auto spec = Load();
  ASSERT_OK(spec);
  EXPECT_EQ(spec->query_prompt, "query: ");
  EXPECT_EQ(spec->passage_prompt, "passage: ");

  Write(file, R"({"prompts": {"query": "q: ", "document": "d: ", "x": "x: "},
                  "default_prompt_name": "x"})");
  spec = Load();
  ASSERT_OK(spec);
  EXPECT_EQ(spec->query_prompt, "q: ");
  EXPECT_EQ(spec->passage_prompt, "d: ");

  Write(file, R"({"prompts": {"query": "q: ", "x": "x: "},
                  "default_prompt_name": "x"})");
  spec = Load();
  ASSERT_OK(spec);
  EXPECT_EQ(spec->passage_prompt, "x: ");

  Write(file, R"({"prompts": {"query": "q: "}, "default_prompt_name": null})");
  EXPECT_EQ(Load()->passage_prompt, "");
  Write(file, R"({"prompts": {"query": "q: "}, "default_prompt_name": "y"})");
  EXPECT_THAT(Load(), StatusIs(kInvalid, "prompts: y is missing"));
  Write(file, R"({"prompts": {"query": 3}})");
  EXPECT_THAT(Load(), StatusIs(kInvalid, "query is 3; supported: a string"));
}

class FindModelTest : public ModelDirectoryTest {
 protected:
  FindModelTest() {
    fs::create_directories(paths_.models);
    fs::create_directories(paths_.hub_cache);
  }

  // A model in the hub cache, the way huggingface_hub lays it out.
  fs::path AddToHub(const std::string& folder) const {
    const fs::path snapshot =
        paths_.hub_cache / folder / "snapshots" / "0123abc";
    fs::create_directories(snapshot.parent_path());
    fs::copy(TinyBert(), snapshot, fs::copy_options::recursive);
    fs::create_directories(paths_.hub_cache / folder / "refs");
    std::ofstream(paths_.hub_cache / folder / "refs" / "main") << "0123abc";
    return snapshot;
  }

  ModelSearchPaths paths_ = {.models = root_ / "data" / "models",
                             .hub_cache = root_ / "hub"};
};

TEST_F(FindModelTest, FindsByPathByNameAndInTheHubCache) {
  fs::copy(TinyBert(), paths_.models / "tiny", fs::copy_options::recursive);
  const fs::path snapshot = AddToHub("models--some-org--tiny-v2");
  EXPECT_EQ(*FindModel(model_.string(), paths_), model_);
  EXPECT_EQ(*FindModel("tiny", paths_), paths_.models / "tiny");
  EXPECT_EQ(*FindModel("some-org/tiny-v2", paths_), snapshot);
  EXPECT_EQ(LoadModelSpec(snapshot)->name, "some-org/tiny-v2");
}

TEST_F(FindModelTest, ListsEveryPlaceLookedIn) {
  EXPECT_THAT(FindModel("tiny", paths_),
              StatusIs(kNotFound, (paths_.models / "tiny").string()));
  EXPECT_THAT(
      FindModel("org/tiny", paths_),
      StatusIs(kNotFound, (paths_.hub_cache / "models--org--tiny").string()));
  EXPECT_THAT(FindModel("/no/such/model", paths_),
              StatusIs(kNotFound, "looked in /no/such/model"));
  EXPECT_THAT(FindModel("../tiny", paths_),
              StatusIs(kNotFound, "looked in ../tiny"));
  EXPECT_THAT(FindModel("", paths_), StatusIs(kInvalid, "is empty"));
}

TEST_F(FindModelTest, IgnoresAHubReferenceThatLeadsElsewhere) {
  AddToHub("models--org--tiny");
  for (const char* revision : {"..", "../../..", "", "gone", "/"}) {
    SCOPED_TRACE(revision);
    std::ofstream(paths_.hub_cache / "models--org--tiny" / "refs" / "main")
        << revision;
    EXPECT_THAT(FindModel("org/tiny", paths_), StatusIs(kNotFound, "org/tiny"));
  }
}

TEST_F(FindModelTest, ListsModelsOfBothPlacesInOrder) {
  EXPECT_THAT(ListModels(paths_), SizeIs(0));
  EXPECT_THAT(ListModels({}), SizeIs(0));
  fs::copy(TinyBert(), paths_.models / "b", fs::copy_options::recursive);
  fs::copy(TinyBert(), paths_.models / "a", fs::copy_options::recursive);
  fs::create_directories(paths_.models / "empty");
  const fs::path snapshot = AddToHub("models--org--tiny");
  fs::create_directories(paths_.hub_cache / "datasets--org--data");
  EXPECT_THAT(ListModels(paths_),
              ElementsAre(paths_.models / "a", paths_.models / "b", snapshot));
}

class ModelFingerprintTest : public ModelDirectoryTest {
 protected:
  std::string Fingerprint() const {
    auto spec = Load();
    EXPECT_OK(spec);
    auto fingerprint = ModelFingerprint(*spec, cache_);
    EXPECT_OK(fingerprint);
    return fingerprint.ok() ? *fingerprint : "";
  }

  const fs::path cache_ = root_ / "cache.json";
};

TEST_F(ModelFingerprintTest, IsTheSameWhereverTheModelIs) {
  const std::string here = Fingerprint();
  EXPECT_THAT(here, SizeIs(64));
  fs::rename(model_, root_ / "elsewhere");
  model_ = root_ / "elsewhere";
  EXPECT_EQ(Fingerprint(), here);
}

TEST_F(ModelFingerprintTest, DependsOnWhatChangesAVector) {
  std::vector<std::string> seen = {Fingerprint()};
  const auto expect_new = [&] {
    const std::string fingerprint = Fingerprint();
    EXPECT_THAT(seen, testing::Not(testing::Contains(fingerprint)));
    seen.push_back(fingerprint);
  };
  Set("tokenizer.json", "/normalizer/lowercase", false);
  expect_new();
  Set("sentence_bert_config.json", "/max_seq_length", 40);
  expect_new();
  Write("1_Pooling/config.json", R"({"pooling_mode": "cls"})");
  expect_new();
  Set("config.json", "/hidden_act", "relu");
  expect_new();
  Set("config.json", "/num_attention_heads", 8);
  expect_new();
  Write("config_sentence_transformers.json", R"({"prompts": {"query": "q"}})");
  expect_new();
  Write("config_sentence_transformers.json",
        R"({"prompts": {"document": "q"}})");
  expect_new();
  Write("pith.json", R"({"query_prompt": "p"})");
  expect_new();
  {
    std::fstream weights(model_ / "model.safetensors",
                         std::ios::in | std::ios::out | std::ios::binary);
    weights.seekp(-1, std::ios::end);
    weights.put('\x55');
  }
  fs::last_write_time(
      model_ / "model.safetensors",
      fs::file_time_type::clock::now() + std::chrono::seconds(2));
  expect_new();
}

// The cache is told apart from the file by changing the one and not the other.
TEST_F(ModelFingerprintTest, ReadsTheWeightsOnceUntilTheyChange) {
  const std::string first = Fingerprint();
  json cache = json::parse(std::ifstream(cache_));
  const std::string key = (model_ / "model.safetensors").string();
  ASSERT_TRUE(cache.contains(key)) << cache;
  cache[key]["sha256"] = std::string(64, '0');
  std::ofstream(cache_) << cache;
  EXPECT_NE(Fingerprint(), first);

  fs::last_write_time(
      model_ / "model.safetensors",
      fs::file_time_type::clock::now() + std::chrono::seconds(2));
  EXPECT_EQ(Fingerprint(), first);
}

TEST_F(ModelFingerprintTest, DoesWithoutACacheThatCannotBeUsed) {
  const std::string expected = Fingerprint();
  for (const char* content : {"", "[]", "{\"a\": ", "{\"a\": 1}"}) {
    SCOPED_TRACE(content);
    std::ofstream(cache_) << content;
    EXPECT_EQ(Fingerprint(), expected);
  }
  fs::remove(cache_);
  fs::create_directories(cache_ / "in the way");
  EXPECT_EQ(Fingerprint(), expected);
}

TEST_F(ModelFingerprintTest, NamesTheFileThatCannotBeRead) {
  const auto spec = Load();
  ASSERT_OK(spec);
  fs::remove(model_ / "model.safetensors");
  EXPECT_THAT(ModelFingerprint(*spec, cache_),
              StatusIs(kNotFound, "model.safetensors"));
}

}  // namespace
}  // namespace pith
