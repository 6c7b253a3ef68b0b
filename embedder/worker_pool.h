#ifndef PITH_EMBEDDER_WORKER_POOL_H_
#define PITH_EMBEDDER_WORKER_POOL_H_

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "core/base/matrix.h"
#include "core/base/mutex.h"
#include "core/index/embedder.h"
#include "embedder/batch_queue.h"
#include "embedder/worker.h"

namespace pith {

// Workers that run one model, and the queue before them. A process is started
// when there is work that no other is free for, a second one when there is
// enough for two, and so on; it is started again when it dies, replaced when
// the model fails in it again and again, and stopped when it is idle. A remote
// worker is connected to instead of started, and what is done about it keeps no
// process from being started. Thread-safe.
class WorkerPool {
 public:
  struct Command {
    std::filesystem::path executable;
    // Without the socket's.
    std::vector<std::string> arguments;
  };
  struct Options {
    // Of the model, for messages.
    std::string name;
    // What remote workers' models must have.
    std::string fingerprint;
    int dimension = 0;
    // One a process, and those that run elsewhere; at least one of either.
    std::vector<Command> workers;
    std::vector<RemoteWorker> remote_workers;
    // A worker without work for so long is stopped, which frees its memory.
    absl::Duration idle_unload = absl::Minutes(10);
    // A worker that needs longer is taken for dead.
    absl::Duration start_timeout = absl::Minutes(1);
    absl::Duration connect_timeout = absl::Seconds(5);
    absl::Duration batch_timeout = absl::Minutes(2);
    int max_search_batch_tokens = 512;
    // An ingest batch that runs is not interrupted: its size is what the worker
    // at the speed seen so far embeds in the time that a search may wait for
    // it, or less.
    absl::Duration ingest_batch_time = absl::Milliseconds(25);
    int max_ingest_batch_tokens = 16384;
    // Of searches, and as many of ingest.
    int max_queue_tokens = 1 << 18;
  };

  struct WorkerStatus {
    enum class State { kStopped, kStarting, kReady };
    State state = State::kStopped;
    // Of a remote one; else empty.
    std::string address;
    // While starting or ready, else 0; always 0 of a remote one.
    pid_t pid = 0;
    // What the last one computed on, "cpu" or "cuda:0", and in: "int8".
    std::string device;
    std::string precision;
    // Processes and connections that were lost, by crash or time-out.
    int64_t lost = 0;
    int64_t embedded_texts = 0;
    int64_t embedded_tokens = 0;
    // Why one last died or could not start; empty if none did.
    std::string last_error;
  };
  struct Status {
    std::vector<WorkerStatus> workers;
    // That wait, without those in batches that run.
    int64_t search_tokens = 0;
    int64_t ingest_tokens = 0;
    BatchQueue::Counters batches;
  };

  // Starts no worker.
  explicit WorkerPool(Options options);
  // No call to Embed may be running.
  ~WorkerPool();

  // Row i is the vector of texts[i], token ids; at least one text.
  // `context.cancelled` may be called from any thread, with locks held. As
  // Embedder::Embed says; and if no worker can start, kDataLoss for a damaged
  // model file, kFailedPrecondition for a model or option that workers do not
  // take, kUnavailable otherwise. After a failed start, calls get the same
  // error for a while without another try.
  absl::StatusOr<Matrix> Embed(std::vector<std::vector<int32_t>> texts,
                               const RequestContext& context)
      ABSL_LOCKS_EXCLUDED(mutex_);

  Status status() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // One call to Embed, on its caller's stack.
  struct Call {
    Matrix vectors;
    size_t unfinished = 0;
    absl::Status status;
    bool done = false;
    CondVar finished;
  };
  struct Slot {
    std::variant<Command, RemoteWorker> place;
    // Used by the slot's thread alone.
    std::unique_ptr<Worker> worker;
    // Batches in a row that ended in an error of the model's.
    int model_errors = 0;
    // A batch that the connection was lost with, until the next one tells
    // whether the worker had died.
    struct Loss {
      std::string instance;
      BatchQueue::Batch batch;
    };
    std::optional<Loss> loss;
    // Guarded by mutex_.
    WorkerStatus status;
    // `worker` while there is one; for Interrupt.
    Worker* interruptible = nullptr;
    // Starts that failed, deaths, and batches that a busy worker did not take,
    // in a row.
    int failed_starts = 0;
    int deaths = 0;
    int refusals = 0;
    // Before, it is neither started nor, after a refusal, given a batch.
    absl::Time next_start = absl::InfinitePast();
    double tokens_per_second = 0;
    int64_t ingest_batch_tokens = 0;

    bool is_remote() const {
      return std::holds_alternative<RemoteWorker>(place);
    }

    std::thread thread;
  };
  enum class Action { kEnd, kStart, kStop, kRun };

  void RunSlot(Slot& slot);
  // Waits until there is something to do for `slot`; fills `batch` for kRun.
  Action Await(Slot& slot, BatchQueue::Batch& batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Start(Slot& slot) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<v1::GetModelResponse> StartWorker(Slot& slot)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void Stop(Slot& slot) ABSL_LOCKS_EXCLUDED(mutex_);
  void Run(Slot& slot, const BatchQueue::Batch& batch)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // After a start: what the last connection was lost by.
  void ExplainLoss(Slot& slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Deliver(const BatchQueue::Batch& batch, const Matrix& vectors)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void MeasureSpeed(Slot& slot, int64_t tokens, absl::Duration time)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FailCall(BatchQueue::RequestId request, const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether a worker is there, on its way or about to be tried: false if all
  // wait after a start that failed.
  bool CanServe() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  int64_t WaitingTokens() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;

  mutable Mutex mutex_;
  // Work came, or a slot's state changed.
  CondVar changed_;
  BatchQueue queue_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<BatchQueue::RequestId, Call*> calls_
      ABSL_GUARDED_BY(mutex_);
  uint64_t next_request_ ABSL_GUARDED_BY(mutex_) = 0;
  // Ready workers without work; processes that are being started.
  int idle_ ABSL_GUARDED_BY(mutex_) = 0;
  int starting_ ABSL_GUARDED_BY(mutex_) = 0;
  // Why the last start failed; OK after one that did not.
  absl::Status start_error_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::vector<std::unique_ptr<Slot>> slots_;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_WORKER_POOL_H_
