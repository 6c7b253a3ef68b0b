#include "core/index/collection.h"

#include <algorithm>
#include <future>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"

#include "core/base/file.h"
#include "core/base/parallel.h"
#include "core/base/reason.h"
#include "core/base/status_macros.h"
#include "core/base/thread_name.h"
#include "core/index/stored_vector.h"

namespace pith {
namespace {

// Writes that share one synced commit.
constexpr size_t kMaxGroupWrites = 128;
constexpr size_t kMaxGroupBytes = size_t{8} << 20;

// Passages embedded by one call.
constexpr size_t kEmbedBatchPassages = 32;
// Calls at a time, so that texts are tokenised, and requests are on their way,
// while the model works on others. At most the passages of so many calls are
// embedded twice when the process dies.
constexpr size_t kConcurrentEmbedCalls = 4;
// Writes of codes that wait for the writer while the next are embedded.
constexpr size_t kMaxIndexedInFlight = 2;
// Times that a batch may lose the model's process before its passages are tried
// one by one.
constexpr int kMaxUnavailable = 3;

// Errors that are about the passages at hand, and will come back with them. All
// others may pass: trying again later is worth it.
bool IsAboutPassages(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsInternal(status);
}

// The model failed on passages that may have been too much for it.
bool MayBePassages(const absl::Status& status) {
  return absl::IsUnavailable(status) &&
         ReasonOf(status) != kModelUnreachableReason;
}

size_t DocumentBytes(const DocumentInput& input) {
  size_t bytes = input.id.size() + input.title.size() + input.text.size();
  for (const auto& [key, value] : input.metadata) {
    const auto* text = std::get_if<std::string>(&value);
    bytes += key.size() + (text == nullptr ? sizeof(value) : text->size());
  }
  return bytes;
}

}  // namespace

// A store batch in the making, and what the delta has to forget once it is
// committed.
class Collection::Transaction {
 public:
  explicit Transaction(const StoreCounts& counts) { batch_.counts = counts; }

  StoreBatch& batch() { return batch_; }
  StoreCounts& counts() { return batch_.counts; }
  bool empty() const {
    return batch_.put_documents.empty() && batch_.erase_documents.empty() &&
           batch_.put_codes.empty() && batch_.put_vectors.empty();
  }

 private:
  StoreBatch batch_;
};

absl::StatusOr<std::unique_ptr<Collection>> Collection::Open(
    const CollectionConfig& config, const std::filesystem::path& segments,
    std::unique_ptr<PassageStore> store, Embedder& embedder, VectorCache& cache,
    const Options& options) {
  PITH_RETURN_IF_ERROR(CheckModel(config, embedder.identity()));
  std::unique_ptr<Collection> collection(new Collection(
      config, segments, std::move(store), embedder, cache, options));
  PITH_RETURN_IF_ERROR(CreatePrivateDirectories(segments));
  PITH_RETURN_IF_ERROR(
      Annotate(collection->Load(),
               absl::StrCat("open collection \"", config.name, "\"")));
  Collection& self = *collection;
  self.writer_ = std::thread([&self] { self.RunWriter(); });
  self.indexer_ = std::thread([&self] { self.RunIndexer(); });
  self.sealer_ = std::thread([&self] { self.RunSealer(); });
  return collection;
}

Collection::Collection(const CollectionConfig& config,
                       const std::filesystem::path& segments,
                       std::unique_ptr<PassageStore> store, Embedder& embedder,
                       VectorCache& cache, const Options& options)
    : config_(config),
      options_(options),
      store_(std::make_unique<MonitoredStore>(std::move(store))),
      embedder_(embedder),
      codec_(std::make_shared<const RotatedCodec>(config.model.dimension)),
      exact_vectors_(config_, *store_, embedder, cache),
      directory_(segments),
      delta_(codec_->code_bytes()) {}

Collection::~Collection() {
  Close();
}

void Collection::Close() {
  cancel_background_ = true;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    work_changed_.SignalAll();
    write_queued_.SignalAll();
    seal_changed_.SignalAll();
  }
  if (indexer_.joinable()) {
    indexer_.join();
  }
  if (writer_.joinable()) {
    writer_.join();
  }
  std::deque<QueuedWrite> writes;
  std::map<uint64_t, std::function<void(absl::StatusOr<uint64_t>)>> waiters;
  {
    MutexLock lock(mutex_);
    writes.swap(queue_);
    waiters.swap(waiters_);
    queued_bytes_ = 0;
  }
  const absl::Status closed = ClosedError();
  for (const QueuedWrite& queued : writes) {
    if (const auto* put = std::get_if<PutWrite>(&queued.write)) {
      put->done(closed);
    } else if (const auto* erase = std::get_if<DeleteWrite>(&queued.write)) {
      erase->done(closed);
    } else if (const auto* sealed = std::get_if<SealedWrite>(&queued.write)) {
      sealed->done(closed);
    } else if (const auto* sources = std::get_if<SourcesWrite>(&queued.write)) {
      sources->done(closed);
    } else if (const auto* copy = std::get_if<CopyWrite>(&queued.write)) {
      copy->done(closed);
    }
  }
  // It waits for no write any more.
  if (sealer_.joinable()) {
    sealer_.join();
  }
  for (const auto& [number, done] : waiters) {
    done(closed);
  }
}

