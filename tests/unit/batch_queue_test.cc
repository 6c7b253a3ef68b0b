#include "embedder/batch_queue.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/status_matchers.h"

namespace pith {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;
using RequestId = BatchQueue::RequestId;
using Waiter = BatchQueue::Waiter;
using Failure = BatchQueue::Failure;

constexpr absl::Time kNow = absl::UnixEpoch();

// A text of `length` tokens that no other `name` gives.
std::vector<int32_t> Text(int name, int length) {
  return std::vector<int32_t>(static_cast<size_t>(length), name);
}

RequestContext Ingest() {
  return {.priority = EmbedPriority::kIngest};
}

void Push(BatchQueue& queue, int id, std::vector<std::vector<int32_t>> texts,
          const RequestContext& context = {}) {
  ASSERT_OK(queue.Push(RequestId(id), std::move(texts), context, kNow));
}

// The names of the texts in the next batch, in order.
struct Taken : BatchQueue::Batch {
  std::vector<int> names;
  BatchQueue::Dead dead;
};
Taken Take(BatchQueue& queue, absl::Time now = kNow) {
  Taken taken;
  BatchQueue::Batch& batch = taken;
  batch = queue.Take(now, taken.dead);
  for (size_t i = 0; i < batch.tokens.size(); ++i) {
    taken.names.push_back(
        batch.tokens.ids[static_cast<size_t>(batch.tokens.offsets[i])]);
  }
  return taken;
}
std::vector<int> TakeNames(BatchQueue& queue) {
  return Take(queue).names;
}

// The next batch's connection is lost, and later its worker is found to have
// died; the callers have gone meanwhile.
std::vector<int> LoseWorker(BatchQueue& queue) {
  const Taken taken = Take(queue);
  queue.Fail(taken.id, Failure::kUnreachable);
  queue.RemoveAll();
  EXPECT_THAT(queue.Blame(taken, kNow), IsEmpty());
  return taken.names;
}

TEST(BatchQueue, AnEmptyQueueGivesAnEmptyBatch) {
  BatchQueue queue({});
  EXPECT_TRUE(queue.empty());
  EXPECT_THAT(TakeNames(queue), IsEmpty());
  EXPECT_EQ(queue.counters().batches, 0);
}

TEST(BatchQueue, ABatchEndsBeforeTheBudgetIsExceeded) {
  BatchQueue queue({.max_batch_tokens = {10, 10}});
  Push(queue, 1, {Text(1, 4), Text(2, 4), Text(3, 4)});
  EXPECT_EQ(queue.waiting_tokens(EmbedPriority::kSearch), 12);
  EXPECT_THAT(TakeNames(queue), ElementsAre(1, 2));
  EXPECT_EQ(queue.waiting_tokens(EmbedPriority::kSearch), 4);
  EXPECT_THAT(TakeNames(queue), ElementsAre(3));
  EXPECT_TRUE(queue.empty());
}

TEST(BatchQueue, ATextBeyondTheBudgetIsABatchOfItsOwn) {
  BatchQueue queue({.max_batch_tokens = {10, 10}});
  Push(queue, 1, {Text(1, 25), Text(2, 1)});
  EXPECT_THAT(TakeNames(queue), ElementsAre(1));
  EXPECT_THAT(TakeNames(queue), ElementsAre(2));
}

TEST(BatchQueue, TheOldestTextGoesFirstAndTheNearestLengthsJoinIt) {
  BatchQueue queue({.max_batch_tokens = {30, 30}});
  Push(queue, 1,
       {Text(1, 10), Text(2, 2), Text(3, 20), Text(4, 11), Text(5, 9),
        Text(6, 10)});
  // 6 is as long as 1; 5 and 4 are as near, and only the shorter one fits.
  EXPECT_THAT(TakeNames(queue), ElementsAre(1, 6, 5));
  // 2 is the oldest; 4 is nearer to it than 3, which does not fit beside both.
  EXPECT_THAT(TakeNames(queue), ElementsAre(2, 4));
  EXPECT_THAT(TakeNames(queue), ElementsAre(3));
}

TEST(BatchQueue, SearchLeavesBeforeIngest) {
  BatchQueue queue({.max_batch_tokens = {10, 10}});
  Push(queue, 1, {Text(1, 5)}, Ingest());
  Push(queue, 2, {Text(2, 5)});
  EXPECT_THAT(TakeNames(queue), ElementsAre(2));
  EXPECT_THAT(TakeNames(queue), ElementsAre(1));
}

TEST(BatchQueue, IngestHasItsShareHoweverManySearchesCome) {
  BatchQueue queue({.max_batch_tokens = {10, 10}, .ingest_share = 0.25});
  int ingest_taken = 0;
  for (int name = 0; name < 100; ++name) {
    Push(queue, name, {Text(name, 10)}, Ingest());
  }
  for (int name = 100; name < 200; ++name) {
    Push(queue, name, {Text(name, 10)});
    const Taken taken = Take(queue);
    ASSERT_EQ(taken.names.size(), 1);
    ingest_taken += taken.names[0] < 100 ? 1 : 0;
  }
  EXPECT_EQ(ingest_taken, 25);
}

TEST(BatchQueue, IngestEarnsNothingWhileItIsNotThere) {
  BatchQueue queue({.max_batch_tokens = {10, 10}, .ingest_share = 0.5});
  for (int i = 0; i < 50; ++i) {
    Push(queue, i, {Text(i, 10)});
    Take(queue);
  }
  Push(queue, 100, {Text(100, 10)}, Ingest());
  Push(queue, 101, {Text(101, 10)});
  EXPECT_THAT(TakeNames(queue), ElementsAre(101));
}

TEST(BatchQueue, SeveralWorkersShareWhatWaits) {
  BatchQueue queue({.max_batch_tokens = {1024, 1024}, .workers = 2});
  std::vector<std::vector<int32_t>> texts;
  for (int i = 0; i < 30; ++i) {
    texts.push_back(Text(i, 70));
  }
  Push(queue, 1, texts);
  // A quarter of what waits, down to what is worth a batch.
  std::vector<size_t> sizes;
  while (!queue.empty()) {
    sizes.push_back(Take(queue).names.size());
  }
  EXPECT_THAT(sizes, ElementsAre(7, 5, 4, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1));
}

TEST(BatchQueue, APassageThatSeveralQueriesWantIsThereOnce) {
  BatchQueue queue({});
  Push(queue, 1, {Text(1, 5), Text(2, 5)});
  Push(queue, 2, {Text(2, 5), Text(3, 5), Text(3, 5)});
  EXPECT_EQ(queue.waiting_tokens(EmbedPriority::kSearch), 15);
  const Taken taken = Take(queue);
  EXPECT_THAT(taken.names, ElementsAre(1, 2, 3));
  // One that runs is joined, too.
  Push(queue, 3, {Text(1, 5)});
  EXPECT_TRUE(queue.empty());
  EXPECT_THAT(
      queue.Finish(taken.id),
      ElementsAre(
          ElementsAre(Waiter{RequestId(1), 0}, Waiter{RequestId(3), 0}),
          ElementsAre(Waiter{RequestId(1), 1}, Waiter{RequestId(2), 0}),
          ElementsAre(Waiter{RequestId(2), 1}, Waiter{RequestId(2), 2})));
  EXPECT_EQ(queue.counters().shared_texts, 3);
  EXPECT_EQ(queue.counters().texts, 3);
  // Nothing is remembered.
  Push(queue, 4, {Text(1, 5)});
  EXPECT_THAT(TakeNames(queue), ElementsAre(1));
}

TEST(BatchQueue, ASearchTakesItsPassageOutOfIngest) {
  BatchQueue queue({.max_batch_tokens = {10, 10}});
  Push(queue, 1, {Text(1, 5), Text(2, 5)}, Ingest());
  Push(queue, 2, {Text(2, 5)});
  EXPECT_EQ(queue.waiting_tokens(EmbedPriority::kSearch), 5);
  EXPECT_EQ(queue.waiting_tokens(EmbedPriority::kIngest), 5);
  const Taken taken = Take(queue);
  EXPECT_THAT(taken.names, ElementsAre(2));
  EXPECT_THAT(queue.Finish(taken.id),
              ElementsAre(UnorderedElementsAre(Waiter{RequestId(1), 1},
                                               Waiter{RequestId(2), 0})));
}

TEST(BatchQueue, AFullQueueRefusesAndKeepsNothingOfTheRequest) {
  BatchQueue queue({.max_waiting_tokens = 10});
  Push(queue, 1, {Text(1, 8)});
  EXPECT_THAT(queue.Push(RequestId(2), {Text(1, 8), Text(2, 3)}, {}, kNow),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       "embed 3 tokens: 8 of at most 10 already wait"));
  EXPECT_EQ(queue.waiting_tokens(EmbedPriority::kSearch), 8);
  EXPECT_EQ(queue.counters().refused_requests, 1);
  // What waits already takes no room, and the other priority has its own.
  Push(queue, 3, {Text(1, 8), Text(3, 2)});
  Push(queue, 4, {Text(4, 10)}, Ingest());
}

