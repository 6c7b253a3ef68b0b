#include "server/local_models.h"

#include <system_error>
#include <utility>

#include "core/base/file.h"
#include "core/base/reason.h"
#include "core/base/status_macros.h"
#include "embedder/tokenizer.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

ModelDescription DescribeSpec(const ModelSpec& spec) {
  return {.name = spec.name,
          .directory = spec.directory,
          .dimension = spec.encoder.hidden_size,
          .max_tokens = spec.max_tokens,
          .pooling = spec.pooling == Pooling::kMean ? "mean" : "cls",
          .query_prompt = spec.query_prompt,
          .passage_prompt = spec.passage_prompt,
          .layers = spec.encoder.layers,
          .vocabulary_size = spec.encoder.vocab_size};
}

WorkerDescription::State ToState(WorkerPool::WorkerStatus::State state) {
  switch (state) {
    case WorkerPool::WorkerStatus::State::kStarting:
      return WorkerDescription::State::kStarting;
    case WorkerPool::WorkerStatus::State::kReady:
      return WorkerDescription::State::kReady;
    case WorkerPool::WorkerStatus::State::kStopped:
      break;
  }
  return WorkerDescription::State::kStopped;
}

}  // namespace

absl::StatusOr<std::string> LocalModels::Resolve(std::string_view name) const {
  if (!name.empty()) {
    return std::string(name);
  }
  if (options_.default_model.empty()) {
    return WithReason(
        absl::FailedPreconditionError(
            "no model is named, and the daemon has no default model"),
        "NO_DEFAULT_MODEL");
  }
  return options_.default_model;
}

absl::StatusOr<Embedder*> LocalModels::Open(std::string_view name) {
  PITH_ASSIGN_OR_RETURN(const std::string resolved, Resolve(name));
  PITH_ASSIGN_OR_RETURN(const fs::path found,
                        FindModel(resolved, options_.search));
  std::error_code error;
  const fs::path directory = fs::canonical(found, error);
  if (error) {
    return ErrnoStatus(error.value(), "open", found);
  }
  {
    MutexLock lock(mutex_);
    if (const auto open = open_.find(directory); open != open_.end()) {
      return open->second.get();
    }
  }
  PITH_ASSIGN_OR_RETURN(ModelSpec spec, LoadModelSpec(found));
  // Collections keep the name, and must find the model by it in the next run.
  const absl::StatusOr<fs::path> by_name =
      FindModel(spec.name, options_.search);
  if (!by_name.ok() || !fs::equivalent(*by_name, directory, error)) {
    spec.name = directory.string();
  }
  PITH_ASSIGN_OR_RETURN(std::string fingerprint,
                        ModelFingerprint(spec, options_.fingerprint_cache));
  PITH_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer,
                        Tokenizer::Load(found));
  WorkerPool::Options pool = options_.pool;
  for (WorkerPool::Command& command : pool.workers) {
    command.arguments.insert(command.arguments.end(),
                             {"--model", spec.directory.string()});
  }
  PITH_ASSIGN_OR_RETURN(
      std::unique_ptr<ModelEmbedder> embedder,
      ModelEmbedder::Create(spec, std::move(fingerprint), std::move(tokenizer),
                            std::move(pool)));
  MutexLock lock(mutex_);
  // Another thread may have been first.
  return open_.emplace(directory, std::move(embedder)).first->second.get();
}

absl::StatusOr<ModelDescription> LocalModels::Describe(std::string_view name) {
  PITH_ASSIGN_OR_RETURN(const std::string resolved, Resolve(name));
  PITH_ASSIGN_OR_RETURN(const fs::path directory,
                        FindModel(resolved, options_.search));
  PITH_ASSIGN_OR_RETURN(const ModelSpec spec, LoadModelSpec(directory));
  ModelDescription description = DescribeSpec(spec);
  PITH_ASSIGN_OR_RETURN(description.fingerprint,
                        ModelFingerprint(spec, options_.fingerprint_cache));
  description.is_default = resolved == options_.default_model;
  return description;
}

std::vector<ModelDescription> LocalModels::List() {
  const absl::StatusOr<fs::path> default_directory =
      options_.default_model.empty()
          ? absl::NotFoundError("")
          : FindModel(options_.default_model, options_.search);
  std::vector<ModelDescription> models;
  for (const fs::path& directory : ListModels(options_.search)) {
    const absl::StatusOr<ModelSpec> spec = LoadModelSpec(directory);
    models.push_back(spec.ok() ? DescribeSpec(*spec)
                               : ModelDescription{.name = directory.filename(),
                                                  .directory = directory,
                                                  .error = spec.status()});
    std::error_code ignored;
    models.back().is_default =
        default_directory.ok() &&
        fs::equivalent(directory, *default_directory, ignored);
  }
  return models;
}

std::vector<WorkerDescription> LocalModels::Workers() {
  std::vector<WorkerDescription> workers;
  MutexLock lock(mutex_);
  for (const auto& [directory, embedder] : open_) {
    for (const WorkerPool::WorkerStatus& worker : embedder->status().workers) {
      workers.push_back(
          {.model = embedder->identity().name,
           .state = ToState(worker.state),
           .pid = worker.pid,
           .device = worker.device,
           .precision = worker.precision,
           .lost = static_cast<uint64_t>(worker.lost),
           .texts_embedded = static_cast<uint64_t>(worker.embedded_texts),
           .tokens_embedded = static_cast<uint64_t>(worker.embedded_tokens),
           .last_error = worker.last_error});
    }
  }
  return workers;
}

std::vector<QueueDescription> LocalModels::Queues() {
  std::vector<QueueDescription> queues;
  MutexLock lock(mutex_);
  for (const auto& [directory, embedder] : open_) {
    const WorkerPool::Status status = embedder->status();
    const BatchQueue::Counters& counters = status.batches;
    queues.push_back({.model = embedder->identity().name,
                      .search_tokens = status.search_tokens,
                      .ingest_tokens = status.ingest_tokens,
                      .batches = counters.batches,
                      .texts = counters.texts,
                      .tokens = counters.tokens,
                      .room_tokens = counters.room,
                      .shared_texts = counters.shared_texts,
                      .refused_calls = counters.refused_requests,
                      .dropped_calls = counters.dropped_requests});
  }
  return queues;
}

}  // namespace pith
