#ifndef PITH_SERVER_EXECUTOR_H_
#define PITH_SERVER_EXECUTOR_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

#include "core/base/mutex.h"

namespace pith {

// Threads that run tasks from one bounded queue, first come first served.
class Executor {
 public:
  Executor(const std::string& name, size_t threads, size_t max_queued);
  // Runs what is queued, then joins.
  ~Executor();

  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // kResourceExhausted if max_queued tasks wait, kUnavailable once it is
  // closed; `task` is then dropped.
  absl::Status Submit(std::function<void()> task) ABSL_LOCKS_EXCLUDED(mutex_);

  // Takes no more tasks, and waits until those it has are done, but not longer
  // than `timeout`.
  void CloseAndDrain(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run();

  const std::string name_;
  const size_t max_queued_;
  Mutex mutex_;
  CondVar queued_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mutex_);
  CondVar idle_;
  size_t running_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace pith

#endif  // PITH_SERVER_EXECUTOR_H_
