#include "core/index/embedder.h"

namespace pith {

absl::Status CheckAlive(const RequestContext& context, absl::Time now) {
  if (context.cancelled()) {
    return absl::CancelledError("the caller has gone");
  }
  if (now > context.deadline) {
    return absl::DeadlineExceededError("the request's deadline has passed");
  }
  return absl::OkStatus();
}

}  // namespace pith
