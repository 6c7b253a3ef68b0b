#ifndef PITH_EMBEDDER_EMBEDDER_SERVICE_H_
#define PITH_EMBEDDER_EMBEDDER_SERVICE_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "grpcpp/server_context.h"

#include "core/base/mutex.h"
#include "embedder/engine.h"
#include "proto/pith/v1/embedder.grpc.pb.h"

namespace pith {

// Limit of one message between daemon and worker. The largest is a response:
// texts of three tokens in a batch of 16,384, 4,096 dimensions, 90 MB.
inline constexpr int kMaxWorkerMessageBytes = 128 << 20;

struct LoadedEngine {
  std::unique_ptr<Engine> engine;
  // "cpu" or "cuda:0".
  std::string device;
  Precision precision = Precision::kF32;
};

// EmbedderService over one engine. Calls take turns; their number is bounded by
// the server's concurrent streams.
class EmbedderServiceImpl : public v1::EmbedderService::Service {
 public:
  // If loading failed, every call answers with that status.
  explicit EmbedderServiceImpl(absl::StatusOr<LoadedEngine> model);

  grpc::Status GetModel(grpc::ServerContext* context,
                        const v1::GetModelRequest* request,
                        v1::GetModelResponse* response) override;
  grpc::Status EmbedTokens(grpc::ServerContext* context,
                           const v1::EmbedTokensRequest* request,
                           v1::EmbedTokensResponse* response) override;

 private:
  const absl::StatusOr<LoadedEngine> model_;

  // Whether a call is using the engine.
  Mutex mutex_;
  CondVar turn_ended_;
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
};

// The rest of a worker's main(): loads the model, has it embed a first text,
// serves it on the connected socket `fd`, and returns the exit code when the
// other end is closed. The process is killed when its parent dies.
int ServeModel(int fd,
               const std::function<absl::StatusOr<LoadedEngine>()>& load);

}  // namespace pith

#endif  // PITH_EMBEDDER_EMBEDDER_SERVICE_H_
