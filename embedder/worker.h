#ifndef PITH_EMBEDDER_WORKER_H_
#define PITH_EMBEDDER_WORKER_H_

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "core/base/matrix.h"
#include "embedder/engine.h"
#include "proto/pith/v1/embedder.grpc.pb.h"

namespace pith {

// A child process that serves EmbedderService on a socket pair. Used by one
// thread at a time; the process dies with the thread that called Spawn.
class Worker {
 public:
  // Starts `executable` with `arguments` and "--fd N". Returns before the model
  // is loaded. kUnavailable if the process cannot be started.
  static absl::StatusOr<std::unique_ptr<Worker>> Spawn(
      const std::filesystem::path& executable,
      const std::vector<std::string>& arguments);
  // Kills the process and reaps it.
  ~Worker();

  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Waits until the model is loaded. The worker's own status if it could not
  // be, kUnavailable if the worker died or `timeout` passed.
  absl::StatusOr<v1::GetModelResponse> GetModel(absl::Duration timeout);

  // One row a text, of `dimension` columns. kUnavailable if the worker died or
  // `timeout` passed: it must not be used any more. Any other error is the
  // engine's about this call.
  absl::StatusOr<Matrix> Embed(const PackedTokens& tokens, int dimension,
                               absl::Duration timeout);

  pid_t pid() const { return pid_; }

 private:
  Worker(pid_t pid, int fd);

  const pid_t pid_;
  std::unique_ptr<v1::EmbedderService::Stub> stub_;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_WORKER_H_
