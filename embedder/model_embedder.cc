#include "embedder/model_embedder.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "core/base/reason.h"
#include "core/base/status_macros.h"

namespace pith {

absl::StatusOr<std::unique_ptr<ModelEmbedder>> ModelEmbedder::Create(
    const ModelSpec& spec, std::string fingerprint,
    std::unique_ptr<const Tokenizer> tokenizer, WorkerPool::Options options) {
  if (options.workers.empty() && options.remote_workers.empty()) {
    return absl::InvalidArgumentError("a model needs at least one worker");
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
  options.name = spec.name;
  options.fingerprint = fingerprint;
  options.dimension = spec.encoder.hidden_size;
  std::unique_ptr<ModelEmbedder> embedder(new ModelEmbedder(
      spec, std::move(fingerprint), std::move(tokenizer), std::move(options)));
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
                             WorkerPool::Options options)
    : spec_(spec),
      identity_({.name = spec.name,
                 .fingerprint = std::move(fingerprint),
                 .dimension = spec.encoder.hidden_size}),
      tokenizer_(std::move(tokenizer)),
      max_call_tokens_(options.max_queue_tokens),
      pool_(std::move(options)) {}

std::string ModelEmbedder::precision() const {
  for (const WorkerPool::WorkerStatus& worker : pool_.status().workers) {
    if (!worker.precision.empty()) {
      return worker.precision;
    }
  }
  return "";
}

int ModelEmbedder::CountTokens(std::string_view text) const {
  return tokenizer_->Count(text);
}

int ModelEmbedder::max_tokens() const {
  return spec_.max_tokens - tokenizer_->special_tokens() -
         tokenizer_->Count(spec_.passage_prompt);
}

absl::StatusOr<std::vector<std::vector<int32_t>>> ModelEmbedder::Tokenize(
    std::span<const std::string_view> texts, TextRole role,
    const RequestContext& context) const {
  const bool is_query = role == TextRole::kQuery;
  const std::string& prompt =
      is_query ? spec_.query_prompt : spec_.passage_prompt;
  // What a text without a token of its own has, at least: a prompt's last token
  // may be one with the text's first.
  const size_t empty_size = static_cast<size_t>(tokenizer_->special_tokens() +
                                                tokenizer_->Count(prompt));
  std::vector<std::vector<int32_t>> tokenized;
  int64_t tokens = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    PITH_RETURN_IF_ERROR(CheckAlive(context));
    Encoding encoding = prompt.empty()
                            ? tokenizer_->Encode(texts[i], spec_.max_tokens)
                            : tokenizer_->Encode(prompt + std::string(texts[i]),
                                                 spec_.max_tokens);
    if (encoding.ids.size() <= empty_size && tokenizer_->Count(texts[i]) == 0) {
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
    if (tokens > max_call_tokens_) {
      return absl::InvalidArgumentError(
          absl::StrCat("embed ", texts.size(), " texts: more than the ",
                       max_call_tokens_, " tokens that one call may have"));
    }
    tokenized.push_back(std::move(encoding.ids));
  }
  return tokenized;
}

absl::StatusOr<Matrix> ModelEmbedder::Embed(
    std::span<const std::string_view> texts, TextRole role,
    const RequestContext& context) {
  if (texts.empty()) {
    return Matrix(0, static_cast<size_t>(identity_.dimension));
  }
  PITH_ASSIGN_OR_RETURN(std::vector<std::vector<int32_t>> tokens,
                        Tokenize(texts, role, context));
  PITH_RETURN_IF_ERROR(CheckAlive(context));
  return pool_.Embed(std::move(tokens), context);
}

}  // namespace pith
