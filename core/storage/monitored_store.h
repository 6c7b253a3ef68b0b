#ifndef PITH_CORE_STORAGE_MONITORED_STORE_H_
#define PITH_CORE_STORAGE_MONITORED_STORE_H_

#include <memory>
#include <utility>

#include "core/base/mutex.h"
#include "core/storage/passage_store.h"

namespace pith {

// Hands every call to another store, and remembers what went wrong with it.
// Thread-safe as PassageStore is.
class MonitoredStore final : public PassageStore {
 public:
  // `store` is not null.
  explicit MonitoredStore(std::unique_ptr<PassageStore> store)
      : store_(std::move(store)) {}

  // Why the last commit failed, if it did; else the first damage (kDataLoss)
  // that a call has met; OK if there was none.
  absl::Status trouble() const ABSL_LOCKS_EXCLUDED(mutex_);

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
  absl::StatusOr<std::vector<PassageId>> ListPending(
      PassageId from, size_t limit) const override;
  absl::StatusOr<bool> IsPending(PassageId passage) const override;
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

 private:
  absl::Status Noted(absl::Status status) const ABSL_LOCKS_EXCLUDED(mutex_);
  template <typename T>
  absl::StatusOr<T> Noted(absl::StatusOr<T> result) const {
    Noted(result.status()).IgnoreError();
    return result;
  }

  const std::unique_ptr<PassageStore> store_;
  mutable Mutex mutex_;
  absl::Status commit_error_ ABSL_GUARDED_BY(mutex_);
  mutable absl::Status damage_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pith

#endif  // PITH_CORE_STORAGE_MONITORED_STORE_H_
