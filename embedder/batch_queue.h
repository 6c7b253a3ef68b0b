#ifndef PITH_EMBEDDER_BATCH_QUEUE_H_
#define PITH_EMBEDDER_BATCH_QUEUE_H_

#include <array>
#include <cstdint>
#include <deque>
#include <set>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/node_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

#include "core/index/embedder.h"
#include "embedder/engine.h"
#include "embedder/suspect_texts.h"

namespace pith {

// Texts that wait for a model, and what a free worker gets next. Decisions
// only: the owner brings lock, threads and clock. There is no timer; the next
// batch is what has gathered while the last ones ran.
//
// A text is its token ids: one that several requests wait for, or that is being
// embedded, is there once.
class BatchQueue {
 public:
  struct Limits {
    // Tokens of a batch, by EmbedPriority. A longer text is a batch of its own.
    // A batch that runs is not interrupted, so an ingest batch bounds what a
    // search waits for.
    std::array<int64_t, 2> max_batch_tokens = {4096, 1024};
    // Of each priority, waiting.
    int64_t max_waiting_tokens = 1 << 18;
    // Batches are made small enough for all of them to have some.
    int workers = 1;
    // Of the tokens taken while ingest waits, those kept for ingest.
    double ingest_share = 0.1;
  };

  enum class RequestId : uint64_t {};
  enum class BatchId : uint64_t {};

  // What a request waits for: its text number `text`.
  struct Waiter {
    RequestId request;
    size_t text;

    friend bool operator==(const Waiter&, const Waiter&) = default;
  };

  struct Batch {
    BatchId id;
    PackedTokens tokens;
  };

  // Requests that can be served no more, and why. They are not in the queue any
  // more.
  using Dead = std::vector<std::pair<RequestId, absl::Status>>;

  struct Counters {
    int64_t batches = 0;
    int64_t texts = 0;
    int64_t tokens = 0;
    // Tokens that the batches had room for when they were made: tokens / room
    // is how full they were.
    int64_t room = 0;
    // Texts that joined one that waited or ran already.
    int64_t shared_texts = 0;
    int64_t refused_requests = 0;
    // Removed before all their texts were embedded: cancelled, expired, failed.
    int64_t dropped_requests = 0;
  };

  explicit BatchQueue(const Limits& limits) : limits_(limits) {}

  // Adds a request. Nothing is added if that makes more than max_waiting_tokens
  // wait, kResourceExhausted, or if a text is refused after Blame,
  // kUnavailable. `context.cancelled` is called by Take.
  absl::Status Push(RequestId request, std::vector<std::vector<int32_t>> texts,
                    const RequestContext& context, absl::Time now);

  // Forgets `request`, if it is there; texts that nobody else waits for go.
  void Remove(RequestId request);

  // The next batch, empty if nothing waits. Search before ingest, but for
  // ingest's share; the text that waits longest first, with others of lengths
  // near its own. Nothing cancelled or expired is in it, and `dead` gets whose
  // requests were.
  Batch Take(absl::Time now, Dead& dead);

  // The batch is embedded: row i of its result is for those in element i.
  std::vector<std::vector<Waiter>> Finish(BatchId batch);

  enum class Failure {
    kWorkerDied,   // any of the texts may be the reason, or none
    kError,        // the worker lives and says that it cannot embed them
    kUnreachable,  // the connection was lost: Blame may follow
    kBusy,         // the worker has not looked at them
  };
  // The batch failed. After a worker's first death its texts are given out once
  // more as they were; after the second, or an error, one by one, as one of
  // them may be the reason. Returns the waiters of a text that failed alone,
  // after an error or a second death: it is not given out again.
  //
  // Texts that were not reached or taken wait again by their age, for batches
  // of the size that their next worker gets; only those that are alone stay so.
  // Returned are the waiters of texts that two connections were lost with.
  std::vector<Waiter> Fail(BatchId batch, Failure failure);

  // The worker of a batch that failed as kUnreachable had died. Those of its
  // texts that were not embedded since are batches of their own from now on,
  // but for what Fail gives out once more as it was, whoever wants them, until
  // they are embedded. One that was alone when workers died, twice, is refused
  // for a while: returns the requests that wait for it.
  Dead Blame(const Batch& batch, absl::Time now);

  // All requests, which are removed: there is no way to serve them.
  std::vector<RequestId> RemoveAll();

  // What a later batch of `priority` may have.
  void SetMaxBatchTokens(EmbedPriority priority, int64_t tokens) {
    limits_.max_batch_tokens[Index(priority)] = tokens;
  }

  // Whether a batch can be taken.
  bool empty() const { return waiting_[0].empty() && waiting_[1].empty(); }
  int64_t waiting_tokens(EmbedPriority priority) const {
    return waiting_[Index(priority)].tokens;
  }
  const Counters& counters() const { return counters_; }

 private:
  struct Text {
    // The key of texts_, which owns this.
    const std::vector<int32_t>* ids = nullptr;
    // Order of arrival.
    uint64_t number = 0;
    EmbedPriority priority = EmbedPriority::kSearch;
    // In a batch that was taken.
    bool running = false;
    // Waits in a group of Waiting::again, or was last taken from one.
    bool again = false;
    // Workers that died with it; an error counts as two.
    int failures = 0;
    // Connections that were lost with it.
    int losses = 0;
    std::vector<Waiter> waiters;
  };
  struct Request {
    // Null where the vector is there already.
    std::vector<Text*> texts;
    size_t unfinished = 0;
    RequestContext context;
  };
  struct Waiting {
    // By arrival; by length, then arrival, without those that have to be alone.
    std::set<std::pair<uint64_t, Text*>> by_age;
    std::set<std::pair<std::pair<size_t, uint64_t>, Text*>> by_length;
    // Batches that may have failed for one of their texts, to be given out as
    // they are, first of all.
    std::deque<std::vector<Text*>> again;
    int64_t tokens = 0;

    bool empty() const { return by_age.empty() && again.empty(); }
  };

  static size_t Index(EmbedPriority priority) {
    return static_cast<size_t>(priority);
  }
  // Whether `context` makes a text that ingest waits for a search's.
  static bool MovesToSearch(const Text& text, const RequestContext& context);
  void Enqueue(Text* text);
  void Dequeue(Text* text);
  // Takes a text out that waits or ran, with its waiters' references to it.
  void Erase(Text* text);
  // Whether anybody still waits for `text`; else it is gone. Removes the dead.
  bool IsWanted(Text* text, absl::Time now, Dead& dead);
  EmbedPriority NextPriority() const;
  int64_t BatchTokens(EmbedPriority priority) const;
  std::vector<Text*> Gather(Waiting& waiting, int64_t room, absl::Time now,
                            Dead& dead);

  Limits limits_;
  absl::node_hash_map<std::vector<int32_t>, Text> texts_;
  absl::flat_hash_map<RequestId, Request> requests_;
  std::array<Waiting, 2> waiting_;
  absl::flat_hash_map<BatchId, std::vector<Text*>> running_;
  SuspectTexts suspects_;
  uint64_t next_number_ = 0;
  uint64_t next_batch_ = 0;
  // Tokens that ingest may take before the next search.
  double ingest_credit_ = 0;
  Counters counters_;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_BATCH_QUEUE_H_
