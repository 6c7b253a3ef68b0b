#ifndef PITH_EMBEDDER_MODEL_EMBEDDER_H_
#define PITH_EMBEDDER_MODEL_EMBEDDER_H_

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "core/base/matrix.h"
#include "core/base/mutex.h"
#include "core/index/embedder.h"
#include "embedder/engine.h"
#include "embedder/model_directory.h"
#include "embedder/tokenizer.h"
#include "embedder/worker_process.h"

namespace pith {

// One model in a worker process. Texts are tokenised on the caller's thread and
// wait in one of two bounded queues; searches leave before ingest. The worker
// is started by the first text, started again when it dies and stopped when
// idle.
class ModelEmbedder : public Embedder {
 public:
  struct Options {
    // The executable, which takes --model, --precision, --threads, --device and
    // --fd.
    std::filesystem::path worker;
    Precision precision = Precision::kF32;
    int threads = 1;
    std::string device = "auto";
    // A worker without work for so long is stopped, which frees its memory.
    absl::Duration idle_unload = absl::Minutes(10);
    // A worker that needs longer is taken for dead.
    absl::Duration start_timeout = absl::Minutes(1);
    absl::Duration batch_timeout = absl::Minutes(2);
    // A batch that runs is not interrupted, so an ingest batch bounds what a
    // search waits for. A longer text is a batch of its own.
    int max_search_batch_tokens = 4096;
    int max_ingest_batch_tokens = 1024;
    // Of each of the two queues.
    int max_queue_tokens = 1 << 18;
  };

  struct WorkerStatus {
    enum class State { kStopped, kStarting, kReady };
    State state = State::kStopped;
    // Of the worker that is starting or ready, else 0.
    pid_t pid = 0;
    // What the last worker computed on: "cpu" or "cuda:0".
    std::string device;
    // Workers that were lost, by crash or time-out.
    int64_t lost_workers = 0;
    int64_t embedded_texts = 0;
    int64_t embedded_tokens = 0;
    // Of texts that wait, not those in the batch that runs.
    int64_t queued_tokens = 0;
    // Why a worker last died or could not start; empty if none did.
    std::string last_error;
  };

  // kInvalidArgument if an option is out of range or the tokenizer has ids that
  // the model lacks. Starts no worker.
  static absl::StatusOr<std::unique_ptr<ModelEmbedder>> Create(
      const ModelSpec& spec, std::string fingerprint,
      std::unique_ptr<const Tokenizer> tokenizer, const Options& options);
  // No call to Embed may be running.
  ~ModelEmbedder() override;

  // As the interface says, and: kInvalidArgument if one call has more tokens
  // than a queue holds; if the worker cannot start, kDataLoss for a damaged
  // model file, kFailedPrecondition for a model or option it does not take,
  // kUnavailable otherwise. After a failed start, calls within a second get the
  // same error without another try. Tokens are those of the call's texts with
  // prompts and special tokens.
  absl::StatusOr<Matrix> Embed(std::span<const std::string_view> texts,
                               TextRole role,
                               const RequestContext& context) override;

  const ModelIdentity& identity() const override { return identity_; }
  std::string precision() const override;
  int CountTokens(std::string_view text) const override;
  int max_tokens() const override;

  WorkerStatus worker_status() const;

 private:
  // One call to Embed. Members behind `texts` are guarded by mutex_ until
  // `done`; after that they are the caller's.
  struct Request {
    // Token ids of each text.
    std::vector<std::vector<int32_t>> texts;
    // The first text that is not yet in a batch.
    size_t next = 0;
    size_t unfinished = 0;
    Matrix vectors;
    absl::Status status;
    bool done = false;
    CondVar finished;
  };
  struct Queue {
    std::deque<std::shared_ptr<Request>> requests;
    int64_t tokens = 0;
  };
  struct Batch {
    struct Origin {
      std::shared_ptr<Request> request;
      size_t text;
    };
    PackedTokens tokens;
    std::vector<Origin> origins;
  };

  ModelEmbedder(const ModelSpec& spec, std::string fingerprint,
                std::unique_ptr<const Tokenizer> tokenizer,
                const Options& options);

  absl::StatusOr<std::shared_ptr<Request>> Tokenize(
      std::span<const std::string_view> texts, TextRole role,
      const RequestContext& context) const;
  // Takes what is left of `request` out of its queue.
  void Remove(const std::shared_ptr<Request>& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  void RunDispatcher();
  // Waits for work. Empty if idle for too long, or stopping.
  Batch NextBatch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Finish(const Batch& batch, const absl::StatusOr<Matrix>& vectors)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Of the dispatcher's thread.
  absl::StatusOr<Matrix> Run(const PackedTokens& tokens);
  absl::Status EnsureWorker();
  absl::Status StartWorker();
  void StopWorker();

  // Immutable.
  const ModelSpec spec_;
  const ModelIdentity identity_;
  const std::unique_ptr<const Tokenizer> tokenizer_;
  const Options options_;

  // Used by the dispatcher's thread alone.
  std::unique_ptr<WorkerProcess> worker_;
  absl::Status start_error_;
  absl::Time next_start_ = absl::InfinitePast();

  mutable Mutex mutex_;
  CondVar changed_;
  // By EmbedPriority.
  std::array<Queue, 2> queues_ ABSL_GUARDED_BY(mutex_);
  WorkerStatus status_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread dispatcher_;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_MODEL_EMBEDDER_H_