absl::Status Collection::Load() {
  PITH_ASSIGN_OR_RETURN(const StoreCounts counts, store_->GetCounts());
  std::string renewed;
  PITH_RETURN_IF_ERROR(store_->VisitCodes([&](PassageId passage,
                                              std::string_view code)
                                              -> absl::Status {
    if (code.size() != codec_->code_bytes()) {
      return absl::DataLossError(absl::StrCat(
          "code of passage ", static_cast<uint64_t>(passage), " has ",
          code.size(), " bytes, not ", codec_->code_bytes()));
    }
    renewed.assign(code);
    codec_->Renew({reinterpret_cast<uint8_t*>(renewed.data()), renewed.size()});
    delta_.Append(passage, renewed);
    return absl::OkStatus();
  }));
  auto generation = std::make_shared<Generation>();
  generation->number = 1;
  generation->delta = delta_.Snapshot();
  PITH_RETURN_IF_ERROR(LoadSegments(*generation));
  const size_t sealed = SealedPassages(generation->segments);
  if (sealed < generation->dead.size() || generation->delta->live() + sealed -
                                                  generation->dead.size() +
                                                  counts.pending !=
                                              counts.passages) {
    return absl::DataLossError(absl::StrCat(
        generation->delta->live(), " codes, ", sealed,
        " passages in segments less ", generation->dead.size(),
        " tombstones, and ", counts.pending,
        " pending passages do not add up to ", counts.passages, " passages"));
  }
  // Not before all is known to agree.
  RemoveUnreferencedFiles();
  MutexLock lock(mutex_);
  counts_ = counts;
  generation_ = std::move(generation);
  return absl::OkStatus();
}

absl::Status Collection::Enqueue(QueuedWrite write) {
  MutexLock lock(mutex_);
  if (stopping_) {
    return ClosedError();
  }
  if (queue_.size() >= options_.max_queued_writes ||
      queued_bytes_ + write.bytes > options_.max_queued_bytes) {
    return WithReason(
        absl::ResourceExhaustedError(absl::StrCat(
            "collection \"", config_.name, "\": ", queue_.size(), " writes of ",
            queued_bytes_, " bytes wait; the limits are ",
            options_.max_queued_writes, " and ", options_.max_queued_bytes)),
        "WRITE_QUEUE_FULL");
  }
  queued_bytes_ += write.bytes;
  queue_.push_back(std::move(write));
  write_queued_.Signal();
  return absl::OkStatus();
}

void Collection::Put(DocumentInput input,
                     std::function<void(absl::StatusOr<PutResult>)> done) {
  if (absl::Status status = CheckDocument(input); !status.ok()) {
    done(std::move(status));
    return;
  }
  const size_t bytes = DocumentBytes(input);
  // Kept by a copy of the callback: a refused write is gone with the queue's
  // argument.
  auto refused = done;
  absl::Status status = Enqueue(
      {.write = PutWrite{std::move(input), std::move(done)}, .bytes = bytes});
  if (!status.ok()) {
    refused(std::move(status));
  }
}

void Collection::Delete(
    std::vector<std::string> ids,
    std::function<void(absl::StatusOr<DeleteResult>)> done) {
  size_t bytes = 0;
  for (const std::string& id : ids) {
    bytes += id.size();
  }
  auto refused = done;
  absl::Status status = Enqueue(
      {.write = DeleteWrite{std::move(ids), std::move(done)}, .bytes = bytes});
  if (!status.ok()) {
    refused(std::move(status));
  }
}

absl::StatusOr<DeleteResult> Collection::DeleteAndWait(
    std::vector<std::string> ids) {
  std::promise<absl::StatusOr<DeleteResult>> promise;
  std::future<absl::StatusOr<DeleteResult>> future = promise.get_future();
  Delete(std::move(ids), [&promise](absl::StatusOr<DeleteResult> result) {
    promise.set_value(std::move(result));
  });
  return future.get();
}

absl::Status Collection::EnqueueAndWait(
    size_t bytes,
    absl::FunctionRef<Write(std::function<void(const absl::Status&)>)> make) {
  std::promise<absl::Status> promise;
  std::future<absl::Status> future = promise.get_future();
  PITH_RETURN_IF_ERROR(
      Enqueue({.write = make([&promise](const absl::Status& status) {
                 promise.set_value(status);
               }),
               .bytes = bytes}));
  return future.get();
}

absl::Status Collection::SetSources(std::string sources) {
  return EnqueueAndWait(sources.size(), [&sources](auto done) {
    return SourcesWrite{.sources = std::move(sources), .done = std::move(done)};
  });
}

absl::Status Collection::CopyTo(const std::filesystem::path& directory) {
  return EnqueueAndWait(0, [&directory](auto done) {
    return CopyWrite{.directory = directory, .done = std::move(done)};
  });
}

absl::StatusOr<std::string> Collection::GetSources() const {
  PITH_ASSIGN_OR_RETURN(std::optional<std::string> sources,
                        store_->GetSources());
  return std::move(sources).value_or("");
}

uint64_t Collection::WhenSearchable(
    std::function<void(absl::StatusOr<uint64_t>)> done) {
  uint64_t failed = 0;
  bool closed = false;
  uint64_t waiter = 0;
  {
    MutexLock lock(mutex_);
    closed = stopping_;
    waiter = next_waiter_++;
    if (!closed && counts_.pending > failed_.size()) {
      waiters_.emplace(waiter, std::move(done));
      return waiter;
    }
    failed = failed_.size();
  }
  if (closed) {
    done(ClosedError());
  } else {
    done(failed);
  }
  return waiter;
}

void Collection::ForgetWaiter(uint64_t waiter) {
  MutexLock lock(mutex_);
  waiters_.erase(waiter);
}

