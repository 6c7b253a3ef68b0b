#include "core/base/parallel.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "glog/logging.h"

#include "core/base/thread_name.h"

namespace pith {

absl::Status ParallelFor(const BuildControl& control, size_t count,
                         size_t grain,
                         absl::FunctionRef<void(size_t, size_t, size_t)> body) {
  CHECK_GE(control.threads, 1u);
  CHECK_GE(grain, 1u);
  std::atomic<size_t> next = 0;
  std::atomic<bool> cancelled = false;
  const auto work = [&](size_t worker) {
    // Asked after the last piece, too: what a thread that ends has done counts.
    while (!cancelled) {
      if (control.cancelled()) {
        cancelled = true;
        return;
      }
      const size_t begin = next.fetch_add(grain);
      if (begin >= count) {
        return;
      }
      body(worker, begin, std::min(begin + grain, count));
    }
  };
  {
    const size_t pieces = (count + grain - 1) / grain;
    std::vector<std::jthread> threads;
    for (size_t i = 1; i < std::min(control.threads, pieces); ++i) {
      threads.emplace_back([&work, i] {
        SetThreadName("builder-" + std::to_string(i));
        work(i);
      });
    }
    work(0);
  }
  return cancelled ? absl::CancelledError("cancelled") : absl::OkStatus();
}

}  // namespace pith
