#ifndef PITH_EMBEDDER_REMOTE_REQUEST_GATE_H_
#define PITH_EMBEDDER_REMOTE_REQUEST_GATE_H_

#include <array>
#include <deque>
#include <utility>

#include "absl/status/statusor.h"

#include "core/base/mutex.h"
#include "core/index/embedder.h"

namespace pith {

// Bounds the requests that a server has at a time and those that wait for
// their turn here. Those of searches go first, each kind in its order; a
// waiting ingest goes after kSearchesInRow searches that passed it.
// Thread-safe; outlives its permits.
class RequestGate {
 public:
  static constexpr int kSearchesInRow = 8;

  // The right to have one request running.
  class Permit {
   public:
    Permit(Permit&& other) noexcept
        : gate_(std::exchange(other.gate_, nullptr)) {}
    Permit& operator=(Permit&&) = delete;
    ~Permit() {
      if (gate_ != nullptr) {
        gate_->Leave();
      }
    }

   private:
    friend class RequestGate;
    explicit Permit(RequestGate& gate) : gate_(&gate) {}
    RequestGate* gate_;
  };

  RequestGate(int max_running, int max_waiting)
      : max_running_(max_running), max_waiting_(max_waiting) {}

  // Waits for a permit. kResourceExhausted with reason EMBED_QUEUE_FULL if
  // max_waiting wait already; kDeadlineExceeded and kCancelled as `context`
  // says.
  absl::StatusOr<Permit> Enter(const RequestContext& context)
      ABSL_LOCKS_EXCLUDED(mutex_);

  int waiting() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Waiter {
    bool admitted = false;
  };

  void Leave() ABSL_LOCKS_EXCLUDED(mutex_);
  void AdmitNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int Waiting() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int max_running_;
  const int max_waiting_;

  mutable Mutex mutex_;
  CondVar admitted_;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  // By EmbedPriority; each in its caller's frame.
  std::array<std::deque<Waiter*>, 2> waiters_ ABSL_GUARDED_BY(mutex_);
  // Admitted one after the other while an ingest waited.
  int searches_in_row_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_REMOTE_REQUEST_GATE_H_