void Collection::RunWriter() {
  SetThreadName("writer");
  while (true) {
    std::vector<QueuedWrite> group = NextGroup();
    if (group.empty()) {
      return;
    }
    if (auto* indexed = std::get_if<IndexedWrite>(&group[0].write)) {
      ApplyIndexed(std::move(*indexed));
    } else if (auto* sealed = std::get_if<SealedWrite>(&group[0].write)) {
      sealed->done(ApplySealed(*sealed));
    } else if (auto* sources = std::get_if<SourcesWrite>(&group[0].write)) {
      sources->done(ApplySources(*sources));
    } else if (const auto* copy = std::get_if<CopyWrite>(&group[0].write)) {
      copy->done(ApplyCopy(*copy));
    } else {
      ApplyPutsAndDeletes(std::move(group));
    }
  }
}

std::vector<Collection::QueuedWrite> Collection::NextGroup() {
  MutexLock lock(mutex_);
  while (queue_.empty() && !stopping_) {
    write_queued_.Wait(mutex_);
  }
  std::vector<QueuedWrite> group;
  if (stopping_) {
    return group;
  }
  // A group's reads see only what earlier groups committed, so no document may
  // be in it twice.
  absl::flat_hash_set<std::string> ids;
  size_t group_bytes = 0;
  while (!queue_.empty() && group.size() < kMaxGroupWrites &&
         group_bytes < kMaxGroupBytes) {
    QueuedWrite& next = queue_.front();
    const bool is_alone = !std::holds_alternative<PutWrite>(next.write) &&
                          !std::holds_alternative<DeleteWrite>(next.write);
    if (is_alone && !group.empty()) {
      break;
    }
    if (const auto* put = std::get_if<PutWrite>(&next.write)) {
      const std::optional<std::string>& former = put->input.renamed_from;
      if (ids.contains(put->input.id) || (former && ids.contains(*former))) {
        break;
      }
      ids.insert(put->input.id);
      if (former) {
        ids.insert(*former);
      }
    } else if (const auto* erase = std::get_if<DeleteWrite>(&next.write)) {
      if (std::any_of(
              erase->ids.begin(), erase->ids.end(),
              [&ids](const std::string& id) { return ids.contains(id); })) {
        break;
      }
      ids.insert(erase->ids.begin(), erase->ids.end());
    }
    queued_bytes_ -= next.bytes;
    group_bytes += next.bytes;
    group.push_back(std::move(next));
    queue_.pop_front();
    if (is_alone) {
      break;
    }
  }
  return group;
}

void Collection::ApplyPutsAndDeletes(std::vector<QueuedWrite> writes) {
  StoreCounts counts;
  {
    MutexLock lock(mutex_);
    counts = counts_;
  }
  Transaction transaction(counts);
  std::vector<std::function<void(const absl::Status&)>> acknowledge;
  for (QueuedWrite& queued : writes) {
    if (auto* put = std::get_if<PutWrite>(&queued.write)) {
      absl::StatusOr<PutResult> result = AddPut(put->input, transaction);
      acknowledge.push_back(
          [result = std::move(result),
           done = std::move(put->done)](const absl::Status& commit) {
            done(result.ok() && !commit.ok() ? commit : result);
          });
    } else {
      auto& erase = std::get<DeleteWrite>(queued.write);
      absl::StatusOr<DeleteResult> result = AddDelete(erase.ids, transaction);
      acknowledge.push_back(
          [result = std::move(result),
           done = std::move(erase.done)](const absl::Status& commit) {
            done(result.ok() && !commit.ok() ? commit : result);
          });
    }
  }
  const absl::Status status =
      transaction.empty() ? absl::OkStatus()
                          : CommitAndPublish(transaction, Durability::kSynced);
  for (const auto& done : acknowledge) {
    done(status);
  }
  NotifyIfSearchable();
}

absl::Status Collection::ApplySources(SourcesWrite& write) {
  StoreBatch batch{.sources = std::move(write.sources)};
  {
    MutexLock lock(mutex_);
    batch.counts = counts_;
  }
  return store_->Commit(batch, Durability::kSynced);
}

absl::Status Collection::ApplyCopy(const CopyWrite& write) {
  if (commit_unknown_) {
    return absl::UnavailableError(absl::StrCat(
        "copy collection \"", config_.name,
        "\": whether its last segment is published is unknown until a write "
        "succeeds"));
  }
  PITH_RETURN_IF_ERROR(store_->Checkpoint(write.directory));
  const std::filesystem::path segments = write.directory / kSegmentDirectory;
  PITH_RETURN_IF_ERROR(CreatePrivateDirectories(segments));
  return directory_.CopyTo(segments, manifest_);
}

