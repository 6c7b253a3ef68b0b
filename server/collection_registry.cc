#include "server/collection_registry.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "glog/logging.h"

#include "core/base/file.h"
#include "core/base/reason.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"
#include "server/snapshots.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

// In a collection's directory: it was deleted, the rest may go.
constexpr char kDeletedMarker[] = "DELETED";

// A store in the making (RocksDbStore::Create); a collection's own directory
// ends in a hexadecimal number.
constexpr char kUnfinishedExtension[] = ".new";

// For requests that go on when a collection is closed.
constexpr absl::Duration kCloseTimeout = absl::Minutes(1);
constexpr std::chrono::milliseconds kCloseInterval{50};

// Each try reads the store, and leaves a log file of RocksDB's behind.
constexpr absl::Duration kReopenInterval = absl::Seconds(1);

absl::Status NoSuchCollection(std::string_view name) {
  return WithReason(absl::NotFoundError(absl::StrCat(
                        "collection \"", AbslView(name), "\" does not exist")),
                    "COLLECTION_NOT_FOUND");
}

absl::Status ExistsAlready(std::string_view name) {
  return WithReason(absl::AlreadyExistsError(absl::StrCat(
                        "collection \"", AbslView(name), "\" exists already")),
                    "COLLECTION_EXISTS");
}

// For a server to embed a dozen texts, loading its model first.
constexpr absl::Duration kProbeTimeout = absl::Minutes(1);

// What was found in a collection's copy as of where the collection lies: of the
// copy nothing is left, and its files are those of the collection.
void MoveProblems(const fs::path& from, const fs::path& to,
                  CheckReport& report) {
  for (CheckProblem& problem : report.problems) {
    absl::StrReplaceAll({{from.string(), to.string()}}, &problem.text);
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
    RemoveOrLog(directory_);
  }
  closed_.set_value();
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
      RemoveOrLog(path);
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
      Collection::Open(config, directory / Collection::kSegmentDirectory,
                       std::move(store), probed != nullptr ? *probed : embedder,
                       cache_, options_));
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
    if (entry->repairing) {
      return entry->error;
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
  return Add(request.name, [&](const fs::path& directory, absl::Time now) {
    return MakeCollection(request, directory, now);
  });
}

