#ifndef PITH_SERVER_SOURCES_SERVICE_H_
#define PITH_SERVER_SOURCES_SERVICE_H_

#include "grpcpp/support/server_callback.h"

#include "proto/pith/v1/sources.grpc.pb.h"
#include "server/collection_registry.h"
#include "server/executor.h"
#include "server/operations.h"
#include "server/source_registry.h"

namespace pith {

class SourcesServiceImpl : public v1::SourcesService::CallbackService {
 public:
  SourcesServiceImpl(CollectionRegistry& collections, SourceRegistry& sources,
                     OperationRegistry& operations, Executor& executor)
      : collections_(collections),
        sources_(sources),
        operations_(operations),
        executor_(executor) {}

  grpc::ServerUnaryReactor* AddSource(grpc::CallbackServerContext* context,
                                      const v1::AddSourceRequest* request,
                                      v1::AddSourceResponse* response) override;
  grpc::ServerUnaryReactor* WatchSource(
      grpc::CallbackServerContext* context,
      const v1::WatchSourceRequest* request,
      v1::WatchSourceResponse* response) override;
  grpc::ServerUnaryReactor* UnwatchSource(
      grpc::CallbackServerContext* context,
      const v1::UnwatchSourceRequest* request,
      v1::UnwatchSourceResponse* response) override;
  grpc::ServerUnaryReactor* ListSources(
      grpc::CallbackServerContext* context,
      const v1::ListSourcesRequest* request,
      v1::ListSourcesResponse* response) override;

 private:
  // Starts a scan of `path` as an operation.
  absl::StatusOr<v1::Operation> StartScan(const std::string& collection,
                                          const std::filesystem::path& path);

  CollectionRegistry& collections_;
  SourceRegistry& sources_;
  OperationRegistry& operations_;
  Executor& executor_;
};

}  // namespace pith

#endif  // PITH_SERVER_SOURCES_SERVICE_H_