absl::StatusOr<PutResult> Collection::AddPut(const DocumentInput& input,
                                             Transaction& transaction) {
  const ContentHash content_hash = HashDocument(input);
  PITH_ASSIGN_OR_RETURN(std::optional<DocumentNumber> stored,
                        store_->FindDocument(input.id));
  bool renamed = false;
  if (!stored && input.renamed_from) {
    PITH_ASSIGN_OR_RETURN(stored, store_->FindDocument(*input.renamed_from));
    renamed = stored.has_value();
  }
  std::optional<DocumentRecord> old_record;
  std::vector<Passage> old_passages;
  DocumentNumber number = transaction.counts().next_document;
  if (stored) {
    number = *stored;
    PITH_ASSIGN_OR_RETURN(old_record, store_->GetDocument(number));
    if (!old_record) {
      return absl::DataLossError(
          absl::StrCat("document \"", input.id, "\" has no record"));
    }
    if (old_record->content_hash == content_hash && !renamed) {
      if (input.stamp && input.stamp != old_record->stamp) {
        old_record->stamp = input.stamp;
        transaction.batch().put_documents.push_back(
            {.number = number, .record = *old_record});
      }
      return PutResult{.outcome = PutOutcome::kUnchanged,
                       .passages = old_record->passages.size()};
    }
    PITH_ASSIGN_OR_RETURN(old_passages, ReadPassages(number, *old_record));
  } else if (static_cast<uint64_t>(number) > kMaxDocumentNumber) {
    return absl::ResourceExhaustedError(
        absl::StrCat("collection \"", config_.name, "\" has used all ",
                     kMaxDocumentNumber, " document numbers"));
  }
  PITH_ASSIGN_OR_RETURN(DocumentChange change,
                        PlanDocumentChange(input, content_hash, number,
                                           old_record ? &*old_record : nullptr,
                                           old_passages, config_, embedder_));

  PutResult result{.outcome = renamed  ? PutOutcome::kRenamed
                              : stored ? PutOutcome::kUpdated
                                       : PutOutcome::kAdded,
                   .passages = change.record.passages.size(),
                   .passages_to_embed = change.put_passages.size(),
                   .truncated = change.truncated};
  // Staged apart, so that a failure half-way changes nothing.
  StoreCounts counts = transaction.counts();
  std::vector<PassageId> tombstones;
  absl::flat_hash_map<PassageId, uint64_t> old_bytes;
  for (const Passage& passage : old_passages) {
    old_bytes.emplace(passage.id, passage.text.size());
  }
  for (const PassageId passage : change.erase_passages) {
    PITH_RETURN_IF_ERROR(
        EraseFromCounts(passage, old_bytes.at(passage), counts, tombstones));
  }
  if (!stored) {
    ++counts.documents;
    counts.next_document =
        DocumentNumber{static_cast<uint64_t>(counts.next_document) + 1};
  }
  StoreBatch& batch = transaction.batch();
  for (Passage& passage : change.put_passages) {
    ++counts.passages;
    ++counts.pending;
    counts.text_bytes += passage.text.size();
    batch.put_passages.push_back(std::move(passage));
  }
  batch.counts = counts;
  batch.erase_passages.insert(batch.erase_passages.end(),
                              change.erase_passages.begin(),
                              change.erase_passages.end());
  batch.put_tombstones.insert(batch.put_tombstones.end(), tombstones.begin(),
                              tombstones.end());
  if (renamed) {
    batch.erase_ids.push_back(*input.renamed_from);
  }
  batch.put_documents.push_back(
      {.number = number, .record = std::move(change.record)});
  return result;
}

absl::StatusOr<DeleteResult> Collection::AddDelete(
    const std::vector<std::string>& ids, Transaction& transaction) {
  DeleteResult result;
  // Staged apart, so that a failure half-way changes nothing.
  StoreCounts counts = transaction.counts();
  std::vector<std::pair<DocumentNumber, std::string>> documents;
  std::vector<PassageId> passages;
  std::vector<PassageId> tombstones;
  absl::flat_hash_set<std::string> seen;
  for (const std::string& id : ids) {
    if (!seen.insert(id).second) {
      continue;
    }
    PITH_ASSIGN_OR_RETURN(const std::optional<DocumentNumber> number,
                          store_->FindDocument(id));
    if (!number) {
      ++result.not_found;
      continue;
    }
    PITH_ASSIGN_OR_RETURN(const std::optional<DocumentRecord> record,
                          store_->GetDocument(*number));
    if (!record) {
      return absl::DataLossError(
          absl::StrCat("document \"", id, "\" has no record"));
    }
    ++result.deleted;
    --counts.documents;
    for (const PassageEntry& entry : record->passages) {
      const PassageId passage = MakePassageId(*number, entry.serial);
      PITH_RETURN_IF_ERROR(
          EraseFromCounts(passage, entry.bytes, counts, tombstones));
      passages.push_back(passage);
    }
    documents.emplace_back(*number, id);
  }
  transaction.counts() = counts;
  StoreBatch& batch = transaction.batch();
  batch.erase_documents.insert(batch.erase_documents.end(), documents.begin(),
                               documents.end());
  batch.erase_passages.insert(batch.erase_passages.end(), passages.begin(),
                              passages.end());
  batch.put_tombstones.insert(batch.put_tombstones.end(), tombstones.begin(),
                              tombstones.end());
  return result;
}

absl::StatusOr<std::vector<Passage>> Collection::ReadExisting(
    std::span<const PassageId> ids) const {
  PITH_ASSIGN_OR_RETURN(std::vector<std::optional<Passage>> found,
                        store_->GetPassages(ids));
  std::vector<Passage> passages;
  for (std::optional<Passage>& passage : found) {
    if (passage) {
      passages.push_back(*std::move(passage));
    }
  }
  return passages;
}

absl::StatusOr<std::vector<Passage>> Collection::ReadPassages(
    DocumentNumber number, const DocumentRecord& record) const {
  std::vector<PassageId> ids;
  ids.reserve(record.passages.size());
  for (const PassageEntry& entry : record.passages) {
    ids.push_back(MakePassageId(number, entry.serial));
  }
  PITH_ASSIGN_OR_RETURN(std::vector<std::optional<Passage>> found,
                        store_->GetPassages(ids));
  std::vector<Passage> passages;
  passages.reserve(found.size());
  for (size_t i = 0; i < found.size(); ++i) {
    if (!found[i]) {
      return absl::DataLossError(
          absl::StrCat("passage ", static_cast<uint64_t>(ids[i]),
                       " of document \"", record.id, "\" is missing"));
    }
    passages.push_back(*std::move(found[i]));
  }
  return passages;
}

