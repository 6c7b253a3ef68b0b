#include "embedder/model_embedder.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "glog/logging.h"

#include "core/base/reason.h"
#include "core/base/status_macros.h"

namespace pith {
namespace {

// How often a waiting caller asks whether its own caller is still there.
constexpr absl::Duration kCancellationPeriod = absl::Milliseconds(20);
constexpr absl::Duration kRestartBackoff = absl::Seconds(1);

// What a failed start means to the caller of Embed: nothing is wrong with the
// texts.
absl::Status StartError(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnavailable:
      return status;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kPermissionDenied:
      return absl::FailedPreconditionError(status.message());
    default:
      return absl::UnavailableError(status.message());
  }
}

int64_t CountTokens(std::span<const std::vector<int32_t>> texts) {
  int64_t tokens = 0;
  for (const std::vector<int32_t>& text : texts) {
    tokens += static_cast<int64_t>(text.size());
  }
  return tokens;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelEmbedder>> ModelEmbedder::Create(
    const ModelSpec& spec, std::string fingerprint,
    std::unique_ptr<const Tokenizer> tokenizer, const Options& options) {
  if (options.threads < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("threads is ", options.threads, ", at least 1 is needed"));
  }
  if (options.max_queue_tokens < spec.max_tokens) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_queue_tokens is ", options.max_queue_tokens,
        ", less than one text of ", spec.name, " with ", spec.max_tokens));
  }
  // Else texts would fail one by one, those with a token that the model lacks.
  if (tokenizer->vocab_size() > spec.encoder.vocab_size) {
    return absl::InvalidArgumentError(absl::StrCat(
        "model ", spec.name, ": its tokenizer has ids up to ",
        tokenizer->vocab_size() - 1, ", vocab_size in config.json is ",
        spec.encoder.vocab_size));
  }
  std::unique_ptr<ModelEmbedder> embedder(new ModelEmbedder(
      spec, std::move(fingerprint), std::move(tokenizer), options));
  // The room that a prompt leaves must hold some text.
  if (embedder->max_tokens() < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("model ", spec.name, ": prompt \"", spec.passage_prompt,
                     "\" leaves no room in ", spec.max_tokens, " tokens"));
  }
  return embedder;
}

ModelEmbedder::ModelEmbedder(const ModelSpec& spec, std::string fingerprint,
                             std::unique_ptr<const Tokenizer> tokenizer,
                             const Options& options)
    : spec_(spec),
      identity_({.name = spec.name,
                 .fingerprint = std::move(fingerprint),
                 .dimension = spec.encoder.hidden_size}),
      tokenizer_(std::move(tokenizer)),
      options_(options),
      dispatcher_([this] { RunDispatcher(); }) {}

ModelEmbedder::~ModelEmbedder() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    // A start or a batch whose callers have gone may still be running. The pid
    // stands here only while the process has not been reaped.
    if (status_.pid != 0) {
      kill(status_.pid, SIGKILL);
    }
    changed_.Signal();
  }
  dispatcher_.join();
}

std::string ModelEmbedder::precision() const {
  return options_.precision == Precision::kBf16 ? "bf16" : "f32";
}

int ModelEmbedder::CountTokens(std::string_view text) const {
  return tokenizer_->Count(text);
}

int ModelEmbedder::max_tokens() const {
  return spec_.max_tokens - tokenizer_->special_tokens() -
         tokenizer_->Count(spec_.passage_prompt);
}

ModelEmbedder::WorkerStatus ModelEmbedder::worker_status() const {
  MutexLock lock(mutex_);
  WorkerStatus status = status_;
  for (const Queue& queue : queues_) {
    status.queued_tokens += queue.tokens;
  }
  return status;
}

