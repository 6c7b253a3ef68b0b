#include "embedder/remote/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "glog/logging.h"

#include "core/base/status_macros.h"

namespace pith {
namespace {

// How often a waiting request asks whether its caller is still there.
constexpr absl::Duration kCancellationPeriod = absl::Milliseconds(20);
constexpr absl::Duration kConnectTimeout = absl::Seconds(10);
constexpr size_t kMaxIdle = 8;

long Milliseconds(absl::Duration duration) {
  return static_cast<long>(absl::ToInt64Milliseconds(duration));
}

// Before any other call to libcurl, and never undone: other threads may use it
// until the process ends.
void InitialiseCurl() {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  CHECK_EQ(initialised, CURLE_OK);
}

struct HeaderListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

class HeaderList {
 public:
  void Add(const std::string& line) {
    curl_slist* const longer =
        CHECK_NOTNULL(curl_slist_append(list_.get(), line.c_str()));
    (void)list_.release();  // NOLINT(bugprone-unused-return-value)
    list_.reset(longer);
  }
  curl_slist* get() const { return list_.get(); }

 private:
  std::unique_ptr<curl_slist, HeaderListDeleter> list_;
};

struct Body {
  std::string bytes;
  size_t max_bytes = 0;
  bool too_large = false;
};

size_t AppendBody(char* bytes, size_t size, size_t count, void* target) {
  Body& body = *static_cast<Body*>(target);
  if (size * count > body.max_bytes - body.bytes.size()) {
    body.too_large = true;
    return 0;
  }
  body.bytes.append(bytes, size * count);
  return size * count;
}

}  // namespace

// A handle for one request at a time. Its multi handle owns the connections.
class HttpClient::Transfer {
 public:
  Transfer()
      : multi_(CHECK_NOTNULL(curl_multi_init())),
        easy_(CHECK_NOTNULL(curl_easy_init())) {}
  ~Transfer() {
    curl_easy_cleanup(easy_);
    curl_multi_cleanup(multi_);
  }
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  absl::StatusOr<HttpResponse> Run(const HttpRequest& request,
                                   const std::filesystem::path& ca_file,
                                   const RequestContext& context);

 private:
  // The transfer's result when it has ended, or what CheckAlive says before.
  absl::StatusOr<CURLcode> Perform(const RequestContext& context);

  CURLM* const multi_;
  CURL* const easy_;
};

absl::StatusOr<CURLcode> HttpClient::Transfer::Perform(
    const RequestContext& context) {
  while (true) {
    PITH_RETURN_IF_ERROR(CheckAlive(context));
    int running = 0;
    if (const CURLMcode code = curl_multi_perform(multi_, &running);
        code != CURLM_OK) {
      return absl::InternalError(curl_multi_strerror(code));
    }
    int queued = 0;
    if (const CURLMsg* message = curl_multi_info_read(multi_, &queued);
        message != nullptr && message->msg == CURLMSG_DONE) {
      return message->data.result;
    }
    const absl::Duration wait =
        std::clamp(context.deadline - absl::Now(), absl::ZeroDuration(),
                   kCancellationPeriod);
    if (const CURLMcode code =
            curl_multi_poll(multi_, nullptr, 0,
                            static_cast<int>(Milliseconds(wait)) + 1, nullptr);
        code != CURLM_OK) {
      return absl::InternalError(curl_multi_strerror(code));
    }
  }
}

absl::StatusOr<HttpResponse> HttpClient::Transfer::Run(
    const HttpRequest& request, const std::filesystem::path& ca_file,
    const RequestContext& context) {
  // Keeps the connections, forgets the last request.
  curl_easy_reset(easy_);
  Body body{.max_bytes = request.max_response_bytes};
  std::string error(CURL_ERROR_SIZE, '\0');
  HeaderList headers;
  headers.Add("Accept: application/json");
  if (!request.bearer_token.empty()) {
    headers.Add(absl::StrCat("Authorization: Bearer ", request.bearer_token));
  }
  curl_easy_setopt(easy_, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(easy_, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy_, CURLOPT_USERAGENT, "pith");
  curl_easy_setopt(easy_, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy_, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy_, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(easy_, CURLOPT_SSL_VERIFYHOST, 2L);
  if (!ca_file.empty()) {
    curl_easy_setopt(easy_, CURLOPT_CAINFO, ca_file.c_str());
    curl_easy_setopt(easy_, CURLOPT_CAPATH, nullptr);
  }
  curl_easy_setopt(easy_, CURLOPT_CONNECTTIMEOUT_MS,
                   Milliseconds(kConnectTimeout));
  curl_easy_setopt(easy_, CURLOPT_TIMEOUT_MS, Milliseconds(request.timeout));
  curl_easy_setopt(easy_, CURLOPT_ERRORBUFFER, error.data());
  curl_easy_setopt(easy_, CURLOPT_WRITEFUNCTION, AppendBody);
  curl_easy_setopt(easy_, CURLOPT_WRITEDATA, &body);
  if (request.json) {
    headers.Add("Content-Type: application/json");
    // Large bodies would wait a second for leave to be sent.
    headers.Add("Expect:");
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.json->size()));
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDS, request.json->data());
  }
  curl_easy_setopt(easy_, CURLOPT_HTTPHEADER, headers.get());