absl::Status Collection::EraseFromCounts(
    PassageId passage, uint64_t text_bytes, StoreCounts& counts,
    std::vector<PassageId>& tombstones) const {
  --counts.passages;
  counts.text_bytes -= text_bytes;
  if (delta_.Contains(passage)) {
    return absl::OkStatus();
  }
  PITH_ASSIGN_OR_RETURN(const bool pending, store_->IsPending(passage));
  if (pending) {
    --counts.pending;
  } else {
    tombstones.push_back(passage);
  }
  return absl::OkStatus();
}

absl::Status Collection::CommitAndPublish(Transaction& transaction,
                                          Durability durability) {
  const StoreBatch& batch = transaction.batch();
  PITH_RETURN_IF_ERROR(store_->Commit(batch, durability));

  for (const PassageId passage : batch.erase_passages) {
    delta_.Erase(passage);
  }
  uint64_t written = 0;
  for (const StoreBatch::Code& code : batch.put_codes) {
    delta_.Append(code.id, code.bytes);
    written += code.bytes.size();
  }
  for (const StoreBatch::Vector& vector : batch.put_vectors) {
    written += vector.bytes.size();
  }
  for (const Passage& passage : batch.put_passages) {
    written += passage.text.size();
  }
  // The writer alone replaces generations.
  std::shared_ptr<Generation> next;
  if (!batch.erase_passages.empty() || !batch.put_codes.empty()) {
    next = std::make_shared<Generation>(*CurrentGeneration());
    ++next->number;
    next->delta = delta_.Snapshot();
    if (!batch.put_tombstones.empty()) {
      next->dead = next->dead.With(batch.put_tombstones);
    }
  }

  MutexLock lock(mutex_);
  if (next != nullptr) {
    generation_ = std::move(next);
    seal_changed_.SignalAll();
  }
  counts_ = batch.counts;
  for (const PassageId passage : batch.erase_passages) {
    failed_.erase(passage);
  }
  for (const StoreBatch::Code& code : batch.put_codes) {
    failed_.erase(code.id);
  }
  embedded_passages_ += batch.put_codes.size();
  unsettled_bytes_ +=
      written + batch.erase_passages.size() * codec_->code_bytes();
  last_write_ = absl::Now();
  work_changed_.SignalAll();
  return absl::OkStatus();
}

void Collection::ApplyIndexed(IndexedWrite write) {
  StoreCounts counts;
  {
    MutexLock lock(mutex_);
    counts = counts_;
  }
  Transaction transaction(counts);
  absl::Status status = absl::OkStatus();
  for (size_t i = 0; i < write.codes.size(); ++i) {
    absl::StatusOr<bool> pending = store_->IsPending(write.codes[i].id);
    if (!pending.ok()) {
      status = pending.status();
      break;
    }
    // Not so if its document changed or went since it was read.
    if (*pending) {
      --transaction.counts().pending;
      transaction.batch().put_codes.push_back(std::move(write.codes[i]));
      if (!write.vectors.empty()) {
        transaction.batch().put_vectors.push_back(std::move(write.vectors[i]));
      }
    }
  }
  absl::flat_hash_set<PassageId> hubs;
  for (const StoreBatch::Vector& vector : write.hub_vectors) {
    hubs.insert(vector.id);
  }
  if (status.ok() && !hubs.empty()) {
    status = AddHubVectors(std::move(write.hub_vectors), transaction.batch());
  }
  if (status.ok() && !transaction.empty()) {
    status = CommitAndPublish(transaction, Durability::kBuffered);
  }
  for (const auto& [passage, reason] : write.failures) {
    const absl::StatusOr<bool> pending = store_->IsPending(passage);
    if (pending.ok() && *pending) {
      LOG(ERROR) << "collection \"" << config_.name << "\": passage "
                 << static_cast<uint64_t>(passage)
                 << " cannot be embedded: " << reason;
      MutexLock lock(mutex_);
      failed_[passage] = reason;
    }
  }
  {
    MutexLock lock(mutex_);
    if (!status.ok()) {
      embedding_error_ = status;
      indexed_write_status_ = status;
    } else if (write.failures.empty()) {
      embedding_error_ = absl::OkStatus();
    } else {
      embedding_error_ = write.failures.back().second;
    }
    if (status.ok()) {
      std::erase_if(hubs_, [&hubs](PassageId id) { return hubs.contains(id); });
    }
    --indexed_in_flight_;
    work_changed_.SignalAll();
  }
  NotifyIfSearchable();
}

absl::Status Collection::AddHubVectors(std::vector<StoreBatch::Vector> vectors,
                                       StoreBatch& batch) const {
  std::vector<PassageId> ids;
  for (const StoreBatch::Vector& vector : vectors) {
    ids.push_back(vector.id);
  }
  PITH_ASSIGN_OR_RETURN(const std::vector<std::optional<Passage>> passages,
                        store_->GetPassages(ids));
  for (size_t i = 0; i < vectors.size(); ++i) {
    // Its segment may have been replaced since.
    if (passages[i] && current_hubs_.contains(vectors[i].id)) {
      batch.put_vectors.push_back(std::move(vectors[i]));
    }
  }
  return absl::OkStatus();
}

void Collection::NotifyIfSearchable() {
  std::map<uint64_t, std::function<void(absl::StatusOr<uint64_t>)>> waiters;
  uint64_t failed = 0;
  {
    MutexLock lock(mutex_);
    if (counts_.pending > failed_.size()) {
      return;
    }
    failed = failed_.size();
    waiters.swap(waiters_);
  }
  for (const auto& [number, done] : waiters) {
    done(failed);
  }
}

