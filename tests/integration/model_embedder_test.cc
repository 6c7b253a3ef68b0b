#include "embedder/model_embedder.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <future>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "glog/logging.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/base/file.h"
#include "tests/status_matchers.h"
#include "tests/worker_gates.h"

namespace pith {
namespace {

using ::testing::ElementsAreArray;
using State = WorkerPool::WorkerStatus::State;

const std::filesystem::path kModel =
    std::filesystem::path(PITH_TEST_DATA) / "tiny-bert";

RequestContext IngestContext() {
  return {.priority = EmbedPriority::kIngest};
}

class ModelEmbedderTest : public ::testing::Test {
 protected:
  ModelEmbedderTest() {
    absl::StatusOr<ModelSpec> spec = LoadModelSpec(kModel);
    CHECK(spec.ok()) << spec.status();
    spec_ = *std::move(spec);
    UseWorker(PITH_FAKE_WORKER);
  }

  void UseWorker(const std::filesystem::path& executable) {
    options_.workers = {{executable, {"--model", kModel.string()}}};
  }
  absl::StatusOr<std::unique_ptr<ModelEmbedder>> TryCreate() const {
    absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer =
        Tokenizer::Load(kModel);
    CHECK(tokenizer.ok()) << tokenizer.status();
    return ModelEmbedder::Create(spec_, "fingerprint", *std::move(tokenizer),
                                 options_);
  }
  std::unique_ptr<ModelEmbedder> Create() const {
    absl::StatusOr<std::unique_ptr<ModelEmbedder>> embedder = TryCreate();
    CHECK(embedder.ok()) << embedder.status();
    return *std::move(embedder);
  }

  static absl::StatusOr<Matrix> Embed(
      ModelEmbedder& embedder, const std::vector<std::string_view>& texts,
      const RequestContext& context = {}, TextRole role = TextRole::kPassage) {
    return embedder.Embed(texts, role, context);
  }
  static std::future<absl::StatusOr<Matrix>> EmbedLater(
      ModelEmbedder& embedder, std::string text, RequestContext context = {}) {
    return std::async(std::launch::async, [&embedder, text = std::move(text),
                                           context = std::move(context)] {
      return Embed(embedder, {text}, context);
    });
  }
  static WorkerPool::WorkerStatus Worker(const ModelEmbedder& embedder) {
    return embedder.status().workers.at(0);
  }
  static int64_t QueuedTokens(const ModelEmbedder& embedder) {
    const WorkerPool::Status status = embedder.status();
    return status.search_tokens + status.ingest_tokens;
  }
  // Waits until texts stand in a queue that did not when it held `before`
  // tokens.
  static bool AwaitQueued(const ModelEmbedder& embedder, int64_t before = 0) {
    return Eventually([&] { return QueuedTokens(embedder) > before; });
  }
  static bool IsGone(pid_t pid) { return kill(pid, 0) != 0 && errno == ESRCH; }

