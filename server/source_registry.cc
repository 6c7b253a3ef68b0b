#include "server/source_registry.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "glog/logging.h"

#include "core/base/file.h"
#include "core/base/reason.h"
#include "core/base/status_macros.h"
#include "core/base/thread_name.h"
#include "core/source/path_order.h"
#include "core/source/source_list.h"
#include "server/source_scan.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

// Until a failed reconcile is tried again, a new collection is noticed, or a
// cancelled operation stops waiting for its turn.
constexpr absl::Duration kRetryInterval = absl::Seconds(10);
constexpr absl::Duration kFollowInterval = absl::Seconds(10);
constexpr absl::Duration kPollInterval = absl::Milliseconds(100);

absl::Status NotWatched(std::string_view collection, const fs::path& path) {
  return WithReason(absl::NotFoundError(absl::StrCat(
                        path.string(), " is not watched for collection \"",
                        AbslView(collection), "\"")),
                    "SOURCE_NOT_FOUND");
}

absl::StatusOr<std::vector<std::string>> ReadSourceList(
    const Collection& collection) {
  PITH_ASSIGN_OR_RETURN(const std::string bytes, collection.GetSources());
  return DecodeSourceList(bytes);
}

void AddTo(std::vector<SkippedFiles::Group>& groups, std::string_view reason,
           std::string_view example, std::string_view detail) {
  for (SkippedFiles::Group& group : groups) {
    if (group.reason == reason && group.detail == detail) {
      ++group.count;
      return;
    }
  }
  groups.push_back({.reason = std::string(reason),
                    .count = 1,
                    .example = std::string(example),
                    .detail = std::string(detail)});
}

std::vector<SkippedFiles::Group> KeptGroups(const SourceScanResult& result) {
  std::vector<SkippedFiles::Group> groups;
  if (result.kept_unreadable > 0) {
    groups.push_back({.reason = "unreadable",
                      .count = static_cast<size_t>(result.kept_unreadable)});
  }
  if (result.kept_unmounted > 0) {
    groups.push_back({.reason = "unmounted",
                      .count = static_cast<size_t>(result.kept_unmounted)});
  }
  if (!groups.empty()) {
    groups[0].example = result.kept_example;
  }
  return groups;
}

}  // namespace

SourceRegistry::SourceRegistry(CollectionRegistry& collections,
                               const Options& options)
    : collections_(collections), options_(options) {
  absl::StatusOr<std::unique_ptr<DirectoryWatch>> watch =
      DirectoryWatch::Create(options_.max_watches);
  if (watch.ok()) {
    watch_ = *std::move(watch);
    watch_thread_ = std::thread([this] { RunWatch(); });
  } else {
    LOG(ERROR) << "sources are watched by time alone: " << watch.status();
    MutexLock lock(mutex_);
    watch_error_ = watch.status();
  }
  reconciler_ = std::thread([this] { RunReconciler(); });
}

SourceRegistry::~SourceRegistry() {
  Stop();
}

void SourceRegistry::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    for (const auto& [key, source] : sources_) {
      if (source->scanning != nullptr) {
        source->scanning->Cancel();
      }
    }
    changed_.SignalAll();
  }
  if (watch_thread_.joinable()) {
    watch_->Wake();
    watch_thread_.join();
  }
  if (reconciler_.joinable()) {
    reconciler_.join();
  }
}

void SourceRegistry::Insert(const std::string& collection,
                            const std::string& path,
                            const std::shared_ptr<Handle>& handle,
                            absl::Time next_reconcile) {
  auto source = std::make_shared<Source>();
  source->collection = collection;
  source->path = path;
  source->handle = handle;
  source->next_reconcile = next_reconcile;
  sources_[Key(collection, path)] = std::move(source);
  changed_.SignalAll();
}

void SourceRegistry::Drop(const SourcePtr& source) {
  source->removed = true;
  if (source->scanning != nullptr) {
    source->scanning->Cancel();
  }
  sources_.erase(Key(source->collection, source->path));
  RemoveWatches(source->path);
}

void SourceRegistry::RemoveWatches(const std::string& path) {
  if (watch_ == nullptr) {
    return;
  }
  watch_->RemoveBelow(path);
  const absl::Time now = absl::Now();
  for (const auto& [key, other] : sources_) {
    if (IsAtOrBelow(other->path, path) || IsAtOrBelow(path, other->path)) {
      // Unlike next_reconcile it outlasts a scan that runs.
      other->hints.AddEverything(now);
    }
  }
  changed_.SignalAll();
}

