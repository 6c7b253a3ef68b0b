#include "server/collection_registry.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "glog/logging.h"

#include "core/base/file.h"
#include "core/base/reason.h"
#include "core/base/status_macros.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

// In a collection's directory: it was deleted, the rest may go.
constexpr char kDeletedMarker[] = "DELETED";

// In a collection's directory, beside the store's files.
constexpr char kSegmentDirectory[] = "segments";

// A store in the making (RocksDbStore::Create); a collection's own directory
// ends in a hexadecimal number.
constexpr char kUnfinishedExtension[] = ".new";

// Each try reads the store, and leaves a log file of RocksDB's behind.
constexpr absl::Duration kReopenInterval = absl::Seconds(1);

absl::Status NoSuchCollection(std::string_view name) {
  return WithReason(absl::NotFoundError(absl::StrCat(
                        "collection \"", AbslView(name), "\" does not exist")),
                    "COLLECTION_NOT_FOUND");
}

// For a server to embed a dozen texts, loading its model first.
constexpr absl::Duration kProbeTimeout = absl::Minutes(1);

void RemoveDirectory(const fs::path& directory) {
  std::error_code error;
  fs::remove_all(directory, error);
  if (error) {
    LOG(ERROR) << "remove " << directory << ": " << error.message();
  }
}

// The name that a directory was made for: what stands before the last dot.
std::string NameFromDirectory(const fs::path& directory) {
  const std::string file = directory.filename().string();
  return file.substr(0, file.rfind('.'));
}

}  // namespace

CollectionRegistry::Handle::~Handle() {
  collection_.reset();
  if (deleted_) {
    RemoveDirectory(directory_);
  }
}

absl::StatusOr<std::unique_ptr<CollectionRegistry>> CollectionRegistry::Open(
    const fs::path& directory, StoreBackend backend, ModelProvider& models,
    VectorCache& cache, const Collection::Options& options) {
  std::unique_ptr<CollectionRegistry> registry(new CollectionRegistry(
      directory, std::move(backend), models, cache, options));
  std::error_code error;
  std::vector<fs::path> directories;
  for (fs::directory_iterator entry(directory, error);
       !error && entry != fs::directory_iterator(); entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_directory(ignored)) {
      directories.push_back(entry->path());
    }
  }
  if (error) {
    return ErrnoStatus(error.value(), "list", directory);
  }
  std::sort(directories.begin(), directories.end());
  MutexLock lock(registry->mutex_);
  for (const fs::path& path : directories) {
    // Deleted, or not yet a store when the daemon died.
    if (fs::exists(path / kDeletedMarker, error) ||
        path.extension() == kUnfinishedExtension) {
      RemoveDirectory(path);
      continue;
    }
    absl::StatusOr<std::shared_ptr<Handle>> handle =
        registry->OpenDirectory(path);
    Entry entry{.directory = path, .error = handle.status()};
    std::string name = NameFromDirectory(path);
    if (handle.ok()) {
      name = (*handle)->collection().config().name;
      entry.handle = *std::move(handle);
    } else {
      LOG(ERROR) << entry.error;
    }
    if (const auto [it, inserted] =
            registry->entries_.emplace(name, std::move(entry));
        !inserted) {
      LOG(ERROR) << "collection \"" << name << "\" is in " << path << " and in "
                 << it->second.directory << "; the first is not served";
    }
  }
  return registry;
}

absl::StatusOr<std::shared_ptr<CollectionRegistry::Handle>>
CollectionRegistry::OpenDirectory(const fs::path& directory) {
  absl::StatusOr<StoreBackend::OpenStore> open = backend_.open(directory);
  if (!open.ok()) {
    return Annotate(
        open.status(),
        absl::StrCat("open collection \"", NameFromDirectory(directory), "\""));
  }
  const auto annotate = [&directory](const absl::Status& status) {
    return Annotate(status, absl::StrCat("open ", directory.string()));
  };
  absl::StatusOr<CollectionConfig> config =
      DecodeCollectionConfig(open->configuration);
  if (!config.ok()) {
    return annotate(config.status());
  }
  absl::StatusOr<Embedder*> embedder = models_.Open(config->model.name);
  if (!embedder.ok()) {
    return annotate(embedder.status());
  }
  return OpenCollection(*config, directory, std::move(open->store), **embedder);
}

absl::StatusOr<std::shared_ptr<CollectionRegistry::Handle>>
CollectionRegistry::OpenCollection(const CollectionConfig& config,
                                   const fs::path& directory,
                                   std::unique_ptr<PassageStore> store,
                                   Embedder& embedder) {
  std::unique_ptr<ProbedEmbedder> probed;
  if (config.probes.rows() > 0) {
    probed = std::make_unique<ProbedEmbedder>(embedder, config.probes);
  }
  PITH_ASSIGN_OR_RETURN(
      std::unique_ptr<Collection> collection,
      Collection::Open(config, directory / kSegmentDirectory, std::move(store),
                       probed != nullptr ? *probed : embedder, cache_,
                       options_));
  return std::make_shared<Handle>(directory, std::move(probed),
                                  std::move(collection));
}

absl::StatusOr<std::shared_ptr<CollectionRegistry::Handle>>
CollectionRegistry::Find(std::string_view name) {
  MutexLock lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) {
    return NoSuchCollection(name);
  }
  if (found->second.handle == nullptr) {
    return found->second.error;
  }
  return found->second.handle;
}

CollectionRegistry::Entry* CollectionRegistry::WaitForEntry(
    std::string_view name) {
  while (true) {
    const auto found = entries_.find(name);
    if (found == entries_.end()) {
      return nullptr;
    }
    if (!found->second.opening) {
      return &found->second;
    }
    opened_.Wait(mutex_);
  }
}

