#ifndef PITH_CORE_BASE_STATUS_MACROS_H_
#define PITH_CORE_BASE_STATUS_MACROS_H_

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "core/base/string_view.h"

// Returns from the enclosing function if `expression`, an absl::Status, is not
// OK.
#define PITH_RETURN_IF_ERROR(expression)                              \
  do {                                                                \
    if (absl::Status pith_status = (expression); !pith_status.ok()) { \
      return pith_status;                                             \
    }                                                                 \
  } while (false)

// Moves the value of `expression`, an absl::StatusOr, into `declaration`, or
// returns its status.
#define PITH_ASSIGN_OR_RETURN(declaration, expression)                     \
  PITH_ASSIGN_OR_RETURN_IMPL(PITH_CONCAT(pith_or_, __LINE__), declaration, \
                             expression)
#define PITH_ASSIGN_OR_RETURN_IMPL(result, declaration, expression) \
  auto result = (expression);                                       \
  if (!result.ok()) {                                               \
    return std::move(result).status();                              \
  }                                                                 \
  declaration = *std::move(result)
#define PITH_CONCAT_IMPL(a, b) a##b
#define PITH_CONCAT(a, b) PITH_CONCAT_IMPL(a, b)

namespace pith {

// `status` with `context` in front of its message: "context: message". OK stays
// OK.
inline absl::Status Annotate(const absl::Status& status,
                             std::string_view context) {
  if (status.ok()) {
    return status;
  }
  std::string message(context);
  message.append(": ").append(StdView(status.message()));
  return absl::Status(status.code(), message);
}

template <typename T>
absl::StatusOr<T> Annotate(absl::StatusOr<T> result, std::string_view context) {
  if (result.ok()) {
    return result;
  }
  return Annotate(result.status(), context);
}

}  // namespace pith

#endif  // PITH_CORE_BASE_STATUS_MACROS_H_