absl::StatusOr<std::shared_ptr<ModelEmbedder::Request>> ModelEmbedder::Tokenize(
    std::span<const std::string_view> texts, TextRole role,
    const RequestContext& context) const {
  const bool is_query = role == TextRole::kQuery;
  const std::string& prompt =
      is_query ? spec_.query_prompt : spec_.passage_prompt;
  // What a text without a token of its own has.
  const size_t empty_size = static_cast<size_t>(tokenizer_->special_tokens() +
                                                tokenizer_->Count(prompt));
  auto request = std::make_shared<Request>();
  int64_t tokens = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    PITH_RETURN_IF_ERROR(CheckAlive(context));
    Encoding encoding = prompt.empty()
                            ? tokenizer_->Encode(texts[i], spec_.max_tokens)
                            : tokenizer_->Encode(prompt + std::string(texts[i]),
                                                 spec_.max_tokens);
    if (encoding.ids.size() <= empty_size) {
      return WithReason(
          absl::InvalidArgumentError(
              absl::StrCat(is_query ? "query" : absl::StrCat("text ", i),
                           " is empty: it has no token of model ", spec_.name)),
          "EMPTY_TEXT");
    }
    if (is_query && encoding.truncated_tokens > 0) {
      return WithReason(
          absl::InvalidArgumentError(absl::StrCat(
              "query has ",
              encoding.ids.size() +
                  static_cast<size_t>(encoding.truncated_tokens),
              " tokens, model ", spec_.name, " takes ", spec_.max_tokens)),
          "QUERY_TOO_LONG");
    }
    tokens += static_cast<int64_t>(encoding.ids.size());
    if (tokens > options_.max_queue_tokens) {
      return absl::InvalidArgumentError(absl::StrCat(
          "embed ", texts.size(), " texts: more than the ",
          options_.max_queue_tokens, " tokens that one call may have"));
    }
    request->texts.push_back(std::move(encoding.ids));
  }
  request->unfinished = texts.size();
  request->vectors =
      Matrix(texts.size(), static_cast<size_t>(identity_.dimension));
  return request;
}

absl::StatusOr<Matrix> ModelEmbedder::Embed(
    std::span<const std::string_view> texts, TextRole role,
    const RequestContext& context) {
  if (texts.empty()) {
    return Matrix(0, static_cast<size_t>(identity_.dimension));
  }
  PITH_ASSIGN_OR_RETURN(const std::shared_ptr<Request> request,
                        Tokenize(texts, role, context));
  PITH_RETURN_IF_ERROR(CheckAlive(context));
  {
    const int64_t tokens = pith::CountTokens(request->texts);
    MutexLock lock(mutex_);
    Queue& queue = queues_[static_cast<size_t>(context.priority)];
    if (queue.tokens + tokens > options_.max_queue_tokens) {
      return WithReason(
          absl::ResourceExhaustedError(absl::StrCat(
              "embed ", tokens, " tokens: ", queue.tokens, " of at most ",
              options_.max_queue_tokens, " already wait")),
          "EMBED_QUEUE_FULL");
    }
    queue.requests.push_back(request);
    queue.tokens += tokens;
    changed_.Signal();
  }
  while (true) {
    {
      MutexLock lock(mutex_);
      if (!request->done) {
        request->finished.WaitFor(
            mutex_, std::clamp(context.deadline - absl::Now(),
                               absl::ZeroDuration(), kCancellationPeriod));
      }
      if (request->done) {
        break;
      }
    }
    if (absl::Status alive = CheckAlive(context); !alive.ok()) {
      MutexLock lock(mutex_);
      Remove(request);
      return alive;
    }
  }
  PITH_RETURN_IF_ERROR(request->status);
  return std::move(request->vectors);
}

void ModelEmbedder::Remove(const std::shared_ptr<Request>& request) {
  for (Queue& queue : queues_) {
    if (std::erase(queue.requests, request) > 0) {
      queue.tokens -=
          pith::CountTokens(std::span(request->texts).subspan(request->next));
    }
  }
}

void ModelEmbedder::RunDispatcher() {
  pthread_setname_np(pthread_self(), "pith-embed");
  while (true) {
    Batch batch;
    {
      MutexLock lock(mutex_);
      batch = NextBatch();
      if (stopping_) {
        break;
      }
    }
    if (batch.origins.empty()) {
      LOG(INFO) << "model " << spec_.name << ": idle worker stopped";
      StopWorker();
      continue;
    }
    const absl::StatusOr<Matrix> vectors = Run(batch.tokens);
    MutexLock lock(mutex_);
    Finish(batch, vectors);
  }
  StopWorker();
}

ModelEmbedder::Batch ModelEmbedder::NextBatch() {
  const absl::Time idle_end = absl::Now() + options_.idle_unload;
  while (!stopping_ && queues_[0].requests.empty() &&
         queues_[1].requests.empty()) {
    if (worker_ == nullptr) {
      changed_.Wait(mutex_);
      continue;
    }
    const absl::Duration left = idle_end - absl::Now();
    if (left <= absl::ZeroDuration()) {
      return {};
    }
    changed_.WaitFor(mutex_, left);
  }

  static_assert(static_cast<int>(EmbedPriority::kSearch) == 0 &&
                static_cast<int>(EmbedPriority::kIngest) == 1);
  const bool is_search = !queues_[0].requests.empty();
  Queue& queue = queues_[is_search ? 0 : 1];
  const size_t max_tokens =
      static_cast<size_t>(is_search ? options_.max_search_batch_tokens
                                    : options_.max_ingest_batch_tokens);
  Batch batch;
  while (!queue.requests.empty()) {
    const std::shared_ptr<Request> request = queue.requests.front();
    if (request->next == request->texts.size()) {
      queue.requests.pop_front();
      continue;
    }
    const std::vector<int32_t>& text = request->texts[request->next];
    std::vector<int32_t>& ids = batch.tokens.ids;
    if (!ids.empty() && ids.size() + text.size() > max_tokens) {
      break;
    }
    ids.insert(ids.end(), text.begin(), text.end());
    batch.tokens.offsets.push_back(static_cast<int32_t>(ids.size()));
    batch.origins.push_back({request, request->next});
    queue.tokens -= static_cast<int64_t>(text.size());
    ++request->next;
  }
  return batch;
}

