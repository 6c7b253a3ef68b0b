#include "core/index/embedder.h"

namespace pith {

absl::Status CheckAlive(const RequestContext& context) {
  if (context.cancelled()) {
    return absl::CancelledError("the caller has gone");
  }
  if (absl::Now() > context.deadline) {
    return absl::DeadlineExceededError("the request's deadline has passed");
  }
  return absl::OkStatus();
}

}  // namespace pith
