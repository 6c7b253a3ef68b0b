#include "embedder/remote/remote_embedder.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

#include "core/base/reason.h"
#include "core/base/vector_math.h"
#include "embedder/remote/http_backend.h"
#include "tests/fakes/embedding_server.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

constexpr char kKeyVariable[] = "PITH_REMOTE_EMBEDDER_TEST_KEY";
constexpr char kKey[] = "sk-0123456789";

// What the fake model makes of a text: not of unit norm, and different for
// different lengths.
json VectorOf(const std::string& text) {
  return {1.0 + static_cast<double>(text.size()), 2.0, -1.0};
}

json VectorsOf(const json& texts) {
  json vectors = json::array();
  for (const json& text : texts) {
    vectors.push_back(VectorOf(text.get<std::string>()));
  }
  return vectors;
}

// An answer of OpenAI's API, its items in reverse order.
std::string OpenAiAnswer(const json& request) {
  json data = json::array();
  const json& input = request["input"];
  for (size_t i = input.size(); i-- > 0;) {
    data.push_back(
        {{"index", i}, {"embedding", VectorOf(input[i].get<std::string>())}});
  }
  return json{{"object", "list"}, {"data", data}}.dump();
}

class RemoteEmbedderTest : public ::testing::Test {
 protected:
  RemoteEmbedderTest() {
    unsetenv(kKeyVariable);
    spec_.name = "m";
    spec_.directory = directory_.path();
    spec_.model = "embed-small";
    spec_.dimension = 3;
    spec_.max_tokens = 64;
    options_.retry = {.max_tries = 3,
                      .first_delay = absl::Milliseconds(2),
                      .max_delay = absl::Milliseconds(50)};
  }

  // A server that answers request n as `script[n]` says, and well after that.
  using Step = std::function<void(httplib::Response&)>;
  void Serve(std::vector<Step> script = {}) {
    auto next = std::make_shared<std::atomic<size_t>>(0);
    server_ = std::make_unique<EmbeddingServer>(
        [next, script = std::move(script)](const httplib::Request& request,
                                           httplib::Response& response) {
          const size_t n = (*next)++;
          if (n < script.size()) {
            script[n](response);
          } else {
            response.set_content(OpenAiAnswer(json::parse(request.body)),
                                 "application/json");
          }
        });
    spec_.url = server_->url() + "/v1";
  }
  static Step Fail(int status, const std::string& body = "",
                   const std::string& retry_after = "") {
    return [=](httplib::Response& response) {
      response.status = status;
      if (!retry_after.empty()) {
        response.set_header("Retry-After", retry_after);
      }
      response.set_content(body, "application/json");
    };
  }
  static Step Say(const std::string& body) { return Fail(200, body); }

  RemoteEmbedder& embedder() {
    if (embedder_ == nullptr) {
      auto created = RemoteEmbedder::Create(
          spec_, nullptr, std::make_unique<HttpBackend>(spec_), options_);
      CHECK(created.ok()) << created.status();
      embedder_ = *std::move(created);
    }
    return *embedder_;
  }
  absl::StatusOr<Matrix> Embed(const std::vector<std::string_view>& texts,
                               const RequestContext& context = {},
                               TextRole role = TextRole::kPassage) {
    return embedder().Embed(texts, role, context);
  }

  // The inputs of request n.
  json Input(size_t n) const {
    return json::parse(server_->requests().at(n).body)["input"];
  }

  TempDirectory directory_;
  RemoteModelSpec spec_;
  RemoteEmbedder::Options options_;
  std::unique_ptr<EmbeddingServer> server_;
  // Before the server goes, whose threads wait for connections to close.
  std::unique_ptr<RemoteEmbedder> embedder_;
};

TEST_F(RemoteEmbedderTest, UnitVectorsInTheOrderOfTheTexts) {
  Serve();
  const std::vector<std::string_view> texts = {"a", "bb", "ccc", "dddd"};
  const auto vectors = Embed(texts);
  ASSERT_OK(vectors);
  ASSERT_EQ(vectors->rows(), 4);
  for (size_t i = 0; i < texts.size(); ++i) {
    const json expected = VectorOf(std::string(texts[i]));
    EXPECT_NEAR(Norm(vectors->row(i)), 1, 1e-6);
    for (size_t d = 0; d < 3; ++d) {
      EXPECT_NEAR(vectors->row(i)[d] / vectors->row(i)[1],
                  expected[d].get<double>() / 2, 1e-6);
    }
  }
  ASSERT_THAT(server_->requests(), SizeIs(1));
  EXPECT_EQ(server_->requests()[0].path, "/v1/embeddings");
  EXPECT_EQ(json::parse(server_->requests()[0].body)["model"], "embed-small");
  EXPECT_EQ(embedder().status().embedded_texts, 4);
  EXPECT_EQ(embedder().status().embedded_tokens, 4);
  EXPECT_EQ(embedder().status().last_error, "");
}

