#include "embedder/embedder_service.h"

#include <bit>
#include <new>
#include <random>
#include <span>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"

#include "core/base/secret.h"
#include "embedder/worker_protocol.h"

namespace pith {
namespace {

// How often a waiting call asks whether its caller is still there.
constexpr absl::Duration kCancellationPeriod = absl::Milliseconds(20);

constexpr std::string_view kBearer = "Bearer ";

// The codes of absl::Status and grpc::Status are the same numbers.
grpc::Status ModelError(grpc::ServerContext& context,
                        const absl::Status& status) {
  constexpr size_t kMaxMessageBytes = 1024;
  context.AddTrailingMetadata(kModelErrorMark, "");
  return {static_cast<grpc::StatusCode>(status.code()),
          std::string(status.message().substr(0, kMaxMessageBytes))};
}

std::string RandomInstance() {
  std::random_device random;
  std::string instance;
  for (int i = 0; i < 4; ++i) {
    absl::StrAppend(&instance, absl::Hex(random(), absl::kZeroPad8));
  }
  return instance;
}

}  // namespace

EmbedderServiceImpl::EmbedderServiceImpl(absl::StatusOr<LoadedEngine> model,
                                         Access access)
    : model_(std::move(model)),
      access_(std::move(access)),
      instance_(RandomInstance()) {}

grpc::Status EmbedderServiceImpl::CheckToken(
    const grpc::ServerContext& context) const {
  if (access_.token.empty()) {
    return grpc::Status::OK;
  }
  const auto found = context.client_metadata().find("authorization");
  if (found == context.client_metadata().end()) {
    return {grpc::StatusCode::UNAUTHENTICATED, "this worker wants a token"};
  }
  const std::string_view value(found->second.data(), found->second.size());
  if (!value.starts_with(kBearer) ||
      !SecretsEqual(value.substr(kBearer.size()), access_.token)) {
    return {grpc::StatusCode::UNAUTHENTICATED, "wrong token"};
  }
  return grpc::Status::OK;
}

grpc::Status EmbedderServiceImpl::Admit(grpc::ServerContext& context) const {
  grpc::Status allowed = CheckToken(context);
  if (allowed.ok()) {
    context.AddTrailingMetadata(kInstanceKey, instance_);
  }
  return allowed;
}

absl::StatusOr<PackedTokens> EmbedderServiceImpl::ToPackedTokens(
    const v1::EmbedTokensRequest& request) const {
  if (request.token_ids_size() > kMaxWorkerCallTokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("embed ", request.token_ids_size(), " tokens: at most ",
                     kMaxWorkerCallTokens, " a call"));
  }
  const int64_t vector_bytes = int64_t{request.text_lengths_size()} *
                               model_->engine->dimension() *
                               int64_t{sizeof(float)};
  if (vector_bytes >= kMaxWorkerMessageBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "embed ", request.text_lengths_size(), " texts: their vectors are ",
        vector_bytes, " bytes, a message has less than ",
        kMaxWorkerMessageBytes));
  }
  PackedTokens tokens;
  int64_t total = 0;
  for (const int32_t length : request.text_lengths()) {
    total += length;
    if (length < 1 || total > request.token_ids_size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "text_lengths: text ", tokens.size(), " has ", length,
          " tokens, together ", total, " of ", request.token_ids_size()));
    }
    tokens.offsets.push_back(static_cast<int32_t>(total));
  }
  if (total != request.token_ids_size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("text_lengths add up to ", total, ", there are ",
                     request.token_ids_size(), " token_ids"));
  }
  tokens.ids.assign(request.token_ids().begin(), request.token_ids().end());
  return tokens;
}

grpc::Status EmbedderServiceImpl::AwaitTurn(
    const grpc::ServerContext& context) {
  MutexLock lock(mutex_);
  if (tickets_.size() >= kMaxWaitingCalls) {
    return {grpc::StatusCode::RESOURCE_EXHAUSTED,
            absl::StrCat("busy: ", tickets_.size(), " calls already wait")};
  }
  const uint64_t ticket = next_ticket_++;
  tickets_.insert(ticket);
  bool has_gone = context.IsCancelled();
  while (!has_gone && (busy_ || *tickets_.begin() != ticket)) {
    changed_.WaitFor(mutex_, kCancellationPeriod);
    has_gone = context.IsCancelled();
  }
  tickets_.erase(ticket);
  if (has_gone) {
    changed_.SignalAll();
    return {grpc::StatusCode::CANCELLED, "the caller has gone"};
  }
  busy_ = true;
  return grpc::Status::OK;
}

void EmbedderServiceImpl::EndTurn() {
  MutexLock lock(mutex_);
  busy_ = false;
  changed_.SignalAll();
}

absl::StatusOr<Matrix> EmbedderServiceImpl::EmbedInTurn(
    const PackedTokens& tokens) {
  // Whatever an engine throws, gRPC catches: the next call must have its turn.
  const absl::Cleanup end_turn = [this] { EndTurn(); };
  try {
    return model_->engine->Embed(tokens);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        absl::StrCat("embed ", tokens.size(), " texts, ", tokens.ids.size(),
                     " tokens: out of memory"));
  }
}

grpc::Status EmbedderServiceImpl::GetModel(
    grpc::ServerContext* context, const v1::GetModelRequest* /*request*/,
    v1::GetModelResponse* response) {
  if (grpc::Status allowed = Admit(*context); !allowed.ok()) {
    return allowed;
  }
  if (!model_.ok()) {
    return ModelError(*context, model_.status());
  }
  response->set_dimension(model_->engine->dimension());
  response->set_device(model_->device);
  response->set_precision(std::string(PrecisionName(model_->precision)));
  response->set_fingerprint(access_.fingerprint);
  return grpc::Status::OK;
}

grpc::Status EmbedderServiceImpl::EmbedTokens(
    grpc::ServerContext* context, const v1::EmbedTokensRequest* request,
    v1::EmbedTokensResponse* response) {
  if (grpc::Status allowed = Admit(*context); !allowed.ok()) {
    return allowed;
  }
  if (!model_.ok()) {
    return ModelError(*context, model_.status());
  }
  if (!request->fingerprint().empty() &&
      request->fingerprint() != access_.fingerprint) {
    return {grpc::StatusCode::FAILED_PRECONDITION,
            "this worker runs another model"};
  }
  absl::StatusOr<PackedTokens> tokens = ToPackedTokens(*request);
  if (!tokens.ok()) {
    return ModelError(*context, tokens.status());
  }
  if (grpc::Status turn = AwaitTurn(*context); !turn.ok()) {
    return turn;
  }
  const absl::StatusOr<Matrix> vectors = EmbedInTurn(*tokens);
  if (!vectors.ok()) {
    return ModelError(*context, vectors.status());
  }
  static_assert(std::endian::native == std::endian::little);
  const std::span<const std::byte> bytes = std::as_bytes(vectors->values());
  response->set_vectors(bytes.data(), bytes.size());
  return grpc::Status::OK;
}

}  // namespace pith
