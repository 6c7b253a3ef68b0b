#ifndef PITH_TESTS_FAKES_FORWARDING_PASSAGE_STORE_H_
#define PITH_TESTS_FAKES_FORWARDING_PASSAGE_STORE_H_

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/storage/passage_store.h"

namespace pith {

// Hands every call to a store that may outlive the collection, so that it can
// be opened again, or be made to fail by a subclass.
class ForwardingPassageStore : public PassageStore {
 public:
  explicit ForwardingPassageStore(std::shared_ptr<PassageStore> store)
      : store_(std::move(store)) {}
  absl::Status Commit(const StoreBatch& batch, Durability durability) override {
    return store_->Commit(batch, durability);
  }
  absl::StatusOr<StoreCounts> GetCounts() const override {
    return store_->GetCounts();
  }
  absl::StatusOr<std::optional<DocumentNumber>> FindDocument(
      std::string_view id) const override {
    return store_->FindDocument(id);
  }
  absl::StatusOr<std::optional<DocumentRecord>> GetDocument(
      DocumentNumber number) const override {
    return store_->GetDocument(number);
  }
  absl::StatusOr<std::vector<std::optional<Passage>>> GetPassages(
      std::span<const PassageId> ids) const override {
    return store_->GetPassages(ids);
  }
  absl::StatusOr<std::vector<std::optional<std::string>>> GetVectors(
      std::span<const PassageId> ids) const override {
    return store_->GetVectors(ids);
  }
  absl::StatusOr<std::vector<DocumentSummary>> ListDocuments(
      std::string_view prefix, std::optional<std::string_view> after,
      size_t limit) const override {
    return store_->ListDocuments(prefix, after, limit);
  }
  absl::StatusOr<bool> IsPending(PassageId passage) const override {
    return store_->IsPending(passage);
  }
  absl::StatusOr<std::vector<PassageId>> ListPending(
      PassageId from, size_t limit) const override {
    return store_->ListPending(from, limit);
  }
  absl::Status VisitCodes(
      const std::function<absl::Status(PassageId, std::string_view)>& visit)
      const override {
    return store_->VisitCodes(visit);
  }
  absl::Status VisitTombstones(
      const std::function<absl::Status(PassageId)>& visit) const override {
    return store_->VisitTombstones(visit);
  }
  absl::StatusOr<std::optional<std::string>> GetManifest() const override {
    return store_->GetManifest();
  }
  absl::StatusOr<std::optional<std::string>> GetSources() const override {
    return store_->GetSources();
  }
  absl::Status VisitDocuments(
      const std::function<absl::Status(DocumentNumber,
                                       const absl::StatusOr<DocumentRecord>&)>&
          visit) const override {
    return store_->VisitDocuments(visit);
  }
  absl::Status VisitPassages(
      const std::function<absl::Status(PassageId)>& visit) const override {
    return store_->VisitPassages(visit);
  }
  absl::Status VisitVectors(
      const std::function<absl::Status(PassageId, std::string_view)>& visit)
      const override {
    return store_->VisitVectors(visit);
  }
  absl::Status CheckBytes(const WorkControl& control) const override {
    return store_->CheckBytes(control);
  }
  absl::Status Checkpoint(
      const std::filesystem::path& directory) const override {
    return store_->Checkpoint(directory);
  }
  absl::Status Settle(std::atomic<bool>& cancelled) override {
    return store_->Settle(cancelled);
  }

 private:
  const std::shared_ptr<PassageStore> store_;
};

}  // namespace pith

#endif  // PITH_TESTS_FAKES_FORWARDING_PASSAGE_STORE_H_