TEST(BatchQueue, CancelledAndExpiredTextsNeverLeaveInABatch) {
  BatchQueue queue({});
  bool cancelled = false;
  Push(queue, 1, {Text(1, 5), Text(2, 5)},
       {.cancelled = [&] { return cancelled; }});
  Push(queue, 2, {Text(3, 5), Text(4, 5)},
       {.deadline = kNow + absl::Seconds(1)});
  Push(queue, 3, {Text(4, 5), Text(5, 5)});
  cancelled = true;
  const Taken taken = Take(queue, kNow + absl::Seconds(2));
  EXPECT_THAT(taken.names, ElementsAre(4, 5));
  ASSERT_EQ(taken.dead.size(), 2);
  EXPECT_EQ(taken.dead[0].first, RequestId(1));
  EXPECT_THAT(taken.dead[0].second,
              StatusIs(absl::StatusCode::kCancelled, "the caller has gone"));
  EXPECT_EQ(taken.dead[1].first, RequestId(2));
  EXPECT_THAT(taken.dead[1].second,
              StatusIs(absl::StatusCode::kDeadlineExceeded,
                       "the request's deadline has passed"));
  EXPECT_EQ(queue.counters().dropped_requests, 2);
  EXPECT_THAT(queue.Finish(taken.id),
              ElementsAre(ElementsAre(Waiter{RequestId(3), 0}),
                          ElementsAre(Waiter{RequestId(3), 1})));
}

