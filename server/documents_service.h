#ifndef PITH_SERVER_DOCUMENTS_SERVICE_H_
#define PITH_SERVER_DOCUMENTS_SERVICE_H_

#include "grpcpp/support/server_callback.h"

#include "proto/pith/v1/documents.grpc.pb.h"
#include "server/collection_registry.h"
#include "server/executor.h"

namespace pith {

class DocumentsServiceImpl : public v1::DocumentsService::CallbackService {
 public:
  DocumentsServiceImpl(CollectionRegistry& collections, Executor& executor)
      : collections_(collections), executor_(executor) {}

  grpc::ServerBidiReactor<v1::IngestRequest, v1::IngestResponse>* Ingest(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* WaitUntilSearchable(
      grpc::CallbackServerContext* context,
      const v1::WaitUntilSearchableRequest* request,
      v1::WaitUntilSearchableResponse* response) override;
  grpc::ServerUnaryReactor* GetDocument(
      grpc::CallbackServerContext* context,
      const v1::GetDocumentRequest* request,
      v1::GetDocumentResponse* response) override;
  grpc::ServerUnaryReactor* DeleteDocuments(
      grpc::CallbackServerContext* context,
      const v1::DeleteDocumentsRequest* request,
      v1::DeleteDocumentsResponse* response) override;
  grpc::ServerUnaryReactor* ListDocuments(
      grpc::CallbackServerContext* context,
      const v1::ListDocumentsRequest* request,
      v1::ListDocumentsResponse* response) override;

 private:
  CollectionRegistry& collections_;
  Executor& executor_;
};

}  // namespace pith

#endif  // PITH_SERVER_DOCUMENTS_SERVICE_H_
