#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/client_context.h"

#include "clients/cli/commands.h"
#include "clients/cli/json.h"
#include "clients/cli/progress.h"
#include "core/base/file.h"
#include "core/base/mutex.h"
#include "core/base/status_macros.h"
#include "proto/pith/v1/admin.grpc.pb.h"
#include "proto/pith/v1/collections.grpc.pb.h"
#include "proto/pith/v1/operations.grpc.pb.h"
#include "proto/pith/v1/sources.grpc.pb.h"

namespace pith::cli {
namespace fs = std::filesystem;

namespace {

constexpr absl::Duration kLogInterval = absl::Seconds(10);
constexpr absl::Duration kCancelTimeout = absl::Seconds(5);
constexpr int kSkippedShown = 10;

// Takes SIGINT and SIGTERM away from the process, for good. Must be made before
// any other thread, since those made later inherit the signal mask.
class InterruptListener {
 public:
  InterruptListener() {
    sigset_t signals;
    ::sigemptyset(&signals);
    ::sigaddset(&signals, SIGINT);
    ::sigaddset(&signals, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    signal_ = UniqueFd(::signalfd(-1, &signals, SFD_CLOEXEC));
    stop_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
    thread_ = std::thread([this] { Run(); });
  }
  InterruptListener(const InterruptListener&) = delete;
  InterruptListener& operator=(const InterruptListener&) = delete;
  ~InterruptListener() {
    ::eventfd_write(stop_.get(), 1);
    thread_.join();
  }

  // `action` runs at each signal, with the number of signals since there was no
  // action; at once if there have been some. Without one a signal ends the
  // process.
  void SetAction(std::function<void(int)> action) {
    MutexLock lock(mutex_);
    action_ = std::move(action);
    if (!action_) {
      signals_ = 0;
    } else if (signals_ > 0) {
      action_(signals_);
    }
  }

 private:
  void Run() {
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

  UniqueFd signal_;
  UniqueFd stop_;

  // Held while the action runs, so that SetAction waits for its end.
  Mutex mutex_;
  std::function<void(int)> action_ ABSL_GUARDED_BY(mutex_);
  int signals_ ABSL_GUARDED_BY(mutex_) = 0;

  std::thread thread_;
};

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

  void Update(const v1::AddSourceProgress& progress) {
    MutexLock lock(mutex_);
    meter_.Update(progress, absl::Now());
    if (terminal_.stderr_is_terminal) {
      std::cerr << "\r" << meter_.Bar(terminal_.columns - 1) << "\033[K"
                << std::flush;
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
      std::cerr << meter_.Line() << std::endl;
      next = now + kLogInterval;
    }
  }

  const Terminal& terminal_;
  Mutex mutex_;
  CondVar wake_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  ProgressMeter meter_ ABSL_GUARDED_BY(mutex_);
  std::thread lines_;
};

// Absolute, with symbolic links resolved, so that a file has one id whichever
// way it was named.
absl::StatusOr<std::vector<fs::path>> ResolvePaths(
    const std::vector<std::string>& paths, const fs::path& working_directory) {
  std::vector<fs::path> resolved;
  for (const std::string& path : paths) {
    std::error_code error;
    const fs::path absolute = working_directory / path;
    resolved.push_back(fs::canonical(absolute, error));
    if (error) {
      return ErrnoStatus(error.value(), "add", absolute);
    }
    if (!IsUtf8(resolved.back().native())) {
      return absl::InvalidArgumentError(absl::StrCat(
          "add ", path, ": its path ", PrintableLine(resolved.back().native()),
          " is not UTF-8"));
    }
  }
  return resolved;
}

// Creates the default collection if there is none. A model that was asked for
// must be the collection's.
absl::Status EnsureDefaultCollection(
    const std::shared_ptr<grpc::Channel>& channel, const std::string& model) {
  v1::CollectionsService::Stub stub(channel);
  v1::GetCollectionRequest get;
  get.set_name(kDefaultCollection);
  auto existing = Call<v1::GetCollectionResponse>(
      stub, &v1::CollectionsService::Stub::GetCollection, get);
  if (absl::IsNotFound(existing.status())) {
    v1::CreateCollectionRequest create;
    create.set_name(kDefaultCollection);
    create.set_model(model);
    const auto created = Call<v1::CreateCollectionResponse>(
        stub, &v1::CollectionsService::Stub::CreateCollection, create);
    if (!absl::IsAlreadyExists(created.status())) {
      return created.status();
    }
    existing = Call<v1::GetCollectionResponse>(
        stub, &v1::CollectionsService::Stub::GetCollection, get);
  }
  PITH_RETURN_IF_ERROR(existing.status());
  if (model.empty()) {
    return absl::OkStatus();
  }
  v1::AdminService::Stub admin(channel);
  v1::GetModelInfoRequest request;
  request.set_model(model);
  PITH_ASSIGN_OR_RETURN(
      const auto info,
      Call<v1::GetModelInfoResponse>(
          admin, &v1::AdminService::Stub::GetModelInfo, request));
  const v1::Collection& collection = existing->collection();
  if (info.model().fingerprint() == collection.model_fingerprint()) {
    return absl::OkStatus();
  }
  return WithHint(
      absl::FailedPreconditionError(absl::StrCat(
          "add: collection \"", collection.name(), "\" uses model ",
          collection.model(), " (",
          collection.model_fingerprint().substr(0, 12), "), not ", model, " (",
          info.model().fingerprint().substr(0, 12), ")")),
      "another model needs another collection: pith collection create");
}

// Follows an operation to its end. Ctrl-C cancels it; another no longer waits
// for that.
absl::StatusOr<v1::Operation> Follow(
    const std::shared_ptr<grpc::Channel>& channel, v1::Operation operation,
    InterruptListener& interrupts, const Terminal& terminal) {
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
      display.Update(operation.add_source());
    }
  }
  const grpc::Status status = reader->Finish();
  interrupts.SetAction(nullptr);
  if (operation.state() == v1::Operation::STATE_RUNNING) {
    return WithHint(
        status.ok() ? absl::UnavailableError(absl::StrCat(
                          "add ", operation.target(),
                          ": the daemon stopped telling the progress"))
                    : Annotate(FromGrpc(status),
                               absl::StrCat("add ", operation.target())),
        "what was stored stays; the same command again goes on from there");
  }
  return operation;
}

std::string SummaryText(const v1::Operation& operation, bool verbose,
                        const Invocation& invocation) {
  const v1::AddSourceProgress& done = operation.add_source();
  std::string text = absl::StrCat(PrintableLine(operation.target()), ": ");
  const bool succeeded = operation.state() == v1::Operation::STATE_SUCCEEDED;
  if (succeeded && done.added() + done.updated() + done.removed() +
                           done.passages_to_embed() ==
                       0) {
    absl::StrAppend(&text, done.unchanged() == 0
                               ? "nothing to do: no text found"
                               : absl::StrCat("nothing to do: ",
                                              Plural(done.unchanged(), "file"),
                                              " unchanged, nothing embedded"));
  } else {
    const absl::Duration took =
        absl::Seconds(operation.end_time().seconds() -
                      operation.start_time().seconds()) +
        absl::Nanoseconds(operation.end_time().nanos() -
                          operation.start_time().nanos());
    absl::StrAppend(
        &text, succeeded ? "" : "stopped early: ", FormatCount(done.added()),
        " added, ", FormatCount(done.updated()), " updated, ",
        FormatCount(done.unchanged()), " unchanged, ",
        FormatCount(done.removed()), " removed; ",
        Plural(done.passages_embedded(), "passage"), " embedded in ",
        FormatSeconds(took));
    if (const int64_t missing =
            done.passages_to_embed() - done.passages_embedded();
        succeeded && missing > 0) {
      absl::StrAppend(&text, "; ", Plural(missing, "passage"),
                      " could not be embedded (pith status says why)");
    }
  }
  text += '\n';
  if (done.skipped_by_reason().empty()) {
    return text;
  }
  const std::map<std::string, int64_t> reasons(done.skipped_by_reason().begin(),
                                               done.skipped_by_reason().end());
  const char* separator = "skipped: ";
  for (const auto& [reason, count] : reasons) {
    absl::StrAppend(&text, separator, FormatCount(count), " ",
                    PrintableLine(reason));
    separator = ", ";
  }
  text += '\n';
  const int shown = verbose ? done.skipped_size()
                            : std::min(done.skipped_size(), kSkippedShown);
  for (int i = 0; i < shown; ++i) {
    const v1::SkippedFile& file = done.skipped(i);
    absl::StrAppend(
        &text, "  ", DisplayId(file.path(), invocation.working_directory), ": ",
        PrintableLine(file.reason()), file.detail().empty() ? "" : ": ",
        PrintableLine(file.detail()), "\n");
  }
  if (shown < done.skipped_size()) {
    absl::StrAppend(&text, "  and ", FormatCount(done.skipped_size() - shown),
                    " more; --verbose names them\n");
  }
  return text;
}

absl::Status EndOf(const v1::Operation& operation) {
  switch (operation.state()) {
    case v1::Operation::STATE_SUCCEEDED:
      return absl::OkStatus();
    case v1::Operation::STATE_CANCELLED:
      return WithHint(
          absl::CancelledError(
              absl::StrCat("add ", operation.target(), ": cancelled")),
          "what was stored stays; the same command again goes on from there");
    default: {
      const absl::Status status = FromRpcStatus(operation.error());
      return status.ok()
                 ? absl::InternalError(absl::StrCat(
                       "add ", operation.target(), ": failed without a reason"))
                 : status;
    }
  }
}

}  // namespace