TEST(BatchQueue, ARemovedRequestLeavesWhatOthersWant) {
  BatchQueue queue({});
  Push(queue, 1, {Text(1, 5), Text(1, 5), Text(2, 5)});
  Push(queue, 2, {Text(2, 5)});
  queue.Remove(RequestId(1));
  queue.Remove(RequestId(1));
  EXPECT_EQ(queue.waiting_tokens(EmbedPriority::kSearch), 5);
  EXPECT_THAT(TakeNames(queue), ElementsAre(2));
}

TEST(BatchQueue, ARequestRemovedWhileItRunsIsNotAnswered) {
  BatchQueue queue({});
  Push(queue, 1, {Text(1, 5)});
  const Taken taken = Take(queue);
  queue.Remove(RequestId(1));
  EXPECT_THAT(queue.Finish(taken.id), ElementsAre(IsEmpty()));
  EXPECT_TRUE(queue.empty());
}

TEST(BatchQueue, ALostBatchIsGivenOutAgainBeforeAllElse) {
  BatchQueue queue({.max_batch_tokens = {10, 10}});
  Push(queue, 1, {Text(1, 5), Text(2, 5), Text(3, 5)});
  const Taken first = Take(queue);
  EXPECT_THAT(queue.Fail(first.id, Failure::kWorkerDied), IsEmpty());
  EXPECT_EQ(queue.waiting_tokens(EmbedPriority::kSearch), 15);
  EXPECT_THAT(TakeNames(queue), ElementsAre(1, 2));
  EXPECT_THAT(TakeNames(queue), ElementsAre(3));
}

TEST(BatchQueue, ATextThatKillsWorkersIsFoundAlone) {
  BatchQueue queue({});
  Push(queue, 1, {Text(1, 5), Text(2, 5)});
  Push(queue, 2, {Text(2, 5), Text(3, 5)});
  EXPECT_THAT(queue.Fail(Take(queue).id, Failure::kWorkerDied), IsEmpty());
  EXPECT_THAT(queue.Fail(Take(queue).id, Failure::kWorkerDied), IsEmpty());
  const Taken one = Take(queue);
  const Taken two = Take(queue);
  const Taken three = Take(queue);
  EXPECT_THAT(one.names, ElementsAre(1));
  EXPECT_THAT(two.names, ElementsAre(2));
  EXPECT_THAT(three.names, ElementsAre(3));
  EXPECT_THAT(queue.Fail(two.id, Failure::kWorkerDied),
              ElementsAre(Waiter{RequestId(1), 1}, Waiter{RequestId(2), 0}));
  queue.Finish(one.id);
  queue.Finish(three.id);
  EXPECT_TRUE(queue.empty());
}

