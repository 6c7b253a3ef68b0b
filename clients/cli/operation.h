#ifndef PITH_CLIENTS_CLI_OPERATION_H_
#define PITH_CLIENTS_CLI_OPERATION_H_

#include <functional>
#include <memory>
#include <string_view>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"

#include "clients/cli/text.h"
#include "core/base/file.h"
#include "core/base/mutex.h"
#include "proto/pith/v1/operations.pb.h"

// Long work of the daemon's that a command starts and follows.
namespace pith::cli {

// Takes SIGINT and SIGTERM away from the process, for good. Must be made before
// any other thread, since those made later inherit the signal mask.
class InterruptListener {
 public:
  InterruptListener();
  InterruptListener(const InterruptListener&) = delete;
  InterruptListener& operator=(const InterruptListener&) = delete;
  ~InterruptListener();

  // `action` runs at each signal, with the number of signals since there was no
  // action; at once if there have been some. Without one a signal ends the
  // process.
  void SetAction(std::function<void(int)> action) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run();

  UniqueFd signal_;
  UniqueFd stop_;

  // Held while the action runs, so that SetAction waits for its end.
  Mutex mutex_;
  std::function<void(int)> action_ ABSL_GUARDED_BY(mutex_);
  int signals_ ABSL_GUARDED_BY(mutex_) = 0;

  std::thread thread_;
};

// What messages say of an operation.
struct OperationWords {
  // What it does: "add PATH".
  std::string_view work;
  // What to do about one that stopped early, and about one whose end is not
  // known.
  std::string_view hint;
  std::string_view lost_hint;
};

// Follows an operation to its end and shows its progress on standard error: a
// line that is redrawn on a terminal, one every ten seconds otherwise. Ctrl-C
// cancels it; another no longer waits for that. The result has ended, but
// maybe not well: EndOf. Fails if the daemon no longer tells.
absl::StatusOr<v1::Operation> Follow(
    const std::shared_ptr<grpc::Channel>& channel, v1::Operation operation,
    const OperationWords& words, InterruptListener& interrupts,
    const Terminal& terminal);

// How an operation ended.
absl::Status EndOf(const v1::Operation& operation, const OperationWords& words);

// How long it ran.
absl::Duration DurationOf(const v1::Operation& operation);

}  // namespace pith::cli

#endif  // PITH_CLIENTS_CLI_OPERATION_H_
