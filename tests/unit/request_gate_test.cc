#include "embedder/remote/request_gate.h"

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/base/reason.h"
#include "tests/status_matchers.h"

namespace pith {
namespace {

using ::testing::ElementsAre;

RequestContext With(EmbedPriority priority) {
  RequestContext context;
  context.priority = priority;
  return context;
}

class RequestGateTest : public ::testing::Test {
 protected:
  // A thread that waits behind those that wait already, notes `name` once
  // admitted, and leaves.
  std::thread Queue(RequestGate& gate, EmbedPriority priority,
                    const std::string& name) {
    const int before = gate.waiting();
    std::thread thread([this, &gate, priority, name] {
      const auto permit = gate.Enter(With(priority));
      EXPECT_OK(permit);
      MutexLock lock(mutex_);
      order_.push_back(name);
    });
    while (gate.waiting() == before) {
      std::this_thread::yield();
    }
    return thread;
  }

  std::vector<std::string> order() {
    MutexLock lock(mutex_);
    return order_;
  }

  Mutex mutex_;
  std::vector<std::string> order_;
};

TEST_F(RequestGateTest, AdmitsAsManyAsMayRun) {
  RequestGate gate(2, 0);
  auto first = gate.Enter({});
  auto second = gate.Enter({});
  ASSERT_OK(first);
  ASSERT_OK(second);
  const auto third = gate.Enter({});
  EXPECT_THAT(third.status(), StatusIs(absl::StatusCode::kResourceExhausted,
                                       "2 requests run and 0 wait"));
  EXPECT_EQ(ReasonOf(third.status()), "EMBED_QUEUE_FULL");
  first = absl::CancelledError();
  EXPECT_OK(gate.Enter({}));
}

TEST_F(RequestGateTest, SearchesFirstThenInOrder) {
  RequestGate gate(1, 8);
  auto permit = std::make_optional(*gate.Enter({}));
  std::vector<std::thread> threads;
  threads.push_back(Queue(gate, EmbedPriority::kIngest, "ingest 1"));
  threads.push_back(Queue(gate, EmbedPriority::kIngest, "ingest 2"));
  threads.push_back(Queue(gate, EmbedPriority::kSearch, "search 1"));
  threads.push_back(Queue(gate, EmbedPriority::kSearch, "search 2"));
  permit.reset();
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_THAT(order(),
              ElementsAre("search 1", "search 2", "ingest 1", "ingest 2"));
}

TEST_F(RequestGateTest, IngestDoesNotStarve) {
  constexpr int kSearches = 2 * RequestGate::kSearchesInRow;
  RequestGate gate(1, kSearches + 2);
  auto permit = std::make_optional(*gate.Enter({}));
  std::vector<std::thread> threads;
  threads.push_back(Queue(gate, EmbedPriority::kIngest, "ingest"));
  threads.push_back(Queue(gate, EmbedPriority::kIngest, "ingest"));
  for (int i = 0; i < kSearches; ++i) {
    threads.push_back(Queue(gate, EmbedPriority::kSearch, "search"));
  }
  permit.reset();
  for (std::thread& thread : threads) {
    thread.join();
  }
  std::vector<std::string> expected(kSearches, "search");
  expected.insert(expected.begin() + RequestGate::kSearchesInRow, "ingest");
  expected.push_back("ingest");
  EXPECT_EQ(order(), expected);
}

TEST_F(RequestGateTest, WaitersThatGiveUpLeaveTheirPlace) {
  RequestGate gate(1, 1);
  auto permit = std::make_optional(*gate.Enter({}));
  RequestContext late;
  late.deadline = absl::Now() + absl::Milliseconds(5);
  EXPECT_THAT(gate.Enter(late).status(),
              StatusIs(absl::StatusCode::kDeadlineExceeded, "deadline"));
  std::atomic<bool> cancelled = false;
  RequestContext context;
  context.cancelled = [&] { return cancelled.load(); };
  std::thread thread([&] {
    EXPECT_THAT(gate.Enter(context).status(),
                StatusIs(absl::StatusCode::kCancelled, "gone"));
  });
  while (gate.waiting() == 0) {
    std::this_thread::yield();
  }
  EXPECT_THAT(gate.Enter({}).status(),
              StatusIs(absl::StatusCode::kResourceExhausted, "1 wait"));
  cancelled = true;
  thread.join();
  EXPECT_EQ(gate.waiting(), 0);
  permit.reset();
  EXPECT_OK(gate.Enter({}));
}

TEST_F(RequestGateTest, NeverMoreThanMayRun) {
  RequestGate gate(3, 64);
  std::atomic<int> running = 0;
  std::atomic<int> most = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const auto permit = gate.Enter(
            With(t % 2 == 0 ? EmbedPriority::kSearch : EmbedPriority::kIngest));
        ASSERT_OK(permit);
        const int now = ++running;
        int seen = most;
        while (seen < now && !most.compare_exchange_weak(seen, now)) {
        }
        --running;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_LE(most, 3);
  EXPECT_EQ(gate.waiting(), 0);
}

}  // namespace
}  // namespace pith
