#include "embedder/remote/remote_model_spec.h"

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

#include "core/base/file.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

class RemoteModelSpecTest : public ::testing::Test {
 protected:
  absl::StatusOr<RemoteModelSpec> Load(const json& document) {
    EXPECT_OK(WriteFileAtomically(directory_.path() / kRemoteModelFile,
                                  document.dump()));
    return LoadRemoteModelSpec(directory_.path());
  }

  // What is wrong with the smallest document once `key` is `value`.
  absl::Status LoadWith(const std::string& key, const json& value) {
    json document = smallest_;
    document[key] = value;
    return Load(document).status();
  }

  TempDirectory directory_;
  const json smallest_ = {{"backend", "openai"},
                          {"url", "https://api.example.com/v1"},
                          {"model", "text-embedding"},
                          {"dimension", 1536},
                          {"max_tokens", 8191}};
};

TEST_F(RemoteModelSpecTest, DefaultsOfTheSmallest) {
  EXPECT_FALSE(IsRemoteModel(directory_.path()));
  const auto spec = Load(smallest_);
  ASSERT_OK(spec);
  EXPECT_TRUE(IsRemoteModel(directory_.path()));
  EXPECT_EQ(spec->name, directory_.path().filename());
  EXPECT_EQ(spec->api, RemoteApi::kOpenAi);
  EXPECT_EQ(spec->url, "https://api.example.com/v1");
  EXPECT_EQ(spec->model, "text-embedding");
  EXPECT_EQ(spec->dimension, 1536);
  EXPECT_EQ(spec->max_tokens, 8191);
  EXPECT_EQ(spec->query_prompt, "");
  EXPECT_TRUE(spec->api_key.empty());
  EXPECT_FALSE(spec->request_dimension);
  EXPECT_FALSE(spec->base64);
  EXPECT_EQ(spec->max_batch_texts, 32);
  EXPECT_EQ(spec->max_concurrent_requests, 4);
  EXPECT_EQ(spec->timeout, absl::Seconds(60));
}

TEST_F(RemoteModelSpecTest, EveryField) {
  json document = smallest_;
  document.update({{"url", "https://[::1]:8443/a/b/"},
                   {"query_prompt", "query: "},
                   {"passage_prompt", "passage: "},
                   {"api_key_file", "key"},
                   {"request_dimension", true},
                   {"encoding_format", "base64"},
                   {"max_batch_texts", 2048},
                   {"max_batch_tokens", 300'000},
                   {"max_concurrent_requests", 8},
                   {"timeout_seconds", 5},
                   {"ca_file", "/etc/ca.pem"}});
  const auto spec = Load(document);
  ASSERT_OK(spec);
  EXPECT_EQ(spec->url, "https://[::1]:8443/a/b");
  EXPECT_EQ(spec->query_prompt, "query: ");
  EXPECT_EQ(spec->passage_prompt, "passage: ");
  EXPECT_EQ(spec->api_key.file, directory_.path() / "key");
  EXPECT_EQ(spec->api_key.Shown(), (directory_.path() / "key").string());
  EXPECT_TRUE(spec->request_dimension);
  EXPECT_TRUE(spec->base64);
  EXPECT_EQ(spec->max_batch_texts, 2048);
  EXPECT_EQ(spec->max_batch_tokens, 300'000);
  EXPECT_EQ(spec->max_concurrent_requests, 8);
  EXPECT_EQ(spec->timeout, absl::Seconds(5));
  EXPECT_EQ(spec->ca_file, "/etc/ca.pem");
}

TEST_F(RemoteModelSpecTest, BackendsByName) {
  const json tei = {{"url", "http://localhost:8080"},
                    {"dimension", 384},
                    {"max_tokens", 512}};
  for (const auto& [name, api] : {std::pair("tei-http", RemoteApi::kTeiHttp),
                                  std::pair("tei-grpc", RemoteApi::kTeiGrpc)}) {
    json document = tei;
    document["backend"] = name;
    const auto spec = Load(document);
    ASSERT_OK(spec);
    EXPECT_EQ(spec->api, api);
    EXPECT_EQ(RemoteApiName(api), name);
  }
  json document = tei;
  document["backend"] = "ollama";
  EXPECT_THAT(Load(document).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, "model is missing"));
  document["model"] = "all-minilm";
  EXPECT_OK(Load(document));
  EXPECT_THAT(LoadWith("backend", "cohere"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "openai, ollama, tei-http, tei-grpc"));
}

TEST_F(RemoteModelSpecTest, RefusesWithFieldAndBound) {
  struct Case {
    const char* key;
    json value;
    const char* message;
  };
  for (const Case& c : {
           Case{"dimension", 0, "dimension is 0; supported: an integer from 1"},
           Case{"dimension", "384", "an integer from 1 to 65536"},
           Case{"max_tokens", 31, "an integer from 32 to 1000000"},
           Case{"max_batch_texts", 2049, "an integer from 1 to 2048"},
           Case{"max_concurrent_requests", 0, "an integer from 1 to 256"},
           Case{"timeout_seconds", 0.5, "an integer from 1 to 3600"},
           Case{"encoding_format", "int8", "supported: float, base64"},
           Case{"request_dimension", 1, "true or false"},
           Case{"model", "", "the server's name of the model"},
           Case{"max_batch_text", 3, "unknown field \"max_batch_text\""},
           Case{"api_key_env", "a-key", "api_key_env is not the name"},
       }) {
    EXPECT_THAT(LoadWith(c.key, c.value),
                StatusIs(absl::StatusCode::kInvalidArgument, c.message))
        << c.key;
  }
}

TEST_F(RemoteModelSpecTest, FieldsThatMeanNothingForTheBackend) {
  for (const char* key : {"model", "encoding_format"}) {
    json document = {{"backend", "tei-grpc"},
                     {"url", "http://localhost:8080"},
                     {"dimension", 384},
                     {"max_tokens", 512}};
    ASSERT_OK(Load(document));
    document[key] = "float";
    EXPECT_THAT(Load(document).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, "unknown field"));
  }
}

