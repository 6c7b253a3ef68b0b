#include "embedder/worker_pool.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "glog/logging.h"

#include "core/base/reason.h"
#include "core/base/status_macros.h"
#include "core/base/thread_name.h"

namespace pith {
namespace {

// How often a waiting caller asks whether its own caller is still there.
constexpr absl::Duration kCancellationPeriod = absl::Milliseconds(20);
// A condition variable's wait without an end of its own.
constexpr absl::Duration kLongWait = absl::Hours(1);
// What ingest starts with, before a worker's speed is known.
constexpr int64_t kFirstIngestBatchTokens = 256;
constexpr int64_t kLeastIngestBatchTokens = 64;
// Another worker is started beside one that is being started for so many tokens
// more that wait: a query alone needs one.
constexpr int64_t kLeastTokensForAnother = 128;
// A worker in which the model fails so often in a row is replaced: it may be
// the process, a GPU's state say, and not the texts.
constexpr int kMaxModelErrors = 3;

// After `failures` in a row: none, then growing from `first`.
absl::Duration Backoff(int failures, absl::Duration first) {
  constexpr absl::Duration kLongest = absl::Seconds(10);
  if (failures <= 0) {
    return absl::ZeroDuration();
  }
  return std::min(kLongest, first * (int64_t{1} << std::min(failures - 1, 20)));
}

// Before a busy worker is asked again. Others' batches take tens of
// milliseconds each.
absl::Duration BusyPause(int refusals) {
  return std::min(absl::Seconds(1), Backoff(refusals, absl::Milliseconds(50)));
}

// What Worker::Embed says of a batch; nullopt if it is embedded.
std::optional<BatchQueue::Failure> FailureOf(const absl::Status& status) {
  if (status.ok()) {
    return std::nullopt;
  }
  const std::string reason = ReasonOf(status);
  return reason == kModelUnreachableReason ? BatchQueue::Failure::kUnreachable
         : reason == kWorkerBusyReason     ? BatchQueue::Failure::kBusy
         : absl::IsUnavailable(status)     ? BatchQueue::Failure::kWorkerDied
                                           : BatchQueue::Failure::kError;
}

// What a failed start means to the caller of Embed: nothing is wrong with the
// texts.
absl::Status StartError(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnavailable:
      return status;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kPermissionDenied:
      return absl::FailedPreconditionError(status.message());
    default:
      return absl::UnavailableError(status.message());
  }
}

}  // namespace

WorkerPool::WorkerPool(Options options)
    : options_(std::move(options)),
      queue_({.max_batch_tokens = {options_.max_search_batch_tokens,
                                   std::min<int64_t>(
                                       kFirstIngestBatchTokens,
                                       options_.max_ingest_batch_tokens)},
              .max_waiting_tokens = options_.max_queue_tokens,
              .workers = static_cast<int>(options_.workers.size() +
                                          options_.remote_workers.size())}) {
  const auto add = [this](std::variant<Command, RemoteWorker> place) {
    slots_.push_back(std::make_unique<Slot>());
    slots_.back()->place = std::move(place);
    slots_.back()->ingest_batch_tokens = std::min<int64_t>(
        kFirstIngestBatchTokens, options_.max_ingest_batch_tokens);
  };
  for (const Command& command : options_.workers) {
    add(command);
  }
  for (const RemoteWorker& remote : options_.remote_workers) {
    add(remote);
    slots_.back()->status.address = remote.address;
  }
  CHECK(!slots_.empty());
  for (const std::unique_ptr<Slot>& slot : slots_) {
    slot->thread = std::thread([this, &slot = *slot] { RunSlot(slot); });
  }
}

WorkerPool::~WorkerPool() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    // A start or a batch whose callers have gone may still be running.
    for (const std::unique_ptr<Slot>& slot : slots_) {
      if (slot->interruptible != nullptr) {
        slot->interruptible->Interrupt();
      }
    }
    changed_.SignalAll();
  }
  for (const std::unique_ptr<Slot>& slot : slots_) {
    slot->thread.join();
  }
}

