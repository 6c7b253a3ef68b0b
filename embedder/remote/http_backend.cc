#include "embedder/remote/http_backend.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "core/base/reason.h"
#include "core/base/status_macros.h"
#include "embedder/remote/retry_policy.h"
#include "embedder/remote/wire_format.h"

namespace pith {
namespace {

std::string RefusalMessage(const RemoteModelSpec& spec,
                           const HttpRequest& request,
                           const HttpResponse& response) {
  const std::string message =
      absl::StrCat(request.url, " answered with status ", response.status);
  if (response.status == 401 || response.status == 403) {
    return absl::StrCat(message, ": ", KeyRefusal(spec));
  }
  if (response.status >= 300 && response.status < 400) {
    return absl::StrCat(message, ", a redirect, which is not followed");
  }
  const std::string words = ErrorInBody(response.body);
  return words.empty() ? message
                       : absl::StrCat(message, ": ",
                                      ServerWords(words, request.bearer_token));
}

}  // namespace

HttpBackend::HttpBackend(const RemoteModelSpec& spec)
    : spec_(spec), client_(spec.ca_file) {}

HttpBackend::Exchange HttpBackend::Send(const HttpRequest& request,
                                        const RequestContext& context) {
  absl::StatusOr<HttpResponse> response = client_.Send(request, context);
  if (!response.ok()) {
    const bool unreachable = absl::IsUnavailable(response.status());
    return {.body = unreachable
                        ? WithReason(response.status(), kModelUnreachableReason)
                        : response.status(),
            .transient = unreachable};
  }
  if (response->status >= 200 && response->status < 300) {
    return {.body = std::move(response->body)};
  }
  const RefusalKind kind = KindOfHttpStatus(response->status);
  absl::Status status(kind.code, RefusalMessage(spec_, request, *response));
  if (kind.texts_unseen) {
    status = WithReason(status, kModelUnreachableReason);
  }
  return {.body = std::move(status),
          .transient = kind.transient,
          .retry_after = response->retry_after};
}

BackendAnswer HttpBackend::Embed(const BackendRequest& request,
                                 const RequestContext& context) {
  if (spec_.api == RemoteApi::kTeiHttp && !checked_) {
    const Exchange info = Send({.url = spec_.url + "/info",
                                .json = std::nullopt,
                                .bearer_token = request.api_key,
                                .timeout = spec_.timeout},
                               context);
    if (!info.body.ok()) {
      return {.vectors = info.body.status(),
              .transient = info.transient,
              .retry_after = info.retry_after};
    }
    if (absl::Status status = CheckTeiInfo(spec_, *info.body); !status.ok()) {
      return {.vectors = std::move(status), .retry_after = std::nullopt};
    }
    checked_ = true;
  }
  const size_t count = request.inputs.size();
  const Exchange exchange =
      Send({.url = EmbedUrl(spec_),
            .json = EmbedRequestBody(spec_, request.inputs, request.truncate),
            .bearer_token = request.api_key,
            .max_response_bytes = MaxEmbedResponseBytes(spec_, count),
            .timeout = spec_.timeout},
           context);
  if (!exchange.body.ok()) {
    return {.vectors = exchange.body.status(),
            .transient = exchange.transient,
            .retry_after = exchange.retry_after};
  }
  return {.vectors = ParseEmbedResponse(spec_, count, *exchange.body),
          .retry_after = std::nullopt};
}

}  // namespace pith
