#include "embedder/remote/retry_policy.h"

#include "gtest/gtest.h"

namespace pith {
namespace {

using Code = absl::StatusCode;

TEST(RetryPolicyTest, HttpStatuses) {
  const RefusalKind wrong_texts{.code = Code::kInvalidArgument};
  const RefusalKind wrong_setup{.code = Code::kFailedPrecondition};
  const RefusalKind failed{.code = Code::kUnavailable, .transient = true};
  const RefusalKind away{
      .code = Code::kUnavailable, .transient = true, .texts_unseen = true};
  const RefusalKind busy{.code = Code::kResourceExhausted,
                         .transient = true,
                         .texts_unseen = true};
  struct Case {
    int status;
    RefusalKind kind;
  };
  for (const Case& c :
       {Case{400, wrong_texts}, Case{413, wrong_texts}, Case{422, wrong_texts},
        Case{401, wrong_setup}, Case{402, wrong_setup}, Case{403, wrong_setup},
        Case{404, wrong_setup}, Case{405, wrong_setup}, Case{301, wrong_setup},
        Case{304, wrong_setup}, Case{100, wrong_setup}, Case{501, wrong_setup},
        Case{505, wrong_setup}, Case{424, failed},      Case{500, failed},
        Case{408, away},        Case{425, away},        Case{502, away},
        Case{503, away},        Case{504, away},        Case{529, away},
        Case{429, busy},        Case{600, wrong_setup}, Case{0, wrong_setup}}) {
    EXPECT_EQ(KindOfHttpStatus(c.status), c.kind) << c.status;
  }
}

TEST(RetryPolicyTest, GrpcStatuses) {
  struct Case {
    Code code;
    Code means;
    bool transient;
    bool texts_unseen;
  };
  for (const Case& c :
       {Case{Code::kUnavailable, Code::kUnavailable, true, true},
        Case{Code::kDeadlineExceeded, Code::kUnavailable, true, true},
        Case{Code::kCancelled, Code::kUnavailable, true, true},
        Case{Code::kResourceExhausted, Code::kResourceExhausted, true, true},
        Case{Code::kInternal, Code::kUnavailable, true, false},
        Case{Code::kUnknown, Code::kUnavailable, true, false},
        Case{Code::kFailedPrecondition, Code::kUnavailable, true, false},
        Case{Code::kInvalidArgument, Code::kInvalidArgument, false, false},
        Case{Code::kUnauthenticated, Code::kFailedPrecondition, false, false},
        Case{Code::kPermissionDenied, Code::kFailedPrecondition, false, false},
        Case{Code::kUnimplemented, Code::kFailedPrecondition, false, false},
        Case{Code::kNotFound, Code::kFailedPrecondition, false, false}}) {
    EXPECT_EQ(KindOfGrpcStatus(c.code),
              (RefusalKind{.code = c.means,
                           .transient = c.transient,
                           .texts_unseen = c.texts_unseen}))
        << absl::StatusCodeToString(c.code);
  }
}

TEST(RetryPolicyTest, Delays) {
  const RetryLimits limits = {.max_tries = 5,
                              .first_delay = absl::Seconds(1),
                              .max_delay = absl::Seconds(6)};
  struct Case {
    int tries;
    std::optional<absl::Duration> retry_after;
    double jitter;
    absl::Duration left;
    std::optional<absl::Duration> delay;
  };
  const absl::Duration ever = absl::InfiniteDuration();
  for (const Case& c : {
           // Doubles, up to the maximum.
           Case{1, {}, 0, ever, absl::Seconds(0.5)},
           Case{2, {}, 0, ever, absl::Seconds(1)},
           Case{3, {}, 0, ever, absl::Seconds(2)},
           Case{4, {}, 0, ever, absl::Seconds(3)},
           // Jitter takes up to half away.
           Case{1, {}, 0.5, ever, absl::Seconds(0.75)},
           Case{4, {}, 0.5, ever, absl::Seconds(4.5)},
           // Enough is enough.
           Case{5, {}, 0, ever, {}},
           Case{6, {}, 0, ever, {}},
           // What the server asks for is a minimum, unless it is too much.
           Case{1, absl::Seconds(4), 0.5, ever, absl::Seconds(4)},
           Case{3, absl::Seconds(1), 0, ever, absl::Seconds(2)},
           Case{1, absl::Seconds(6), 0, ever, absl::Seconds(6)},
           Case{1, absl::Seconds(7), 0, ever, {}},
           // No wait that the caller's deadline ends.
           Case{1, {}, 0, absl::Seconds(0.6), absl::Seconds(0.5)},
           Case{1, {}, 0, absl::Seconds(0.5), {}},
           Case{1, absl::Seconds(2), 0, absl::Seconds(1), {}},
           Case{1, {}, 0, -absl::Seconds(1), {}},
       }) {
    EXPECT_EQ(RetryDelay(limits, c.tries, c.retry_after, c.jitter, c.left),
              c.delay)
        << c.tries << " " << c.jitter << " " << c.left;
  }
  // Far more tries than doublings fit a duration.
  EXPECT_EQ(RetryDelay({.max_tries = 1 << 30,
                        .first_delay = absl::Seconds(1),
                        .max_delay = absl::Hours(1)},
                       1 << 29, {}, 0, ever),
            absl::Minutes(30));
}

}  // namespace
}  // namespace pith
