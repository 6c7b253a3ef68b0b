#ifndef PITH_SERVER_OPERATIONS_SERVICE_H_
#define PITH_SERVER_OPERATIONS_SERVICE_H_

#include "grpcpp/support/server_callback.h"

#include "proto/pith/v1/operations.grpc.pb.h"
#include "proto/pith/v1/sources.grpc.pb.h"
#include "server/collection_registry.h"
#include "server/executor.h"
#include "server/operations.h"

namespace pith {

class OperationsServiceImpl : public v1::OperationsService::CallbackService {
 public:
  OperationsServiceImpl(OperationRegistry& operations, Executor& executor)
      : operations_(operations), executor_(executor) {}

  grpc::ServerUnaryReactor* GetOperation(
      grpc::CallbackServerContext* context,
      const v1::GetOperationRequest* request,
      v1::GetOperationResponse* response) override;
  grpc::ServerUnaryReactor* ListOperations(
      grpc::CallbackServerContext* context,
      const v1::ListOperationsRequest* request,
      v1::ListOperationsResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchOperationResponse>* WatchOperation(
      grpc::CallbackServerContext* context,
      const v1::WatchOperationRequest* request) override;
  grpc::ServerUnaryReactor* CancelOperation(
      grpc::CallbackServerContext* context,
      const v1::CancelOperationRequest* request,
      v1::CancelOperationResponse* response) override;

 private:
  OperationRegistry& operations_;
  Executor& executor_;
};

class SourcesServiceImpl : public v1::SourcesService::CallbackService {
 public:
  SourcesServiceImpl(CollectionRegistry& collections,
                     OperationRegistry& operations, Executor& executor)
      : collections_(collections),
        operations_(operations),
        executor_(executor) {}

  grpc::ServerUnaryReactor* AddSource(grpc::CallbackServerContext* context,
                                      const v1::AddSourceRequest* request,
                                      v1::AddSourceResponse* response) override;

 private:
  CollectionRegistry& collections_;
  OperationRegistry& operations_;
  Executor& executor_;
};

}  // namespace pith

#endif  // PITH_SERVER_OPERATIONS_SERVICE_H_
