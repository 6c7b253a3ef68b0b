#include "embedder/remote/request_gate.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "core/base/reason.h"

namespace pith {
namespace {

// How often a waiting caller asks whether its own caller is still there.
constexpr absl::Duration kCancellationPeriod = absl::Milliseconds(20);

}  // namespace

int RequestGate::Waiting() const {
  return static_cast<int>(waiters_[0].size() + waiters_[1].size());
}

int RequestGate::waiting() const {
  MutexLock lock(mutex_);
  return Waiting();
}

absl::StatusOr<RequestGate::Permit> RequestGate::Enter(
    const RequestContext& context) {
  Waiter self;
  std::deque<Waiter*>* queue = nullptr;
  {
    MutexLock lock(mutex_);
    if (running_ < max_running_) {
      ++running_;
      return Permit(*this);
    }
    if (Waiting() >= max_waiting_) {
      return WithReason(absl::ResourceExhaustedError(absl::StrCat(
                            "embed: ", running_, " requests run and ",
                            Waiting(), " wait, which is as many as may")),
                        "EMBED_QUEUE_FULL");
    }
    queue = &waiters_[static_cast<size_t>(context.priority)];
    queue->push_back(&self);
  }
  while (true) {
    // Not under the lock: it calls the caller.
    const absl::Status alive = CheckAlive(context);
    MutexLock lock(mutex_);
    if (self.admitted) {
      return Permit(*this);
    }
    if (!alive.ok()) {
      std::erase(*queue, &self);
      return alive;
    }
    admitted_.WaitFor(
        mutex_, std::clamp(context.deadline - absl::Now(), absl::ZeroDuration(),
                           kCancellationPeriod));
  }
}

void RequestGate::Leave() {
  MutexLock lock(mutex_);
  --running_;
  AdmitNext();
}

void RequestGate::AdmitNext() {
  static_assert(static_cast<int>(EmbedPriority::kSearch) == 0 &&
                static_cast<int>(EmbedPriority::kIngest) == 1);
  auto& [searches, ingests] = waiters_;
  if (searches.empty() && ingests.empty()) {
    return;
  }
  const bool is_search = !searches.empty() &&
                         (ingests.empty() || searches_in_row_ < kSearchesInRow);
  searches_in_row_ = is_search && !ingests.empty() ? searches_in_row_ + 1 : 0;
  std::deque<Waiter*>& queue = is_search ? searches : ingests;
  queue.front()->admitted = true;
  queue.pop_front();
  ++running_;
  admitted_.SignalAll();
}

}  // namespace pith
