#include "embedder/remote/wire_format.h"

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

#include "embedder/remote/remote_backend.h"
#include "tests/status_matchers.h"

namespace pith {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

RemoteModelSpec Spec(RemoteApi api) {
  RemoteModelSpec spec;
  spec.name = "m";
  spec.directory = "/models/m";
  spec.api = api;
  spec.url = "http://server/base";
  spec.model = "minilm";
  spec.dimension = 2;
  spec.max_tokens = 512;
  return spec;
}

const std::vector<std::string> kTexts = {"a \"b\"\n", "\xC3\xA9"};

TEST(WireFormatTest, OpenAiRequest) {
  RemoteModelSpec spec = Spec(RemoteApi::kOpenAi);
  EXPECT_EQ(EmbedUrl(spec), "http://server/base/embeddings");
  EXPECT_EQ(json::parse(EmbedRequestBody(spec, kTexts, true)),
            (json{{"model", "minilm"},
                  {"input", kTexts},
                  {"encoding_format", "float"}}));
  spec.base64 = true;
  spec.request_dimension = true;
  EXPECT_EQ(json::parse(EmbedRequestBody(spec, kTexts, false)),
            (json{{"model", "minilm"},
                  {"input", kTexts},
                  {"encoding_format", "base64"},
                  {"dimensions", 2}}));
}

TEST(WireFormatTest, OllamaRequest) {
  RemoteModelSpec spec = Spec(RemoteApi::kOllama);
  EXPECT_EQ(EmbedUrl(spec), "http://server/base/api/embed");
  EXPECT_EQ(json::parse(EmbedRequestBody(spec, kTexts, true)),
            (json{{"model", "minilm"}, {"input", kTexts}, {"truncate", true}}));
  EXPECT_EQ(json::parse(EmbedRequestBody(spec, kTexts, false))["truncate"],
            false);
}

TEST(WireFormatTest, TeiRequest) {
  RemoteModelSpec spec = Spec(RemoteApi::kTeiHttp);
  EXPECT_EQ(EmbedUrl(spec), "http://server/base/embed");
  EXPECT_EQ(
      json::parse(EmbedRequestBody(spec, kTexts, false)),
      (json{{"inputs", kTexts}, {"truncate", false}, {"normalize", true}}));
}

TEST(WireFormatTest, BytesThatAreNoTextAreReplaced) {
  const std::vector<std::string> texts = {"a\xFF"};
  EXPECT_EQ(json::parse(EmbedRequestBody(Spec(RemoteApi::kTeiHttp), texts,
                                         true))["inputs"][0],
            "a\xEF\xBF\xBD");
}

TEST(WireFormatTest, ReadsEachApi) {
  for (const auto& [api, body] :
       {std::pair(RemoteApi::kOpenAi,
                  R"({"object": "list", "data": [
                      {"object": "embedding", "index": 0, "embedding": [1, 2]},
                      {"object": "embedding", "index": 1,
                       "embedding": [-3.5, 4e-2]}],
                      "usage": {"total_tokens": 3}})"),
        std::pair(RemoteApi::kOllama,
                  R"({"model": "m", "embeddings": [[1, 2], [-3.5, 4e-2]]})"),
        std::pair(RemoteApi::kTeiHttp, "[[1, 2], [-3.5, 4e-2]]")}) {
    const auto vectors = ParseEmbedResponse(Spec(api), 2, body);
    ASSERT_OK(vectors);
    EXPECT_THAT(vectors->row(0), ElementsAre(1, 2));
    EXPECT_THAT(vectors->row(1), ElementsAre(-3.5F, 0.04F));
  }
}