void ModelEmbedder::Finish(const Batch& batch,
                           const absl::StatusOr<Matrix>& vectors) {
  for (size_t i = 0; i < batch.origins.size(); ++i) {
    Request& request = *batch.origins[i].request;
    if (request.done) {
      continue;
    }
    --request.unfinished;
    if (vectors.ok()) {
      std::ranges::copy(vectors->row(i),
                        request.vectors.row(batch.origins[i].text).begin());
    } else {
      request.status = vectors.status();
      Remove(batch.origins[i].request);
    }
    if (request.unfinished == 0 || !vectors.ok()) {
      request.done = true;
      request.finished.Signal();
    }
  }
  if (vectors.ok()) {
    status_.embedded_texts += static_cast<int64_t>(batch.tokens.size());
    status_.embedded_tokens += static_cast<int64_t>(batch.tokens.ids.size());
  }
}

absl::StatusOr<Matrix> ModelEmbedder::Run(const PackedTokens& tokens) {
  constexpr int kAttempts = 2;
  absl::Status lost;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    PITH_RETURN_IF_ERROR(EnsureWorker());
    absl::StatusOr<Matrix> vectors =
        worker_->Embed(tokens, identity_.dimension, options_.batch_timeout);
    if (vectors.status().code() != absl::StatusCode::kUnavailable) {
      return vectors;
    }
    lost = vectors.status();
    LOG(WARNING) << "model " << spec_.name << ": " << lost.message();
    StopWorker();
    MutexLock lock(mutex_);
    ++status_.lost_workers;
    status_.last_error = std::string(lost.message());
    if (stopping_) {
      break;
    }
  }
  return lost;
}

absl::Status ModelEmbedder::EnsureWorker() {
  if (worker_ != nullptr) {
    return absl::OkStatus();
  }
  if (absl::Now() < next_start_) {
    return start_error_;
  }
  const absl::Status started = StartWorker();
  if (started.ok()) {
    return started;
  }
  StopWorker();
  start_error_ = StartError(started);
  next_start_ = absl::Now() + kRestartBackoff;
  LOG(ERROR) << "model " << spec_.name << ": " << started.message();
  MutexLock lock(mutex_);
  status_.last_error = std::string(started.message());
  return start_error_;
}

absl::Status ModelEmbedder::StartWorker() {
  const absl::Time begin = absl::Now();
  PITH_ASSIGN_OR_RETURN(
      worker_, WorkerProcess::Spawn(
                   options_.worker,
                   {"--model", spec_.directory.string(), "--precision",
                    precision(), "--threads", absl::StrCat(options_.threads),
                    "--device", options_.device}));
  {
    MutexLock lock(mutex_);
    if (stopping_) {
      return absl::UnavailableError("shutting down");
    }
    status_.state = WorkerStatus::State::kStarting;
    status_.pid = worker_->pid();
  }
  PITH_ASSIGN_OR_RETURN(const v1::GetModelResponse model,
                        worker_->GetModel(options_.start_timeout));
  if (model.dimension() != identity_.dimension) {
    return absl::FailedPreconditionError(
        absl::StrCat("model ", spec_.name, ": worker says ", model.dimension(),
                     " dimensions, config.json says ", identity_.dimension));
  }
  LOG(INFO) << "model " << spec_.name << ": worker " << worker_->pid()
            << " ready on " << model.device() << " after "
            << absl::FormatDuration(
                   absl::Trunc(absl::Now() - begin, absl::Milliseconds(1)));
  MutexLock lock(mutex_);
  status_.state = WorkerStatus::State::kReady;
  status_.device = model.device();
  return absl::OkStatus();
}

void ModelEmbedder::StopWorker() {
  {
    MutexLock lock(mutex_);
    status_.state = WorkerStatus::State::kStopped;
    status_.pid = 0;
  }
  worker_.reset();
}

}  // namespace pith