  ModelSpec spec_;
  WorkerPool::Options options_;
};

double Dot(std::span<const float> a, std::span<const float> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

TEST_F(ModelEmbedderTest, RowsFollowTheOrderOfTheTextsAcrossBatches) {
  options_.max_search_batch_tokens = 16;
  const std::unique_ptr<ModelEmbedder> embedder = Create();
  const std::vector<std::string_view> texts = {
      "the quick brown fox jumps over the lazy dog", "a cat", "the rain",
      "a door", "the lazy dog sat by the door and watched the rain"};
  const absl::StatusOr<Matrix> together = Embed(*embedder, texts);
  ASSERT_OK(together);
  ASSERT_EQ(together->rows(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const absl::StatusOr<Matrix> alone = Embed(*embedder, {texts[i]});
    ASSERT_OK(alone);
    EXPECT_THAT(together->row(i), ElementsAreArray(alone->row(0))) << texts[i];
    EXPECT_NEAR(Dot(alone->row(0), alone->row(0)), 1, 1e-5);
  }
  EXPECT_EQ(Worker(*embedder).embedded_texts, 10);
}

TEST_F(ModelEmbedderTest, ConcurrentCallersGetTheirOwnVectors) {
  const std::unique_ptr<ModelEmbedder> embedder = Create();
  const std::vector<std::string> texts = {"fox",  "dog",  "cat",   "door",
                                          "rain", "lazy", "quick", "brown"};
  std::vector<Matrix> expected;
  for (const std::string& text : texts) {
    absl::StatusOr<Matrix> vectors = Embed(*embedder, {text});
    ASSERT_OK(vectors);
    expected.push_back(*std::move(vectors));
  }
  for (int round = 0; round < 5; ++round) {
    std::vector<std::future<absl::StatusOr<Matrix>>> calls;
    for (const std::string& text : texts) {
      calls.push_back(EmbedLater(*embedder, text));
    }
    for (size_t i = 0; i < texts.size(); ++i) {
      const absl::StatusOr<Matrix> vectors = calls[i].get();
      ASSERT_OK(vectors);
      EXPECT_THAT(vectors->row(0), ElementsAreArray(expected[i].row(0)));
    }
  }
}

TEST_F(ModelEmbedderTest, NoTextsNeedNoWorker) {
  const std::unique_ptr<ModelEmbedder> embedder = Create();
  const absl::StatusOr<Matrix> vectors = Embed(*embedder, {});
  ASSERT_OK(vectors);
  EXPECT_EQ(vectors->rows(), 0);
  EXPECT_EQ(Worker(*embedder).state, State::kStopped);
}

TEST_F(ModelEmbedderTest, OneEmptyTextFailsTheCallBeforeAnythingIsEmbedded) {
  const std::unique_ptr<ModelEmbedder> embedder = Create();
  EXPECT_THAT(Embed(*embedder, {"fox", "", "dog"}),
              StatusIs(absl::StatusCode::kInvalidArgument, "text 1 is empty"));
  EXPECT_EQ(Worker(*embedder).state, State::kStopped);
}

TEST_F(ModelEmbedderTest, PromptsDependOnTheRole) {
  const std::unique_ptr<ModelEmbedder> plain = Create();
  spec_.query_prompt = "the fox: ";
  spec_.passage_prompt = "a cat: ";
  const std::unique_ptr<ModelEmbedder> prompted = Create();
  const auto expect_equal = [&](std::string_view text, TextRole role,
                                std::string_view full_text) {
    const absl::StatusOr<Matrix> vectors = Embed(*prompted, {text}, {}, role);
    const absl::StatusOr<Matrix> expected = Embed(*plain, {full_text});
    ASSERT_OK(vectors);
    ASSERT_OK(expected);
    EXPECT_THAT(vectors->row(0), ElementsAreArray(expected->row(0)));
  };
  expect_equal("dog", TextRole::kQuery, "the fox: dog");
  expect_equal("dog", TextRole::kPassage, "a cat: dog");
  EXPECT_EQ(plain->max_tokens(), spec_.max_tokens - 2);
  EXPECT_EQ(prompted->max_tokens(),
            spec_.max_tokens - 2 - plain->CountTokens("a cat: "));
}

// A byte-level tokenizer makes one token of the prompt's space and the text.
TEST_F(ModelEmbedderTest, AShortTextBehindAPromptIsNotEmpty) {
  const std::filesystem::path model =
      std::filesystem::path(PITH_TEST_DATA) / "tiny-roberta";
  absl::StatusOr<ModelSpec> spec = LoadModelSpec(model);
  ASSERT_OK(spec);
  spec->query_prompt = "query: ";
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Load(model);
  ASSERT_OK(tokenizer);
  ASSERT_EQ((*tokenizer)->Count("query: "), (*tokenizer)->Count("query: a"));
  options_.workers = {{PITH_FAKE_WORKER, {"--model", model.string()}}};
  const absl::StatusOr<std::unique_ptr<ModelEmbedder>> embedder =
      ModelEmbedder::Create(*spec, "fingerprint", *std::move(tokenizer),
                            options_);
  ASSERT_OK(embedder);
  EXPECT_OK(Embed(**embedder, {"a"}, {}, TextRole::kQuery));
  EXPECT_THAT(Embed(**embedder, {""}, {}, TextRole::kQuery),
              StatusIs(absl::StatusCode::kInvalidArgument, "query is empty"));
}

TEST_F(ModelEmbedderTest, AnOverlongQueryIsRefusedWithItsLengthAndTheBound) {
  const std::unique_ptr<ModelEmbedder> embedder = Create();
  std::string query;
  for (int i = 0; i < 100'000; ++i) {
    query += "fox ";
  }
  EXPECT_THAT(
      Embed(*embedder, {query}, {}, TextRole::kQuery),
      StatusIs(
          absl::StatusCode::kInvalidArgument,
          absl::StrCat("query has ", embedder->CountTokens(query) + 2,
                       " tokens, model tiny-bert takes ", spec_.max_tokens)));
}

TEST_F(ModelEmbedderTest, AnOverlongPassageIsCutOff) {
  const std::unique_ptr<ModelEmbedder> embedder = Create();
  std::string fitting;
  while (embedder->CountTokens(fitting) < embedder->max_tokens()) {
    fitting += "the ";
  }
  const std::string overlong = fitting + "dog dog dog";
  const absl::StatusOr<Matrix> vectors = Embed(*embedder, {fitting, overlong});
  ASSERT_OK(vectors);
  EXPECT_THAT(vectors->row(0), ElementsAreArray(vectors->row(1)));
}

TEST_F(ModelEmbedderTest, ACallBeyondTheQueuesBoundCanNeverSucceed) {
  options_.max_queue_tokens = spec_.max_tokens;
  const std::unique_ptr<ModelEmbedder> embedder = Create();
  EXPECT_THAT(Embed(*embedder, std::vector<std::string_view>(100, "the fox")),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       absl::StrCat("more than the ", spec_.max_tokens)));
}

TEST_F(ModelEmbedderTest, AFullQueueRefusesAndLeavesTheOtherPriorityOpen) {
  options_.max_queue_tokens = spec_.max_tokens;
  std::string long_text;
  {
    const std::unique_ptr<ModelEmbedder> counter = Create();
    while (counter->CountTokens(long_text) < counter->max_tokens()) {
      long_text += "the ";
    }
  }
  const Gates gates(1);
  const std::unique_ptr<ModelEmbedder> embedder = Create();
  auto running = EmbedLater(*embedder, "fox", IngestContext());
  UniqueFd gate = gates.Await(0);
  auto waiting = EmbedLater(*embedder, long_text, IngestContext());
  ASSERT_TRUE(AwaitQueued(*embedder));
  EXPECT_THAT(Embed(*embedder, {"dog"}, IngestContext()),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       absl::StrCat(spec_.max_tokens, " of at most ",
                                    spec_.max_tokens, " already wait")));
  auto search = EmbedLater(*embedder, "dog");
  ASSERT_TRUE(AwaitQueued(*embedder, spec_.max_tokens));
  gate = UniqueFd();
  EXPECT_OK(running.get());
  EXPECT_OK(waiting.get());
  EXPECT_OK(search.get());
}

TEST_F(ModelEmbedderTest, SearchesLeaveBeforeIngest) {
  const Gates gates(3);
  const std::unique_ptr<ModelEmbedder> embedder = Create();
  auto running = EmbedLater(*embedder, "fox", IngestContext());
  UniqueFd gate = gates.Await(0);
  auto ingest = EmbedLater(*embedder, "dog", IngestContext());
  ASSERT_TRUE(AwaitQueued(*embedder));
  const int64_t queued = QueuedTokens(*embedder);
  auto search = EmbedLater(*embedder, "cat");
  ASSERT_TRUE(AwaitQueued(*embedder, queued));

  gate = UniqueFd();
  EXPECT_OK(running.get());
  gate = gates.Await(1);
  gate = UniqueFd();
  gate = gates.Await(2);
  EXPECT_EQ(search.wait_for(std::chrono::minutes(1)),
            std::future_status::ready);
  EXPECT_EQ(ingest.wait_for(std::chrono::seconds(0)),
            std::future_status::timeout);
  gate = UniqueFd();
  EXPECT_OK(search.get());
  EXPECT_OK(ingest.get());
}

TEST_F(ModelEmbedderTest, ACancelledCallerLeavesBeforeTheModelRuns) {
  const Gates gates(1);
  const std::unique_ptr<ModelEmbedder> embedder = Create();
  auto running = EmbedLater(*embedder, "fox");
  UniqueFd gate = gates.Await(0);
  std::atomic<bool> cancelled = false;
  auto waiting = EmbedLater(*embedder, "dog",
                            {.cancelled = [&] { return cancelled.load(); }});
  ASSERT_TRUE(AwaitQueued(*embedder));
  cancelled = true;
  EXPECT_THAT(waiting.get(), StatusIs(absl::StatusCode::kCancelled, ""));
  EXPECT_EQ(QueuedTokens(*embedder), 0);
  gate = UniqueFd();
  EXPECT_OK(running.get());
  EXPECT_EQ(Worker(*embedder).embedded_texts, 1);
}

TEST_F(ModelEmbedderTest, ADeadlineEndsAWaitAndARunningCall) {
  const Gates gates(1);
  const std::unique_ptr<ModelEmbedder> embedder = Create();
  auto abandoned = EmbedLater(*embedder, "fox",
                              {.deadline = absl::Now() + absl::Seconds(1)});
  UniqueFd gate = gates.Await(0);
  EXPECT_THAT(Embed(*embedder, {"dog"},
                    {.deadline = absl::Now() + absl::Milliseconds(30)}),
              StatusIs(absl::StatusCode::kDeadlineExceeded, ""));
  EXPECT_THAT(abandoned.get(),
              StatusIs(absl::StatusCode::kDeadlineExceeded, ""));
  gate = UniqueFd();
  EXPECT_OK(Embed(*embedder, {"cat"}));
}

TEST_F(ModelEmbedderTest, AnExpiredCallStartsNoWorker) {
  const std::unique_ptr<ModelEmbedder> embedder = Create();
  EXPECT_THAT(
      Embed(*embedder, {"dog"}, {.deadline = absl::Now() - absl::Seconds(1)}),
      StatusIs(absl::StatusCode::kDeadlineExceeded, ""));
  EXPECT_EQ(Worker(*embedder).state, State::kStopped);
}

TEST_F(ModelEmbedderTest, AWorkerKilledDuringABatchCostsARetry) {
  const Gates gates(1);
  const std::unique_ptr<ModelEmbedder> embedder = Create();
  auto call = EmbedLater(*embedder, "fox");
  UniqueFd gate = gates.Await(0);
  const pid_t first = Worker(*embedder).pid;
  ASSERT_GT(first, 0);
  kill(first, SIGKILL);
  ASSERT_TRUE(Eventually([&] { return IsGone(first); }));
  gate = UniqueFd();
  const auto is_over = [&] {
    return call.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  };
  ASSERT_TRUE(Eventually([&] {
    const pid_t pid = Worker(*embedder).pid;
    return (pid != 0 && pid != first) || is_over();
  }));
  ASSERT_FALSE(is_over()) << call.get().status();
  gate = gates.Await(0);
  gate = UniqueFd();
  EXPECT_OK(call.get());
  const WorkerPool::WorkerStatus status = Worker(*embedder);
  EXPECT_NE(status.pid, first);
  EXPECT_EQ(status.lost, 1);
  EXPECT_THAT(status.last_error,
              ::testing::HasSubstr(absl::StrCat("model worker ", first)));
}

TEST_F(ModelEmbedderTest, AWorkerKilledBetweenCallsIsReplaced) {
  const std::unique_ptr<ModelEmbedder> embedder = Create();
  ASSERT_OK(Embed(*embedder, {"fox"}));
  const pid_t first = Worker(*embedder).pid;
  kill(first, SIGKILL);
  EXPECT_OK(Embed(*embedder, {"dog"}));
  EXPECT_NE(Worker(*embedder).pid, first);
}

TEST_F(ModelEmbedderTest, ABatchThatKillsTwoWorkersFailsAndTheNextWorks) {
  const absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer =
      Tokenizer::Load(kModel);
  ASSERT_OK(tokenizer);
  const int32_t fox = (*tokenizer)->Encode("fox", 8).ids[1];
  const ScopedVariable crash("PITH_FAKE_CRASH_TOKEN", absl::StrCat(fox));
  const std::unique_ptr<ModelEmbedder> embedder = Create();
  EXPECT_THAT(Embed(*embedder, {"the fox"}),
              StatusIs(absl::StatusCode::kUnavailable, "is lost"));
  EXPECT_EQ(Worker(*embedder).lost, 2);
  EXPECT_OK(Embed(*embedder, {"dog"}));
}

TEST_F(ModelEmbedderTest, AVectorThatIsNotANumberIsTheModelsError) {
  const absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer =
      Tokenizer::Load(kModel);
  ASSERT_OK(tokenizer);
  const int32_t fox = (*tokenizer)->Encode("fox", 8).ids[1];
  const ScopedVariable nan("PITH_FAKE_NAN_TOKEN", absl::StrCat(fox));
  const std::unique_ptr<ModelEmbedder> embedder = Create();
  EXPECT_THAT(Embed(*embedder, {"dog", "the fox"}),
              StatusIs(absl::StatusCode::kInternal, "of norm nan, not 1"));
  EXPECT_OK(Embed(*embedder, {"dog"}));
}

// The codes' encoder takes a norm that is off by 1 % for a programming error.
TEST_F(ModelEmbedderTest, ANormThatTheCodesWouldNotTakeIsTheModelsError) {
  for (const char* norm : {"0.99", "0.992", "1.008", "1.01"}) {
    const ScopedVariable variable("PITH_FAKE_NORM", norm);
    EXPECT_THAT(Embed(*Create(), {"dog"}),
                StatusIs(absl::StatusCode::kInternal,
                         absl::StrCat("of norm ", std::string(norm, 4))));
  }
}

TEST_F(ModelEmbedderTest, AFailedBatchFailsTheWholeCall) {
  const absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer =
      Tokenizer::Load(kModel);
  ASSERT_OK(tokenizer);
  const int32_t fox = (*tokenizer)->Encode("fox", 8).ids[1];
  const ScopedVariable crash("PITH_FAKE_CRASH_TOKEN", absl::StrCat(fox));
  options_.max_search_batch_tokens = 1;
  const std::unique_ptr<ModelEmbedder> embedder = Create();
  EXPECT_THAT(Embed(*embedder, {"cat", "fox", "dog", "rain"}),
              StatusIs(absl::StatusCode::kUnavailable, "is lost"));
  const WorkerPool::WorkerStatus status = Worker(*embedder);
  EXPECT_EQ(status.embedded_texts, 1);
  EXPECT_EQ(QueuedTokens(*embedder), 0);
}

TEST_F(ModelEmbedderTest, AMissingExecutableIsNamed) {
  UseWorker("/nowhere/pith-embedder");
  const std::unique_ptr<ModelEmbedder> embedder = Create();
  EXPECT_THAT(Embed(*embedder, {"fox"}),
              StatusIs(absl::StatusCode::kUnavailable,
                       "/nowhere/pith-embedder: No such file"));
  EXPECT_THAT(Worker(*embedder).last_error,
              ::testing::HasSubstr("/nowhere/pith-embedder"));
}

TEST_F(ModelEmbedderTest, AnExecutableThatExitsAtOnceIsUnavailable) {
  UseWorker("/bin/false");
  EXPECT_THAT(Embed(*Create(), {"fox"}),
              StatusIs(absl::StatusCode::kUnavailable, "load model"));
}

TEST_F(ModelEmbedderTest, AModelThatCannotBeLoadedGivesTheWorkersOwnError) {
  std::optional<ScopedVariable> broken(std::in_place, "PITH_FAKE_LOAD_ERROR",
                                       "model.safetensors: it is torn");
  const std::unique_ptr<ModelEmbedder> embedder = Create();
  EXPECT_THAT(Embed(*embedder, {"fox"}),
              StatusIs(absl::StatusCode::kDataLoss, "it is torn"));
  // Answered from memory: starting over for each call would be a busy loop.
  broken.reset();
  EXPECT_THAT(Embed(*embedder, {"fox"}),
              StatusIs(absl::StatusCode::kDataLoss, "it is torn"));
  EXPECT_EQ(Worker(*embedder).state, State::kStopped);
  EXPECT_TRUE(Eventually([&] { return Embed(*embedder, {"fox"}).ok(); }));
}

TEST_F(ModelEmbedderTest, AModelOfAnotherDimensionIsRefused) {
  spec_.encoder.hidden_size = 99;
  EXPECT_THAT(Embed(*Create(), {"fox"}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       "worker says 48 dimensions, config.json says 99"));
}

TEST_F(ModelEmbedderTest, AnIdleWorkerIsStoppedAndStartedAgain) {
  options_.idle_unload = absl::Milliseconds(1);
  const std::unique_ptr<ModelEmbedder> embedder = Create();
  for (int round = 0; round < 2; ++round) {
    ASSERT_OK(Embed(*embedder, {"fox"}));
    EXPECT_TRUE(
        Eventually([&] { return Worker(*embedder).state == State::kStopped; }));
  }
  EXPECT_EQ(Worker(*embedder).lost, 0);
}

TEST_F(ModelEmbedderTest, TheWorkerDiesWithItsEmbedder) {
  std::unique_ptr<ModelEmbedder> embedder = Create();
  ASSERT_OK(Embed(*embedder, {"fox"}));
  const WorkerPool::WorkerStatus status = Worker(*embedder);
  EXPECT_EQ(status.state, State::kReady);
  EXPECT_EQ(status.device, "cpu");
  ASSERT_GT(status.pid, 0);
  embedder.reset();
  EXPECT_TRUE(IsGone(status.pid));
}

TEST_F(ModelEmbedderTest, AWorkerEndsWhenTheDaemonsEndOfItsSocketCloses) {
  int ends[2];
  PCHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  PCHECK(fcntl(ours.get(), F_SETFD, FD_CLOEXEC) == 0);
  std::string fd = absl::StrCat(theirs.get());
  std::string model = kModel.string();
  std::string worker = options_.workers[0].executable.string();
  std::string model_flag = "--model";
  std::string fd_flag = "--fd";
  char* const command[] = {worker.data(),  model_flag.data(), model.data(),
                           fd_flag.data(), fd.data(),         nullptr};
  pid_t pid = 0;
  ASSERT_EQ(
      posix_spawn(&pid, worker.c_str(), nullptr, nullptr, command, environ), 0);
  theirs = UniqueFd();
  ours = UniqueFd();
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST_F(ModelEmbedderTest, DestructionDoesNotWaitForAnAbandonedBatch) {
  const Gates gates(1);
  std::unique_ptr<ModelEmbedder> embedder = Create();
  auto abandoned = EmbedLater(
      *embedder, "fox", {.deadline = absl::Now() + absl::Milliseconds(500)});
  const UniqueFd gate = gates.Await(0);
  EXPECT_THAT(abandoned.get(),
              StatusIs(absl::StatusCode::kDeadlineExceeded, ""));
  const absl::Time begin = absl::Now();
  embedder.reset();
  EXPECT_LT(absl::Now() - begin, options_.batch_timeout / 2);
}

TEST_F(ModelEmbedderTest, RefusesATokenizerWithIdsThatTheModelLacks) {
  EXPECT_OK(TryCreate());
  --spec_.encoder.vocab_size;
  const int largest = spec_.encoder.vocab_size;
  EXPECT_THAT(TryCreate(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       absl::StrCat("ids up to ", largest,
                                    ", vocab_size in config.json is ",
                                    spec_.encoder.vocab_size)));
}

TEST_F(ModelEmbedderTest, RefusesOptionsOutOfRange) {
  const std::vector<WorkerPool::Command> workers =
      std::exchange(options_.workers, {});
  EXPECT_THAT(TryCreate(), StatusIs(absl::StatusCode::kInvalidArgument,
                                    "at least one worker"));
  options_.workers = workers;
  options_.max_queue_tokens = spec_.max_tokens - 1;
  EXPECT_THAT(TryCreate(), StatusIs(absl::StatusCode::kInvalidArgument,
                                    "max_queue_tokens is"));
}

}  // namespace
}  // namespace pith
