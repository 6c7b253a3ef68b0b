#ifndef PITH_TESTS_FAKES_IN_MEMORY_PASSAGE_STORE_H_
#define PITH_TESTS_FAKES_IN_MEMORY_PASSAGE_STORE_H_

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "core/base/mutex.h"
#include "core/storage/passage_store.h"

namespace pith {

// A PassageStore without a disk; it passes the same contract suite.
class InMemoryPassageStore : public PassageStore {
 public:
  // What every Commit returns from now on, without applying its batch, until
  // it is OK again.
  void set_commit_status(absl::Status status) {
    MutexLock lock(mutex_);
    commit_status_ = std::move(status);
  }

  absl::Status Commit(const StoreBatch& batch,
                      Durability /*durability*/) override {
    MutexLock lock(mutex_);
    if (!commit_status_.ok()) {
      return commit_status_;
    }
    for (const auto& [number, id] : batch.erase_documents) {
      documents_.erase(number);
      ids_.erase(id);
    }
    for (const std::string& id : batch.erase_ids) {
      ids_.erase(id);
    }
    for (const PassageId id : batch.erase_passages) {
      passages_.erase(id);
      pending_.erase(id);
      codes_.erase(id);
      vectors_.erase(id);
    }
    for (const StoreBatch::Document& document : batch.put_documents) {
      documents_[document.number] = document.record;
      ids_[document.record.id] = document.number;
    }
    for (const Passage& passage : batch.put_passages) {
      passages_[passage.id] = passage;
      pending_.insert(passage.id);
    }
    for (const StoreBatch::Code& code : batch.put_codes) {
      codes_[code.id] = code.bytes;
      pending_.erase(code.id);
    }
    for (const StoreBatch::Vector& vector : batch.put_vectors) {
      vectors_[vector.id] = vector.bytes;
    }
    for (const PassageId id : batch.erase_vectors) {
      vectors_.erase(id);
    }
    for (const PassageId id : batch.erase_codes) {
      codes_.erase(id);
    }
    for (const PassageId id : batch.erase_tombstones) {
      tombstones_.erase(id);
    }
    tombstones_.insert(batch.put_tombstones.begin(),
                       batch.put_tombstones.end());
    if (batch.manifest.has_value()) {
      manifest_ = batch.manifest;
    }
    if (batch.sources.has_value()) {
      sources_ = batch.sources;
    }
    for (const PassageId id : batch.erase_pending) {
      pending_.erase(id);
    }
    pending_.insert(batch.put_pending.begin(), batch.put_pending.end());
    counts_ = batch.counts;
    return absl::OkStatus();
  }

  absl::StatusOr<StoreCounts> GetCounts() const override {
    MutexLock lock(mutex_);
    return counts_;
  }

  absl::StatusOr<std::optional<DocumentNumber>> FindDocument(
      std::string_view id) const override {
    MutexLock lock(mutex_);
    return Find(ids_, id);
  }

  absl::StatusOr<std::optional<DocumentRecord>> GetDocument(
      DocumentNumber number) const override {
    MutexLock lock(mutex_);
    return Find(documents_, number);
  }

  absl::StatusOr<std::vector<std::optional<Passage>>> GetPassages(
      std::span<const PassageId> ids) const override {
    MutexLock lock(mutex_);
    std::vector<std::optional<Passage>> passages;
    for (const PassageId id : ids) {
      passages.push_back(Find(passages_, id));
    }
    return passages;
  }

  absl::StatusOr<std::vector<std::optional<std::string>>> GetVectors(
      std::span<const PassageId> ids) const override {
    MutexLock lock(mutex_);
    std::vector<std::optional<std::string>> vectors;
    for (const PassageId id : ids) {
      vectors.push_back(Find(vectors_, id));
    }
    return vectors;
  }

  absl::StatusOr<std::vector<DocumentSummary>> ListDocuments(
      std::string_view prefix, std::optional<std::string_view> after,
      size_t limit) const override {
    MutexLock lock(mutex_);
    std::vector<DocumentSummary> documents;
    for (auto it = ids_.lower_bound(prefix);
         it != ids_.end() && it->first.starts_with(prefix) &&
         documents.size() < limit;
         ++it) {
      if (!after.has_value() || it->first > *after) {
        documents.push_back({it->first, it->second});
      }
    }
    return documents;
  }

