#include "server/operations.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "core/base/reason.h"
#include "core/base/string_view.h"
#include "core/base/thread_name.h"
#include "server/convert.h"

namespace pith {
namespace {

// They wait for the model or, for a while, for the disk.
constexpr size_t kThreads = 4;
constexpr size_t kMaxQueued = 32;
constexpr size_t kMaxEnded = 100;
constexpr absl::Duration kWatchInterval = absl::Milliseconds(100);

}  // namespace

Operation::Operation(const std::string& id, v1::Operation description)
    : id_(id),
      collection_(description.collection()),
      target_(description.target()),
      state_(std::move(description)) {
  state_.set_id(id_);
  state_.set_state(v1::Operation::STATE_RUNNING);
  *state_.mutable_start_time() = ToProto(absl::Now());
}

v1::Operation Operation::Describe() const {
  MutexLock lock(mutex_);
  return state_;
}

uint64_t Operation::version() const {
  MutexLock lock(mutex_);
  return version_;
}

void Operation::Update(const std::function<void(v1::Operation&)>& edit) {
  MutexLock lock(mutex_);
  edit(state_);
  ++version_;
}

void Operation::Update(
    const std::function<void(v1::AddSourceProgress&)>& edit) {
  Update([&edit](v1::Operation& state) { edit(*state.mutable_add_source()); });
}

bool Operation::cancelled() const {
  MutexLock lock(mutex_);
  return cancelled_;
}

bool Operation::WaitForCancel(absl::Duration timeout) {
  const absl::Time end = absl::Now() + timeout;
  MutexLock lock(mutex_);
  while (!cancelled_ && absl::Now() < end) {
    cancel_requested_.WaitFor(mutex_, end - absl::Now());
  }
  return cancelled_;
}

void Operation::Cancel() {
  MutexLock lock(mutex_);
  cancelled_ = true;
  cancel_requested_.SignalAll();
  if (!begun_) {
    EndLocked(absl::CancelledError("cancelled before it began"));
  }
}

bool Operation::Begin() {
  MutexLock lock(mutex_);
  begun_ = true;
  return !cancelled_;
}

bool Operation::ended() const {
  MutexLock lock(mutex_);
  return state_.state() != v1::Operation::STATE_RUNNING;
}

void Operation::End(const absl::Status& status) {
  MutexLock lock(mutex_);
  EndLocked(status);
}

void Operation::EndLocked(const absl::Status& status) {
  if (state_.state() != v1::Operation::STATE_RUNNING) {
    return;
  }
  if (status.ok()) {
    state_.set_state(v1::Operation::STATE_SUCCEEDED);
  } else if (absl::IsCancelled(status)) {
    state_.set_state(v1::Operation::STATE_CANCELLED);
  } else {
    state_.set_state(v1::Operation::STATE_FAILED);
    *state_.mutable_error() = ToProtoStatus(status);
  }
  *state_.mutable_end_time() = ToProto(absl::Now());
  ++version_;
}

v1::Operation DescribeAdd(const std::string& collection,
                          const std::string& path) {
  v1::Operation description;
  description.set_collection(collection);
  description.set_target(path);
  description.mutable_add_source();
  return description;
}

OperationRegistry::OperationRegistry()
    : executor_(std::make_unique<Executor>("operations", kThreads, kMaxQueued)),
      watcher_thread_([this] { RunWatchers(); }) {}

OperationRegistry::~OperationRegistry() {
  for (const auto& operation : List()) {
    operation->Cancel();
  }
  executor_.reset();
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    watchers_changed_.SignalAll();
  }
  watcher_thread_.join();
}

absl::StatusOr<std::shared_ptr<Operation>> OperationRegistry::Start(
    v1::Operation description, std::function<absl::Status(Operation&)> work) {
  MutexLock lock(mutex_);
  size_t ended = 0;
  for (auto it = operations_.begin(); it != operations_.end();) {
    const v1::Operation other = (*it)->Describe();
    if (other.state() == v1::Operation::STATE_RUNNING) {
      if ((other.collection() == description.collection() ||
           description.has_create_snapshot()) &&
          other.target() == description.target() &&
          other.progress_case() == description.progress_case()) {
        return WithReason(
            absl::FailedPreconditionError(absl::StrCat(
                "operation ", other.id(), " on ", other.target(),
                other.target().empty() ? "" : " and ", "collection \"",
                other.collection(), "\" has not ended")),
            "OPERATION_RUNNING");
      }
      ++it;
    } else {
      it = ++ended > kMaxEnded ? operations_.erase(it) : std::next(it);
    }
  }
  auto operation = std::make_shared<Operation>(absl::StrCat("op-", next_id_++),
                                               std::move(description));
  const absl::Status queued =
      executor_->Submit([operation, work = std::move(work)] {
        if (operation->Begin()) {
          operation->End(work(*operation));
        }
      });
  if (!queued.ok()) {
    return queued;
  }
  operations_.push_front(operation);
  return operation;
}

absl::StatusOr<std::shared_ptr<Operation>> OperationRegistry::Find(
    std::string_view id) {
  for (const auto& operation : List()) {
    if (operation->id() == id) {
      return operation;
    }
  }
  return WithReason(absl::NotFoundError(absl::StrCat(
                        "operation \"", AbslView(id), "\" does not exist")),
                    "OPERATION_NOT_FOUND");
}

std::vector<std::shared_ptr<Operation>> OperationRegistry::List() {
  MutexLock lock(mutex_);
  return {operations_.begin(), operations_.end()};
}

void OperationRegistry::CancelAll(std::string_view collection) {
  for (const auto& operation : List()) {
    if (operation->collection() == collection) {
      operation->Cancel();
    }
  }
}

void OperationRegistry::Watch(std::shared_ptr<Operation> operation,
                              std::function<bool()> changed) {
  MutexLock lock(mutex_);
  watchers_.push_back(
      {.operation = std::move(operation), .changed = std::move(changed)});
  watchers_changed_.Signal();
}

void OperationRegistry::RunWatchers() {
  SetThreadName("watchers");
  std::vector<Watcher> active;
  bool stopping = false;
  while (!stopping) {
    {
      MutexLock lock(mutex_);
      if (active.empty()) {
        while (watchers_.empty() && !stopping_) {
          watchers_changed_.Wait(mutex_);
        }
      } else if (!stopping_) {
        watchers_changed_.WaitFor(mutex_, kWatchInterval);
      }
      std::move(watchers_.begin(), watchers_.end(), std::back_inserter(active));
      watchers_.clear();
      stopping = stopping_;
    }
    std::erase_if(active, [](Watcher& watcher) {
      // The end is asked for first: what changes in between is told next time.
      const bool ended = watcher.operation->ended();
      const uint64_t version = watcher.operation->version();
      if (version == std::exchange(watcher.seen_version, version)) {
        return ended;
      }
      return !watcher.changed() || ended;
    });
  }
}

}  // namespace pith
