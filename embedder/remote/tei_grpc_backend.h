#ifndef PITH_EMBEDDER_REMOTE_TEI_GRPC_BACKEND_H_
#define PITH_EMBEDDER_REMOTE_TEI_GRPC_BACKEND_H_

#include <memory>

#include "absl/status/statusor.h"

#include "embedder/remote/remote_backend.h"
#include "embedder/remote/remote_model_spec.h"
#include "proto/tei/v1/embed.grpc.pb.h"

namespace pith {

// text-embeddings-inference over gRPC: the texts of a request as one stream,
// which the server answers in order and batches as it sees fit.
class TeiGrpcBackend : public RemoteBackend {
 public:
  // ReadFile's errors for spec.ca_file. Does not connect.
  static absl::StatusOr<std::unique_ptr<TeiGrpcBackend>> Create(
      const RemoteModelSpec& spec);

  BackendAnswer Embed(const BackendRequest& request,
                      const RequestContext& context) override;

 private:
  TeiGrpcBackend(const RemoteModelSpec& spec,
                 const std::shared_ptr<grpc::ChannelInterface>& channel);

  const RemoteModelSpec spec_;
  const std::unique_ptr<tei::v1::Embed::Stub> stub_;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_REMOTE_TEI_GRPC_BACKEND_H_
