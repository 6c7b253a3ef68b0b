#include "embedder/remote/tei_grpc_backend.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/client_callback.h"

#include "core/base/file.h"
#include "core/base/mutex.h"
#include "core/base/reason.h"
#include "core/base/status_macros.h"
#include "embedder/remote/retry_policy.h"

namespace pith {
namespace {

constexpr uint64_t kMaxCaFileBytes = 16 << 20;
// How often a waiting request asks whether its caller is still there.
constexpr absl::Duration kCancellationPeriod = absl::Milliseconds(20);

constexpr std::string_view kPlain = "http://";
constexpr std::string_view kTls = "https://";

// One stream: writes the texts, reads as many vectors.
class EmbedCall : public grpc::ClientBidiReactor<tei::v1::EmbedRequest,
                                                 tei::v1::EmbedResponse> {
 public:
  EmbedCall(const RemoteModelSpec& spec, const BackendRequest& request)
      : spec_(spec),
        request_(request),
        vectors_(request.inputs.size(), static_cast<size_t>(spec.dimension)) {}

  // Returns when the call has ended, soon after `context` ends if it has to.
  BackendAnswer Run(tei::v1::Embed::Stub& stub, const RequestContext& context)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    client_context_.set_deadline(absl::ToChronoTime(
        std::min(context.deadline, absl::Now() + spec_.timeout)));
    if (!request_.api_key.empty()) {
      client_context_.AddMetadata("authorization",
                                  absl::StrCat("Bearer ", request_.api_key));
    }
    stub.async()->EmbedStream(&client_context_, this);
    StartRead(&response_);
    WriteNext();
    StartCall();

    absl::Status alive;
    while (true) {
      {
        MutexLock lock(mutex_);
        if (!done_) {
          ended_.WaitFor(mutex_, kCancellationPeriod);
        }
        if (done_) {
          break;
        }
      }
      if (alive.ok()) {
        alive = CheckAlive(context);
        if (!alive.ok()) {
          client_context_.TryCancel();
        }
      }
    }
    if (alive.ok()) {
      // The call's deadline may have been the caller's.
      alive = CheckAlive(context);
    }
    return alive.ok() ? Answer() : BackendAnswer{.vectors = alive};
  }

  void OnWriteDone(bool ok) override {
    if (ok) {
      WriteNext();
    }
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      return;
    }
    const auto& values = response_.embeddings();
    if (received_ == vectors_.rows()) {
      Fail(absl::UnavailableError(
          absl::StrCat(spec_.url, " answers ", received_,
                       " texts with more vectors than that")));
      return;
    }
    if (values.size() != spec_.dimension) {
      Fail(WrongDimension(spec_, static_cast<size_t>(values.size())));
      return;
    }
    std::copy(values.begin(), values.end(), vectors_.row(received_).begin());
    ++received_;
    StartRead(&response_);
  }

  void OnDone(const grpc::Status& status) override {
    MutexLock lock(mutex_);
    status_ = status;
    done_ = true;
    ended_.Signal();
  }

 private:
  void WriteNext() {
    if (sent_ == request_.inputs.size()) {
      StartWritesDone();
      return;
    }
    message_.set_inputs(request_.inputs[sent_]);
    message_.set_truncate(request_.truncate);
    message_.set_normalize(true);
    if (spec_.request_dimension) {
      message_.set_dimensions(static_cast<uint32_t>(spec_.dimension));
    }
    ++sent_;
    StartWrite(&message_);
  }

  void Fail(absl::Status fault) {
    fault_ = std::move(fault);
    client_context_.TryCancel();
  }

  // After the end.
  BackendAnswer Answer() {
    if (!fault_.ok()) {
      return {.vectors = fault_};
    }
    MutexLock lock(mutex_);
    if (!status_.ok()) {
      return Refusal();
    }
    if (received_ != vectors_.rows()) {
      return {.vectors = absl::UnavailableError(
                  absl::StrCat(spec_.url, " answers ", vectors_.rows(),
                               " texts with ", received_, " vectors"))};
    }
    return {.vectors = std::move(vectors_)};
  }

  BackendAnswer Refusal() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const RefusalKind kind =
        KindOfGrpcStatus(static_cast<absl::StatusCode>(status_.error_code()));
    const bool key_refused =
        status_.error_code() == grpc::StatusCode::UNAUTHENTICATED ||
        status_.error_code() == grpc::StatusCode::PERMISSION_DENIED;
    absl::Status status(
        kind.code,
        absl::StrCat(spec_.url, ": ",
                     key_refused ? KeyRefusal(spec_)
                                 : ServerWords(status_.error_message(),
                                               request_.api_key)));
    if (kind.texts_unseen) {
      status = WithReason(status, kModelUnreachableReason);
    }
    return {.vectors = std::move(status), .transient = kind.transient};
  }

  const RemoteModelSpec& spec_;
  const BackendRequest& request_;
  grpc::ClientContext client_context_;

  // Of the writing reactions, which follow one another.
  tei::v1::EmbedRequest message_;
  size_t sent_ = 0;
  // Of the reading ones; the caller's after the end.
  tei::v1::EmbedResponse response_;
  Matrix vectors_;
  size_t received_ = 0;
  absl::Status fault_;

  Mutex mutex_;
  CondVar ended_;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

TeiGrpcBackend::TeiGrpcBackend(
    const RemoteModelSpec& spec,
    const std::shared_ptr<grpc::ChannelInterface>& channel)
    : spec_(spec), stub_(tei::v1::Embed::NewStub(channel)) {}

absl::StatusOr<std::unique_ptr<TeiGrpcBackend>> TeiGrpcBackend::Create(
    const RemoteModelSpec& spec) {
  std::string_view target = spec.url;
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  if (target.starts_with(kTls)) {
    target.remove_prefix(kTls.size());
    grpc::SslCredentialsOptions options;
    if (!spec.ca_file.empty()) {
      PITH_ASSIGN_OR_RETURN(options.pem_root_certs,
                            ReadFile(spec.ca_file, kMaxCaFileBytes));
    }
    credentials = grpc::SslCredentials(options);
  } else {
    target.remove_prefix(kPlain.size());
    credentials = grpc::InsecureChannelCredentials();
  }
  grpc::ChannelArguments arguments;
  // Else a server that comes back is found after up to two minutes, however
  // often it is tried.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  return std::unique_ptr<TeiGrpcBackend>(new TeiGrpcBackend(
      spec,
      grpc::CreateCustomChannel(std::string(target), credentials, arguments)));
}

BackendAnswer TeiGrpcBackend::Embed(const BackendRequest& request,
                                    const RequestContext& context) {
  return EmbedCall(spec_, request).Run(*stub_, context);
}

}  // namespace pith
