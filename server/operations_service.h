#ifndef PITH_SERVER_OPERATIONS_SERVICE_H_
#define PITH_SERVER_OPERATIONS_SERVICE_H_

#include "grpcpp/support/server_callback.h"

#include "proto/pith/v1/operations.grpc.pb.h"
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

}  // namespace pith

#endif  // PITH_SERVER_OPERATIONS_SERVICE_H_
