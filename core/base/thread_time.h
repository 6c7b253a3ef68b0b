#ifndef PITH_CORE_BASE_THREAD_TIME_H_
#define PITH_CORE_BASE_THREAD_TIME_H_

#include <time.h>

#include "absl/time/time.h"

namespace pith {

// CPU time of this thread: other work on the machine lengthens wall time.
inline absl::Duration ThreadTime() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return absl::DurationFromTimespec(now);
}

inline double ThreadMilliseconds() {
  return absl::ToDoubleMilliseconds(ThreadTime());
}

}  // namespace pith

#endif  // PITH_CORE_BASE_THREAD_TIME_H_