TEST(BatchQueue, ATextThatIsAloneFromTheFirstHasTwoTries) {
  BatchQueue queue({});
  Push(queue, 1, {Text(1, 5)});
  EXPECT_THAT(queue.Fail(Take(queue).id, Failure::kWorkerDied), IsEmpty());
  EXPECT_THAT(queue.Fail(Take(queue).id, Failure::kWorkerDied),
              ElementsAre(Waiter{RequestId(1), 0}));
  EXPECT_TRUE(queue.empty());
}

TEST(BatchQueue, AnErrorIsTracedToItsTextAtOnce) {
  BatchQueue queue({});
  Push(queue, 1, {Text(1, 5), Text(2, 5)});
  EXPECT_THAT(queue.Fail(Take(queue).id, Failure::kError), IsEmpty());
  const Taken one = Take(queue);
  EXPECT_THAT(one.names, ElementsAre(1));
  EXPECT_THAT(queue.Fail(one.id, Failure::kError),
              ElementsAre(Waiter{RequestId(1), 0}));
  EXPECT_THAT(TakeNames(queue), ElementsAre(2));
}

TEST(BatchQueue, ALostConnectionIsNoEvidenceAgainstATextThatItCarried) {
  BatchQueue queue({});
  Push(queue, 1, {Text(1, 5), Text(2, 5)});
  EXPECT_THAT(queue.Fail(Take(queue).id, Failure::kUnreachable), IsEmpty());
  EXPECT_THAT(queue.Fail(Take(queue).id, Failure::kWorkerDied), IsEmpty());
  // One death, so that they are still together.
  const Taken both = Take(queue);
  EXPECT_THAT(both.names, ElementsAre(1, 2));
  EXPECT_EQ(queue.waiting_tokens(EmbedPriority::kSearch), 0);
  queue.Finish(both.id);
  EXPECT_TRUE(queue.empty());
}

TEST(BatchQueue, ABatchThatTwoConnectionsWereLostWithFailsWhole) {
  BatchQueue queue({});
  Push(queue, 1, {Text(1, 5), Text(2, 5)});
  Push(queue, 2, {Text(2, 5)});
  EXPECT_THAT(queue.Fail(Take(queue).id, Failure::kUnreachable), IsEmpty());
  EXPECT_THAT(queue.Fail(Take(queue).id, Failure::kUnreachable),
              ElementsAre(Waiter{RequestId(1), 0}, Waiter{RequestId(1), 1},
                          Waiter{RequestId(2), 0}));
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.waiting_tokens(EmbedPriority::kSearch), 0);
}

TEST(BatchQueue, ABusyWorkerCostsABatchNothing) {
  BatchQueue queue({});
  Push(queue, 1, {Text(1, 5), Text(2, 5)});
  for (int i = 0; i < 100; ++i) {
    EXPECT_THAT(queue.Fail(Take(queue).id, Failure::kBusy), IsEmpty());
    EXPECT_EQ(queue.waiting_tokens(EmbedPriority::kSearch), 10);
  }
  EXPECT_THAT(queue.Fail(Take(queue).id, Failure::kWorkerDied), IsEmpty());
  EXPECT_THAT(TakeNames(queue), ElementsAre(1, 2));
}

TEST(BatchQueue, ATextThatIsAloneAfterDeathsStaysSoWhenAConnectionIsLost) {
  BatchQueue queue({});
  Push(queue, 1, {Text(1, 5), Text(2, 5)});
  queue.Fail(Take(queue).id, Failure::kWorkerDied);
  queue.Fail(Take(queue).id, Failure::kWorkerDied);
  const Taken one = Take(queue);
  EXPECT_THAT(one.names, ElementsAre(1));
  EXPECT_THAT(queue.Fail(one.id, Failure::kUnreachable), IsEmpty());
  EXPECT_THAT(TakeNames(queue), ElementsAre(2));
  EXPECT_THAT(TakeNames(queue), ElementsAre(1));
}

