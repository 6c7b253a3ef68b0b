#include "embedder/remote/remote_embedder.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "core/base/random.h"
#include "core/base/reason.h"
#include "core/base/status_macros.h"
#include "embedder/remote/api_key.h"
#include "embedder/remote/http_backend.h"
#include "embedder/remote/tei_grpc_backend.h"
#include "embedder/remote/token_estimate.h"

namespace pith {
namespace {

// What most models put around a text, where no tokenizer says.
constexpr int kUsualSpecialTokens = 2;

// How often a waiting call asks whether its caller is still there.
constexpr absl::Duration kCancellationPeriod = absl::Milliseconds(20);

absl::Status SleepUntil(absl::Time end, const RequestContext& context) {
  while (true) {
    PITH_RETURN_IF_ERROR(CheckAlive(context));
    const absl::Duration left = end - absl::Now();
    if (left <= absl::ZeroDuration()) {
      return absl::OkStatus();
    }
    absl::SleepFor(std::min(left, kCancellationPeriod));
  }
}

absl::StatusOr<std::unique_ptr<RemoteBackend>> MakeBackend(
    const RemoteModelSpec& spec) {
  if (spec.api == RemoteApi::kTeiGrpc) {
    return TeiGrpcBackend::Create(spec);
  }
  return std::make_unique<HttpBackend>(spec);
}

// False if `vector` has no direction.
bool Normalize(std::span<const float> vector, std::span<float> unit) {
  double squares = 0;
  for (const float value : vector) {
    squares += double{value} * double{value};
  }
  // Written so that a NaN fails.
  if (!(squares > 0 && std::isfinite(squares))) {
    return false;
  }
  const double scale = 1 / std::sqrt(squares);
  for (size_t i = 0; i < vector.size(); ++i) {
    unit[i] = static_cast<float>(double{vector[i]} * scale);
  }
  return true;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RemoteEmbedder>> RemoteEmbedder::Open(
    const RemoteModelSpec& spec) {
  std::unique_ptr<const Tokenizer> tokenizer;
  std::error_code error;
  if (std::filesystem::exists(spec.directory / "tokenizer.json", error)) {
    PITH_ASSIGN_OR_RETURN(tokenizer, Tokenizer::Load(spec.directory));
  }
  PITH_ASSIGN_OR_RETURN(std::unique_ptr<RemoteBackend> backend,
                        MakeBackend(spec));
  return Create(spec, std::move(tokenizer), std::move(backend), {});
}

absl::StatusOr<std::unique_ptr<RemoteEmbedder>> RemoteEmbedder::Create(
    const RemoteModelSpec& spec, std::unique_ptr<const Tokenizer> tokenizer,
    std::unique_ptr<RemoteBackend> backend, const Options& options) {
  std::unique_ptr<RemoteEmbedder> embedder(new RemoteEmbedder(
      spec, std::move(tokenizer), std::move(backend), options));
  for (const std::string& prompt : {spec.query_prompt, spec.passage_prompt}) {
    if (embedder->RoomBeside(prompt) < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("model ", spec.name, ": prompt \"", prompt,
                       "\" leaves no room in ", spec.max_tokens, " tokens"));
    }
  }
  return embedder;
}

RemoteEmbedder::RemoteEmbedder(const RemoteModelSpec& spec,
                               std::unique_ptr<const Tokenizer> tokenizer,
                               std::unique_ptr<RemoteBackend> backend,
                               const Options& options)
    : spec_(spec),
      identity_({.name = spec.name,
                 .fingerprint = RemoteModelFingerprint(spec),
                 .dimension = spec.dimension}),
      tokenizer_(std::move(tokenizer)),
      options_(options),
      backend_(std::move(backend)),
      gate_(spec.max_concurrent_requests, options.max_waiting),
      random_(static_cast<uint64_t>(absl::GetCurrentTimeNanos())) {}

int RemoteEmbedder::CountTokens(std::string_view text) const {
  return tokenizer_ == nullptr ? EstimateTokens(text) : tokenizer_->Count(text);
}

int RemoteEmbedder::RoomBeside(const std::string& prompt) const {
  return spec_.max_tokens - CountTokens(prompt) -
         (tokenizer_ == nullptr ? kUsualSpecialTokens
                                : tokenizer_->special_tokens());
}

int RemoteEmbedder::max_tokens() const {
  return RoomBeside(spec_.passage_prompt);
}

RemoteEmbedder::Status RemoteEmbedder::status() const {
  MutexLock lock(mutex_);
  return status_;
}

absl::StatusOr<RemoteEmbedder::Inputs> RemoteEmbedder::Prepare(
    std::span<const std::string_view> texts, TextRole role,
    const RequestContext& context) const {
  const bool is_query = role == TextRole::kQuery;
  const std::string& prompt =
      is_query ? spec_.query_prompt : spec_.passage_prompt;
  const int room = RoomBeside(prompt);
  Inputs inputs;
  for (size_t i = 0; i < texts.size(); ++i) {
    PITH_RETURN_IF_ERROR(CheckAlive(context));
    std::string_view text = texts[i];
    int tokens = CountTokens(text);
    if (tokens == 0) {
      return WithReason(
          absl::InvalidArgumentError(
              absl::StrCat(is_query ? "query" : absl::StrCat("text ", i),
                           " is empty: it has no token of model ", spec_.name)),
          "EMPTY_TEXT");
    }
    if (is_query && tokens > room && tokenizer_ != nullptr) {
      return WithReason(absl::InvalidArgumentError(absl::StrCat(
                            "query has ", tokens, " tokens, model ", spec_.name,
                            " takes ", room)),
                        "QUERY_TOO_LONG");
    }
    if (!is_query && tokens > room) {
      text = CutToTokens(text, *this, room);
      tokens = room;
    }
    inputs.texts.push_back(absl::StrCat(prompt, AbslView(text)));
    inputs.tokens.push_back(tokens);
  }
  return inputs;
}

absl::StatusOr<Matrix> RemoteEmbedder::Embed(
    std::span<const std::string_view> texts, TextRole role,
    const RequestContext& context) {
  PITH_ASSIGN_OR_RETURN(const Inputs inputs, Prepare(texts, role, context));
  Matrix result(texts.size(), static_cast<size_t>(identity_.dimension));
  for (size_t begin = 0; begin < texts.size();) {
    int64_t tokens = inputs.tokens[begin];
    size_t end = begin + 1;
    while (end < texts.size() &&
           end - begin < static_cast<size_t>(spec_.max_batch_texts) &&
           tokens + inputs.tokens[end] <= spec_.max_batch_tokens) {
      tokens += inputs.tokens[end++];
    }
    PITH_ASSIGN_OR_RETURN(
        const Matrix vectors,
        EmbedBatch(
            {.inputs = std::span(inputs.texts).subspan(begin, end - begin),
             .truncate = role == TextRole::kPassage,
             .api_key = ""},
            context));
    for (size_t i = begin; i < end; ++i) {
      if (!Normalize(vectors.row(i - begin), result.row(i))) {
        return absl::InternalError(absl::StrCat("model ", spec_.name,
                                                ": the vector of text ", i,
                                                " is zero or not finite"));
      }
    }
    MutexLock lock(mutex_);
    status_.embedded_texts += static_cast<int64_t>(end - begin);
    status_.embedded_tokens += tokens;
    begin = end;
  }
  return result;
}

absl::StatusOr<Matrix> RemoteEmbedder::EmbedBatch(
    const BackendRequest& request, const RequestContext& context) {
  for (int tries = 1;; ++tries) {
    PITH_RETURN_IF_ERROR(WaitOutPause(context));
    BackendAnswer answer = Try(request, context);
    if (answer.vectors.ok()) {
      return std::move(answer.vectors);
    }
    if (!answer.transient) {
      return answer.vectors.status();
    }
    // 53 random bits make a double in [0, 1).
    const double jitter =
        static_cast<double>(MixBits(random_.fetch_add(kSplitMixStep)) >> 11) *
        0x1p-53;
    const std::optional<absl::Duration> delay =
        RetryDelay(options_.retry, tries, answer.retry_after, jitter,
                   context.deadline - absl::Now());
    if (!delay) {
      return answer.vectors.status();
    }
    PITH_RETURN_IF_ERROR(SleepUntil(absl::Now() + *delay, context));
  }
}

BackendAnswer RemoteEmbedder::Try(BackendRequest request,
                                  const RequestContext& context) {
  const absl::StatusOr<RequestGate::Permit> permit = gate_.Enter(context);
  if (!permit.ok()) {
    return {.vectors = permit.status(), .retry_after = std::nullopt};
  }
  BackendAnswer answer;
  if (absl::StatusOr<std::string> key = ReadApiKey(spec_.api_key); key.ok()) {
    request.api_key = *std::move(key);
    answer = backend_->Embed(request, context);
  } else {
    answer.vectors = key.status();
  }
  if (!answer.vectors.ok() && CheckAlive(context).ok()) {
    NoteFailure(answer);
  }
  return answer;
}

absl::Status RemoteEmbedder::WaitOutPause(const RequestContext& context) {
  absl::Time end;
  {
    MutexLock lock(mutex_);
    end = pause_end_;
    const absl::Duration left = end - absl::Now();
    if (left > options_.retry.max_delay ||
        (left > absl::ZeroDuration() && end >= context.deadline)) {
      return pause_reason_;
    }
  }
  return SleepUntil(end, context);
}

void RemoteEmbedder::NoteFailure(const BackendAnswer& answer) {
  MutexLock lock(mutex_);
  ++status_.failed_requests;
  status_.last_error = std::string(answer.vectors.status().message());
  if (answer.retry_after && absl::Now() + *answer.retry_after > pause_end_) {
    pause_end_ = absl::Now() + *answer.retry_after;
    pause_reason_ = answer.vectors.status();
  }
}

}  // namespace pith
