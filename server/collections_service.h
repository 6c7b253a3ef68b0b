#ifndef PITH_SERVER_COLLECTIONS_SERVICE_H_
#define PITH_SERVER_COLLECTIONS_SERVICE_H_

#include "grpcpp/support/server_callback.h"

#include "proto/pith/v1/collections.grpc.pb.h"
#include "server/collection_registry.h"
#include "server/executor.h"
#include "server/operations.h"

namespace pith {

class CollectionsServiceImpl : public v1::CollectionsService::CallbackService {
 public:
  CollectionsServiceImpl(CollectionRegistry& collections,
                         OperationRegistry& operations, Executor& executor)
      : collections_(collections),
        operations_(operations),
        executor_(executor) {}

  grpc::ServerUnaryReactor* CreateCollection(
      grpc::CallbackServerContext* context,
      const v1::CreateCollectionRequest* request,
      v1::CreateCollectionResponse* response) override;
  grpc::ServerUnaryReactor* GetCollection(
      grpc::CallbackServerContext* context,
      const v1::GetCollectionRequest* request,
      v1::GetCollectionResponse* response) override;
  grpc::ServerUnaryReactor* ListCollections(
      grpc::CallbackServerContext* context,
      const v1::ListCollectionsRequest* request,
      v1::ListCollectionsResponse* response) override;
  grpc::ServerUnaryReactor* DeleteCollection(
      grpc::CallbackServerContext* context,
      const v1::DeleteCollectionRequest* request,
      v1::DeleteCollectionResponse* response) override;
  grpc::ServerUnaryReactor* CompactCollection(
      grpc::CallbackServerContext* context,
      const v1::CompactCollectionRequest* request,
      v1::CompactCollectionResponse* response) override;
  grpc::ServerUnaryReactor* CreateSnapshot(
      grpc::CallbackServerContext* context,
      const v1::CreateSnapshotRequest* request,
      v1::CreateSnapshotResponse* response) override;
  grpc::ServerUnaryReactor* RestoreSnapshot(
      grpc::CallbackServerContext* context,
      const v1::RestoreSnapshotRequest* request,
      v1::RestoreSnapshotResponse* response) override;
  grpc::ServerUnaryReactor* VerifyCollection(
      grpc::CallbackServerContext* context,
      const v1::VerifyCollectionRequest* request,
      v1::VerifyCollectionResponse* response) override;
  grpc::ServerUnaryReactor* RepairCollection(
      grpc::CallbackServerContext* context,
      const v1::RepairCollectionRequest* request,
      v1::RepairCollectionResponse* response) override;

 private:
  CollectionRegistry& collections_;
  OperationRegistry& operations_;
  Executor& executor_;
};

}  // namespace pith

#endif  // PITH_SERVER_COLLECTIONS_SERVICE_H_