TEST(BatchQueue, WhatALargeBatchLeftIsCutForTheNextWorker) {
  for (const Failure failure : {Failure::kBusy, Failure::kUnreachable}) {
    BatchQueue queue({.max_batch_tokens = {10, 20}});
    Push(queue, 1, {Text(1, 5), Text(2, 5), Text(3, 5), Text(4, 5)}, Ingest());
    const Taken large = Take(queue);
    EXPECT_THAT(large.names, ElementsAre(1, 2, 3, 4));
    Push(queue, 2, {Text(5, 5)}, Ingest());
    EXPECT_THAT(queue.Fail(large.id, failure), IsEmpty());
    EXPECT_EQ(queue.waiting_tokens(EmbedPriority::kIngest), 25);
    queue.SetMaxBatchTokens(EmbedPriority::kIngest, 10);
    EXPECT_THAT(TakeNames(queue), ElementsAre(1, 2));
    EXPECT_THAT(TakeNames(queue), ElementsAre(3, 4));
    EXPECT_THAT(TakeNames(queue), ElementsAre(5));
    EXPECT_EQ(queue.waiting_tokens(EmbedPriority::kIngest), 0);
  }
}

TEST(BatchQueue, OnlyTextsThatTwoConnectionsWereLostWithFail) {
  BatchQueue queue({});
  Push(queue, 1, {Text(1, 5)});
  EXPECT_THAT(queue.Fail(Take(queue).id, Failure::kUnreachable), IsEmpty());
  Push(queue, 2, {Text(2, 5)});
  const Taken both = Take(queue);
  EXPECT_THAT(both.names, ElementsAre(1, 2));
  EXPECT_THAT(queue.Fail(both.id, Failure::kUnreachable),
              ElementsAre(Waiter{RequestId(1), 0}));
  EXPECT_THAT(TakeNames(queue), ElementsAre(2));
}

TEST(BatchQueue, ASearchTakesItsPassageOutOfWhatABusyWorkerRefused) {
  // A death before makes no difference.
  for (const bool has_died : {false, true}) {
    for (const Failure failure : {Failure::kBusy, Failure::kUnreachable}) {
      BatchQueue queue({.max_batch_tokens = {20, 20}});
      Push(queue, 1, {Text(1, 5), Text(2, 5)}, Ingest());
      if (has_died) {
        queue.Fail(Take(queue).id, Failure::kWorkerDied);
      }
      queue.Fail(Take(queue).id, failure);
      Push(queue, 2, {Text(2, 5)});
      EXPECT_EQ(queue.waiting_tokens(EmbedPriority::kSearch), 5);
      EXPECT_EQ(queue.waiting_tokens(EmbedPriority::kIngest), 5);
      EXPECT_THAT(TakeNames(queue), ElementsAre(2));
      EXPECT_THAT(TakeNames(queue), ElementsAre(1));
    }
  }
}

TEST(BatchQueue, TextsThatARemoteWorkerDiedWithAreAloneUntilTheyAreEmbedded) {
  BatchQueue queue({});
  Push(queue, 1, {Text(1, 5), Text(2, 5)});
  const Taken taken = Take(queue);
  EXPECT_THAT(queue.Fail(taken.id, Failure::kUnreachable), IsEmpty());
  Push(queue, 2, {Text(3, 5), Text(4, 5)});
  EXPECT_THAT(queue.Blame(taken, kNow), IsEmpty());
  EXPECT_EQ(queue.waiting_tokens(EmbedPriority::kSearch), 20);
  for (const int name : {1, 2}) {
    const Taken alone = Take(queue);
    EXPECT_THAT(alone.names, ElementsAre(name));
    queue.Finish(alone.id);
  }
  EXPECT_THAT(TakeNames(queue), ElementsAre(3, 4));
  Push(queue, 3, {Text(1, 5), Text(2, 5)});
  EXPECT_THAT(TakeNames(queue), ElementsAre(1, 2));
}

TEST(BatchQueue, SuspicionOutlivesTheCall) {
  BatchQueue queue({});
  Push(queue, 1, {Text(1, 5), Text(2, 5)});
  EXPECT_THAT(LoseWorker(queue), ElementsAre(1, 2));
  Push(queue, 2, {Text(3, 5), Text(2, 5), Text(4, 5)}, Ingest());
  EXPECT_THAT(TakeNames(queue), ElementsAre(3, 4));
  EXPECT_THAT(TakeNames(queue), ElementsAre(2));
}