  absl::StatusOr<bool> IsPending(PassageId passage) const override {
    MutexLock lock(mutex_);
    return pending_.contains(passage);
  }

  absl::StatusOr<std::vector<PassageId>> ListPending(
      PassageId from, size_t limit) const override {
    MutexLock lock(mutex_);
    std::vector<PassageId> ids;
    for (auto it = pending_.lower_bound(from);
         it != pending_.end() && ids.size() < limit; ++it) {
      ids.push_back(*it);
    }
    return ids;
  }

  absl::Status VisitCodes(
      const std::function<absl::Status(PassageId, std::string_view code)>&
          visit) const override {
    return VisitCopy(&InMemoryPassageStore::codes_, [&](const auto& entry) {
      return visit(entry.first, entry.second);
    });
  }

  absl::Status VisitTombstones(
      const std::function<absl::Status(PassageId)>& visit) const override {
    return VisitCopy(&InMemoryPassageStore::tombstones_, visit);
  }

  absl::Status VisitDocuments(
      const std::function<absl::Status(DocumentNumber,
                                       const absl::StatusOr<DocumentRecord>&)>&
          visit) const override {
    return VisitCopy(&InMemoryPassageStore::documents_, [&](const auto& entry) {
      return visit(entry.first, entry.second);
    });
  }

  absl::Status VisitPassages(
      const std::function<absl::Status(PassageId)>& visit) const override {
    return VisitCopy(&InMemoryPassageStore::passages_,
                     [&](const auto& entry) { return visit(entry.first); });
  }

  absl::Status VisitVectors(
      const std::function<absl::Status(PassageId, std::string_view vector)>&
          visit) const override {
    return VisitCopy(&InMemoryPassageStore::vectors_, [&](const auto& entry) {
      return visit(entry.first, entry.second);
    });
  }

  absl::Status CheckBytes(const WorkControl& /*control*/) const override {
    return absl::OkStatus();
  }

  // There is no disk to copy.
  absl::Status Checkpoint(
      const std::filesystem::path& /*directory*/) const override {
    return absl::UnimplementedError("copy a store in memory");
  }

  absl::StatusOr<std::optional<std::string>> GetManifest() const override {
    MutexLock lock(mutex_);
    return manifest_;
  }

  absl::StatusOr<std::optional<std::string>> GetSources() const override {
    MutexLock lock(mutex_);
    return sources_;
  }

  absl::Status Settle(std::atomic<bool>& cancelled) override {
    return cancelled ? absl::CancelledError("settle store") : absl::OkStatus();
  }

 private:
  // `visit` may call this store.
  template <typename Container, typename Visit>
  absl::Status VisitCopy(Container InMemoryPassageStore::*container,
                         const Visit& visit) const {
    Container copy;
    {
      MutexLock lock(mutex_);
      copy = this->*container;
    }
    for (const auto& entry : copy) {
      if (absl::Status status = visit(entry); !status.ok()) {
        return status;
      }
    }
    return absl::OkStatus();
  }

  template <typename Map, typename Key>
  static std::optional<typename Map::mapped_type> Find(const Map& map,
                                                       const Key& key) {
    const auto it = map.find(key);
    return it == map.end() ? std::nullopt : std::optional(it->second);
  }

  mutable Mutex mutex_;
  absl::Status commit_status_ ABSL_GUARDED_BY(mutex_);
  StoreCounts counts_ ABSL_GUARDED_BY(mutex_);
  std::map<DocumentNumber, DocumentRecord> documents_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, DocumentNumber, std::less<>> ids_
      ABSL_GUARDED_BY(mutex_);
  std::map<PassageId, Passage> passages_ ABSL_GUARDED_BY(mutex_);
  std::set<PassageId> pending_ ABSL_GUARDED_BY(mutex_);
  std::map<PassageId, std::string> codes_ ABSL_GUARDED_BY(mutex_);
  std::map<PassageId, std::string> vectors_ ABSL_GUARDED_BY(mutex_);
  std::set<PassageId> tombstones_ ABSL_GUARDED_BY(mutex_);
  std::optional<std::string> manifest_ ABSL_GUARDED_BY(mutex_);
  std::optional<std::string> sources_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pith

#endif  // PITH_TESTS_FAKES_IN_MEMORY_PASSAGE_STORE_H_