WorkerPool::Status WorkerPool::status() const {
  Status status;
  MutexLock lock(mutex_);
  for (const std::unique_ptr<Slot>& slot : slots_) {
    status.workers.push_back(slot->status);
  }
  status.search_tokens = queue_.waiting_tokens(EmbedPriority::kSearch);
  status.ingest_tokens = queue_.waiting_tokens(EmbedPriority::kIngest);
  status.batches = queue_.counters();
  return status;
}

bool WorkerPool::CanServe() const {
  const absl::Time now = absl::Now();
  return start_error_.ok() ||
         std::ranges::any_of(slots_, [now](const std::unique_ptr<Slot>& slot) {
           return slot->status.state != WorkerStatus::State::kStopped ||
                  slot->failed_starts == 0 || slot->next_start <= now;
         });
}

int64_t WorkerPool::WaitingTokens() const {
  return queue_.waiting_tokens(EmbedPriority::kSearch) +
         queue_.waiting_tokens(EmbedPriority::kIngest);
}

absl::StatusOr<Matrix> WorkerPool::Embed(
    std::vector<std::vector<int32_t>> texts, const RequestContext& context) {
  CHECK(!texts.empty());
  Call call;
  call.unfinished = texts.size();
  call.vectors = Matrix(texts.size(), static_cast<size_t>(options_.dimension));
  BatchQueue::RequestId id{};
  {
    MutexLock lock(mutex_);
    if (!CanServe()) {
      return start_error_;
    }
    id = BatchQueue::RequestId{next_request_++};
    PITH_RETURN_IF_ERROR(
        queue_.Push(id, std::move(texts), context, absl::Now()));
    calls_[id] = &call;
    changed_.SignalAll();
  }
  while (true) {
    {
      MutexLock lock(mutex_);
      if (!call.done) {
        call.finished.WaitFor(
            mutex_, std::clamp(context.deadline - absl::Now(),
                               absl::ZeroDuration(), kCancellationPeriod));
      }
      if (call.done) {
        break;
      }
    }
    if (absl::Status alive = CheckAlive(context); !alive.ok()) {
      MutexLock lock(mutex_);
      if (call.done) {
        break;
      }
      queue_.Remove(id);
      calls_.erase(id);
      return alive;
    }
  }
  PITH_RETURN_IF_ERROR(call.status);
  return std::move(call.vectors);
}

void WorkerPool::FailCall(BatchQueue::RequestId request,
                          const absl::Status& status) {
  queue_.Remove(request);
  const auto found = calls_.find(request);
  if (found == calls_.end()) {
    return;
  }
  Call& call = *found->second;
  calls_.erase(found);
  call.status = status;
  call.done = true;
  call.finished.Signal();
}

void WorkerPool::RunSlot(Slot& slot) {
  SetThreadName("pith-embed");
  while (true) {
    BatchQueue::Batch batch;
    Action action;
    {
      MutexLock lock(mutex_);
      action = Await(slot, batch);
    }
    switch (action) {
      case Action::kEnd:
        Stop(slot);
        return;
      case Action::kStart:
        Start(slot);
        break;
      case Action::kStop:
        LOG(INFO) << "model " << options_.name << ": idle worker stopped";
        Stop(slot);
        break;
      case Action::kRun:
        Run(slot, batch);
        break;
    }
  }
}

WorkerPool::Action WorkerPool::Await(Slot& slot, BatchQueue::Batch& batch) {
  const bool is_ready = slot.status.state == WorkerStatus::State::kReady;
  // One that was busy is not asked again yet, and not idle: another may be
  // started meanwhile.
  while (is_ready && !stopping_ && absl::Now() < slot.next_start) {
    changed_.WaitFor(mutex_, slot.next_start - absl::Now());
  }
  const absl::Time idle_end = absl::Now() + options_.idle_unload;
  idle_ += is_ready ? 1 : 0;
  const absl::Cleanup not_idle = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    idle_ -= is_ready ? 1 : 0;
  };
  while (!stopping_) {
    const absl::Time now = absl::Now();
    absl::Time wake = is_ready ? idle_end : absl::InfiniteFuture();
    if (!queue_.empty() && is_ready) {
      BatchQueue::Dead dead;
      queue_.SetMaxBatchTokens(EmbedPriority::kIngest,
                               slot.ingest_batch_tokens);
      batch = queue_.Take(now, dead);
      for (const auto& [request, status] : dead) {
        FailCall(request, status);
      }
      if (batch.tokens.size() > 0) {
        // Others may take the rest.
        if (!queue_.empty()) {
          changed_.SignalAll();
        }
        return Action::kRun;
      }
    } else if (!queue_.empty() && idle_ == 0 &&
               WaitingTokens() >= starting_ * kLeastTokensForAnother) {
      if (now >= slot.next_start) {
        slot.status.state = WorkerStatus::State::kStarting;
        starting_ += slot.is_remote() ? 0 : 1;
        return Action::kStart;
      }
      wake = slot.next_start;
    }
    if (now >= wake) {
      return Action::kStop;
    }
    changed_.WaitFor(mutex_, std::min(wake - now, kLongWait));
  }
  return Action::kEnd;
}

