#include "server/collections_service.h"

#include <utility>

#include "core/base/status_macros.h"
#include "server/convert.h"
#include "server/unary_call.h"

namespace pith {
namespace {

// What CompactCollection starts.
absl::Status Compact(Collection& collection, const CompactOptions& options,
                     Operation& operation) {
  PITH_ASSIGN_OR_RETURN(
      const CompactResult result,
      collection.Compact(
          options, [&operation] { return operation.cancelled(); },
          [&operation](const CompactProgress& progress) {
            operation.Update(
                [&](v1::CompactProgress& shown) { shown = ToProto(progress); });
          }));
  operation.Update(
      [&](v1::CompactProgress& shown) { shown = ToProto(result); });
  return absl::OkStatus();
}

}  // namespace

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

grpc::ServerUnaryReactor* CollectionsServiceImpl::CompactCollection(
    grpc::CallbackServerContext* context,
    const v1::CompactCollectionRequest* request,
    v1::CompactCollectionResponse* response) {
  return RunUnary(
      context, executor_, [=, this](const CallContext&) -> absl::Status {
        PITH_ASSIGN_OR_RETURN(auto handle,
                              collections_.FindOrReopen(request->name()));
        PITH_ASSIGN_OR_RETURN(
            const auto operation,
            operations_.Start(
                request->name(), "",
                [handle = std::move(handle),
                 options = CompactOptions{.recompute = request->recompute()}](
                    Operation& self) {
                  return Compact(handle->collection(), options, self);
                }));
        // Says what kind it is even while it waits for a thread.
        operation->Update([](v1::CompactProgress&) {});
        *response->mutable_operation() = operation->Describe();
        return absl::OkStatus();
      });
}

}  // namespace pith
