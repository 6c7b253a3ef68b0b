#ifndef PITH_BENCHMARKS_THREAD_TIME_H_
#define PITH_BENCHMARKS_THREAD_TIME_H_

#include <time.h>

namespace pith {

// CPU time of this thread: other work on the machine lengthens wall time.
inline double ThreadMilliseconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 +
         static_cast<double>(now.tv_nsec) / 1e6;
}

}  // namespace pith

#endif  // PITH_BENCHMARKS_THREAD_TIME_H_