TEST(WireFormatTest, OpenAiVectorsInAnyOrder) {
  const auto vectors =
      ParseEmbedResponse(Spec(RemoteApi::kOpenAi), 3,
                         R"({"data": [{"index": 2, "embedding": [5, 6]},
                                      {"index": 0, "embedding": [1, 2]},
                                      {"index": 1, "embedding": [3, 4]}]})");
  ASSERT_OK(vectors);
  EXPECT_THAT(vectors->values(), ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(WireFormatTest, OpenAiBase64) {
  RemoteModelSpec spec = Spec(RemoteApi::kOpenAi);
  const float values[] = {1.5F, -2.0F};
  std::string text;
  absl::Base64Escape({reinterpret_cast<const char*>(values), sizeof(values)},
                     &text);
  const auto body = [](const std::string& vector) {
    return absl::StrCat(R"({"data": [{"index": 0, "embedding": ")", vector,
                        R"("}]})");
  };
  // Only if it was asked for.
  EXPECT_THAT(ParseEmbedResponse(spec, 1, body(text)).status(),
              StatusIs(absl::StatusCode::kUnavailable, "no array of numbers"));
  spec.base64 = true;
  const auto vectors = ParseEmbedResponse(spec, 1, body(text));
  ASSERT_OK(vectors);
  EXPECT_THAT(vectors->values(), ElementsAre(1.5F, -2.0F));
  // Servers that do not know base64 send numbers all the same.
  EXPECT_OK(ParseEmbedResponse(
      spec, 1, R"({"data": [{"index": 0, "embedding": [1, 2]}]})"));
  EXPECT_THAT(ParseEmbedResponse(spec, 1, body("!!")).status(),
              StatusIs(absl::StatusCode::kUnavailable, "no base64"));
  EXPECT_THAT(ParseEmbedResponse(spec, 1, body("AAA=")).status(),
              StatusIs(absl::StatusCode::kUnavailable, "no base64"));
  EXPECT_THAT(ParseEmbedResponse(spec, 1, body("AACAPw==")).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, "1 elements"));
}

TEST(WireFormatTest, DistrustsAnswers) {
  struct Case {
    RemoteApi api;
    const char* body;
    const char* message;
  };
  for (const Case& c : {
           Case{RemoteApi::kOpenAi, "", "no JSON"},
           Case{RemoteApi::kOpenAi, "<html>", "no JSON"},
           Case{RemoteApi::kOpenAi, R"({"data": [)", "no JSON"},
           Case{RemoteApi::kOpenAi, "[]", "no object"},
           Case{RemoteApi::kOpenAi, "{}", "no array of vectors"},
           Case{RemoteApi::kOpenAi, R"({"data": 3})", "no array of vectors"},
           Case{RemoteApi::kOpenAi, R"({"data": []})", "0 vectors for 2"},
           Case{RemoteApi::kOpenAi, R"({"data": [1, 2]})", "no index"},
           Case{RemoteApi::kOpenAi,
                R"({"data": [{"embedding": [1, 2]}, {"index": 1}]})",
                "no index"},
           Case{RemoteApi::kOpenAi,
                R"({"data": [{"index": 0, "embedding": [1, 2]},
                             {"index": 0, "embedding": [1, 2]}]})",
                "index 0 is repeated"},
           Case{RemoteApi::kOpenAi,
                R"({"data": [{"index": 0, "embedding": [1, 2]},
                             {"index": 2, "embedding": [1, 2]}]})",
                "index 2"},
           Case{RemoteApi::kOpenAi,
                R"({"data": [{"index": -1, "embedding": [1, 2]},
                             {"index": 1, "embedding": [1, 2]}]})",
                "index -1"},
           Case{RemoteApi::kOpenAi,
                R"({"data": [{"index": 18446744073709551615, "embedding": []},
                             {"index": 1.0, "embedding": [1, 2]}]})",
                "index 18446744073709551615"},
           Case{RemoteApi::kOpenAi,
                R"({"data": [{"index": "0", "embedding": [1, 2]},
                             {"index": 1, "embedding": [1, 2]}]})",
                "index \"0\""},
           Case{RemoteApi::kOllama, "[]", "no object"},
           Case{RemoteApi::kOllama, R"({"embedding": [1, 2]})",
                "no array of vectors"},
           Case{RemoteApi::kOllama, R"({"embeddings": [[1, 2]]})",
                "1 vectors for 2"},
           Case{RemoteApi::kOllama, R"({"embeddings": [[1, 2], {}]})",
                "no array of numbers"},
           Case{RemoteApi::kOllama, R"({"embeddings": [[1, 2], "AAAA"]})",
                "no array of numbers"},
           Case{RemoteApi::kTeiHttp, "{}", "no array of vectors"},
           Case{RemoteApi::kTeiHttp, "[[1, 2], [1, 2], [1, 2]]",
                "3 vectors for 2"},
           Case{RemoteApi::kTeiHttp, "[[1, NaN], [1, 2]]", "no JSON"},
           Case{RemoteApi::kTeiHttp, "[[1, 1e999], [1, 2]]", "no JSON"},
       }) {
    EXPECT_THAT(ParseEmbedResponse(Spec(c.api), 2, c.body).status(),
                StatusIs(absl::StatusCode::kUnavailable, c.message))
        << c.body;
  }
  EXPECT_THAT(ParseEmbedResponse(Spec(RemoteApi::kTeiHttp), 2,
                                 std::string(1 << 20, '['))
                  .status(),
              StatusIs(absl::StatusCode::kUnavailable, "no JSON"));
}