void WorkerPool::Start(Slot& slot) {
  const absl::Time begin = absl::Now();
  const absl::StatusOr<v1::GetModelResponse> model = StartWorker(slot);
  if (!model.ok()) {
    Stop(slot);
    MutexLock lock(mutex_);
    // A remote worker may be away for days.
    LOG_IF(ERROR, !slot.is_remote() || slot.failed_starts == 0)
        << "model " << options_.name << ": " << model.status().message();
    starting_ -= slot.is_remote() ? 0 : 1;
    changed_.SignalAll();
    slot.status.last_error = std::string(model.status().message());
    slot.next_start =
        absl::Now() + Backoff(++slot.failed_starts, absl::Seconds(1));
    start_error_ = StartError(model.status());
    if (!CanServe()) {
      for (const BatchQueue::RequestId request : queue_.RemoveAll()) {
        FailCall(request, start_error_);
      }
    }
    return;
  }
  LOG(INFO) << "model " << options_.name << ": worker " << slot.worker->name()
            << " ready on " << model->device() << " in " << model->precision()
            << " after "
            << absl::FormatDuration(
                   absl::Trunc(absl::Now() - begin, absl::Milliseconds(1)));
  MutexLock lock(mutex_);
  starting_ -= slot.is_remote() ? 0 : 1;
  changed_.SignalAll();
  slot.failed_starts = 0;
  slot.model_errors = 0;
  start_error_ = absl::OkStatus();
  slot.status.state = WorkerStatus::State::kReady;
  slot.status.device = model->device();
  slot.status.precision = model->precision();
  ExplainLoss(slot);
}

void WorkerPool::ExplainLoss(Slot& slot) {
  const std::optional<Slot::Loss> loss = std::exchange(slot.loss, std::nullopt);
  const std::string& instance = slot.worker->instance();
  if (!loss || instance.empty() || instance == loss->instance) {
    return;
  }
  LOG(WARNING) << "model " << options_.name << ": worker "
               << slot.worker->name() << " was started again since it had "
               << loss->batch.tokens.size() << " texts";
  for (const auto& [request, status] : queue_.Blame(loss->batch, absl::Now())) {
    LOG(ERROR) << "model " << options_.name << ": " << status.message();
    FailCall(request, status);
  }
}

absl::StatusOr<v1::GetModelResponse> WorkerPool::StartWorker(Slot& slot) {
  absl::Duration timeout = options_.start_timeout;
  if (const auto* const remote = std::get_if<RemoteWorker>(&slot.place)) {
    slot.worker = Worker::Connect(*remote, options_.fingerprint);
    timeout = options_.connect_timeout;
  } else {
    const Command& command = std::get<Command>(slot.place);
    PITH_ASSIGN_OR_RETURN(slot.worker,
                          Worker::Spawn(command.executable, command.arguments));
  }
  {
    MutexLock lock(mutex_);
    if (stopping_) {
      return absl::UnavailableError("shutting down");
    }
    slot.interruptible = slot.worker.get();
    slot.status.pid = slot.worker->pid().value_or(0);
  }
  PITH_ASSIGN_OR_RETURN(v1::GetModelResponse model,
                        slot.worker->GetModel(timeout));
  if (model.dimension() != options_.dimension) {
    return absl::FailedPreconditionError(absl::StrCat(
        "model ", options_.name, ": worker says ", model.dimension(),
        " dimensions, config.json says ", options_.dimension));
  }
  return model;
}