void Collection::RunIndexer() {
  SetThreadName("indexer");
  absl::Duration retry_delay = absl::ZeroDuration();
  while (WaitForWork(retry_delay)) {
    absl::Status status = EmbedPending();
    if (status.ok()) {
      status = EmbedHubs();
    }
    if (status.ok()) {
      retry_delay = absl::ZeroDuration();
      continue;
    }
    retry_delay = std::clamp(2 * retry_delay, options_.min_retry_delay,
                             options_.max_retry_delay);
    bool is_news = false;
    {
      MutexLock lock(mutex_);
      if (stopping_) {
        return;
      }
      // Once for each reason, not for each attempt.
      is_news = embedding_error_ != status;
      embedding_error_ = status;
    }
    LOG_IF(ERROR, is_news) << "collection \"" << config_.name
                           << "\": embedding stopped, will be tried again: "
                           << status;
  }
}

bool Collection::WaitForWork(absl::Duration retry_delay) {
  const absl::Time retry_time = absl::Now() + retry_delay;
  while (true) {
    uint64_t unsettled = 0;
    {
      MutexLock lock(mutex_);
      while (!stopping_ && absl::Now() < retry_time) {
        work_changed_.WaitFor(mutex_, retry_time - absl::Now());
      }
      // A pass starts when all of the last one's writes are applied, so that no
      // passage is in two.
      while (!stopping_ && unsettled == 0 &&
             (indexed_in_flight_ > 0 ||
              (counts_.pending <= failed_.size() && hubs_.empty()))) {
        const absl::Time pause_end = last_write_ + options_.settle_pause;
        const bool paused = absl::Now() >= pause_end;
        if (indexed_in_flight_ == 0 &&
            unsettled_bytes_ >= UnsettledBound(paused ? kPausedUnsettledPart
                                                      : kUnsettledPart)) {
          unsettled = unsettled_bytes_;
        } else if (!paused &&
                   unsettled_bytes_ >= UnsettledBound(kPausedUnsettledPart)) {
          work_changed_.WaitFor(mutex_, pause_end - absl::Now());
        } else {
          work_changed_.Wait(mutex_);
        }
      }
      if (stopping_) {
        return false;
      }
      // Whatever comes of it: a store that does not settle is not asked again
      // before as much is new.
      unsettled_bytes_ -= unsettled;
    }
    if (unsettled == 0) {
      return true;
    }
    const absl::Status status = store_->Settle(cancel_background_);
    if (!status.ok() && !absl::IsCancelled(status)) {
      LOG(ERROR) << "collection \"" << config_.name
                 << "\": settling failed: " << status;
    }
  }
}

uint64_t Collection::UnsettledBound(uint64_t part) const {
  return std::max(kMinUnsettledBytes, counts_.text_bytes / part);
}

absl::Status Collection::EmbedPending() {
  PassageId from{0};
  while (true) {
    // Which of the passages lost the model is not found out by several at once.
    const size_t calls = unavailable_count_ == 0 ? kConcurrentEmbedCalls : 1;
    PITH_ASSIGN_OR_RETURN(
        std::vector<PassageId> ids,
        store_->ListPending(from, calls * kEmbedBatchPassages));
    {
      MutexLock lock(mutex_);
      while (indexed_in_flight_ >= (ids.empty() ? 1 : kMaxIndexedInFlight) &&
             !stopping_) {
        work_changed_.Wait(mutex_);
      }
      if (stopping_) {
        return absl::CancelledError("the collection is closing");
      }
      if (!indexed_write_status_.ok()) {
        return std::exchange(indexed_write_status_, absl::OkStatus());
      }
      if (ids.empty()) {
        unavailable_count_ = 0;
        return absl::OkStatus();
      }
      from = PassageId{static_cast<uint64_t>(ids.back()) + 1};
      std::erase_if(ids, [this](PassageId id) ABSL_NO_THREAD_SAFETY_ANALYSIS {
        return failed_.contains(id);
      });
    }
    if (ids.empty()) {
      continue;
    }
    std::vector<EmbedCall> batches;
    for (size_t i = 0; i < ids.size(); i += kEmbedBatchPassages) {
      const size_t count = std::min(ids.size() - i, kEmbedBatchPassages);
      batches.push_back(
          {.ids = std::span<const PassageId>(ids).subspan(i, count)});
    }
    PITH_RETURN_IF_ERROR(
        ParallelFor({.threads = batches.size()}, batches.size(), /*grain=*/1,
                    [&](size_t, size_t i, size_t) {
                      batches[i].status = ReadAndEmbed(batches[i]);
                    }));
    IndexedWrite write;
    absl::Status status;
    for (EmbedCall& batch : batches) {
      if (status.ok() && !batch.passages.empty() &&
          MayBePassages(batch.status)) {
        batch.status = CountUnavailable(batch);
      }
      status.Update(batch.status);
      if (batch.status.ok()) {
        write.Append(std::move(batch.write));
        write.Append(std::move(batch.lost));
      }
    }
    if (!write.empty()) {
      MutexLock lock(mutex_);
      ++indexed_in_flight_;
      queue_.push_back({.write = std::move(write)});
      write_queued_.Signal();
    }
    PITH_RETURN_IF_ERROR(status);
  }
}

absl::Status Collection::ReadAndEmbed(EmbedCall& call) {
  PITH_RETURN_IF_ERROR(ReadPending(call.ids, call.passages, call.lost));
  return call.passages.empty() ? absl::OkStatus()
                               : EmbedInto(call.passages, call.write);
}

