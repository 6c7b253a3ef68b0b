#ifndef PITH_TESTS_STATUS_MATCHERS_H_
#define PITH_TESTS_STATUS_MATCHERS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"

namespace pith {

inline const absl::Status& StatusOf(const absl::Status& status) {
  return status;
}
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

// An absl::Status or absl::StatusOr that is OK.
MATCHER(IsOk, "is OK") {
  *result_listener << StatusOf(arg).ToString();
  return StatusOf(arg).ok();
}

// A status with `code` whose message contains `part`.
MATCHER_P2(StatusIs, code, part,
           "has code " + absl::StatusCodeToString(code) +
               " and a message with \"" + std::string(part) + "\"") {
  *result_listener << StatusOf(arg).ToString();
  return StatusOf(arg).code() == code &&
         StatusOf(arg).message().find(std::string(part)) !=
             absl::string_view::npos;
}

}  // namespace pith

#define ASSERT_OK(expression) ASSERT_THAT(expression, ::pith::IsOk())
#define EXPECT_OK(expression) EXPECT_THAT(expression, ::pith::IsOk())

#endif  // PITH_TESTS_STATUS_MATCHERS_H_
