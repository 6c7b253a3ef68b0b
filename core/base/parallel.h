#ifndef PITH_CORE_BASE_PARALLEL_H_
#define PITH_CORE_BASE_PARALLEL_H_

#include <cstddef>
#include <functional>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace pith {

// How a build may use the machine.
struct BuildControl {
  // At least 1. Results do not depend on it.
  size_t threads = 1;
  // Asked between pieces of work, by each thread. May keep it waiting, so that
  // the build leaves room for others.
  std::function<bool()> cancelled = [] { return false; };
  // Told how much of the whole is done, rising from 0 to 1, from the thread
  // that called.
  std::function<void(double)> progress = [](double) {};
};

// Calls body(worker, begin, end) for pieces of [0, count) of at most `grain`,
// from control.threads threads, the calling one among them; `worker` in
// [0, control.threads) tells apart pieces that run at the same time.
// kCancelled, with pieces left undone or not, if the control says so.
absl::Status ParallelFor(
    const BuildControl& control, size_t count, size_t grain,
    absl::FunctionRef<void(size_t worker, size_t begin, size_t end)> body);

}  // namespace pith

#endif  // PITH_CORE_BASE_PARALLEL_H_