absl::StatusOr<std::shared_ptr<CollectionRegistry::Handle>>
CollectionRegistry::Add(
    const std::string& name,
    absl::FunctionRef<absl::StatusOr<std::shared_ptr<Handle>>(
        const fs::path& directory, absl::Time now)>
        make) {
  PITH_RETURN_IF_ERROR(CheckCollectionName(name));
  const absl::Time now = absl::Now();
  const fs::path directory =
      directory_ / absl::StrCat(name, ".", absl::Hex(absl::ToUnixMicros(now)));
  {
    MutexLock lock(mutex_);
    if (WaitForEntry(name) == nullptr) {
      entries_.emplace(name,
                       Entry{.directory = directory,
                             .error = absl::UnavailableError(absl::StrCat(
                                 "collection \"", name, "\" is being created")),
                             .opening = true});
    } else {
      return ExistsAlready(name);
    }
  }
  absl::StatusOr<std::shared_ptr<Handle>> handle = make(directory, now);
  if (!handle.ok()) {
    RemoveOrLog(directory);
  }
  MutexLock lock(mutex_);
  opened_.SignalAll();
  if (!handle.ok()) {
    entries_.erase(name);
    return handle.status();
  }
  Entry& entry = entries_.find(name)->second;
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

absl::Status CollectionRegistry::CheckExists(std::string_view name) {
  MutexLock lock(mutex_);
  return entries_.contains(name) ? absl::OkStatus() : NoSuchCollection(name);
}

absl::Status CollectionRegistry::CheckSnapshotPath(const fs::path& directory) {
  const std::string action =
      absl::StrCat("create snapshot ", directory.string());
  std::error_code error;
  if (fs::exists(fs::symlink_status(directory, error))) {
    return absl::AlreadyExistsError(
        absl::StrCat(action, ": it exists already"));
  }
  if (!fs::is_directory(directory.parent_path(), error)) {
    return absl::NotFoundError(absl::StrCat(
        action, ": ", directory.parent_path().string(), " is no directory"));
  }
  const fs::path own = fs::weakly_canonical(directory_, error);
  const fs::path target = fs::weakly_canonical(directory, error);
  if (error) {
    return ErrnoStatus(error.value(), action, "");
  }
  if (std::mismatch(own.begin(), own.end(), target.begin(), target.end())
          .first == own.end()) {
    return absl::InvalidArgumentError(absl::StrCat(
        action, ": ", directory_.string(), " is for collections alone"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<CollectionRegistry::Handle>>
CollectionRegistry::RestoreSnapshot(const fs::path& snapshot, std::string name,
                                    const WorkControl& control) {
  PITH_ASSIGN_OR_RETURN(const CollectionConfig config,
                        SnapshotConfig(backend_, snapshot));
  // Before all is copied.
  PITH_ASSIGN_OR_RETURN(const Embedder* const embedder,
                        models_.Open(config.model.name));
  PITH_RETURN_IF_ERROR(CheckModel(config, embedder->identity()));
  if (name.empty()) {
    name = config.name;
  }
  PITH_RETURN_IF_ERROR(CheckCollectionName(name));
  {
    MutexLock lock(mutex_);
    if (entries_.contains(name)) {
      return ExistsAlready(name);
    }
  }
  // The name is not taken before there is something to call so.
  const fs::path unfinished =
      directory_ / absl::StrCat(name, ".",
                                absl::Hex(absl::ToUnixMicros(absl::Now())),
                                kUnfinishedExtension);
  PITH_RETURN_IF_ERROR(
      pith::RestoreSnapshot(backend_, snapshot, name, unfinished, control));
  absl::StatusOr<std::shared_ptr<Handle>> handle =
      Add(name,
          [&](const fs::path& directory,
              absl::Time /*now*/) -> absl::StatusOr<std::shared_ptr<Handle>> {
            PITH_RETURN_IF_ERROR(RenameDurably(unfinished, directory));
            return OpenDirectory(directory);
          });
  if (!handle.ok()) {
    RemoveOrLog(unfinished);
  }
  return handle;
}

absl::StatusOr<fs::path> CollectionRegistry::CopyOf(Handle& handle) {
  const fs::path copy = absl::StrCat(handle.directory().string(), ".",
                                     absl::Hex(absl::ToUnixMicros(absl::Now())),
                                     kUnfinishedExtension);
  if (absl::Status copied = handle.collection().CopyTo(copy); !copied.ok()) {
    RemoveOrLog(copy);
    return copied;
  }
  return copy;
}

absl::Status CollectionRegistry::CreateSnapshot(std::string_view name,
                                                const fs::path& directory,
                                                const WorkControl& control) {
  PITH_ASSIGN_OR_RETURN(std::shared_ptr<Handle> handle, FindOrReopen(name));
  PITH_ASSIGN_OR_RETURN(const fs::path copy, CopyOf(*handle));
  // It may be closed, or go, meanwhile.
  handle.reset();
  const absl::Status created = pith::CreateSnapshot(copy, directory, control);
  RemoveOrLog(copy);
  return created;
}

absl::StatusOr<CheckReport> CollectionRegistry::Verify(
    std::string_view name, const CheckControl& control) {
  while (true) {
    absl::StatusOr<std::shared_ptr<Handle>> handle = FindOrReopen(name);
    if (handle.ok()) {
      const fs::path directory = (*handle)->directory();
      PITH_ASSIGN_OR_RETURN(const fs::path copy, CopyOf(**handle));
      handle->reset();
      absl::StatusOr<CheckReport> report =
          VerifyDirectory(backend_, copy, control);
      RemoveOrLog(copy);
      if (report.ok()) {
        MoveProblems(copy, directory, *report);
      }
      return report;
    }
    fs::path directory;
    {
      MutexLock lock(mutex_);
      Entry* const entry = WaitForEntry(name);
      if (entry == nullptr || entry->repairing) {
        return handle.status();
      }
      if (entry->handle != nullptr) {
        continue;
      }
      // Nobody is to open it meanwhile.
      entry->repairing = true;
      directory = entry->directory;
    }
    absl::StatusOr<CheckReport> report =
        VerifyDirectory(backend_, directory, control);
    MutexLock lock(mutex_);
    entries_.find(name)->second.repairing = false;
    return report;
  }
}

absl::StatusOr<CheckReport> CollectionRegistry::VerifySnapshot(
    const fs::path& snapshot, const CheckControl& control) {
  PITH_RETURN_IF_ERROR(CheckSnapshot(snapshot, control.bytes()));
  return VerifyDirectory(backend_, snapshot, control);
}

absl::StatusOr<CheckReport> CollectionRegistry::Repair(
    std::string_view name, const CheckControl& control) {
  if (Find(name).ok()) {
    // It is closed only if something may be mended.
    absl::StatusOr<CheckReport> report = Verify(name, control);
    if (!report.ok() || report->problem_count == report->irreparable_count) {
      return report;
    }
  }
  std::shared_ptr<Handle> handle;
  fs::path directory;
  {
    MutexLock lock(mutex_);
    Entry* const entry = WaitForEntry(name);
    if (entry == nullptr) {
      return NoSuchCollection(name);
    }
    if (entry->repairing) {
      return entry->error;
    }
    entry->repairing = true;
    entry->error = absl::UnavailableError(
        absl::StrCat("collection \"", AbslView(name), "\" is being repaired"));
    directory = entry->directory;
    handle = std::exchange(entry->handle, nullptr);
  }
  absl::StatusOr<CheckReport> report =
      CloseAndRepair(std::move(handle), directory, control);
  absl::StatusOr<std::shared_ptr<Handle>> reopened = OpenDirectory(directory);
  MutexLock lock(mutex_);
  Entry& entry = entries_.find(name)->second;
  entry.repairing = false;
  entry.error = reopened.status();
  if (reopened.ok()) {
    entry.handle = *std::move(reopened);
  } else {
    entry.failure_time = absl::Now();
    if (report.ok()) {
      return Annotate(reopened.status(), "after a repair");
    }
  }
  return report;
}

absl::StatusOr<CheckReport> CollectionRegistry::CloseAndRepair(
    std::shared_ptr<Handle> handle, const fs::path& directory,
    const CheckControl& control) {
  if (handle != nullptr) {
    handle->collection().Close();
    // Those who still use it get errors, and end soon.
    const std::shared_future<void> gone = handle->gone_;
    handle.reset();
    const absl::Time end = absl::Now() + kCloseTimeout;
    while (gone.wait_for(kCloseInterval) != std::future_status::ready) {
      if (control.cancelled()) {
        return absl::CancelledError("the repair was cancelled");
      }
      if (absl::Now() >= end) {
        return absl::UnavailableError(
            absl::StrCat("repair ", directory.string(),
                         ": requests to it have not ended for ",
                         absl::FormatDuration(kCloseTimeout)));
      }
    }
  }
  return RepairDirectory(backend_, directory, control);
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
    if (entry->repairing) {
      return entry->error;
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
    RemoveOrLog(directory);
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