absl::Status Collection::CountUnavailable(EmbedCall& call) {
  const PassageId first = call.passages[0].id;
  unavailable_count_ = first == unavailable_first_ ? unavailable_count_ + 1 : 1;
  unavailable_first_ = first;
  if (unavailable_count_ < kMaxUnavailable) {
    return call.status;
  }
  call.write = {};
  return IsolateInto(call.passages, call.write);
}

absl::Status Collection::ReadPending(std::span<const PassageId> ids,
                                     std::vector<Passage>& passages,
                                     IndexedWrite& lost) const {
  const absl::StatusOr<std::vector<std::optional<Passage>>> found =
      store_->GetPassages(ids);
  if (absl::IsDataLoss(found.status()) && ids.size() > 1) {
    const size_t half = ids.size() / 2;
    PITH_RETURN_IF_ERROR(ReadPending(ids.first(half), passages, lost));
    return ReadPending(ids.subspan(half), passages, lost);
  }
  if (absl::IsDataLoss(found.status())) {
    lost.failures.emplace_back(ids[0], found.status());
    return absl::OkStatus();
  }
  PITH_RETURN_IF_ERROR(found.status());
  for (size_t i = 0; i < ids.size(); ++i) {
    if ((*found)[i]) {
      passages.push_back(*(*found)[i]);
    } else {
      // No failure if its document was deleted meanwhile: the writer looks.
      lost.failures.emplace_back(ids[i],
                                 absl::DataLossError("its text is missing"));
    }
  }
  return absl::OkStatus();
}

absl::Status Collection::EmbedHubs() {
  std::vector<PassageId> ids;
  {
    MutexLock lock(mutex_);
    const size_t count = std::min(hubs_.size(), kEmbedBatchPassages);
    ids.assign(hubs_.end() - static_cast<ptrdiff_t>(count), hubs_.end());
  }
  if (ids.empty()) {
    return absl::OkStatus();
  }
  PITH_ASSIGN_OR_RETURN(const std::vector<std::optional<std::string>> stored,
                        store_->GetVectors(ids));
  std::vector<PassageId> missing;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!stored[i]) {
      missing.push_back(ids[i]);
    }
  }
  PITH_ASSIGN_OR_RETURN(const std::vector<Passage> passages,
                        ReadExisting(missing));
  IndexedWrite write;
  PITH_RETURN_IF_ERROR(EmbedHubsInto(passages, write.hub_vectors));
  // Those that are stored, gone or not to be embedded; the others when their
  // vectors are committed.
  absl::flat_hash_set<PassageId> settled(ids.begin(), ids.end());
  for (const StoreBatch::Vector& vector : write.hub_vectors) {
    settled.erase(vector.id);
  }
  MutexLock lock(mutex_);
  std::erase_if(hubs_,
                [&settled](PassageId id) { return settled.contains(id); });
  if (!write.hub_vectors.empty()) {
    ++indexed_in_flight_;
    queue_.push_back({.write = std::move(write)});
    write_queued_.Signal();
  }
  return absl::OkStatus();
}

absl::Status Collection::EmbedHubsInto(
    std::span<const Passage> passages,
    std::vector<StoreBatch::Vector>& vectors) {
  if (passages.empty()) {
    return absl::OkStatus();
  }
  const absl::StatusOr<Matrix> embedded =
      EmbedPassages(passages, IngestContext());
  if (embedded.ok()) {
    for (size_t i = 0; i < passages.size(); ++i) {
      vectors.push_back(
          {.id = passages[i].id,
           .bytes = EncodeStoredVector(embedded->row(i), VectorFormat::kF16,
                                       embedder_.precision())});
    }
    return absl::OkStatus();
  }
  if (!IsAboutPassages(embedded.status())) {
    return embedded.status();
  }
  if (passages.size() == 1) {
    return absl::OkStatus();
  }
  const size_t half = passages.size() / 2;
  PITH_RETURN_IF_ERROR(EmbedHubsInto(passages.first(half), vectors));
  return EmbedHubsInto(passages.subspan(half), vectors);
}

RequestContext Collection::IngestContext() {
  return {.cancelled =
              [this] {
                MutexLock lock(mutex_);
                return stopping_;
              },
          .priority = EmbedPriority::kIngest};
}

absl::Status Collection::EmbedInto(std::span<const Passage> passages,
                                   IndexedWrite& write) {
  const absl::StatusOr<Matrix> vectors =
      EmbedPassages(passages, IngestContext());
  if (vectors.ok()) {
    for (size_t i = 0; i < passages.size(); ++i) {
      std::string code(codec_->code_bytes(), '\0');
      codec_->Encode(vectors->row(i),
                     {reinterpret_cast<uint8_t*>(code.data()), code.size()});
      write.codes.push_back({.id = passages[i].id, .bytes = std::move(code)});
      if (config_.vector_source == VectorSource::kStoredF16 ||
          config_.vector_source == VectorSource::kStoredI8) {
        write.vectors.push_back(
            {.id = passages[i].id,
             .bytes = EncodeStoredVector(
                 vectors->row(i),
                 config_.vector_source == VectorSource::kStoredI8
                     ? VectorFormat::kI8
                     : VectorFormat::kF16,
                 embedder_.precision())});
      }
    }
    return absl::OkStatus();
  }
  if (!IsAboutPassages(vectors.status())) {
    return vectors.status();
  }
  if (passages.size() == 1) {
    write.failures.emplace_back(passages[0].id, vectors.status());
    return absl::OkStatus();
  }
  // Halves find the passages at fault in few calls.
  PITH_RETURN_IF_ERROR(EmbedInto(passages.first(passages.size() / 2), write));
  return EmbedInto(passages.subspan(passages.size() / 2), write);
}