void SourceRegistry::FollowCollections() {
  const std::vector<CollectionRegistry::Listing> listings = collections_.List();
  const auto handle_of =
      [&listings](std::string_view name) -> std::shared_ptr<Handle> {
    for (const auto& listing : listings) {
      if (listing.name == name) {
        return listing.handle;
      }
    }
    return nullptr;
  };
  std::vector<std::string> gone;
  for (const auto& [name, followed] : followed_) {
    if (const auto handle = followed.handle.lock();
        handle == nullptr || handle != handle_of(name)) {
      gone.push_back(name);
    }
  }
  for (const std::string& name : gone) {
    followed_.erase(name);
    MutexLock lock(mutex_);
    std::vector<SourcePtr> dropped;
    for (const auto& [key, source] : sources_) {
      if (key.first == name) {
        dropped.push_back(source);
      }
    }
    for (const SourcePtr& source : dropped) {
      Drop(source);
    }
  }
  for (const auto& listing : listings) {
    if (listing.handle == nullptr) {
      continue;
    }
    const auto [followed, is_new] =
        followed_.try_emplace(listing.name, Followed{.handle = listing.handle});
    if (!is_new && followed->second.read.ok()) {
      continue;
    }
    const absl::StatusOr<std::vector<std::string>> paths =
        ReadSourceList(listing.handle->collection());
    if (!paths.ok()) {
      LOG_IF(ERROR, paths.status() != followed->second.read)
          << "collection \"" << listing.name
          << "\": its sources are not watched yet: " << paths.status();
      followed->second.read = paths.status();
      continue;
    }
    followed->second.read = absl::OkStatus();
    MutexLock lock(mutex_);
    for (const std::string& path : *paths) {
      // Watch may have inserted it meanwhile.
      if (!sources_.contains(Key(listing.name, path))) {
        Insert(listing.name, path, listing.handle, absl::Now());
      }
    }
  }
}

absl::Status SourceRegistry::Watch(std::string_view collection,
                                   const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    return ErrnoStatus(errno, "watch", path);
  }
  if (!S_ISDIR(status.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat("watch ", path.string(), ": it is no folder"));
  }
  PITH_ASSIGN_OR_RETURN(const std::shared_ptr<Handle> handle,
                        collections_.FindOrReopen(collection));
  MutexLock registration(registration_mutex_);
  FollowCollections();
  PITH_ASSIGN_OR_RETURN(std::vector<std::string> paths,
                        ReadSourceList(handle->collection()));
  for (const std::string& other : paths) {
    if (other == path) {
      return absl::OkStatus();
    }
    // The ignore files above the inner one would count for one of them alone.
    if (IsAtOrBelow(path.native(), other) ||
        IsAtOrBelow(other, path.native())) {
      return WithReason(
          absl::FailedPreconditionError(absl::StrCat(
              "watch ", path.string(), ": ", other,
              " is watched for collection \"", AbslView(collection), "\"")),
          "SOURCES_OVERLAP");
    }
  }
  paths.push_back(path.string());
  std::sort(paths.begin(), paths.end());
  PITH_RETURN_IF_ERROR(
      handle->collection().SetSources(EncodeSourceList(paths)));
  LOG(INFO) << "collection \"" << collection << "\" watches " << path;
  MutexLock lock(mutex_);
  Insert(std::string(collection), path.string(), handle,
         absl::Now() + options_.reconcile_interval);
  return absl::OkStatus();
}

absl::Status SourceRegistry::Unwatch(std::string_view collection,
                                     const fs::path& path) {
  PITH_ASSIGN_OR_RETURN(const std::shared_ptr<Handle> handle,
                        collections_.FindOrReopen(collection));
  MutexLock registration(registration_mutex_);
  FollowCollections();
  PITH_ASSIGN_OR_RETURN(std::vector<std::string> paths,
                        ReadSourceList(handle->collection()));
  if (std::erase(paths, path.string()) == 0) {
    return NotWatched(collection, path);
  }
  PITH_RETURN_IF_ERROR(
      handle->collection().SetSources(EncodeSourceList(paths)));
  LOG(INFO) << "collection \"" << collection << "\" no longer watches " << path;
  MutexLock lock(mutex_);
  const auto found = sources_.find(Key(collection, path.string()));
  // It may be gone with its collection.
  if (found != sources_.end()) {
    Drop(SourcePtr(found->second));
  }
  return absl::OkStatus();
}

