#ifndef PITH_EMBEDDER_REMOTE_HTTP_BACKEND_H_
#define PITH_EMBEDDER_REMOTE_HTTP_BACKEND_H_

#include <atomic>

#include "embedder/remote/http_client.h"
#include "embedder/remote/remote_backend.h"
#include "embedder/remote/remote_model_spec.h"

namespace pith {

// The three APIs over HTTP. Before the first texts, a server of
// text-embeddings-inference is asked for its limits (CheckTeiInfo).
class HttpBackend : public RemoteBackend {
 public:
  explicit HttpBackend(const RemoteModelSpec& spec);

  BackendAnswer Embed(const BackendRequest& request,
                      const RequestContext& context) override;

 private:
  // One exchange; the body of an answer of 200 to 299.
  struct Exchange {
    absl::StatusOr<std::string> body;
    bool transient = false;
    std::optional<absl::Duration> retry_after;
  };
  Exchange Send(const HttpRequest& request, const RequestContext& context);

  const RemoteModelSpec spec_;
  HttpClient client_;
  std::atomic<bool> checked_ = false;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_REMOTE_HTTP_BACKEND_H_