absl::StatusOr<std::shared_ptr<CollectionRegistry::Handle>>
CollectionRegistry::FindOrReopen(std::string_view name) {
  fs::path directory;
  {
    MutexLock lock(mutex_);
    Entry* const entry = WaitForEntry(name);
    if (entry == nullptr) {
      return NoSuchCollection(name);
    }
    if (entry->handle != nullptr) {
      return entry->handle;
    }
    if (absl::Now() < entry->failure_time + kReopenInterval) {
      return entry->error;
    }
    entry->opening = true;
    directory = entry->directory;
  }
  absl::StatusOr<std::shared_ptr<Handle>> handle = OpenDirectory(directory);
  MutexLock lock(mutex_);
  const auto found = entries_.find(name);
  CHECK(found != entries_.end()) << "an entry that opens cannot be deleted";
  found->second.opening = false;
  opened_.SignalAll();
  found->second.error = handle.status();
  if (handle.ok()) {
    found->second.handle = *handle;
  } else {
    found->second.failure_time = absl::Now();
  }
  return handle;
}

absl::StatusOr<std::shared_ptr<CollectionRegistry::Handle>>
CollectionRegistry::Create(const NewCollection& request) {
  PITH_RETURN_IF_ERROR(CheckCollectionName(request.name));
  const absl::Time now = absl::Now();
  const fs::path directory =
      directory_ /
      absl::StrCat(request.name, ".", absl::Hex(absl::ToUnixMicros(now)));
  {
    MutexLock lock(mutex_);
    if (WaitForEntry(request.name) == nullptr) {
      entries_.emplace(
          request.name,
          Entry{.directory = directory,
                .error = absl::UnavailableError(absl::StrCat(
                    "collection \"", request.name, "\" is being created")),
                .opening = true});
    } else {
      return WithReason(
          absl::AlreadyExistsError(
              absl::StrCat("collection \"", request.name, "\" exists already")),
          "COLLECTION_EXISTS");
    }
  }
  absl::StatusOr<std::shared_ptr<Handle>> handle =
      MakeCollection(request, directory, now);
  if (!handle.ok()) {
    RemoveDirectory(directory);
  }
  MutexLock lock(mutex_);
  opened_.SignalAll();
  if (!handle.ok()) {
    entries_.erase(request.name);
    return handle.status();
  }
  Entry& entry = entries_.find(request.name)->second;
  entry.handle = *handle;
  entry.error = absl::OkStatus();
  entry.opening = false;
  return handle;
}

absl::StatusOr<std::shared_ptr<CollectionRegistry::Handle>>
CollectionRegistry::MakeCollection(const NewCollection& request,
                                   const fs::path& directory, absl::Time now) {
  PITH_ASSIGN_OR_RETURN(Embedder* const embedder, models_.Open(request.model));
  CollectionConfig config;
  config.name = request.name;
  config.model = embedder->identity();
  config.chunking = request.chunking;
  config.target_tokens =
      request.target_tokens == 0
          ? std::min(kDefaultTargetTokens, embedder->max_tokens())
          : request.target_tokens;
  config.embed_context = request.embed_context;
  config.profile = request.profile;
  config.vector_source = request.vector_source.value_or(
      embedder->recompute_is_costly() ? VectorSource::kStoredF16
                                      : VectorSource::kRecompute);
  config.create_time = now;
  if (config.target_tokens < kMinTargetTokens ||
      config.target_tokens > embedder->max_tokens()) {
    return WithReason(
        absl::InvalidArgumentError(absl::StrCat(
            "target_tokens of ", config.target_tokens, " is not between ",
            kMinTargetTokens, " and the ", embedder->max_tokens(),
            " of model \"", config.model.name, "\"")),
        "TARGET_TOKENS_OUT_OF_RANGE");
  }
  if (embedder->needs_probes()) {
    RequestContext context;
    context.deadline = now + kProbeTimeout;
    PITH_ASSIGN_OR_RETURN(config.probes, EmbedProbes(*embedder, context));
  }
  PITH_ASSIGN_OR_RETURN(
      StoreBackend::OpenStore store,
      backend_.create(directory, EncodeCollectionConfig(config)));
  return OpenCollection(config, directory, std::move(store.store), *embedder);
}

absl::Status CollectionRegistry::Delete(std::string_view name) {
  std::shared_ptr<Handle> handle;
  fs::path directory;
  {
    MutexLock lock(mutex_);
    Entry* entry = WaitForEntry(name);
    if (entry == nullptr) {
      return NoSuchCollection(name);
    }
    entry->opening = true;
    directory = entry->directory;
  }
  const absl::Status marked =
      WriteFileAtomically(directory / kDeletedMarker, "");
  {
    MutexLock lock(mutex_);
    const auto found = entries_.find(name);
    found->second.opening = false;
    opened_.SignalAll();
    PITH_RETURN_IF_ERROR(marked);
    handle = std::move(found->second.handle);
    entries_.erase(found);
  }
  if (handle == nullptr) {
    RemoveDirectory(directory);
  } else {
    handle->collection().Close();
    handle->deleted_ = true;
  }
  return absl::OkStatus();
}

std::vector<CollectionRegistry::Listing> CollectionRegistry::List() {
  std::vector<Listing> listings;
  MutexLock lock(mutex_);
  for (const auto& [name, entry] : entries_) {
    listings.push_back(
        {.name = name, .handle = entry.handle, .error = entry.error});
  }
  return listings;
}

}  // namespace pith