TEST(BatchQueue, ATextThatWasAloneWhenWorkersDiedTwiceIsRefusedForAWhile) {
  BatchQueue queue({});
  Push(queue, 1, {Text(1, 5), Text(2, 5)});
  EXPECT_THAT(LoseWorker(queue), ElementsAre(1, 2));
  Push(queue, 2, {Text(2, 5)});
  EXPECT_THAT(LoseWorker(queue), ElementsAre(2));
  Push(queue, 3, {Text(2, 5)});
  const Taken taken = Take(queue);
  queue.Fail(taken.id, Failure::kUnreachable);
  // Whoever waits for it is told, and only they.
  Push(queue, 4, {Text(3, 5), Text(2, 5), Text(2, 5)}, Ingest());
  Push(queue, 5, {Text(3, 5)}, Ingest());
  const BatchQueue::Dead dead = queue.Blame(taken, kNow);
  ASSERT_EQ(dead.size(), 2);
  EXPECT_EQ(dead[0].first, RequestId(3));
  EXPECT_THAT(dead[0].second, StatusIs(absl::StatusCode::kUnavailable,
                                       "text 0: model workers "
                                       "died 2 times"));
  EXPECT_EQ(dead[1].first, RequestId(4));
  EXPECT_THAT(dead[1].second,
              StatusIs(absl::StatusCode::kUnavailable, "text 1: "));
  EXPECT_THAT(TakeNames(queue), ElementsAre(3));
  EXPECT_TRUE(queue.empty());

  const auto push = [&](int id, absl::Time now) {
    return queue.Push(RequestId(id), {Text(1, 5), Text(2, 5)}, {}, now);
  };
  const absl::Time end = kNow + SuspectTexts::kRefusal;
  EXPECT_THAT(push(6, end - absl::Seconds(1)),
              StatusIs(absl::StatusCode::kUnavailable, "text 1: "));
  EXPECT_TRUE(queue.empty());
  // Then it has one try.
  EXPECT_OK(push(7, end));
  EXPECT_THAT(TakeNames(queue), ElementsAre(1));
  const Taken last = Take(queue);
  EXPECT_THAT(last.names, ElementsAre(2));
  queue.Fail(last.id, Failure::kUnreachable);
  EXPECT_EQ(queue.Blame(last, end).size(), 1);
  EXPECT_THAT(push(8, end), StatusIs(absl::StatusCode::kUnavailable, ""));
}

TEST(BatchQueue, DeathsInCompanyNameNobody) {
  BatchQueue queue({});
  // Two workers had them one after the other, and both died.
  for (int call = 0; call < 10; ++call) {
    Push(queue, call, {Text(1, 5), Text(2, 5)});
    const Taken first = Take(queue);
    ASSERT_THAT(first.names, ElementsAre(1, 2));
    queue.Fail(first.id, Failure::kUnreachable);
    const Taken second = Take(queue);
    ASSERT_THAT(second.names, ElementsAre(1, 2));
    queue.Fail(second.id, Failure::kUnreachable);
    EXPECT_THAT(queue.Blame(first, kNow), IsEmpty());
    EXPECT_THAT(queue.Blame(second, kNow), IsEmpty());
    Push(queue, call + 100, {Text(1, 5), Text(2, 5)});
    for (const int name : {1, 2}) {
      const Taken alone = Take(queue);
      ASSERT_THAT(alone.names, ElementsAre(name));
      queue.Finish(alone.id);
    }
  }
}

TEST(BatchQueue, HoweverManyConnectionsAreLostNobodyIsSuspected) {
  BatchQueue queue({});
  for (int call = 0; call < 100; ++call) {
    Push(queue, call, {Text(1, 5), Text(2, 5)});
    for (int loss = 0; loss < 2; ++loss) {
      const Taken taken = Take(queue);
      ASSERT_THAT(taken.names, ElementsAre(1, 2));
      queue.Fail(taken.id, Failure::kUnreachable);
    }
  }
}

TEST(BatchQueue, ATextThatAnotherWorkerEmbeddedSinceIsNotBlamed) {
  // When it was embedded before the blame, and when the other had it then.
  for (const bool is_late : {false, true}) {
    BatchQueue queue({});
    for (int call = 0; call < 5; ++call) {
      Push(queue, call, {Text(1, 5)});
      const Taken lost = Take(queue);
      queue.Fail(lost.id, Failure::kUnreachable);
      const Taken again = Take(queue);
      ASSERT_THAT(again.names, ElementsAre(1));
      if (is_late) {
        queue.Finish(again.id);
      }
      EXPECT_THAT(queue.Blame(lost, kNow), IsEmpty());
      if (!is_late) {
        queue.Finish(again.id);
      }
    }
    Push(queue, 9, {Text(1, 5), Text(2, 5)});
    EXPECT_THAT(TakeNames(queue), ElementsAre(1, 2));
  }
}

