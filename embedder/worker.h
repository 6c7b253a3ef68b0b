#ifndef PITH_EMBEDDER_WORKER_H_
#define PITH_EMBEDDER_WORKER_H_

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/client_context.h"

#include "core/base/matrix.h"
#include "core/base/mutex.h"
#include "embedder/engine.h"
#include "proto/pith/v1/embedder.grpc.pb.h"

namespace pith {

// Reason (core/base/reason.h) of a kResourceExhausted in which the texts have
// no part: a remote worker has enough to do for others.
inline constexpr char kWorkerBusyReason[] = "WORKER_BUSY";

// A pith-embedder that is started elsewhere and serves over TCP.
struct RemoteWorker {
  // HOST:PORT.
  std::string address;
  // What it wants from its callers; empty: nothing.
  std::string token;
  // PEM, of what vouches for its certificate; empty: no TLS.
  std::string root_certificates;
};

// kInvalidArgument unless the address is a host and a port, and one of the
// loopback interface if there is no TLS.
absl::Status CheckRemoteWorker(const RemoteWorker& worker);

// What serves EmbedderService: a child process, on a socket pair, which dies
// with the thread that called Spawn; or a process elsewhere, over TCP. Used by
// one thread at a time but for Interrupt.
class Worker {
 public:
  // Starts `executable` with `arguments` and "--fd N". Returns before the model
  // is loaded. kUnavailable if the process cannot be started.
  static absl::StatusOr<std::unique_ptr<Worker>> Spawn(
      const std::filesystem::path& executable,
      const std::vector<std::string>& arguments);
  // Returns before there is a connection. Only vectors of the model with
  // `fingerprint` are taken.
  static std::unique_ptr<Worker> Connect(const RemoteWorker& remote,
                                         const std::string& fingerprint);
  // Kills the process and reaps it, or closes the connection.
  ~Worker();

  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Waits until the model is loaded. The worker's own status if it could not
  // be; kUnavailable if the worker died, cannot be reached, wants another token
  // or `timeout` passed; kFailedPrecondition if it runs another model.
  absl::StatusOr<v1::GetModelResponse> GetModel(absl::Duration timeout);

  // One row a text, of `dimension` columns. kUnavailable if the worker died,
  // cannot be reached or `timeout` passed: it must not be used any more. With
  // kModelUnreachableReason it is a remote one, whose loss by itself says
  // nothing about the texts. kResourceExhausted with kWorkerBusyReason if it is
  // busy. Any other error is the engine's about this call.
  absl::StatusOr<Matrix> Embed(const PackedTokens& tokens, int dimension,
                               absl::Duration timeout);

  // Makes the call that runs, and those that follow, fail soon. From any
  // thread.
  void Interrupt() ABSL_LOCKS_EXCLUDED(mutex_);

  // Which process answered last; empty if none did, or one of a build that does
  // not say.
  const std::string& instance() const { return instance_; }

  // Nullopt if it is no child.
  std::optional<pid_t> pid() const { return pid_; }
  // The pid or the address.
  const std::string& name() const { return name_; }

 private:
  Worker(pid_t pid, int fd);
  Worker(const RemoteWorker& remote, const std::string& fingerprint);

  absl::Status Call(std::string_view action, absl::Duration timeout,
                    absl::FunctionRef<grpc::Status(grpc::ClientContext*)> call)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // What an error means that is not the model's.
  absl::Status Lost(std::string_view action, const grpc::Status& status) const;

  const std::optional<pid_t> pid_;
  const std::string name_;
  const std::string token_;
  const std::string fingerprint_;
  std::unique_ptr<v1::EmbedderService::Stub> stub_;
  std::string instance_;

  Mutex mutex_;
  bool interrupted_ ABSL_GUARDED_BY(mutex_) = false;
  // Of the call that runs, or null.
  grpc::ClientContext* running_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_WORKER_H_