void WorkerPool::Stop(Slot& slot) {
  {
    MutexLock lock(mutex_);
    slot.status.state = WorkerStatus::State::kStopped;
    slot.status.pid = 0;
    slot.interruptible = nullptr;
  }
  slot.worker.reset();
}

void WorkerPool::Run(Slot& slot, const BatchQueue::Batch& batch) {
  const absl::Time begin = absl::Now();
  const absl::StatusOr<Matrix> vectors = slot.worker->Embed(
      batch.tokens, options_.dimension, options_.batch_timeout);
  const absl::Duration time = absl::Now() - begin;
  const std::optional<BatchQueue::Failure> failure =
      FailureOf(vectors.status());
  const bool is_lost = failure == BatchQueue::Failure::kWorkerDied ||
                       failure == BatchQueue::Failure::kUnreachable;
  const bool is_busy = failure == BatchQueue::Failure::kBusy;
  slot.model_errors = vectors.status().code() == absl::StatusCode::kInternal
                          ? slot.model_errors + 1
                          : 0;
  if (failure == BatchQueue::Failure::kUnreachable &&
      !slot.worker->instance().empty()) {
    slot.loss = {.instance = slot.worker->instance(), .batch = batch};
  }
  if (is_lost || slot.model_errors == kMaxModelErrors) {
    Stop(slot);
  }
  MutexLock lock(mutex_);
  if (is_lost && stopping_) {
    return;  // The destructor interrupted it; nobody waits.
  }
  if (!failure) {
    const int64_t tokens = static_cast<int64_t>(batch.tokens.ids.size());
    slot.deaths = 0;
    slot.refusals = 0;
    slot.status.embedded_texts += static_cast<int64_t>(batch.tokens.size());
    slot.status.embedded_tokens += tokens;
    MeasureSpeed(slot, tokens, time);
    Deliver(batch, *vectors);
    return;
  }
  if (is_lost) {
    LOG(WARNING) << "model " << options_.name << ": "
                 << vectors.status().message();
    ++slot.status.lost;
    slot.status.last_error = std::string(vectors.status().message());
    // One death is no reason to wait: the batch is tried again.
    slot.next_start =
        absl::Now() + Backoff(slot.deaths++, absl::Milliseconds(50));
  }
  if (is_busy) {
    slot.next_start = absl::Now() + BusyPause(++slot.refusals);
  }
  for (const BatchQueue::Waiter& waiter : queue_.Fail(batch.id, *failure)) {
    FailCall(
        waiter.request,
        failure == BatchQueue::Failure::kUnreachable
            ? vectors.status()
            : Annotate(vectors.status(), absl::StrCat("text ", waiter.text)));
  }
  changed_.SignalAll();
}

void WorkerPool::Deliver(const BatchQueue::Batch& batch,
                         const Matrix& vectors) {
  const std::vector<std::vector<BatchQueue::Waiter>> waiters =
      queue_.Finish(batch.id);
  for (size_t i = 0; i < waiters.size(); ++i) {
    for (const BatchQueue::Waiter& waiter : waiters[i]) {
      const auto found = calls_.find(waiter.request);
      CHECK(found != calls_.end());
      Call& call = *found->second;
      std::ranges::copy(vectors.row(i), call.vectors.row(waiter.text).begin());
      if (--call.unfinished == 0) {
        calls_.erase(found);
        call.done = true;
        call.finished.Signal();
      }
    }
  }
}

void WorkerPool::MeasureSpeed(Slot& slot, int64_t tokens, absl::Duration time) {
  constexpr double kNewest = 0.2;
  // The clock may have been set meanwhile.
  if (tokens < kLeastIngestBatchTokens || time <= absl::ZeroDuration()) {
    return;
  }
  const double speed =
      static_cast<double>(tokens) / absl::ToDoubleSeconds(time);
  slot.tokens_per_second =
      slot.tokens_per_second == 0
          ? speed
          : slot.tokens_per_second + kNewest * (speed - slot.tokens_per_second);
  const auto fitting =
      static_cast<int64_t>(slot.tokens_per_second *
                           absl::ToDoubleSeconds(options_.ingest_batch_time));
  slot.ingest_batch_tokens =
      std::min<int64_t>(options_.max_ingest_batch_tokens,
                        std::max(fitting, kLeastIngestBatchTokens));
}

}  // namespace pith