TEST_F(RemoteEmbedderTest, NothingToEmbedAsksNobody) {
  Serve();
  const auto vectors = Embed({});
  ASSERT_OK(vectors);
  EXPECT_EQ(vectors->rows(), 0);
  EXPECT_EQ(vectors->columns(), 3);
  EXPECT_THAT(server_->requests(), SizeIs(0));
}

TEST_F(RemoteEmbedderTest, SaysWhatItIs) {
  EXPECT_EQ(embedder().identity().name, "m");
  EXPECT_EQ(embedder().identity().dimension, 3);
  EXPECT_EQ(embedder().identity().fingerprint, RemoteModelFingerprint(spec_));
  EXPECT_TRUE(embedder().needs_probes());
  EXPECT_TRUE(embedder().recompute_is_costly());
}

TEST_F(RemoteEmbedderTest, BatchesByTextsAndTokens) {
  Serve();
  spec_.max_batch_texts = 3;
  spec_.max_batch_tokens = 10;
  // 1, 1, 1 | 1, 8 | 12 | 9 tokens.
  const std::string eight(32, 'x');
  const std::string twelve(48, 'x');
  const std::string nine(36, 'x');
  const auto vectors = Embed({"a", "b", "c", "d", eight, twelve, nine});
  ASSERT_OK(vectors);
  ASSERT_THAT(server_->requests(), SizeIs(4));
  EXPECT_EQ(Input(0), (json{"a", "b", "c"}));
  EXPECT_EQ(Input(1), (json{"d", eight}));
  EXPECT_EQ(Input(2), (json::array({twelve})));
  EXPECT_EQ(Input(3), (json::array({nine})));
  EXPECT_NEAR(vectors->row(5)[0] / vectors->row(5)[1], 49.0 / 2, 1e-4);
}

TEST_F(RemoteEmbedderTest, PromptsAndLimits) {
  Serve();
  spec_.query_prompt = "query: ";
  spec_.passage_prompt = "passage: ";
  // 64 less two special tokens and "passage:", which counts as three.
  EXPECT_EQ(embedder().max_tokens(), 59);
  ASSERT_OK(Embed({"a"}, {}, TextRole::kQuery));
  EXPECT_EQ(Input(0), json::array({"query: a"}));
  ASSERT_OK(Embed({std::string(59 * 4, 'x'), std::string(59 * 4 + 9, 'x')}));
  EXPECT_EQ(Input(1), (json{"passage: " + std::string(59 * 4, 'x'),
                            "passage: " + std::string(59 * 4, 'x')}));
  for (const char* text : {"", "  \t"}) {
    const auto empty = Embed({"a", text});
    EXPECT_THAT(empty.status(), StatusIs(absl::StatusCode::kInvalidArgument,
                                         "text 1 is empty"));
    EXPECT_EQ(ReasonOf(empty.status()), "EMPTY_TEXT");
  }
}

TEST_F(RemoteEmbedderTest, TokenizerOfTheDirectoryCounts) {
  Serve();
  spec_.directory = std::string(PITH_TEST_DATA) + "/tiny-bert";
  spec_.max_tokens = 8;
  auto tokenizer = Tokenizer::Load(spec_.directory);
  ASSERT_OK(tokenizer);
  const int tokens = (*tokenizer)->Count("the quick brown fox");
  auto opened = RemoteEmbedder::Open(spec_);
  ASSERT_OK(opened);
  EXPECT_EQ((*opened)->CountTokens("the quick brown fox"), tokens);
  EXPECT_EQ((*opened)->max_tokens(), 6);
  const std::string_view query = "the quick brown fox the quick brown fox";
  const auto long_query =
      (*opened)->Embed(std::span(&query, 1), TextRole::kQuery, {});
  EXPECT_EQ(ReasonOf(long_query.status()), "QUERY_TOO_LONG");
  // As a passage, it is cut where six tokens end.
  ASSERT_OK((*opened)->Embed(std::span(&query, 1), TextRole::kPassage, {}));
  const std::string sent = Input(0)[0].get<std::string>();
  EXPECT_TRUE(query.starts_with(sent));
  EXPECT_EQ((*tokenizer)->Count(sent), 6);
}