absl::StatusOr<Outcome> Add(const Invocation& invocation,
                            const AddOptions& options) {
  InterruptListener interrupts;
  PITH_ASSIGN_OR_RETURN(
      const std::vector<fs::path> paths,
      ResolvePaths(options.paths, invocation.working_directory));
  if (!options.model.empty() && invocation.collection != kDefaultCollection) {
    return WithHint(
        absl::InvalidArgumentError(absl::StrCat(
            "add: --model is for the collection \"", kDefaultCollection,
            "\", not for \"", invocation.collection, "\"")),
        "pith collection create has --model");
  }
  PITH_ASSIGN_OR_RETURN(const auto channel, Connect(invocation.daemon));
  if (invocation.collection == kDefaultCollection) {
    PITH_RETURN_IF_ERROR(EnsureDefaultCollection(
        channel, ModelArgument(options.model, invocation.working_directory)));
  }
  v1::SourcesService::Stub stub(channel);
  v1::ListOperationsResponse ended;
  absl::Status status;
  for (const fs::path& path : paths) {
    v1::AddSourceRequest request;
    request.set_collection(invocation.collection);
    request.set_path(path.string());
    // A signal from here on is for the operation, once that has an id.
    interrupts.SetAction([](int) {});
    const auto response = Call<v1::AddSourceResponse>(
        stub, &v1::SourcesService::Stub::AddSource, request);
    if (!response.ok()) {
      status = OfCollection(response.status(), invocation.collection);
      break;
    }
    const auto operation =
        Follow(channel, response->operation(), interrupts, invocation.terminal);
    if (!operation.ok()) {
      status = operation.status();
      break;
    }
    if (invocation.json) {
      *ended.add_operations() = *operation;
    } else {
      std::cout << SummaryText(*operation, options.verbose, invocation)
                << std::flush;
    }
    status = EndOf(*operation);
    if (!status.ok()) {
      break;
    }
  }
  if (invocation.json) {
    std::cout << JsonText(ToJson(ended));
  }
  PITH_RETURN_IF_ERROR(status);
  return Outcome::kDone;
}

}  // namespace pith::cli
