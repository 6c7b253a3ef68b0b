#ifndef PITH_CORE_STORAGE_ROCKSDB_STORE_H_
#define PITH_CORE_STORAGE_ROCKSDB_STORE_H_

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

#include "core/storage/passage_store.h"

namespace rocksdb {
class FileSystem;
}  // namespace rocksdb

namespace pith {

// Memory and threads that all open stores share. Outlives them.
class RocksDbShared {
 public:
  struct Options {
    size_t block_cache_bytes = size_t{16} << 20;
    size_t write_buffer_bytes = size_t{32} << 20;
    // For compactions; flushes have one thread more.
    int background_threads = 1;
    // Null for the default; tests wrap it to inject faults.
    std::shared_ptr<rocksdb::FileSystem> file_system;
  };
  explicit RocksDbShared(const Options& options);
  ~RocksDbShared();

 private:
  friend class RocksDbStore;
  struct State;
  std::unique_ptr<State> state_;
};

// PassageStore in one RocksDB; docs/index_format.md has the bytes of keys and
// values, and what has changed in them.
//
// After a failed Commit (kResourceExhausted when the disk is full) what was
// committed before stays readable, and the next Commit tries to write again.
// Whether the failed batch itself is there after a restart is unknown; it is
// there as a whole or not at all.
class RocksDbStore : public PassageStore {
 public:
  // An empty store in `directory`, which must not exist; its parent must.
  // `configuration` is opaque here and comes back from configuration().
  // kAlreadyExists if the directory exists. A crash leaves a whole store or
  // none, and at most `directory`.new, which the next call replaces.
  static absl::StatusOr<std::unique_ptr<RocksDbStore>> Create(
      const std::filesystem::path& directory, std::string_view configuration,
      RocksDbShared& shared);

  // kNotFound if there is none, kFailedPrecondition if it has a newer format
  // than this build or is open elsewhere, kDataLoss if it is damaged. A store
  // of an older format has this build's from then on.
  static absl::StatusOr<std::unique_ptr<RocksDbStore>> Open(
      const std::filesystem::path& directory, RocksDbShared& shared);

  // As Open, but changes nothing on disk, whatever is called; Commit and Settle
  // fail. Also of a store that is open elsewhere, as it is now.
  // kFailedPrecondition, too, if its format is older than this build's.
  static absl::StatusOr<std::unique_ptr<RocksDbStore>> OpenReadOnly(
      const std::filesystem::path& directory, RocksDbShared& shared);

  ~RocksDbStore() override;

  absl::Status Commit(const StoreBatch& batch, Durability durability) override;
  absl::StatusOr<StoreCounts> GetCounts() const override;
  absl::StatusOr<std::optional<DocumentNumber>> FindDocument(
      std::string_view id) const override;
  absl::StatusOr<std::optional<DocumentRecord>> GetDocument(
      DocumentNumber number) const override;
  absl::StatusOr<std::vector<std::optional<Passage>>> GetPassages(
      std::span<const PassageId> ids) const override;
  absl::StatusOr<std::vector<std::optional<std::string>>> GetVectors(
      std::span<const PassageId> ids) const override;
  absl::StatusOr<std::vector<DocumentSummary>> ListDocuments(
      std::string_view prefix, std::optional<std::string_view> after,
      size_t limit) const override;
  absl::StatusOr<bool> IsPending(PassageId passage) const override;
  absl::StatusOr<std::vector<PassageId>> ListPending(
      PassageId from, size_t limit) const override;
  absl::Status VisitCodes(
      const std::function<absl::Status(PassageId, std::string_view code)>&
          visit) const override;
  absl::Status VisitTombstones(
      const std::function<absl::Status(PassageId)>& visit) const override;
  absl::StatusOr<std::optional<std::string>> GetManifest() const override;
  absl::StatusOr<std::optional<std::string>> GetSources() const override;
  absl::Status VisitDocuments(
      const std::function<absl::Status(DocumentNumber,
                                       const absl::StatusOr<DocumentRecord>&)>&
          visit) const override;
  absl::Status VisitPassages(
      const std::function<absl::Status(PassageId)>& visit) const override;
  absl::Status VisitVectors(
      const std::function<absl::Status(PassageId, std::string_view vector)>&
          visit) const override;
  absl::Status CheckBytes(const WorkControl& control) const override;
  absl::Status Checkpoint(
      const std::filesystem::path& directory) const override;
  absl::Status Settle(std::atomic<bool>& cancelled) override;

  const std::string& configuration() const { return configuration_; }

 private:
  struct Database;

  RocksDbStore(std::unique_ptr<Database> database, std::string configuration);

  std::unique_ptr<Database> database_;
  std::string configuration_;
};

}  // namespace pith

#endif  // PITH_CORE_STORAGE_ROCKSDB_STORE_H_