  if (const CURLMcode code = curl_multi_add_handle(multi_, easy_);
      code != CURLM_OK) {
    return absl::InternalError(curl_multi_strerror(code));
  }
  const absl::StatusOr<CURLcode> result = Perform(context);
  curl_multi_remove_handle(multi_, easy_);
  // It points into this call's frame.
  curl_easy_setopt(easy_, CURLOPT_ERRORBUFFER, nullptr);

  PITH_RETURN_IF_ERROR(result.status());
  if (body.too_large) {
    return absl::FailedPreconditionError(
        absl::StrCat(request.url, " answered with more than the ",
                     request.max_response_bytes, " bytes expected"));
  }
  if (*result != CURLE_OK) {
    const std::string message = absl::StrCat(
        request.url, ": ",
        error[0] != '\0' ? error.c_str() : curl_easy_strerror(*result));
    switch (*result) {
      case CURLE_PEER_FAILED_VERIFICATION:
      case CURLE_SSL_CACERT_BADFILE:
      case CURLE_SSL_ISSUER_ERROR:
      case CURLE_SSL_INVALIDCERTSTATUS:
        return absl::FailedPreconditionError(message);
      default:
        return absl::UnavailableError(message);
    }
  }
  HttpResponse response{.body = std::move(body.bytes)};
  long status = 0;
  curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
  response.status = static_cast<int>(status);
  curl_off_t retry_after = 0;
  curl_easy_getinfo(easy_, CURLINFO_RETRY_AFTER, &retry_after);
  if (retry_after > 0) {
    response.retry_after = absl::Seconds(retry_after);
  }
  return response;
}

HttpClient::HttpClient(const std::filesystem::path& ca_file)
    : ca_file_(ca_file) {
  InitialiseCurl();
}

HttpClient::~HttpClient() = default;

std::unique_ptr<HttpClient::Transfer> HttpClient::Take() {
  {
    MutexLock lock(mutex_);
    if (!idle_.empty()) {
      std::unique_ptr<Transfer> transfer = std::move(idle_.back());
      idle_.pop_back();
      return transfer;
    }
  }
  return std::make_unique<Transfer>();
}

absl::StatusOr<HttpResponse> HttpClient::Send(const HttpRequest& request,
                                              const RequestContext& context) {
  std::unique_ptr<Transfer> transfer = Take();
  absl::StatusOr<HttpResponse> response =
      transfer->Run(request, ca_file_, context);
  MutexLock lock(mutex_);
  if (idle_.size() < kMaxIdle) {
    idle_.push_back(std::move(transfer));
  }
  return response;
}

}  // namespace pith