TEST_F(RemoteEmbedderTest, PromptMustLeaveRoom) {
  spec_.query_prompt = std::string(500, 'x');
  EXPECT_THAT(RemoteEmbedder::Open(spec_).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, "leaves no room"));
}

TEST_F(RemoteEmbedderTest, KeyIsReadAnewAndNeverShown) {
  spec_.api_key.environment_variable = kKeyVariable;
  Serve({Fail(401, R"({"error": {"message": "bad key sk-01*****89"}})"),
         Fail(400, absl::StrCat(R"({"error": ")", kKey, R"("})"))});
  EXPECT_THAT(Embed({"a"}).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, kKeyVariable));
  EXPECT_THAT(server_->requests(), SizeIs(0));

  setenv(kKeyVariable, kKey, 1);
  const absl::Status refused = Embed({"a"}).status();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition,
                                absl::StrCat("the key from $", kKeyVariable,
                                             " is refused")));
  EXPECT_THAT(refused.message(), Not(HasSubstr("sk-")));
  EXPECT_EQ(server_->requests()[0].Header("Authorization"),
            absl::StrCat("Bearer ", kKey));

  const absl::Status wrong = Embed({"a"}).status();
  EXPECT_THAT(wrong, StatusIs(absl::StatusCode::kInvalidArgument, "[API key]"));
  EXPECT_THAT(wrong.message(), Not(HasSubstr("sk-")));
  EXPECT_THAT(embedder().status().last_error, Not(HasSubstr("sk-")));
  ASSERT_OK(Embed({"a"}));
}

TEST_F(RemoteEmbedderTest, MissingKeyIsNamed) {
  Serve({Fail(401)});
  EXPECT_THAT(Embed({"a"}).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, "api_key_env"));
}

TEST_F(RemoteEmbedderTest, TriesAgainWhatMayPass) {
  Serve({Fail(500), Fail(503)});
  EXPECT_OK(Embed({"a"}));
  EXPECT_THAT(server_->requests(), SizeIs(3));
  EXPECT_EQ(embedder().status().failed_requests, 2);
  EXPECT_THAT(embedder().status().last_error, HasSubstr("status 503"));
}

TEST_F(RemoteEmbedderTest, GivesUpAfterSomeTries) {
  Serve({Fail(500), Fail(500), Fail(500, "out of memory"), Fail(500)});
  const absl::Status failed = Embed({"a"}).status();
  EXPECT_THAT(failed, StatusIs(absl::StatusCode::kUnavailable,
                               "status 500: \"out of memory\""));
  EXPECT_NE(ReasonOf(failed), kModelUnreachableReason);
  EXPECT_THAT(server_->requests(), SizeIs(3));
}

TEST_F(RemoteEmbedderTest, DoesNotRepeatWhatCannotPass) {
  struct Case {
    int status;
    absl::StatusCode code;
  };
  for (const Case& c : {Case{400, absl::StatusCode::kInvalidArgument},
                        Case{404, absl::StatusCode::kFailedPrecondition},
                        Case{307, absl::StatusCode::kFailedPrecondition}}) {
    embedder_.reset();
    Serve({Fail(c.status, R"({"error": "as it is"})")});
    EXPECT_EQ(Embed({"a"}).status().code(), c.code) << c.status;
    EXPECT_THAT(server_->requests(), SizeIs(1));
  }
}

// Refuses the first request for some milliseconds, which HTTP cannot say.
class BusyBackend : public RemoteBackend {
 public:
  static constexpr absl::Duration kWait = absl::Milliseconds(40);

  BackendAnswer Embed(const BackendRequest& request,
                      const RequestContext& /*context*/) override {
    if (calls++ == 0) {
      return {.vectors = absl::ResourceExhaustedError("busy"),
              .transient = true,
              .retry_after = kWait};
    }
    Matrix vectors(request.inputs.size(), 3);
    std::ranges::fill(vectors.values(), 1.0F);
    return {.vectors = std::move(vectors), .retry_after = std::nullopt};
  }

