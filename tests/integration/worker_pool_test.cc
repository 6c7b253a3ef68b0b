#include "embedder/worker_pool.h"

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "embedder/model_directory.h"
#include "tests/status_matchers.h"
#include "tests/worker_gates.h"

namespace pith {
namespace {

using ::testing::ElementsAreArray;
using State = WorkerPool::WorkerStatus::State;

const std::filesystem::path kModel =
    std::filesystem::path(PITH_TEST_DATA) / "tiny-bert";
constexpr int kDimension = 48;
constexpr int32_t kPoison = 900;

WorkerPool::Options PoolOptions(size_t workers) {
  return {.name = "tiny-bert",
          .dimension = kDimension,
          .workers = std::vector<WorkerPool::Command>(
              workers, {PITH_FAKE_WORKER, {"--model", kModel.string()}})};
}

std::vector<int32_t> Text(int name, int length = 5) {
  return std::vector<int32_t>(static_cast<size_t>(length), name);
}

std::future<absl::StatusOr<Matrix>> EmbedLater(
    WorkerPool& pool, std::vector<std::vector<int32_t>> texts) {
  return std::async(std::launch::async, [&pool, texts = std::move(texts)] {
    return pool.Embed(texts, {});
  });
}

int64_t Lost(const WorkerPool& pool) {
  int64_t lost = 0;
  for (const WorkerPool::WorkerStatus& worker : pool.status().workers) {
    lost += worker.lost;
  }
  return lost;
}

TEST(WorkerPool, WorkersShareTheTextsOfOneCall) {
  // Both have a batch before them at the same time.
  const Gates gates(1);
  WorkerPool pool(PoolOptions(2));
  std::vector<std::vector<int32_t>> texts;
  for (int name = 1; name <= 20; ++name) {
    texts.push_back(Text(name, 50));
  }
  auto call = EmbedLater(pool, texts);
  UniqueFd gate = gates.Await(0);
  ASSERT_TRUE(Eventually([&] {
    return std::ranges::all_of(pool.status().workers, [&](const auto& worker) {
      return gates.IsAt(worker.pid, 0);
    });
  }));
  gate = UniqueFd();
  const absl::StatusOr<Matrix> vectors = call.get();
  ASSERT_OK(vectors);
  // The same as one by one.
  for (size_t i = 0; i < texts.size(); ++i) {
    const absl::StatusOr<Matrix> alone = pool.Embed({texts[i]}, {});
    ASSERT_OK(alone);
    EXPECT_THAT(vectors->row(i), ElementsAreArray(alone->row(0)));
  }
}

TEST(WorkerPool, CallsThatWantOneTextShareIt) {
  const Gates gates(1);
  WorkerPool pool(PoolOptions(1));
  auto first = EmbedLater(pool, {Text(1), Text(2)});
  UniqueFd gate = gates.Await(0);
  auto second = EmbedLater(pool, {Text(2), Text(3)});
  ASSERT_TRUE(
      Eventually([&] { return pool.status().batches.shared_texts == 1; }));
  gate = UniqueFd();
  const absl::StatusOr<Matrix> a = first.get();
  const absl::StatusOr<Matrix> b = second.get();
  ASSERT_OK(a);
  ASSERT_OK(b);
  EXPECT_THAT(a->row(1), ElementsAreArray(b->row(0)));
  EXPECT_EQ(pool.status().workers[0].embedded_texts, 3);
}

TEST(WorkerPool, ATextThatKillsWorkersFailsItsOwnCallAlone) {
  const ScopedVariable crash("PITH_FAKE_CRASH_TOKEN", std::to_string(kPoison));
  // Of the first worker alone.
  std::optional<Gates> gates(1);
  WorkerPool pool(PoolOptions(1));
  auto busy = EmbedLater(pool, {Text(1)});
  UniqueFd gate = gates->Await(0);
  gates.reset();
  // Both wait, and get into one batch.
  auto sound = EmbedLater(pool, {Text(2), Text(3)});
  auto poisoned = EmbedLater(pool, {Text(4), Text(kPoison)});
  ASSERT_TRUE(Eventually([&] { return pool.status().search_tokens == 20; }));
  gate = UniqueFd();
  EXPECT_OK(busy.get());
  EXPECT_OK(sound.get());
  EXPECT_THAT(poisoned.get(),
              StatusIs(absl::StatusCode::kUnavailable, "text 1: "));
  EXPECT_EQ(Lost(pool), 3);
}

TEST(WorkerPool, WorkersKilledAtRandomUnderLoadLoseNothing) {
  constexpr int kClients = 6;
  WorkerPool pool(PoolOptions(3));
  // What each text's vector is.
  std::map<int, std::vector<float>> expected;
  for (int name = 1; name <= 40; ++name) {
    const absl::StatusOr<Matrix> vector = pool.Embed({Text(name, name)}, {});
    ASSERT_OK(vector);
    expected[name].assign(vector->row(0).begin(), vector->row(0).end());
  }
  std::atomic<int> killed = 0;
  std::atomic<int> answered = 0;
  std::atomic<int> unavailable = 0;
  std::atomic<int> running = kClients;
  std::vector<std::jthread> clients;
  for (int client = 0; client < kClients; ++client) {
    clients.emplace_back([&, client] {
      std::mt19937 random(static_cast<uint32_t>(client));
      // Until enough workers have died.
      for (int i = 0; i < 40 || killed < 30; ++i) {
        std::vector<std::vector<int32_t>> texts;
        std::vector<int> names;
        for (size_t count = 1 + random() % 8; count > 0; --count) {
          names.push_back(1 + static_cast<int>(random() % 40));
          texts.push_back(Text(names.back(), names.back()));
        }
        const absl::StatusOr<Matrix> vectors = pool.Embed(
            texts, {.priority = client % 2 == 0 ? EmbedPriority::kSearch
                                                : EmbedPriority::kIngest});
        if (!vectors.ok()) {
          EXPECT_THAT(vectors,
                      StatusIs(absl::StatusCode::kUnavailable, "is lost"));
          ++unavailable;
          // Workers that died while they were started are left alone for a
          // second, in which calls fail at once.
          std::this_thread::sleep_for(std::chrono::milliseconds(10));
          continue;
        }
        ++answered;
        for (size_t row = 0; row < names.size(); ++row) {
          ASSERT_THAT(vectors->row(row),
                      ElementsAreArray(expected[names[row]]));
        }
      }
      --running;
    });
  }
  std::mt19937 random(7);
  while (running > 0) {
    const std::vector<WorkerPool::WorkerStatus> workers = pool.status().workers;
    const pid_t pid = workers[random() % workers.size()].pid;
    if (pid > 0 && kill(pid, SIGKILL) == 0) {
      ++killed;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
  }
  clients.clear();
  EXPECT_GT(answered, unavailable);
  const WorkerPool::Status status = pool.status();
  EXPECT_EQ(status.search_tokens + status.ingest_tokens, 0);
  EXPECT_TRUE(Eventually([&] { return pool.Embed({Text(1)}, {}).ok(); }));
}

TEST(WorkerPool, OneWorkerThatCannotStartLeavesTheOthersWork) {
  WorkerPool::Options options = PoolOptions(2);
  options.workers[1].executable = "/nowhere/pith-embedder";
  WorkerPool pool(std::move(options));
  for (int name = 1; name < 50; ++name) {
    EXPECT_OK(pool.Embed({Text(name)}, {}));
  }
}

}  // namespace
}  // namespace pith
