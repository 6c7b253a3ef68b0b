#ifndef PITH_SERVER_ADMIN_SERVICE_H_
#define PITH_SERVER_ADMIN_SERVICE_H_

#include <string>

#include "absl/time/time.h"
#include "grpcpp/support/server_callback.h"

#include "core/index/vector_cache.h"
#include "proto/pith/v1/admin.grpc.pb.h"
#include "server/backends.h"
#include "server/collection_registry.h"
#include "server/executor.h"
#include "server/operations.h"
#include "server/source_registry.h"

namespace pith {

class AdminServiceImpl : public v1::AdminService::CallbackService {
 public:
  AdminServiceImpl(const std::string& data_directory, const std::string& socket,
                   CollectionRegistry& collections, SourceRegistry& sources,
                   OperationRegistry& operations, ModelProvider& models,
                   const VectorCache& cache, Executor& executor);

  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context,
                                      const v1::GetStatusRequest* request,
                                      v1::GetStatusResponse* response) override;
  grpc::ServerUnaryReactor* ListModels(
      grpc::CallbackServerContext* context,
      const v1::ListModelsRequest* request,
      v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* GetModelInfo(
      grpc::CallbackServerContext* context,
      const v1::GetModelInfoRequest* request,
      v1::GetModelInfoResponse* response) override;

 private:
  const std::string data_directory_;
  const std::string socket_;
  const absl::Time start_time_;
  CollectionRegistry& collections_;
  SourceRegistry& sources_;
  OperationRegistry& operations_;
  ModelProvider& models_;
  const VectorCache& cache_;
  Executor& executor_;
};

}  // namespace pith

#endif  // PITH_SERVER_ADMIN_SERVICE_H_
