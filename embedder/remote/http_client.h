#ifndef PITH_EMBEDDER_REMOTE_HTTP_CLIENT_H_
#define PITH_EMBEDDER_REMOTE_HTTP_CLIENT_H_

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "core/base/mutex.h"
#include "core/index/embedder.h"

namespace pith {

struct HttpRequest {
  std::string url;
  // Sent by POST as application/json; nullopt: GET.
  std::optional<std::string> json;
  // Sent as Authorization: Bearer, unless empty.
  std::string bearer_token;
  size_t max_response_bytes = 1 << 20;
  // From the first byte of the connection to the last of the answer.
  absl::Duration timeout = absl::Seconds(60);
};

struct HttpResponse {
  int status = 0;
  std::string body;
  // Of the header Retry-After, in seconds or as a date.
  std::optional<absl::Duration> retry_after;
};

// Requests over HTTP and TLS, as many at a time as there are callers, with
// connections kept for the next. Certificates are checked. Redirects are
// answers like any other: following one would take the key along. Proxies are
// those of the environment (http_proxy, HTTPS_PROXY, NO_PROXY). Thread-safe.
class HttpClient {
 public:
  // `ca_file`: certificates to trust instead of the system's, if not empty.
  explicit HttpClient(const std::filesystem::path& ca_file);
  ~HttpClient();

  // The answer, whatever its status. kUnavailable if there is none (no
  // connection, a broken one, time-out); kFailedPrecondition if the server's
  // certificate is not accepted or the answer is larger than allowed;
  // kDeadlineExceeded and kCancelled as `context` says.
  absl::StatusOr<HttpResponse> Send(const HttpRequest& request,
                                    const RequestContext& context)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  class Transfer;

  std::unique_ptr<Transfer> Take() ABSL_LOCKS_EXCLUDED(mutex_);

  const std::filesystem::path ca_file_;
  Mutex mutex_;
  // Those that no request uses, with their open connections.
  std::vector<std::unique_ptr<Transfer>> idle_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pith

#endif  // PITH_EMBEDDER_REMOTE_HTTP_CLIENT_H_
