#ifndef PITH_SERVER_SOURCE_REGISTRY_H_
#define PITH_SERVER_SOURCE_REGISTRY_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "core/base/mutex.h"
#include "core/source/change_hints.h"
#include "core/source/directory_watch.h"
#include "core/source/skipped_files.h"
#include "server/collection_registry.h"
#include "server/operations.h"

namespace pith {

// v1::Source has the words.
struct SourceStatus {
  struct LastReconcile {
    absl::Time start;
    absl::Duration duration;
    absl::Status status;
    v1::AddSourceProgress progress;
  };
  std::string collection;
  std::string path;
  // OK: inotify tells of every change.
  absl::Status watching;
  int64_t seen = 0;
  int64_t indexed = 0;
  int64_t pending_changes = 0;
  int64_t pending_documents = 0;
  std::vector<SkippedFiles::Group> skipped;
  std::vector<SkippedFiles::Group> failed;
  std::vector<SkippedFiles::Group> kept;
  std::optional<LastReconcile> last_reconcile;
  absl::Time next_reconcile;
  std::optional<v1::AddSourceProgress> scanning;
};

// The folders that collections watch, and the threads that keep the documents
// in agreement with them: one hears of changes, one reconciles, source after
// source. docs/sources.md has the rules. Thread-safe.
class SourceRegistry {
 public:
  struct Options {
    // Between the end of a complete reconcile and the next one.
    absl::Duration reconcile_interval = absl::Minutes(5);
    // As DirectoryWatch::Create.
    std::optional<size_t> max_watches;
  };

  // Takes up what the collections watch; each source is reconciled soon.
  // `collections` outlives the registry.
  SourceRegistry(CollectionRegistry& collections, const Options& options);
  // As Stop.
  ~SourceRegistry();

  SourceRegistry(const SourceRegistry&) = delete;
  SourceRegistry& operator=(const SourceRegistry&) = delete;

  // Watches `path` (absolute, normal) for a collection; durable when it
  // returns. No effect if it is watched. A reconcile is left to the caller's
  // Scan, and comes by itself after the interval. kInvalidArgument if it is no
  // folder, kFailedPrecondition if one above or below is watched.
  absl::Status Watch(std::string_view collection,
                     const std::filesystem::path& path)
      ABSL_LOCKS_EXCLUDED(registration_mutex_, mutex_);

  // kNotFound if it is not watched. Documents stay.
  absl::Status Unwatch(std::string_view collection,
                       const std::filesystem::path& path)
      ABSL_LOCKS_EXCLUDED(registration_mutex_, mutex_);

  // ScanSource, which, if `path` is watched, is a complete reconcile of it.
  absl::Status Scan(CollectionRegistry::Handle& handle,
                    const std::filesystem::path& path, Operation& operation)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Of one collection, or of all if it is empty; by collection and path. Looks
  // through `max_waiting` passages of each collection that wait for their
  // embedding: the pending and failed documents are counted among them.
  absl::StatusOr<std::vector<SourceStatus>> List(std::string_view collection,
                                                 size_t max_waiting)
      ABSL_LOCKS_EXCLUDED(registration_mutex_, mutex_);

  // Cancels what runs and joins the threads.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Handle = CollectionRegistry::Handle;
  // Collection and path.
  using Key = std::pair<std::string, std::string>;

  // Guarded by the registry's mutex_.
  struct Source {
    std::string collection;
    std::string path;
    std::weak_ptr<Handle> handle;
    ChangeHints hints{ChangeHints::Limits()};
    absl::Time next_reconcile;
    // Its progress, while a thread scans it. That thread alone replaces
    // `skipped`.
    Operation* scanning = nullptr;
    // No longer watched, while a scan has not noticed.
    bool removed = false;
    absl::Status watching;
    SkippedFiles skipped;
    int64_t documents = 0;
    std::vector<SkippedFiles::Group> kept;
    std::optional<SourceStatus::LastReconcile> last_reconcile;
  };
  using SourcePtr = std::shared_ptr<Source>;

  struct Followed {
    std::weak_ptr<Handle> handle;
    // Why its sources are not taken up: its list could not be read, which is
    // tried again.
    absl::Status read;
  };

  // Takes up the sources of collections that were opened since the last call,
  // and drops those of deleted ones.
  void FollowCollections() ABSL_EXCLUSIVE_LOCKS_REQUIRED(registration_mutex_)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void Drop(const SourcePtr& source) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Of what is no longer watched at `path`. Other sources that may want some of
  // them are due, which brings those back.
  void RemoveWatches(const std::string& path)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Insert(const std::string& collection, const std::string& path,
              const std::shared_ptr<Handle>& handle, absl::Time next_reconcile)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // When something is to be done about it; infinite while it is scanned.
  static absl::Time DueTime(const Source& source);

  void RunWatch();
  void Hear(const DirectoryWatch::Changes& changes) ABSL_LOCKS_EXCLUDED(mutex_);

  void RunReconciler();
  // Waits until a source is due, then scans what is. False if it is to stop.
  bool ReconcileNext() ABSL_LOCKS_EXCLUDED(mutex_);
  // `source->scanning` is `operation`. A complete reconcile if `tops` is empty.
  absl::Status RunScan(const SourcePtr& source, std::vector<std::string> tops,
                       Operation& operation) ABSL_LOCKS_EXCLUDED(mutex_);

  SourceStatus Describe(const Source& source) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  CollectionRegistry& collections_;
  const Options options_;
  // Null if the system grants no instance, which watch_error_ says.
  std::unique_ptr<DirectoryWatch> watch_;

  // Held while a collection's list of sources is changed; before mutex_.
  Mutex registration_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  // By collection.
  absl::flat_hash_map<std::string, Followed> followed_
      ABSL_GUARDED_BY(registration_mutex_);

  mutable Mutex mutex_;
  // A source is due earlier, or is no longer scanned, or the registry stops.
  CondVar changed_;
  std::map<Key, SourcePtr> sources_ ABSL_GUARDED_BY(mutex_);
  absl::Status watch_error_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread watch_thread_;
  std::thread reconciler_;
};

}  // namespace pith

#endif  // PITH_SERVER_SOURCE_REGISTRY_H_
