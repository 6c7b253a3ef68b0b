#ifndef PITH_EMBEDDER_EMBEDDER_SERVICE_H_
#define PITH_EMBEDDER_EMBEDDER_SERVICE_H_

#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "grpcpp/server_context.h"

#include "core/base/mutex.h"
#include "embedder/engine.h"
#include "proto/pith/v1/embedder.grpc.pb.h"

namespace pith {

struct LoadedEngine {
  std::unique_ptr<Engine> engine;
  // "cpu" or "cuda:0".
  std::string device;
  Precision precision = Precision::kF32;
};

// EmbedderService over one engine. Calls take turns in the order in which they
// come; those that are cancelled or expire meanwhile leave.
class EmbedderServiceImpl : public v1::EmbedderService::Service {
 public:
  // Calls beside the one that runs; one more is refused.
  static constexpr size_t kMaxWaitingCalls = 16;

  struct Access {
    // What every call has to bring; empty: nothing.
    std::string token;
    // Of the model; empty if callers know.
    std::string fingerprint;
  };

  // If loading failed, every call answers with that status.
  explicit EmbedderServiceImpl(absl::StatusOr<LoadedEngine> model)
      : EmbedderServiceImpl(std::move(model), Access()) {}
  EmbedderServiceImpl(absl::StatusOr<LoadedEngine> model, Access access);

  grpc::Status GetModel(grpc::ServerContext* context,
                        const v1::GetModelRequest* request,
                        v1::GetModelResponse* response) override;
  grpc::Status EmbedTokens(grpc::ServerContext* context,
                           const v1::EmbedTokensRequest* request,
                           v1::EmbedTokensResponse* response) override;

 private:
  grpc::Status CheckToken(const grpc::ServerContext& context) const;
  // Whether the caller may be answered; if so, it is told by which process.
  grpc::Status Admit(grpc::ServerContext& context) const;
  absl::StatusOr<PackedTokens> ToPackedTokens(
      const v1::EmbedTokensRequest& request) const;
  // Waits for the engine, which the caller has until EmbedInTurn ends.
  grpc::Status AwaitTurn(const grpc::ServerContext& context)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<Matrix> EmbedInTurn(const PackedTokens& tokens)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void EndTurn() ABSL_LOCKS_EXCLUDED(mutex_);

  const absl::StatusOr<LoadedEngine> model_;
  const Access access_;
  const std::string instance_;

  Mutex mutex_;
  CondVar changed_;
  // Whether a call is using the engine.
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  // Of those that wait, by arrival.
  std::set<uint64_t> tickets_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_ticket_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_EMBEDDER_SERVICE_H_
