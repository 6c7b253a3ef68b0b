#include "server/executor.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "core/base/reason.h"
#include "core/base/thread_name.h"

namespace pith {

Executor::Executor(const std::string& name, size_t threads, size_t max_queued)
    : name_(name), max_queued_(max_queued) {
  for (size_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this] { Run(); });
  }
}

Executor::~Executor() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    queued_.SignalAll();
  }
  for (std::thread& thread : threads_) {
    thread.join();
  }
}

absl::Status Executor::Submit(std::function<void()> task) {
  MutexLock lock(mutex_);
  if (closed_) {
    return absl::UnavailableError("the daemon is shutting down");
  }
  if (queue_.size() >= max_queued_) {
    return WithReason(absl::ResourceExhaustedError(absl::StrCat(
                          name_, ": ", queue_.size(),
                          " requests wait, the limit is ", max_queued_)),
                      "REQUEST_QUEUE_FULL");
  }
  queue_.push_back(std::move(task));
  queued_.Signal();
  return absl::OkStatus();
}

void Executor::CloseAndDrain(absl::Duration timeout) {
  const absl::Time end = absl::Now() + timeout;
  MutexLock lock(mutex_);
  closed_ = true;
  while ((!queue_.empty() || running_ > 0) && absl::Now() < end) {
    idle_.WaitFor(mutex_, end - absl::Now());
  }
}

void Executor::Run() {
  SetThreadName(name_);
  while (true) {
    std::function<void()> task;
    {
      MutexLock lock(mutex_);
      while (queue_.empty() && !stopping_) {
        queued_.Wait(mutex_);
      }
      if (queue_.empty()) {
        return;
      }
      task = std::move(queue_.front());
      queue_.pop_front();
      ++running_;
    }
    task();
    // What it holds goes before it counts as done.
    task = nullptr;
    MutexLock lock(mutex_);
    --running_;
    idle_.SignalAll();
  }
}

}  // namespace pith