  std::atomic<int> calls = 0;
};

TEST_F(RemoteEmbedderTest, HonoursRetryAfter) {
  auto backend = std::make_unique<BusyBackend>();
  BusyBackend& busy = *backend;
  auto created =
      RemoteEmbedder::Create(spec_, nullptr, std::move(backend), options_);
  ASSERT_OK(created);
  embedder_ = *std::move(created);
  const absl::Time start = absl::Now();
  EXPECT_OK(Embed({"a"}));
  EXPECT_GE(absl::Now() - start, BusyBackend::kWait);
  EXPECT_EQ(busy.calls, 2);
}

TEST_F(RemoteEmbedderTest, DoesNotWaitLongerThanItMay) {
  Serve({Fail(429, R"({"error": {"message": "quota"}})", "3600")});
  const auto busy = Embed({"a"});
  EXPECT_THAT(busy.status(),
              StatusIs(absl::StatusCode::kResourceExhausted, "quota"));
  EXPECT_EQ(ReasonOf(busy.status()), kModelUnreachableReason);
  // Others leave the server alone as well.
  EXPECT_EQ(Embed({"b"}).status(), busy.status());
  EXPECT_THAT(server_->requests(), SizeIs(1));
}

TEST_F(RemoteEmbedderTest, DoesNotWaitBeyondItsDeadline) {
  options_.retry.first_delay = absl::Hours(1);
  options_.retry.max_delay = absl::Hours(2);
  Serve({Fail(503, "down")});
  RequestContext context;
  context.deadline = absl::Now() + absl::Minutes(1);
  EXPECT_THAT(Embed({"a"}, context).status(),
              StatusIs(absl::StatusCode::kUnavailable, "down"));
}

TEST_F(RemoteEmbedderTest, CancellationEndsAWait) {
  options_.retry.first_delay = absl::Hours(1);
  options_.retry.max_delay = absl::Hours(2);
  Serve({Fail(503)});
  RequestContext context;
  context.cancelled = [this] {
    return embedder().status().failed_requests > 0;
  };
  EXPECT_EQ(Embed({"a"}, context).status().code(),
            absl::StatusCode::kCancelled);
}

TEST_F(RemoteEmbedderTest, NoServer) {
  Serve();
  server_->Stop();
  const auto unreachable = Embed({"a"});
  EXPECT_THAT(unreachable.status(),
              StatusIs(absl::StatusCode::kUnavailable, server_->url()));
  EXPECT_EQ(ReasonOf(unreachable.status()), kModelUnreachableReason);
  EXPECT_EQ(embedder().status().failed_requests, 3);
}

TEST_F(RemoteEmbedderTest, AnswersThatMakeNoSense) {
  Serve({Say("<html>"), Say(R"({"data": []})"),
         Say(R"({"data": [{"index": 0, "embedding": [1, 2]}]})"),
         Say(std::string(10 << 20, ' '))});
  EXPECT_THAT(Embed({"a"}).status(),
              StatusIs(absl::StatusCode::kUnavailable, "no JSON"));
  EXPECT_THAT(Embed({"a"}).status(),
              StatusIs(absl::StatusCode::kUnavailable, "0 vectors for 1"));
  EXPECT_THAT(Embed({"a"}).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, "2 elements"));
  EXPECT_THAT(Embed({"a"}).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, "more than"));
  EXPECT_THAT(server_->requests(), SizeIs(4));
}

TEST_F(RemoteEmbedderTest, VectorsWithoutDirection) {
  for (const char* vector : {"[0, 0, 0]", "[1, null, 2]", "[1e39, 0, 0]"}) {
    embedder_.reset();
    Serve({Say(absl::StrCat(
        R"({"data": [{"index": 0, "embedding": [1, 2, 3]},
                     {"index": 1, "embedding": )",
        vector, "}]}"))});
    EXPECT_THAT(Embed({"a", "b"}).status(),
                StatusIs(absl::StatusCode::kInternal,
                         "the vector of text 1 is zero or not finite"));
  }
}

