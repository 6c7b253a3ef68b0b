#ifndef PITH_CORE_BASE_REASON_H_
#define PITH_CORE_BASE_REASON_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/cord.h"

#include "core/base/string_view.h"

namespace pith {

inline constexpr char kReasonPayload[] = "pith/reason";

// `status` with a stable name for programs, UPPER_SNAKE_CASE, beside its code
// and message: why it failed, where the code alone does not say.
inline absl::Status WithReason(absl::Status status, std::string_view reason) {
  status.SetPayload(kReasonPayload, absl::Cord(AbslView(reason)));
  return status;
}

// The reason given to WithReason, or the code's name.
inline std::string ReasonOf(const absl::Status& status) {
  if (const auto reason = status.GetPayload(kReasonPayload)) {
    return std::string(*reason);
  }
  return absl::StatusCodeToString(status.code());
}

}  // namespace pith

#endif  // PITH_CORE_BASE_REASON_H_