TEST_F(RemoteModelSpecTest, Urls) {
  for (const char* url :
       {"http://a", "https://a.b-c.d:1", "http://127.0.0.1:11434/",
        "https://a/v1", "http://[fe80::1]/v1"}) {
    EXPECT_OK(LoadWith("url", url)) << url;
  }
  for (const char* url : {"",
                          "a",
                          "ftp://a",
                          "http://",
                          "http:///v1",
                          "http://a:",
                          "http://a:0",
                          "http://a:65536",
                          "http://a:b",
                          "http://u:secret@a/",
                          "http://a/?k=v",
                          "http://a/#f",
                          "http://a/ b",
                          "http://a b/",
                          "http://[::1",
                          "http://a/\r\nX: y",
                          "file:///etc/passwd",
                          "http://[]:1",
                          "http://[::1]x",
                          "http://[::1]:"}) {
    const absl::Status status = LoadWith("url", url);
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, "url"))
        << url;
    EXPECT_THAT(status.message(), Not(HasSubstr("secret")));
  }
}

TEST_F(RemoteModelSpecTest, GrpcUrlHasNoPath) {
  EXPECT_THAT(Load({{"backend", "tei-grpc"},
                    {"url", "http://localhost:8080/v1"},
                    {"dimension", 384},
                    {"max_tokens", 512}})
                  .status(),
              StatusIs(absl::StatusCode::kInvalidArgument, "url"));
}

TEST_F(RemoteModelSpecTest, OneKeySource) {
  json document = smallest_;
  document["api_key_env"] = "EXAMPLE_KEY";
  const auto spec = Load(document);
  ASSERT_OK(spec);
  EXPECT_EQ(spec->api_key.Shown(), "$EXAMPLE_KEY");
  document["api_key_file"] = "key";
  EXPECT_THAT(Load(document).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, "both set"));
}

TEST_F(RemoteModelSpecTest, KeysAreNotRepeated) {
  const absl::Status status = LoadWith("api_key", "sk-secret");
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                               "unknown field \"api_key\""));
  EXPECT_THAT(status.message(), Not(HasSubstr("sk-secret")));
  EXPECT_THAT(LoadWith("api_key_env", "sk-secret").message(),
              Not(HasSubstr("sk-secret")));
}

TEST_F(RemoteModelSpecTest, CertificatesOnlyForTls) {
  json document = smallest_;
  document["url"] = "http://a";
  document["ca_file"] = "ca.pem";
  EXPECT_THAT(Load(document).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, "ca_file"));
}

// A download that says it is a model could otherwise send texts away.
TEST_F(RemoteModelSpecTest, NotBesideWeights) {
  ASSERT_OK(
      WriteFileAtomically(directory_.path() / "model.safetensors", "weights"));
  EXPECT_THAT(
      Load(smallest_).status(),
      StatusIs(absl::StatusCode::kInvalidArgument, "model.safetensors"));
}

TEST_F(RemoteModelSpecTest, NotJson) {
  EXPECT_THAT(LoadRemoteModelSpec(directory_.path()).status(),
              StatusIs(absl::StatusCode::kNotFound, "remote.json"));
  for (const char* text : {"", "{", "[]", "null"}) {
    ASSERT_OK(WriteFileAtomically(directory_.path() / kRemoteModelFile, text));
    EXPECT_THAT(LoadRemoteModelSpec(directory_.path()).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, "remote.json"));
  }
}

TEST_F(RemoteModelSpecTest, FingerprintCoversWhatIsKnownOfVectors) {
  const auto spec = Load(smallest_);
  ASSERT_OK(spec);
  const std::string fingerprint = RemoteModelFingerprint(*spec);
  EXPECT_EQ(fingerprint.size(), 64);

  RemoteModelSpec moved = *spec;
  moved.url = "http://elsewhere";
  moved.api = RemoteApi::kOllama;
  moved.name = "another";
  moved.api_key.environment_variable = "KEY";
  moved.max_batch_texts = 1;
  EXPECT_EQ(RemoteModelFingerprint(moved), fingerprint);

  std::vector<std::string> seen = {fingerprint};
  const auto expect_new = [&](auto change) {
    RemoteModelSpec changed = *spec;
    change(changed);
    EXPECT_THAT(seen, Not(testing::Contains(RemoteModelFingerprint(changed))));
    seen.push_back(RemoteModelFingerprint(changed));
  };
  expect_new([](RemoteModelSpec& s) { s.model = "other"; });
  expect_new([](RemoteModelSpec& s) { s.dimension = 3; });
  expect_new([](RemoteModelSpec& s) { s.max_tokens = 512; });
  expect_new([](RemoteModelSpec& s) { s.query_prompt = "x"; });
  expect_new([](RemoteModelSpec& s) { s.passage_prompt = "x"; });
}

}  // namespace
}  // namespace pith