TEST_F(RemoteEmbedderTest, TinyVectorsAreNormalisedToo) {
  Serve({Say(R"({"data": [{"index": 0, "embedding": [3e-30, 0, 4e-30]}]})")});
  const auto vectors = Embed({"a"});
  ASSERT_OK(vectors);
  EXPECT_NEAR(vectors->row(0)[0], 0.6, 1e-6);
  EXPECT_NEAR(vectors->row(0)[2], 0.8, 1e-6);
}

TEST_F(RemoteEmbedderTest, SearchesPassIngestWhenAllRequestsRun) {
  spec_.max_concurrent_requests = 1;
  absl::Notification release;
  std::atomic<bool> first = true;
  server_ = std::make_unique<EmbeddingServer>(
      [&](const httplib::Request& request, httplib::Response& response) {
        if (first.exchange(false)) {
          release.WaitForNotification();
        }
        response.set_content(OpenAiAnswer(json::parse(request.body)),
                             "application/json");
      });
  spec_.url = server_->url();
  options_.max_waiting = 2;
  RemoteEmbedder& remote = embedder();
  const auto embed_later = [&](std::string_view text, EmbedPriority priority) {
    return std::async(std::launch::async, [&remote, text, priority] {
      RequestContext context;
      context.priority = priority;
      return remote.Embed(std::span(&text, 1), TextRole::kPassage, context)
          .status();
    });
  };
  std::vector<std::future<absl::Status>> calls;
  calls.push_back(embed_later("running", EmbedPriority::kIngest));
  while (server_->requests().empty()) {
    std::this_thread::yield();
  }
  calls.push_back(embed_later("ingest", EmbedPriority::kIngest));
  while (remote.waiting_requests() < 1) {
    std::this_thread::yield();
  }
  calls.push_back(embed_later("search", EmbedPriority::kSearch));
  while (remote.waiting_requests() < 2) {
    std::this_thread::yield();
  }
  const auto refused = Embed({"x"});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(refused.status()), "EMBED_QUEUE_FULL");
  release.Notify();
  for (std::future<absl::Status>& call : calls) {
    EXPECT_OK(call.get());
  }
  EXPECT_EQ(Input(1), json::array({"search"}));
  EXPECT_EQ(Input(2), json::array({"ingest"}));
}

TEST_F(RemoteEmbedderTest, Ollama) {
  server_ = std::make_unique<EmbeddingServer>(
      [](const httplib::Request& request, httplib::Response& response) {
        const json vectors = VectorsOf(json::parse(request.body)["input"]);
        response.set_content(json{{"embeddings", vectors}}.dump(),
                             "application/json");
      });
  spec_.api = RemoteApi::kOllama;
  spec_.url = server_->url();
  ASSERT_OK(Embed({"a", "bb"}));
  ASSERT_OK(Embed({"a"}, {}, TextRole::kQuery));
  EXPECT_EQ(server_->requests()[0].path, "/api/embed");
  EXPECT_EQ(json::parse(server_->requests()[0].body),
            (json{{"model", "embed-small"},
                  {"input", {"a", "bb"}},
                  {"truncate", true}}));
  EXPECT_EQ(json::parse(server_->requests()[1].body)["truncate"], false);
}

TEST_F(RemoteEmbedderTest, TeiIsAskedForItsLimitsOnce) {
  std::atomic<int> max_input_length = 32;
  server_ = std::make_unique<EmbeddingServer>(
      [&](const httplib::Request& request, httplib::Response& response) {
        if (request.path == "/info") {
          EXPECT_EQ(request.method, "GET");
          response.set_content(
              json{{"max_input_length", max_input_length.load()}}.dump(),
              "application/json");
          return;
        }
        const json vectors = VectorsOf(json::parse(request.body)["inputs"]);
        response.set_content(vectors.dump(), "application/json");
      });
  spec_.api = RemoteApi::kTeiHttp;
  spec_.url = server_->url();
  EXPECT_THAT(Embed({"a"}).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       "max_tokens is 64, the server's max_input_length is "
                       "32"));
  max_input_length = 64;
  ASSERT_OK(Embed({"a", "bb"}));
  ASSERT_OK(Embed({"a"}));
  std::vector<std::string> paths;
  for (const auto& request : server_->requests()) {
    paths.push_back(request.path);
  }
  EXPECT_THAT(paths,
              testing::ElementsAre("/info", "/info", "/embed", "/embed"));
}

}  // namespace
}  // namespace pith
