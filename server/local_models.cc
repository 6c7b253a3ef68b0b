#include "server/local_models.h"

#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"

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

ModelDescription DescribeSpec(const RemoteModelSpec& spec) {
  return {.name = spec.name,
          .directory = spec.directory,
          .dimension = spec.dimension,
          .max_tokens = spec.max_tokens,
          .query_prompt = spec.query_prompt,
          .passage_prompt = spec.passage_prompt,
          .api = std::string(RemoteApiName(spec.api)),
          .url = spec.url};
}

bool IsBelow(const fs::path& path, const fs::path& ancestor) {
  std::error_code error;
  const fs::path relative = fs::relative(path, ancestor, error);
  return !error && !relative.empty() && *relative.begin() != "..";
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
      return &open->second.embedder();
    }
  }
  PITH_ASSIGN_OR_RETURN(OpenModel model, IsRemoteModel(found)
                                             ? OpenRemote(found)
                                             : OpenLocal(found));
  MutexLock lock(mutex_);
  // Another thread may have been first.
  return &open_.emplace(directory, std::move(model)).first->second.embedder();
}

absl::StatusOr<LocalModels::OpenModel> LocalModels::OpenLocal(
    const fs::path& directory) const {
  PITH_ASSIGN_OR_RETURN(ModelSpec spec, LoadModelSpec(directory));
  spec.name = NameToFindBy(spec.name, directory);
  PITH_ASSIGN_OR_RETURN(std::string fingerprint,
                        ModelFingerprint(spec, options_.fingerprint_cache));
  PITH_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer,
                        Tokenizer::Load(directory));
  WorkerPool::Options pool = options_.pool;
  for (WorkerPool::Command& command : pool.workers) {
    command.arguments.insert(command.arguments.end(),
                             {"--model", spec.directory.string()});
  }
  OpenModel model;
  PITH_ASSIGN_OR_RETURN(
      model.local,
      ModelEmbedder::Create(spec, std::move(fingerprint), std::move(tokenizer),
                            std::move(pool)));
  return model;
}

absl::StatusOr<LocalModels::OpenModel> LocalModels::OpenRemote(
    const fs::path& directory) const {
  PITH_ASSIGN_OR_RETURN(RemoteModelSpec spec, LoadRemoteSpec(directory));
  spec.name = NameToFindBy(spec.name, directory);
  if (!spec.api_key.empty() && spec.url.starts_with("http://")) {
    LOG(WARNING) << "model " << spec.name << ": its key goes to " << spec.url
                 << " unencrypted";
  }
  OpenModel model;
  model.url = spec.url;
  PITH_ASSIGN_OR_RETURN(model.remote, RemoteEmbedder::Open(spec));
  return model;
}

absl::StatusOr<RemoteModelSpec> LocalModels::LoadRemoteSpec(
    const fs::path& directory) const {
  // Whoever uploaded it could have the user's texts, or any file as a key, sent
  // anywhere.
  if (IsBelow(directory, options_.search.hub_cache)) {
    return absl::InvalidArgumentError(absl::StrCat(
        (directory / kRemoteModelFile).string(),
        " came with a download; it is taken only from a directory of yours"));
  }
  return LoadRemoteModelSpec(directory);
}

std::string LocalModels::NameToFindBy(const std::string& name,
                                      const fs::path& directory) const {
  // Collections keep the name, and must find the model by it in the next run.
  const absl::StatusOr<fs::path> by_name = FindModel(name, options_.search);
  std::error_code error;
  return by_name.ok() && fs::equivalent(*by_name, directory, error)
             ? name
             : fs::canonical(directory, error).string();
}

absl::StatusOr<ModelDescription> LocalModels::DescribeDirectory(
    const fs::path& directory, bool with_fingerprint) const {
  if (IsRemoteModel(directory)) {
    PITH_ASSIGN_OR_RETURN(const RemoteModelSpec spec,
                          LoadRemoteSpec(directory));
    ModelDescription description = DescribeSpec(spec);
    description.fingerprint = RemoteModelFingerprint(spec);
    return description;
  }
  PITH_ASSIGN_OR_RETURN(const ModelSpec spec, LoadModelSpec(directory));
  ModelDescription description = DescribeSpec(spec);
  if (with_fingerprint) {
    PITH_ASSIGN_OR_RETURN(description.fingerprint,
                          ModelFingerprint(spec, options_.fingerprint_cache));
  }
  return description;
}

absl::StatusOr<ModelDescription> LocalModels::Describe(std::string_view name) {
  PITH_ASSIGN_OR_RETURN(const std::string resolved, Resolve(name));
  PITH_ASSIGN_OR_RETURN(const fs::path directory,
                        FindModel(resolved, options_.search));
  PITH_ASSIGN_OR_RETURN(
      ModelDescription description,
      DescribeDirectory(directory, /*with_fingerprint=*/true));
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
    const absl::StatusOr<ModelDescription> model =
        DescribeDirectory(directory, /*with_fingerprint=*/false);
    models.push_back(model.ok() ? *model
                                : ModelDescription{.name = directory.filename(),
                                                   .directory = directory,
                                                   .error = model.status()});
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
  for (const auto& [directory, model] : open_) {
    if (model.remote != nullptr) {
      const RemoteEmbedder::Status status = model.remote->status();
      workers.push_back(
          {.model = model.remote->identity().name,
           .state = WorkerDescription::State::kRemote,
           .url = model.url,
           .lost = static_cast<uint64_t>(status.failed_requests),
           .texts_embedded = static_cast<uint64_t>(status.embedded_texts),
           .tokens_embedded = static_cast<uint64_t>(status.embedded_tokens),
           .last_error = status.last_error});
      continue;
    }
    const std::string& name = model.local->identity().name;
    for (const WorkerPool::WorkerStatus& worker :
         model.local->status().workers) {
      workers.push_back(
          {.model = name,
           .state = ToState(worker.state),
           .address = worker.address,
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
  for (const auto& [directory, model] : open_) {
    if (model.local == nullptr) {
      continue;
    }
    const WorkerPool::Status status = model.local->status();
    const BatchQueue::Counters& counters = status.batches;
    queues.push_back({.model = model.local->identity().name,
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