void SourceRegistry::RunWatch() {
  SetThreadName("watch");
  while (true) {
    const absl::StatusOr<DirectoryWatch::Changes> changes =
        watch_->Wait(absl::InfiniteDuration());
    {
      MutexLock lock(mutex_);
      if (stopping_) {
        return;
      }
      if (!changes.ok()) {
        LOG(ERROR) << "sources are watched by time alone: " << changes.status();
        watch_error_ = changes.status();
        return;
      }
    }
    Hear(*changes);
  }
}

void SourceRegistry::Hear(const DirectoryWatch::Changes& changes) {
  const absl::Time now = absl::Now();
  MutexLock lock(mutex_);
  for (const auto& [key, source] : sources_) {
    if (changes.lost) {
      source->hints.AddEverything(now);
    }
    for (const std::string& path : changes.paths) {
      if (IsAtOrBelow(source->path, path)) {
        source->hints.AddEverything(now);
      } else if (IsAtOrBelow(path, source->path)) {
        source->hints.Add(path, now);
      }
    }
  }
  changed_.SignalAll();
}

absl::Time SourceRegistry::DueTime(const Source& source) {
  return source.scanning != nullptr
             ? absl::InfiniteFuture()
             : std::min(source.next_reconcile, source.hints.DueTime());
}

void SourceRegistry::RunReconciler() {
  SetThreadName("reconcile");
  do {
    MutexLock registration(registration_mutex_);
    FollowCollections();
  } while (ReconcileNext());
}

bool SourceRegistry::ReconcileNext() {
  const absl::Time follow_time = absl::Now() + kFollowInterval;
  SourcePtr next;
  std::vector<std::string> tops;
  std::optional<Operation> progress;
  absl::Status last;
  {
    MutexLock lock(mutex_);
    while (true) {
      if (stopping_) {
        return false;
      }
      absl::Time due = follow_time;
      next = nullptr;
      for (const auto& [key, source] : sources_) {
        if (const absl::Time time = DueTime(*source); time < due) {
          due = time;
          next = source;
        }
      }
      const absl::Time now = absl::Now();
      if (now >= due) {
        break;
      }
      changed_.WaitFor(mutex_, due - now);
    }
    if (next == nullptr) {
      return true;
    }
    const absl::Time now = absl::Now();
    ChangeHints::Due hints = next->hints.Take(now);
    if (!hints.everything && now < next->next_reconcile) {
      tops = std::move(hints.paths);
    }
    progress.emplace("reconcile", DescribeAdd(next->collection, next->path));
    next->scanning = &*progress;
    if (next->last_reconcile) {
      last = next->last_reconcile->status;
    }
  }
  const absl::Status status = RunScan(next, std::move(tops), *progress);
  // Once, and not at each try.
  LOG_IF(WARNING, !status.ok() && !absl::IsCancelled(status) && status != last)
      << "collection \"" << next->collection << "\": reconcile " << next->path
      << ": " << status;
  return true;
}

absl::Status SourceRegistry::RunScan(const SourcePtr& source,
                                     std::vector<std::string> tops,
                                     Operation& operation) {
  const bool complete = tops.empty();
  if (complete) {
    tops = {source->path};
  }
  absl::Status watching;
  const SourceScan scan = {
      .root = source->path,
      .tops = std::move(tops),
      .folder =
          [&](const fs::path& folder) {
            if (watch_ == nullptr || !watching.ok()) {
              return;
            }
            const absl::Status added = watch_->Add(
                folder.string(), /*is_root=*/folder == source->path);
            // The walk says what it cannot read.
            if (!absl::IsNotFound(added) && !absl::IsPermissionDenied(added)) {
              watching = added;
            }
          },
      .known = source->skipped};
  const absl::Time start = absl::Now();
  absl::StatusOr<SourceScanResult> result =
      absl::UnavailableError("the collection was deleted");
  if (const std::shared_ptr<Handle> handle = source->handle.lock()) {
    result = ReconcileSource(handle->collection(), scan, operation);
  }
  const absl::Time end = absl::Now();
  const absl::Status status = result.ok() ? result->damage : result.status();

  MutexLock lock(mutex_);
  source->scanning = nullptr;
  changed_.SignalAll();
  if (source->removed) {
    RemoveWatches(source->path);
  }
  if (result.ok() && complete) {
    source->skipped = std::move(result->skipped);
    source->documents = result->documents;
    source->kept = KeptGroups(*result);
  } else if (result.ok()) {
    source->skipped.Replace(scan.tops, std::move(result->skipped));
    source->documents += result->documents - result->documents_before;
  }
  if (complete || !watching.ok()) {
    source->watching = watching;
  }
  if (complete) {
    source->last_reconcile = {.start = start,
                              .duration = end - start,
                              .status = status,
                              .progress = operation.Describe().add_source()};
  }
  if (!result.ok()) {
    source->next_reconcile =
        end + std::min(options_.reconcile_interval, kRetryInterval);
  } else if (complete) {
    source->next_reconcile = end + options_.reconcile_interval;
  }
  return status;
}

