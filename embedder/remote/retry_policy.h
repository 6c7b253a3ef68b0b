#ifndef PITH_EMBEDDER_REMOTE_RETRY_POLICY_H_
#define PITH_EMBEDDER_REMOTE_RETRY_POLICY_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace pith {

// What a server's refusal means.
struct RefusalKind {
  absl::StatusCode code = absl::StatusCode::kUnavailable;
  // The same request may succeed later.
  bool transient = false;
  // Nothing has looked at the texts: a proxy answered, or the server is
  // starting, stopping or busy.
  bool texts_unseen = false;

  friend bool operator==(const RefusalKind&, const RefusalKind&) = default;
};

// Of an HTTP status other than 200 to 299.
RefusalKind KindOfHttpStatus(int status);

// Of a gRPC status, by its number, which absl::StatusCode shares; not OK.
RefusalKind KindOfGrpcStatus(absl::StatusCode code);

struct RetryLimits {
  // Requests for one batch, the first included.
  int max_tries = 4;
  // Doubles with each try.
  absl::Duration first_delay = absl::Milliseconds(500);
  absl::Duration max_delay = absl::Seconds(20);
};

// How long to wait before a failed request is sent again; nullopt if it shall
// not be: it has been tried often enough, the server asks for more time than
// max_delay, or less than the delay is left before the caller's deadline.
// `tries` have been made, from 1. `jitter` in [0, 1) spreads callers out: the
// delay is between half and all of what the doubling says, and no less than
// `retry_after`.
std::optional<absl::Duration> RetryDelay(
    const RetryLimits& limits, int tries,
    const std::optional<absl::Duration>& retry_after, double jitter,
    absl::Duration left);

}  // namespace pith

#endif  // PITH_EMBEDDER_REMOTE_RETRY_POLICY_H_
