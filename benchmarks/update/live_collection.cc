#include "benchmarks/update/live_collection.h"

#include <future>
#include <system_error>

#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "benchmarks/update/process_usage.h"
#include "core/base/file.h"
#include "core/base/mutex.h"
#include "core/base/status_macros.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

constexpr char kSegments[] = "segments";
// Less than the write queue takes.
constexpr size_t kPutsInFlight = 256;

// Of a core, that is used when nothing works.
constexpr double kQuietShare = 0.02;

}  // namespace

absl::StatusOr<std::unique_ptr<LiveCollection>> LiveCollection::Create(
    const fs::path& directory, Embedder& embedder, const Options& options) {
  const CollectionConfig config = {.name = "bench",
                                   .model = embedder.identity(),
                                   .target_tokens = options.target_tokens,
                                   .embed_context = false,
                                   .create_time = absl::Now()};
  PITH_RETURN_IF_ERROR(CreatePrivateDirectories(directory));
  std::unique_ptr<LiveCollection> live(
      new LiveCollection(directory, options.quiet_time));
  PITH_ASSIGN_OR_RETURN(
      std::unique_ptr<RocksDbStore> store,
      RocksDbStore::Create(directory / "store", EncodeCollectionConfig(config),
                           live->shared_));
  Collection::Options collection = options.collection;
  // What is quiet for quiet_time has paused.
  collection.settle_pause = options.quiet_time / 2;
  PITH_ASSIGN_OR_RETURN(
      live->collection_,
      Collection::Open(config, directory / kSegments, std::move(store),
                       embedder, live->cache_, collection));
  return live;
}

LiveCollection::~LiveCollection() {
  collection_.reset();
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

absl::StatusOr<size_t> LiveCollection::Put(
    std::vector<DocumentInput> documents) {
  Mutex mutex;
  CondVar answered;
  size_t in_flight = 0;
  size_t to_embed = 0;
  absl::Status status;
  for (DocumentInput& document : documents) {
    {
      MutexLock lock(mutex);
      while (in_flight >= kPutsInFlight) {
        answered.Wait(mutex);
      }
      ++in_flight;
    }
    collection_->Put(std::move(document),
                     [&](const absl::StatusOr<PutResult>& result) {
                       MutexLock lock(mutex);
                       status.Update(result.status());
                       to_embed += result.ok() ? result->passages_to_embed : 0;
                       --in_flight;
                       answered.Signal();
                     });
  }
  MutexLock lock(mutex);
  while (in_flight > 0) {
    answered.Wait(mutex);
  }
  PITH_RETURN_IF_ERROR(status);
  return to_embed;
}

absl::Status LiveCollection::WaitSearchable() {
  std::promise<absl::Status> promise;
  collection_->WhenSearchable([&](const absl::StatusOr<uint64_t>& failed) {
    promise.set_value(
        failed.ok() && *failed > 0
            ? absl::InternalError("passages could not be embedded")
            : failed.status());
  });
  return promise.get_future().get();
}

absl::StatusOr<size_t> LiveCollection::PutAndEmbed(
    std::vector<DocumentInput> documents) {
  PITH_ASSIGN_OR_RETURN(const size_t to_embed, Put(std::move(documents)));
  PITH_RETURN_IF_ERROR(WaitSearchable());
  return to_embed;
}

void LiveCollection::WaitQuiet() const {
  absl::Duration used;
  do {
    const absl::Duration before = ProcessorTime();
    absl::SleepFor(quiet_time_);
    used = ProcessorTime() - before;
  } while (used > kQuietShare * quiet_time_);
}

absl::StatusOr<uint64_t> LiveCollection::TotalBytes() const {
  return DirectoryBytes(directory_);
}

absl::StatusOr<uint64_t> LiveCollection::SegmentBytes() const {
  return DirectoryBytes(directory_ / kSegments);
}

}  // namespace pith