absl::Status Collection::IsolateInto(std::span<const Passage> passages,
                                     IndexedWrite& write) {
  std::vector<std::pair<PassageId, absl::Status>> lost;
  for (const Passage& passage : passages) {
    const absl::Status status = EmbedInto(std::span(&passage, 1), write);
    if (MayBePassages(status)) {
      lost.emplace_back(passage.id, status);
    } else {
      PITH_RETURN_IF_ERROR(status);
    }
  }
  if (lost.size() == passages.size()) {
    // Nothing says that it is the passages.
    return lost[0].second;
  }
  write.failures.insert(write.failures.end(), lost.begin(), lost.end());
  return absl::OkStatus();
}

absl::StatusOr<Matrix> Collection::EmbedPassages(
    std::span<const Passage> passages, const RequestContext& context) {
  std::vector<std::string> texts;
  std::vector<std::string_view> views;
  texts.reserve(passages.size());
  for (const Passage& passage : passages) {
    texts.push_back(EmbeddedText(passage, config_));
    views.push_back(texts.back());
  }
  return embedder_.Embed(views, TextRole::kPassage, context);
}

absl::StatusOr<std::optional<StoredDocument>> Collection::Get(
    std::string_view id) const {
  PITH_ASSIGN_OR_RETURN(const std::optional<DocumentNumber> number,
                        store_->FindDocument(id));
  if (!number) {
    return std::nullopt;
  }
  PITH_ASSIGN_OR_RETURN(std::optional<DocumentRecord> record,
                        store_->GetDocument(*number));
  if (!record) {
    // Deleted between the two reads.
    return std::nullopt;
  }
  absl::StatusOr<std::vector<Passage>> passages =
      ReadPassages(*number, *record);
  if (!passages.ok()) {
    // Either damage, or the document changed since its record was read.
    PITH_ASSIGN_OR_RETURN(const std::optional<DocumentRecord> now,
                          store_->GetDocument(*number));
    if (now == record) {
      return passages.status();
    }
    return Get(id);
  }
  StoredDocument document{.record = *std::move(record), .text = ""};
  for (const Passage& passage : *passages) {
    document.text += passage.text;
  }
  return document;
}

absl::StatusOr<std::vector<DocumentListing>> Collection::List(
    std::string_view prefix, std::optional<std::string_view> after,
    size_t limit) const {
  std::vector<DocumentListing> listings;
  std::optional<std::string> last;
  if (after) {
    last = std::string(*after);
  }
  // More than once only if documents are deleted between the reads.
  while (listings.size() < limit) {
    const size_t wanted = limit - listings.size();
    PITH_ASSIGN_OR_RETURN(const std::vector<DocumentSummary> summaries,
                          store_->ListDocuments(prefix, last, wanted));
    for (const DocumentSummary& summary : summaries) {
      last = summary.id;
      PITH_ASSIGN_OR_RETURN(const std::optional<DocumentRecord> record,
                            store_->GetDocument(summary.number));
      if (!record) {
        continue;
      }
      DocumentListing listing{.id = record->id,
                              .title = record->title,
                              .passages = record->passages.size(),
                              .stamp = record->stamp};
      for (const PassageEntry& entry : record->passages) {
        listing.text_bytes += entry.bytes;
      }
      listings.push_back(std::move(listing));
    }
    if (summaries.size() < wanted) {
      break;
    }
  }
  return listings;
}

CollectionStatus Collection::GetStatus() const {
  MutexLock lock(mutex_);
  CollectionStatus status = {
      .counts = counts_,
      .failed_passages = failed_.size(),
      .embedded_passages = embedded_passages_,
      .embedding_error = embedding_error_,
      .generation = generation_->number,
      .delta_passages = generation_->delta->live(),
      .segments = generation_->segments.size(),
      .codebooks = CodebooksOf(generation_->segments).size(),
      .sealed_passages = SealedPassages(generation_->segments),
      .dead_passages = generation_->dead.size(),
      .sealing_error = sealing_error_,
      .sealing_pause = sealing_pause_,
      .storage_error = store_->trouble()};
  status.code_memory_bytes =
      generation_->delta->memory_bytes() + generation_->dead.memory_bytes();
  for (const auto& segment : generation_->segments) {
    status.code_memory_bytes += segment->memory_bytes();
  }
  return status;
}

absl::StatusOr<std::vector<WaitingDocument>> Collection::ListWaiting(
    size_t max_passages) const {
  PITH_ASSIGN_OR_RETURN(const std::vector<PassageId> passages,
                        store_->ListPending(PassageId{0}, max_passages));
  std::vector<WaitingDocument> documents;
  std::optional<DocumentNumber> last;
  for (const PassageId passage : passages) {
    if (last != DocumentOf(passage)) {
      last = DocumentOf(passage);
      PITH_ASSIGN_OR_RETURN(std::optional<DocumentRecord> record,
                            store_->GetDocument(*last));
      // The id is empty if it was deleted meanwhile.
      documents.push_back({.id = record ? std::move(record->id) : ""});
    }
    MutexLock lock(mutex_);
    if (const auto failed = failed_.find(passage); failed != failed_.end()) {
      documents.back().failure = failed->second;
    }
  }
  std::erase_if(documents, [](const WaitingDocument& document) {
    return document.id.empty();
  });
  return documents;
}

std::shared_ptr<const Collection::Generation> Collection::CurrentGeneration()
    const {
  MutexLock lock(mutex_);
  return generation_;
}

}  // namespace pith