absl::Status SourceRegistry::Scan(Handle& handle, const fs::path& path,
                                  Operation& operation) {
  SourcePtr source;
  {
    MutexLock lock(mutex_);
    while (true) {
      // It may be unwatched during the wait, and watched again.
      const auto found =
          sources_.find(Key(operation.collection(), path.string()));
      if (found == sources_.end() ||
          found->second->handle.lock().get() != &handle) {
        break;
      }
      if (operation.cancelled()) {
        return absl::CancelledError("cancelled");
      }
      if (found->second->scanning == nullptr) {
        source = found->second;
        source->scanning = &operation;
        break;
      }
      changed_.WaitFor(mutex_, kPollInterval);
    }
  }
  if (source == nullptr) {
    return ScanSource(handle.collection(), path, operation);
  }
  const absl::Status scanned = RunScan(source, {}, operation);
  // Damage is of some documents; all others are stored.
  if (scanned.ok() || absl::IsDataLoss(scanned)) {
    PITH_RETURN_IF_ERROR(WaitUntilSearchable(handle.collection(), operation));
  }
  return scanned;
}

SourceStatus SourceRegistry::Describe(const Source& source) const {
  SourceStatus status = {
      .collection = source.collection,
      .path = source.path,
      .watching = watch_error_.ok() ? source.watching : watch_error_,
      .seen = static_cast<int64_t>(source.skipped.count()) + source.documents,
      .indexed = source.documents,
      .pending_changes = static_cast<int64_t>(source.hints.waiting()),
      .kept = source.kept,
      .last_reconcile = source.last_reconcile,
      .next_reconcile = source.next_reconcile};
  for (SkippedFiles::Group& group : source.skipped.Groups()) {
    (group.reason == kFailedReason ? status.failed : status.skipped)
        .push_back(std::move(group));
  }
  for (const SkippedFiles::Group& group : source.kept) {
    status.seen -= static_cast<int64_t>(group.count);
  }
  if (source.scanning != nullptr) {
    status.scanning = source.scanning->Describe().add_source();
  }
  return status;
}

absl::StatusOr<std::vector<SourceStatus>> SourceRegistry::List(
    std::string_view collection, size_t max_waiting) {
  if (!collection.empty()) {
    PITH_RETURN_IF_ERROR(collections_.FindOrReopen(collection).status());
  }
  std::vector<SourceStatus> statuses;
  std::map<std::string, std::shared_ptr<Handle>> handles;
  {
    MutexLock registration(registration_mutex_);
    FollowCollections();
    MutexLock lock(mutex_);
    for (const auto& [key, source] : sources_) {
      if (collection.empty() || key.first == collection) {
        statuses.push_back(Describe(*source));
        handles[key.first] = source->handle.lock();
      }
    }
  }
  for (const auto& [name, handle] : handles) {
    if (handle == nullptr) {
      continue;
    }
    const absl::StatusOr<std::vector<WaitingDocument>> waiting =
        handle->collection().ListWaiting(max_waiting);
    for (SourceStatus& status : statuses) {
      if (status.collection != name) {
        continue;
      }
      if (!waiting.ok()) {
        AddTo(status.failed, "unreadable_store", "",
              StdView(waiting.status().message()));
        continue;
      }
      for (const WaitingDocument& document : *waiting) {
        if (!IsAtOrBelow(document.id, status.path)) {
          continue;
        }
        if (document.failure.ok()) {
          ++status.pending_documents;
        } else {
          AddTo(status.failed, "not_embedded", document.id,
                StdView(document.failure.message()));
        }
      }
    }
  }
  return statuses;
}

}  // namespace pith
