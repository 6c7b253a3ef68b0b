#include "server/collections_service.h"

#include "core/base/status_macros.h"
#include "server/convert.h"
#include "server/unary_call.h"

namespace pith {

grpc::ServerUnaryReactor* CollectionsServiceImpl::CreateCollection(
    grpc::CallbackServerContext* context,
    const v1::CreateCollectionRequest* request,
    v1::CreateCollectionResponse* response) {
  return RunUnary(
      context, executor_, [=, this](const CallContext&) -> absl::Status {
        PITH_ASSIGN_OR_RETURN(const NewCollection collection,
                              CollectionFromProto(*request));
        PITH_ASSIGN_OR_RETURN(auto handle, collections_.Create(collection));
        *response->mutable_collection() = ToProto(CollectionRegistry::Listing{
            .name = collection.name, .handle = std::move(handle)});
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* CollectionsServiceImpl::GetCollection(
    grpc::CallbackServerContext* context,
    const v1::GetCollectionRequest* request,
    v1::GetCollectionResponse* response) {
  return RunUnary(
      context, executor_, [=, this](const CallContext&) -> absl::Status {
        PITH_ASSIGN_OR_RETURN(auto handle,
                              collections_.FindOrReopen(request->name()));
        *response->mutable_collection() = ToProto(CollectionRegistry::Listing{
            .name = request->name(), .handle = std::move(handle)});
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* CollectionsServiceImpl::ListCollections(
    grpc::CallbackServerContext* context,
    const v1::ListCollectionsRequest* /*request*/,
    v1::ListCollectionsResponse* response) {
  return RunUnary(context, executor_, [=, this](const CallContext&) {
    for (const auto& listing : collections_.List()) {
      *response->add_collections() = ToProto(listing);
    }
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* CollectionsServiceImpl::DeleteCollection(
    grpc::CallbackServerContext* context,
    const v1::DeleteCollectionRequest* request,
    v1::DeleteCollectionResponse* /*response*/) {
  return RunUnary(context, executor_,
                  [=, this](const CallContext&) -> absl::Status {
                    PITH_RETURN_IF_ERROR(collections_.Delete(request->name()));
                    operations_.CancelAll(request->name());
                    return absl::OkStatus();
                  });
}

}  // namespace pith
