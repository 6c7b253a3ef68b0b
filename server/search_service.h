#ifndef PITH_SERVER_SEARCH_SERVICE_H_
#define PITH_SERVER_SEARCH_SERVICE_H_

#include "grpcpp/support/server_callback.h"

#include "proto/pith/v1/search.grpc.pb.h"
#include "server/collection_registry.h"
#include "server/executor.h"

namespace pith {

class SearchServiceImpl : public v1::SearchService::CallbackService {
 public:
  SearchServiceImpl(CollectionRegistry& collections, Executor& executor)
      : collections_(collections), executor_(executor) {}

  grpc::ServerUnaryReactor* Search(grpc::CallbackServerContext* context,
                                   const v1::SearchRequest* request,
                                   v1::SearchResponse* response) override;
  grpc::ServerUnaryReactor* EmbedTexts(
      grpc::CallbackServerContext* context,
      const v1::EmbedTextsRequest* request,
      v1::EmbedTextsResponse* response) override;

 private:
  CollectionRegistry& collections_;
  Executor& executor_;
};

}  // namespace pith

#endif  // PITH_SERVER_SEARCH_SERVICE_H_