TEST(BatchQueue, NothingIsGivenOutAgainForCallersWhoHaveGone) {
  BatchQueue queue({});
  Push(queue, 1, {Text(1, 5)});
  Push(queue, 2, {Text(2, 5)});
  queue.Fail(Take(queue).id, Failure::kWorkerDied);
  queue.Remove(RequestId(1));
  EXPECT_THAT(TakeNames(queue), ElementsAre(2));
  EXPECT_EQ(queue.waiting_tokens(EmbedPriority::kSearch), 0);
}

TEST(BatchQueue, AllCanBeGivenUp) {
  BatchQueue queue({.max_batch_tokens = {5, 5}});
  Push(queue, 1, {Text(1, 5)});
  Push(queue, 2, {Text(2, 5)}, Ingest());
  queue.Fail(Take(queue).id, Failure::kWorkerDied);
  EXPECT_THAT(queue.RemoveAll(), ElementsAre(RequestId(1), RequestId(2)));
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.waiting_tokens(EmbedPriority::kSearch), 0);
  EXPECT_EQ(queue.waiting_tokens(EmbedPriority::kIngest), 0);
  Push(queue, 3, {Text(1, 5)});
  EXPECT_THAT(TakeNames(queue), ElementsAre(1));
}

// A twin: requests as lists of names still due, no order but "every text that
// is wanted, once", and what lost connections are known of each name. Random
// pushes, removals, cancellations, batches that finish or are lost, several at
// a time, and losses that are explained later.
TEST(BatchQueue, EveryRequestGetsEachVectorOnceWhateverHappens) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto pick = [&](int count) {
      return static_cast<int>(random() % static_cast<uint32_t>(count));
    };
    BatchQueue queue({.max_batch_tokens = {20, 10},
                      .max_waiting_tokens = 200,
                      .workers = 1 + pick(3)});
    struct Due {
      std::vector<int> names;  // -1 when delivered
      bool cancelled = false;
    };
    std::map<RequestId, Due> due;
    std::map<RequestId, bool> cancelled;
    struct Running {
      Taken taken;
    };
    std::vector<Running> running;
    uint64_t next = 0;
    struct Suspicion {
      BatchQueue::BatchId first_loss{};
      bool has_died = false;
      int deaths_alone = 0;
      absl::Time refused_until = absl::InfinitePast();
    };
    // From a loss until the name is embedded.
    std::map<int, Suspicion> suspicions;
    std::vector<Taken> losses;
    absl::Time now = kNow;
    const auto is_refused = [&](int name) {
      return suspicions.contains(name) && suspicions[name].refused_until > now;
    };
    // Where processes die, too, batches may be given out as they were; where
    // none do, the text with name 0 kills every worker.
    const bool has_processes = seed % 2 == 0;
    const auto blame = [&] {
      const Taken lost = losses.back();
      losses.pop_back();
      const bool is_alone = lost.names.size() == 1;
      for (const int name : lost.names) {
        if (suspicions.contains(name) &&
            suspicions[name].first_loss <= lost.id) {
          Suspicion& suspicion = suspicions[name];
          suspicion.has_died = true;
          suspicion.deaths_alone += is_alone ? 1 : 0;
          if (suspicion.deaths_alone >= 2) {
            suspicion.refused_until = now + SuspectTexts::kRefusal;
          }
        }
      }
      for (const auto& [id, status] : queue.Blame(lost, now)) {
        ASSERT_TRUE(is_alone && is_refused(lost.names[0]));
        ASSERT_NE(std::ranges::find(due[id].names, lost.names[0]),
                  due[id].names.end());
        ASSERT_EQ(due.erase(id), 1);
      }
    };
    const auto step = [&](bool may_push) {
      now += absl::Seconds(pick(20));
      if (!losses.empty() && pick(8) == 0) {
        blame();
      } else if (!losses.empty() && pick(8) == 0) {
        losses.pop_back();
      }
      const int action = pick(10);
      if (action < 3 && may_push) {
        const RequestId id{next++};
        std::vector<std::vector<int32_t>> texts;
        Due entry;
        for (int i = 1 + pick(4); i > 0; --i) {
          const int name = pick(12);
          texts.push_back(Text(name, 1 + name));
          entry.names.push_back(name);
        }
        bool& flag = cancelled[id];
        const RequestContext context = {
            .cancelled = [&flag] { return flag; },
            .priority =
                pick(2) == 0 ? EmbedPriority::kSearch : EmbedPriority::kIngest};
        const absl::Status pushed = queue.Push(id, texts, context, now);
        ASSERT_EQ(std::ranges::any_of(entry.names, is_refused),
                  absl::IsUnavailable(pushed));
        if (pushed.ok()) {
          due[id] = entry;
        }
      } else if (action == 3 && !due.empty()) {
        const auto victim =
            std::next(due.begin(), pick(static_cast<int>(due.size())));
        queue.Remove(victim->first);
        due.erase(victim);
      } else if (action == 4 && !due.empty()) {
        const auto victim =
            std::next(due.begin(), pick(static_cast<int>(due.size())));
        cancelled[victim->first] = true;
      } else if (action < 7 && running.size() < 3) {
        Taken taken = Take(queue);
        for (const auto& [id, status] : taken.dead) {
          ASSERT_TRUE(cancelled[id]);
          ASSERT_EQ(due.erase(id), 1);
        }
        std::vector<int> names = taken.names;
        std::ranges::sort(names);
        ASSERT_EQ(std::ranges::adjacent_find(names), names.end());
        if (names.size() > 1 && !has_processes) {
          for (const int name : names) {
            ASSERT_FALSE(suspicions.contains(name) &&
                         suspicions[name].has_died);
          }
        }
        if (!names.empty()) {
          running.push_back({std::move(taken)});
        }
      } else if (!running.empty()) {
        const size_t at =
            static_cast<size_t>(pick(static_cast<int>(running.size())));
        const Taken taken = running[at].taken;
        running.erase(running.begin() + static_cast<std::ptrdiff_t>(at));
        const bool kills_remote =
            !has_processes &&
            std::ranges::find(taken.names, 0) != taken.names.end();
        if (pick(4) == 0 || kills_remote) {
          constexpr std::array kFailures = {Failure::kUnreachable,
                                            Failure::kBusy, Failure::kError,
                                            Failure::kWorkerDied};
          const Failure failure =
              kills_remote
                  ? Failure::kUnreachable
                  : kFailures[static_cast<size_t>(pick(has_processes ? 4 : 2))];
          if (failure == Failure::kUnreachable) {
            losses.push_back(taken);
            for (const int name : taken.names) {
              suspicions.try_emplace(name, Suspicion{.first_loss = taken.id});
            }
          }
          for (const Waiter& waiter : queue.Fail(taken.id, failure)) {
            ASSERT_NE(failure, Failure::kBusy);
            ASSERT_TRUE(taken.names.size() == 1 ||
                        failure == Failure::kUnreachable);
            // A caller drops a request when one of its texts fails.
            queue.Remove(waiter.request);
            due.erase(waiter.request);
          }
          return;
        }
        const auto waiters = queue.Finish(taken.id);
        ASSERT_EQ(waiters.size(), taken.names.size());
        for (size_t i = 0; i < waiters.size(); ++i) {
          suspicions.erase(taken.names[i]);
          for (const Waiter& waiter : waiters[i]) {
            const auto request = due.find(waiter.request);
            ASSERT_NE(request, due.end());
            ASSERT_EQ(request->second.names.at(waiter.text), taken.names[i]);
            request->second.names[waiter.text] = -1;
            if (std::ranges::count(request->second.names, -1) ==
                std::ssize(request->second.names)) {
              due.erase(request);
            }
          }
        }
      }
    };
    for (int i = 0; i < 300; ++i) {
      step(true);
    }
    for (int i = 0; i < 5000 && (!due.empty() || !running.empty()); ++i) {
      step(false);
    }
    EXPECT_TRUE(due.empty());
    // What was lost and nobody wants any more is found when its turn comes.
    EXPECT_THAT(TakeNames(queue), IsEmpty());
    EXPECT_TRUE(queue.empty());
    EXPECT_EQ(queue.waiting_tokens(EmbedPriority::kSearch), 0);
    EXPECT_EQ(queue.waiting_tokens(EmbedPriority::kIngest), 0);
  }
}

}  // namespace
}  // namespace pith
