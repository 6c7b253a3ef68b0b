#ifndef PITH_BENCHMARKS_UPDATE_LIVE_COLLECTION_H_
#define PITH_BENCHMARKS_UPDATE_LIVE_COLLECTION_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "core/index/collection.h"
#include "core/index/embedder.h"
#include "core/index/vector_cache.h"
#include "core/storage/rocksdb_store.h"

namespace pith {

// A collection in a directory of its own, over the store that the daemon has,
// with nothing cached. Titles are not embedded. Destruction closes it and
// removes the directory.
class LiveCollection {
 public:
  struct Options {
    Collection::Options collection;
    // As many tokens as a passage is to have.
    int target_tokens = 200;
    absl::Duration quiet_time = absl::Seconds(2);
  };

  // `directory` must not exist; its parent must. `embedder` outlives it.
  static absl::StatusOr<std::unique_ptr<LiveCollection>> Create(
      const std::filesystem::path& directory, Embedder& embedder,
      const Options& options);
  ~LiveCollection();
  LiveCollection(const LiveCollection&) = delete;
  LiveCollection& operator=(const LiveCollection&) = delete;

  Collection& operator*() const { return *collection_; }
  Collection* operator->() const { return collection_.get(); }

  // Returns when all are durable; the sum of the passages that have to be
  // embedded for them. The order is kept.
  absl::StatusOr<size_t> Put(std::vector<DocumentInput> documents);
  absl::Status WaitSearchable();
  // Put, and WaitSearchable.
  absl::StatusOr<size_t> PutAndEmbed(std::vector<DocumentInput> documents);

  // Until nothing works in the background: this process used hardly any
  // processor time for options.quiet_time.
  void WaitQuiet() const;

  // On disk, of all files and of the segments' alone.
  absl::StatusOr<uint64_t> TotalBytes() const;
  absl::StatusOr<uint64_t> SegmentBytes() const;

 private:
  LiveCollection(std::filesystem::path directory, absl::Duration quiet_time)
      : directory_(std::move(directory)), quiet_time_(quiet_time) {}

  const std::filesystem::path directory_;
  const absl::Duration quiet_time_;
  RocksDbShared shared_{RocksDbShared::Options()};
  VectorCache cache_{0};
  std::unique_ptr<Collection> collection_;
};

}  // namespace pith

#endif  // PITH_BENCHMARKS_UPDATE_LIVE_COLLECTION_H_
