#ifndef PITH_CORE_STORAGE_PASSAGE_STORE_H_
#define PITH_CORE_STORAGE_PASSAGE_STORE_H_

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "core/base/ids.h"
#include "core/base/work_control.h"
#include "core/storage/document.h"

namespace pith {

// Counts that every batch carries forward, so that status never needs a scan.
struct StoreCounts {
  uint64_t documents = 0;
  uint64_t passages = 0;
  // Passages that are stored but have no code yet, neither here nor in a
  // segment.
  uint64_t pending = 0;
  // Bytes of text in all passages.
  uint64_t text_bytes = 0;
  DocumentNumber next_document{1};

  friend bool operator==(const StoreCounts&, const StoreCounts&) = default;
};

// Changes that are applied together or not at all.
struct StoreBatch {
  struct Document {
    DocumentNumber number{};
    DocumentRecord record;
  };
  struct Code {
    PassageId id{};
    std::string bytes;
  };
  struct Vector {
    PassageId id{};
    std::string bytes;
  };

  // Added, or replaced if the number exists.
  std::vector<Document> put_documents;
  // Former ids of documents in put_documents that have another now.
  std::vector<std::string> erase_ids;
  // Number and id of documents that go; their passages are listed in
  // erase_passages.
  std::vector<std::pair<DocumentNumber, std::string>> erase_documents;
  // New passages; each is pending until it gets a code.
  std::vector<Passage> put_passages;
  // Text, code, vector and pending mark go.
  std::vector<PassageId> erase_passages;
  // Codes of passages that exist and are pending.
  std::vector<Code> put_codes;
  // Vectors of passages that exist, opaque to the store; they stay until they
  // are erased or the passage goes.
  std::vector<Vector> put_vectors;
  // Passages whose vector, if they have one, goes; they stay. None that
  // put_vectors has.
  std::vector<PassageId> erase_vectors;
  // Passages whose code goes because a segment has it from now on; they stay,
  // and are not pending.
  std::vector<PassageId> erase_codes;
  // Passages that are deleted but still in a segment.
  std::vector<PassageId> put_tombstones;
  // Passages that are in no segment any more. None that put_tombstones has.
  std::vector<PassageId> erase_tombstones;
  // Replaces the manifest, which names the segments; opaque to the store.
  std::optional<std::string> manifest;
  // Replaces what is known of the folders that documents are read from; opaque
  // to the store.
  std::optional<std::string> sources;

  // For what is repaired or restored.
  // Passages that exist and are to get a code, since theirs is lost.
  std::vector<PassageId> put_pending;
  // Passages whose pending mark goes; they stay, if they exist.
  std::vector<PassageId> erase_pending;
  // Replaces the configuration that the store was created with.
  std::optional<std::string> configuration;

  // The counts after this batch.
  StoreCounts counts;
};

enum class Durability {
  kSynced,    // survives power loss once Commit returns
  kBuffered,  // survives a crash of the process only
};

struct DocumentSummary {
  std::string id;
  DocumentNumber number{};
};

// Durable documents, passages, their vectors if they are given any, codes of
// the delta, tombstones and manifest of one collection. Thread-safe; Commit
// calls are made by one thread at a time. Every read fails with kDataLoss if
// bytes on disk are not what was written.
class PassageStore {
 public:
  virtual ~PassageStore() = default;

  virtual absl::Status Commit(const StoreBatch& batch,
                              Durability durability) = 0;

  virtual absl::StatusOr<StoreCounts> GetCounts() const = 0;

  virtual absl::StatusOr<std::optional<DocumentNumber>> FindDocument(
      std::string_view id) const = 0;
  virtual absl::StatusOr<std::optional<DocumentRecord>> GetDocument(
      DocumentNumber number) const = 0;

  // Result i is for ids[i]; nullopt where no such passage exists.
  virtual absl::StatusOr<std::vector<std::optional<Passage>>> GetPassages(
      std::span<const PassageId> ids) const = 0;

  // Result i is for ids[i]; nullopt where no vector was given.
  virtual absl::StatusOr<std::vector<std::optional<std::string>>> GetVectors(
      std::span<const PassageId> ids) const = 0;

  // Up to `limit` documents whose id starts with `prefix` and is greater than
  // `after` (from the first if nullopt), in byte order of ids.
  virtual absl::StatusOr<std::vector<DocumentSummary>> ListDocuments(
      std::string_view prefix, std::optional<std::string_view> after,
      size_t limit) const = 0;

  // Up to `limit` pending passages with an id of `from` or more, in order of
  // id.
  virtual absl::StatusOr<std::vector<PassageId>> ListPending(
      PassageId from, size_t limit) const = 0;

  virtual absl::StatusOr<bool> IsPending(PassageId passage) const = 0;

  // Calls `visit` with every code, in order of passage id, until it returns a
  // status that is not OK; returns that status.
  virtual absl::Status VisitCodes(
      const std::function<absl::Status(PassageId, std::string_view code)>&
          visit) const = 0;

  // Calls `visit` with every tombstone, in order of passage id, until it
  // returns a status that is not OK; returns that status.
  virtual absl::Status VisitTombstones(
      const std::function<absl::Status(PassageId)>& visit) const = 0;

  // What the last batch with a manifest gave; nullopt if none did.
  virtual absl::StatusOr<std::optional<std::string>> GetManifest() const = 0;

  // What the last batch with sources gave; nullopt if none did.
  virtual absl::StatusOr<std::optional<std::string>> GetSources() const = 0;

  // Calls `visit` with every document, in order of number, until it returns a
  // status that is not OK; returns that status. A record that is not what was
  // written is given as kDataLoss.
  virtual absl::Status VisitDocuments(
      const std::function<absl::Status(DocumentNumber,
                                       const absl::StatusOr<DocumentRecord>&)>&
          visit) const = 0;

  // Calls `visit` with the id of every passage that has a text, in order, until
  // it returns a status that is not OK; returns that status.
  virtual absl::Status VisitPassages(
      const std::function<absl::Status(PassageId)>& visit) const = 0;

  // Calls `visit` with every vector, in order of passage id, until it returns a
  // status that is not OK; returns that status.
  virtual absl::Status VisitVectors(
      const std::function<absl::Status(PassageId, std::string_view vector)>&
          visit) const = 0;

  // Reads every byte on disk and compares checksums; kDataLoss at the first
  // that is not what was written. Progress is that of the bytes.
  virtual absl::Status CheckBytes(const WorkControl& control) const = 0;

  // Makes a store in `directory`, which must not exist and is for its owner
  // alone, of all that was committed: durable, and of the same files where the
  // file system allows. Not while a Commit runs.
  virtual absl::Status Checkpoint(
      const std::filesystem::path& directory) const = 0;

  // Flushes and compacts until the bytes on disk are those of a store at rest.
  // kCancelled soon after `cancelled` becomes true; what was done until then
  // stays done.
  virtual absl::Status Settle(std::atomic<bool>& cancelled) = 0;
};

}  // namespace pith

#endif  // PITH_CORE_STORAGE_PASSAGE_STORE_H_
