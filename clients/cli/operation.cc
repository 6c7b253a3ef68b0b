#include "clients/cli/operation.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <iostream>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/client_context.h"

#include "clients/cli/daemon.h"
#include "clients/cli/progress.h"
#include "clients/cli/rpc_status.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"
#include "proto/pith/v1/operations.grpc.pb.h"

namespace pith::cli {

namespace {

constexpr absl::Duration kLogInterval = absl::Seconds(10);
constexpr absl::Duration kCancelTimeout = absl::Seconds(5);

// Shows an operation's progress on standard error until it is destroyed: a bar
// that is redrawn at each report on a terminal, a line every kLogInterval
// otherwise.
class ProgressDisplay {
 public:
  explicit ProgressDisplay(const Terminal& terminal) : terminal_(terminal) {
    if (!terminal_.stderr_is_terminal) {
      lines_ = std::thread([this] { PrintLines(); });
    }
  }
  ProgressDisplay(const ProgressDisplay&) = delete;
  ProgressDisplay& operator=(const ProgressDisplay&) = delete;
  ~ProgressDisplay() {
    if (terminal_.stderr_is_terminal) {
      std::cerr << "\r\033[K" << std::flush;
      return;
    }
    {
      MutexLock lock(mutex_);
      ended_ = true;
    }
    wake_.Signal();
    lines_.join();
  }

  void Update(const v1::Operation& operation) {
    MutexLock lock(mutex_);
    work_ = WorkText(operation);
    if (!work_) {
      meter_.Update(operation.add_source(), absl::Now());
    }
    if (terminal_.stderr_is_terminal) {
      const int columns = terminal_.columns - 1;
      std::cerr << "\r"
                << (work_ ? CutToWidth(*work_, columns) : meter_.Bar(columns))
                << "\033[K" << std::flush;
    }
  }

 private:
  void PrintLines() {
    MutexLock lock(mutex_);
    absl::Time next = absl::Now() + kLogInterval;
    while (!ended_) {
      const absl::Time now = absl::Now();
      if (now < next) {
        wake_.WaitFor(mutex_, next - now);
        continue;
      }
      meter_.Advance(now);
      std::cerr << (work_ ? *work_ : meter_.Line()) << std::endl;
      next = now + kLogInterval;
    }
  }

  const Terminal& terminal_;
  Mutex mutex_;
  CondVar wake_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  // Of an operation that adds, and of another.
  ProgressMeter meter_ ABSL_GUARDED_BY(mutex_);
  std::optional<std::string> work_ ABSL_GUARDED_BY(mutex_);
  std::thread lines_;
};

}  // namespace

InterruptListener::InterruptListener() {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGINT);
  ::sigaddset(&signals, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal_ = UniqueFd(::signalfd(-1, &signals, SFD_CLOEXEC));
  stop_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  thread_ = std::thread([this] { Run(); });
}

InterruptListener::~InterruptListener() {
  ::eventfd_write(stop_.get(), 1);
  thread_.join();
}

void InterruptListener::SetAction(std::function<void(int)> action) {
  MutexLock lock(mutex_);
  action_ = std::move(action);
  if (!action_) {
    signals_ = 0;
  } else if (signals_ > 0) {
    action_(signals_);
  }
}

void InterruptListener::Run() {
  pollfd events[] = {{.fd = signal_.get(), .events = POLLIN, .revents = 0},
                     {.fd = stop_.get(), .events = POLLIN, .revents = 0}};
  while (true) {
    if (::poll(events, 2, -1) < 0) {
      continue;
    }
    if (events[1].revents != 0) {
      return;
    }
    signalfd_siginfo info;
    if (::read(signal_.get(), &info, sizeof info) != sizeof info) {
      continue;
    }
    MutexLock lock(mutex_);
    if (!action_) {
      ::_exit(2);
    }
    action_(++signals_);
  }
}

absl::StatusOr<v1::Operation> Follow(
    const std::shared_ptr<grpc::Channel>& channel, v1::Operation operation,
    const OperationWords& words, InterruptListener& interrupts,
    const Terminal& terminal) {
  v1::OperationsService::Stub stub(channel);
  grpc::ClientContext context;
  v1::WatchOperationRequest request;
  request.set_id(operation.id());
  interrupts.SetAction([&](int signals) {
    if (signals > 1) {
      context.TryCancel();
      return;
    }
    v1::CancelOperationRequest cancel;
    cancel.set_id(request.id());
    // If this fails the watch ends too, or the operation does.
    Call<v1::CancelOperationResponse>(
        stub, &v1::OperationsService::Stub::CancelOperation, cancel,
        kCancelTimeout)
        .status()
        .IgnoreError();
  });
  const auto reader = stub.WatchOperation(&context, request);
  {
    ProgressDisplay display(terminal);
    v1::WatchOperationResponse response;
    while (reader->Read(&response)) {
      operation = response.operation();
      display.Update(operation);
    }
  }
  const grpc::Status status = reader->Finish();
  interrupts.SetAction(nullptr);
  if (operation.state() == v1::Operation::STATE_RUNNING) {
    return WithHint(status.ok()
                        ? absl::UnavailableError(absl::StrCat(
                              AbslView(words.work),
                              ": the daemon stopped telling the progress"))
                        : Annotate(FromGrpc(status), words.work),
                    words.lost_hint);
  }
  return operation;
}

absl::Status EndOf(const v1::Operation& operation,
                   const OperationWords& words) {
  switch (operation.state()) {
    case v1::Operation::STATE_SUCCEEDED:
      return absl::OkStatus();
    case v1::Operation::STATE_CANCELLED:
      return WithHint(absl::CancelledError(
                          absl::StrCat(AbslView(words.work), ": cancelled")),
                      words.hint);
    default: {
      const absl::Status status = FromRpcStatus(operation.error());
      return status.ok()
                 ? absl::InternalError(absl::StrCat(
                       AbslView(words.work), ": failed without a reason"))
                 : status;
    }
  }
}

absl::Duration DurationOf(const v1::Operation& operation) {
  return absl::Seconds(operation.end_time().seconds() -
                       operation.start_time().seconds()) +
         absl::Nanoseconds(operation.end_time().nanos() -
                           operation.start_time().nanos());
}

}  // namespace pith::cli
