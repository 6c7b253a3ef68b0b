#include "embedder/remote/retry_policy.h"

#include <algorithm>

namespace pith {

RefusalKind KindOfHttpStatus(int status) {
  using Code = absl::StatusCode;
  switch (status) {
    case 400:
    case 413:
    case 422:
      return {.code = Code::kInvalidArgument};
    case 429:
      return {.code = Code::kResourceExhausted,
              .transient = true,
              .texts_unseen = true};
    // The model failed on these texts (text-embeddings-inference says so by
    // 424), which may be their doing.
    case 424:
    case 500:
      return {.code = Code::kUnavailable, .transient = true};
    case 408:
    case 425:
      return {
          .code = Code::kUnavailable, .transient = true, .texts_unseen = true};
    case 501:
    case 505:
      return {.code = Code::kFailedPrecondition};
    default:
      break;
  }
  if (status >= 502 && status < 600) {
    return {
        .code = Code::kUnavailable, .transient = true, .texts_unseen = true};
  }
  // A redirect, a wrong path, key or model: someone has to change something.
  return {.code = Code::kFailedPrecondition};
}

RefusalKind KindOfGrpcStatus(absl::StatusCode code) {
  using Code = absl::StatusCode;
  switch (code) {
    case Code::kInvalidArgument:
    case Code::kOutOfRange:
      return {.code = Code::kInvalidArgument};
    case Code::kResourceExhausted:
      return {.code = Code::kResourceExhausted,
              .transient = true,
              .texts_unseen = true};
    case Code::kUnavailable:
    case Code::kDeadlineExceeded:
    case Code::kCancelled:
    case Code::kAborted:
      return {
          .code = Code::kUnavailable, .transient = true, .texts_unseen = true};
    // text-embeddings-inference's code for a failure of the model.
    case Code::kFailedPrecondition:
    case Code::kInternal:
    case Code::kUnknown:
      return {.code = Code::kUnavailable, .transient = true};
    default:
      return {.code = Code::kFailedPrecondition};
  }
}

std::optional<absl::Duration> RetryDelay(
    const RetryLimits& limits, int tries,
    const std::optional<absl::Duration>& retry_after, double jitter,
    absl::Duration left) {
  if (tries >= limits.max_tries) {
    return std::nullopt;
  }
  absl::Duration delay = limits.first_delay;
  for (int i = 1; i < tries && delay < limits.max_delay; ++i) {
    delay *= 2;
  }
  delay = std::min(delay, limits.max_delay) * (0.5 + jitter / 2);
  if (retry_after) {
    delay = std::max(delay, *retry_after);
  }
  if (delay > limits.max_delay || delay >= left) {
    return std::nullopt;
  }
  return delay;
}

}  // namespace pith