TEST(WireFormatTest, WrongDimensionIsTheSpecs) {
  for (const char* body : {"[[1, 2, 3]]", "[[1]]", "[[]]"}) {
    EXPECT_THAT(
        ParseEmbedResponse(Spec(RemoteApi::kTeiHttp), 1, body).status(),
        StatusIs(absl::StatusCode::kFailedPrecondition, "remote.json says 2"));
  }
}

// One text's trouble, which must not look like the server's.
TEST(WireFormatTest, WhatIsNoNumberIsNaN) {
  const auto vectors = ParseEmbedResponse(
      Spec(RemoteApi::kTeiHttp), 3, R"([[1, null], [1e39, 2], ["3", true]])");
  ASSERT_OK(vectors);
  EXPECT_TRUE(std::isnan(vectors->row(0)[1]));
  EXPECT_TRUE(std::isinf(vectors->row(1)[0]));
  EXPECT_TRUE(std::isnan(vectors->row(2)[0]));
  EXPECT_TRUE(std::isnan(vectors->row(2)[1]));
}

TEST(WireFormatTest, ErrorsInBodies) {
  EXPECT_EQ(ErrorInBody(R"({"error": {"message": "no", "type": "t"}})"), "no");
  EXPECT_EQ(ErrorInBody(R"({"error": "no", "error_type": "Validation"})"),
            "no");
  EXPECT_EQ(ErrorInBody(R"({"message": "no"})"), "no");
  EXPECT_EQ(ErrorInBody("plain"), "plain");
  EXPECT_EQ(ErrorInBody(R"({"error": 3})"), R"({"error": 3})");
  EXPECT_EQ(ErrorInBody(""), "");
}

TEST(WireFormatTest, ServerWordsAreShortHarmlessAndWithoutKey) {
  EXPECT_EQ(ServerWords("a\nb\x1B[31m\xFF", ""),
            "\"a\\nb\\u001b[31m\xEF\xBF\xBD\"");
  EXPECT_EQ(ServerWords("key sk-1 is bad: sk-1", "sk-1"),
            "\"key [API key] is bad: [API key]\"");
  EXPECT_LT(ServerWords(std::string(5000, 'x'), "").size(), 400);
  // Where it is cut, no part of the key is left over.
  EXPECT_THAT(ServerWords(std::string(298, 'x') + "sk-secret", "sk-secret"),
              Not(HasSubstr("sk")));
}

TEST(WireFormatTest, TeiInfo) {
  const RemoteModelSpec spec = Spec(RemoteApi::kTeiHttp);
  EXPECT_OK(CheckTeiInfo(spec, R"({"model_id": "m", "max_input_length": 512,
      "max_client_batch_size": 32, "model_type": {"embedding": {}}})"));
  EXPECT_OK(CheckTeiInfo(spec, "{}"));
  EXPECT_THAT(CheckTeiInfo(spec, R"({"max_input_length": 511})"),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       "max_tokens is 512, the server's max_input_length is "
                       "511"));
  EXPECT_THAT(
      CheckTeiInfo(spec, R"({"max_client_batch_size": 31})"),
      StatusIs(absl::StatusCode::kFailedPrecondition, "max_batch_texts is 32"));
  EXPECT_THAT(
      CheckTeiInfo(spec, R"({"model_type": {"reranker": {}}})"),
      StatusIs(absl::StatusCode::kFailedPrecondition, "no embedding model"));
  EXPECT_THAT(CheckTeiInfo(spec, "nothing"),
              StatusIs(absl::StatusCode::kUnavailable, "/info"));
}

TEST(WireFormatTest, ResponseLimitHoldsTheLongestNumbers) {
  RemoteModelSpec spec = Spec(RemoteApi::kOpenAi);
  spec.dimension = 1000;
  json vector;
  for (int i = 0; i < spec.dimension; ++i) {
    vector.push_back(-1.2345678901234567e-100);
  }
  const json body = {{"data", {{{"index", 0}, {"embedding", vector}}}}};
  EXPECT_LT(body.dump(8).size(), MaxEmbedResponseBytes(spec, 1));
}

}  // namespace
}  // namespace pith
