#include "core/storage/monitored_store.h"

namespace pith {

absl::Status MonitoredStore::trouble() const {
  MutexLock lock(mutex_);
  return commit_error_.ok() ? damage_ : commit_error_;
}

absl::Status MonitoredStore::Noted(absl::Status status) const {
  if (absl::IsDataLoss(status)) {
    MutexLock lock(mutex_);
    damage_.Update(status);
  }
  return status;
}

absl::Status MonitoredStore::Commit(const StoreBatch& batch,
                                    Durability durability) {
  absl::Status committed = store_->Commit(batch, durability);
  {
    MutexLock lock(mutex_);
    commit_error_ = committed;
  }
  return Noted(std::move(committed));
}

absl::StatusOr<StoreCounts> MonitoredStore::GetCounts() const {
  return Noted(store_->GetCounts());
}

absl::StatusOr<std::optional<DocumentNumber>> MonitoredStore::FindDocument(
    std::string_view id) const {
  return Noted(store_->FindDocument(id));
}

absl::StatusOr<std::optional<DocumentRecord>> MonitoredStore::GetDocument(
    DocumentNumber number) const {
  return Noted(store_->GetDocument(number));
}

absl::StatusOr<std::vector<std::optional<Passage>>> MonitoredStore::GetPassages(
    std::span<const PassageId> ids) const {
  return Noted(store_->GetPassages(ids));
}

absl::StatusOr<std::vector<std::optional<std::string>>>
MonitoredStore::GetVectors(std::span<const PassageId> ids) const {
  return Noted(store_->GetVectors(ids));
}

absl::StatusOr<std::vector<DocumentSummary>> MonitoredStore::ListDocuments(
    std::string_view prefix, std::optional<std::string_view> after,
    size_t limit) const {
  return Noted(store_->ListDocuments(prefix, after, limit));
}

absl::StatusOr<std::vector<PassageId>> MonitoredStore::ListPending(
    PassageId from, size_t limit) const {
  return Noted(store_->ListPending(from, limit));
}

absl::StatusOr<bool> MonitoredStore::IsPending(PassageId passage) const {
  return Noted(store_->IsPending(passage));
}

absl::Status MonitoredStore::VisitCodes(
    const std::function<absl::Status(PassageId, std::string_view)>& visit)
    const {
  return Noted(store_->VisitCodes(visit));
}

absl::Status MonitoredStore::VisitTombstones(
    const std::function<absl::Status(PassageId)>& visit) const {
  return Noted(store_->VisitTombstones(visit));
}

absl::StatusOr<std::optional<std::string>> MonitoredStore::GetManifest() const {
  return Noted(store_->GetManifest());
}

absl::StatusOr<std::optional<std::string>> MonitoredStore::GetSources() const {
  return Noted(store_->GetSources());
}

absl::Status MonitoredStore::VisitDocuments(
    const std::function<absl::Status(
        DocumentNumber, const absl::StatusOr<DocumentRecord>&)>& visit) const {
  return Noted(store_->VisitDocuments(
      [&](DocumentNumber number, const absl::StatusOr<DocumentRecord>& record) {
        Noted(record.status()).IgnoreError();
        return visit(number, record);
      }));
}

absl::Status MonitoredStore::VisitPassages(
    const std::function<absl::Status(PassageId)>& visit) const {
  return Noted(store_->VisitPassages(visit));
}

absl::Status MonitoredStore::VisitVectors(
    const std::function<absl::Status(PassageId, std::string_view)>& visit)
    const {
  return Noted(store_->VisitVectors(visit));
}

absl::Status MonitoredStore::CheckBytes(const WorkControl& control) const {
  return Noted(store_->CheckBytes(control));
}

absl::Status MonitoredStore::Checkpoint(
    const std::filesystem::path& directory) const {
  return Noted(store_->Checkpoint(directory));
}

absl::Status MonitoredStore::Settle(std::atomic<bool>& cancelled) {
  return Noted(store_->Settle(cancelled));
}

}  // namespace pith
