#ifndef PITH_SERVER_COLLECTION_REGISTRY_H_
#define PITH_SERVER_COLLECTION_REGISTRY_H_

#include <atomic>
#include <filesystem>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "core/base/mutex.h"
#include "core/base/work_control.h"
#include "core/index/collection.h"
#include "core/index/collection_check.h"
#include "core/index/probed_embedder.h"
#include "core/index/vector_cache.h"
#include "core/storage/snapshot.h"
#include "server/backends.h"

namespace pith {

struct NewCollection {
  std::string name;
  std::string model;
  Chunking chunking = Chunking::kStructure;
  // 0: the default, or the model's maximum if that is less.
  int target_tokens = 0;
  bool embed_context = true;
  CodeProfile profile = CodeProfile::kBalanced;
  // nullopt: stored as f16 if recomputing is costly (Embedder), else
  // recomputed.
  std::optional<VectorSource> vector_source;
};

inline constexpr int kDefaultTargetTokens = 200;
inline constexpr int kMinTargetTokens = 16;

// The collections of a data directory, all open. Each lies in a directory of
// its own, named by the collection and its time of creation. Thread-safe.
class CollectionRegistry {
 public:
  // A collection and what it stands on.
  class Handle {
   public:
    // `embedder` is what the collection uses, if it is the collection's own.
    Handle(std::filesystem::path directory,
           std::unique_ptr<ProbedEmbedder> embedder,
           std::unique_ptr<Collection> collection)
        : directory_(std::move(directory)),
          embedder_(std::move(embedder)),
          collection_(std::move(collection)) {}
    // Closes the collection, and removes its directory if it was deleted.
    ~Handle();

    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;

    Collection& collection() { return *collection_; }
    const std::filesystem::path& directory() const { return directory_; }

   private:
    friend class CollectionRegistry;
    const std::filesystem::path directory_;
    const std::unique_ptr<ProbedEmbedder> embedder_;
    std::unique_ptr<Collection> collection_;
    std::atomic<bool> deleted_ = false;
    // When the collection is closed and nobody uses it any more.
    std::promise<void> closed_;
    const std::shared_future<void> gone_{closed_.get_future()};
  };

  struct Listing {
    std::string name;
    // Null if `error` is set.
    std::shared_ptr<Handle> handle;
    absl::Status error;
  };

  // Opens every collection below `directory`, which exists. One that cannot be
  // opened is kept with its error and does not stop the others. Removes what is
  // left of deleted ones. `models` and `cache` outlive the registry and its
  // handles.
  static absl::StatusOr<std::unique_ptr<CollectionRegistry>> Open(
      const std::filesystem::path& directory, StoreBackend backend,
      ModelProvider& models, VectorCache& cache,
      const Collection::Options& options);

  // kNotFound, or the error that keeps the collection closed. Does no I/O. The
  // collection lives as long as the handle.
  absl::StatusOr<std::shared_ptr<Handle>> Find(std::string_view name)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // As Find, but tries again to open a collection that could not be opened, at
  // most once a second.
  absl::StatusOr<std::shared_ptr<Handle>> FindOrReopen(std::string_view name)
      ABSL_LOCKS_EXCLUDED(mutex_);

  absl::StatusOr<std::shared_ptr<Handle>> Create(const NewCollection& request)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // kNotFound; OK also for a collection that cannot be opened.
  absl::Status CheckExists(std::string_view name) ABSL_LOCKS_EXCLUDED(mutex_);

  // Where a snapshot may be made: not where something is (kAlreadyExists), nor
  // in a directory that does not exist (kNotFound), nor among the registry's
  // own (kInvalidArgument).
  absl::Status CheckSnapshotPath(const std::filesystem::path& directory);

  // A snapshot of the collection at `directory`, for which CheckSnapshotPath is
  // OK.
  absl::Status CreateSnapshot(std::string_view name,
                              const std::filesystem::path& directory,
                              const WorkControl& control)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // A new collection from a snapshot, called `name`, or as the one that it is
  // of if that is empty. As pith::RestoreSnapshot; kAlreadyExists if there is
  // one of that name.
  absl::StatusOr<std::shared_ptr<Handle>> RestoreSnapshot(
      const std::filesystem::path& snapshot, std::string name,
      const WorkControl& control) ABSL_LOCKS_EXCLUDED(mutex_);

  // CheckCollection of the collection, whether it is open or cannot be opened.
  absl::StatusOr<CheckReport> Verify(std::string_view name,
                                     const CheckControl& control)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // The same of a snapshot, with its checksums.
  absl::StatusOr<CheckReport> VerifySnapshot(
      const std::filesystem::path& snapshot, const CheckControl& control);

  // Verifies the collection and, if something may be mended, closes it, mends
  // it, and opens it again; as RepairDirectory. Others get kUnavailable
  // meanwhile.
  absl::StatusOr<CheckReport> Repair(std::string_view name,
                                     const CheckControl& control)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Durable when it returns. The collection is closed, so that whatever goes on
  // with it fails; its directory goes with the last handle.
  absl::Status Delete(std::string_view name) ABSL_LOCKS_EXCLUDED(mutex_);

  // By name.
  std::vector<Listing> List() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Entry {
    std::filesystem::path directory;
    std::shared_ptr<Handle> handle;
    absl::Status error;
    // When the last try to open it failed.
    absl::Time failure_time = absl::InfinitePast();
    // A thread creates, reopens or deletes it; others wait for opened_.
    bool opening = false;
    // A thread repairs it, or verifies it as it lies there, which takes long:
    // others get `error`.
    bool repairing = false;
  };

  CollectionRegistry(const std::filesystem::path& directory,
                     StoreBackend backend, ModelProvider& models,
                     VectorCache& cache, const Collection::Options& options)
      : directory_(directory),
        backend_(std::move(backend)),
        models_(models),
        cache_(cache),
        options_(options) {}

  absl::StatusOr<std::shared_ptr<Handle>> OpenDirectory(
      const std::filesystem::path& directory);
  absl::StatusOr<std::shared_ptr<Handle>> OpenCollection(
      const CollectionConfig& config, const std::filesystem::path& directory,
      std::unique_ptr<PassageStore> store, Embedder& embedder);
  // Of the collection's directory at one moment, beside it.
  static absl::StatusOr<std::filesystem::path> CopyOf(Handle& handle);
  // RepairDirectory, once nobody uses `handle`, which may be null.
  absl::StatusOr<CheckReport> CloseAndRepair(
      std::shared_ptr<Handle> handle, const std::filesystem::path& directory,
      const CheckControl& control);
  // A collection that `make` makes in a directory of its own, if there is none
  // called `name`.
  absl::StatusOr<std::shared_ptr<Handle>> Add(
      const std::string& name,
      absl::FunctionRef<absl::StatusOr<std::shared_ptr<Handle>>(
          const std::filesystem::path& directory, absl::Time now)>
          make) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::shared_ptr<Handle>> MakeCollection(
      const NewCollection& request, const std::filesystem::path& directory,
      absl::Time now);

  const std::filesystem::path directory_;
  const StoreBackend backend_;
  ModelProvider& models_;
  VectorCache& cache_;
  const Collection::Options options_;

  // The entry called `name`, when no thread opens it any more; null if there is
  // none.
  Entry* WaitForEntry(std::string_view name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  CondVar opened_;
  std::map<std::string, Entry, std::less<>> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pith

#endif  // PITH_SERVER_COLLECTION_REGISTRY_H_
