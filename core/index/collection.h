#ifndef PITH_CORE_INDEX_COLLECTION_H_
#define PITH_CORE_INDEX_COLLECTION_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "core/base/ids.h"
#include "core/base/mutex.h"
#include "core/codes/rotated_code.h"
#include "core/index/candidates.h"
#include "core/index/collection_config.h"
#include "core/index/delta.h"
#include "core/index/document_change.h"
#include "core/index/embedder.h"
#include "core/index/exact_vectors.h"
#include "core/index/manifest.h"
#include "core/index/passage_set.h"
#include "core/index/recompute_policy.h"
#include "core/index/seal_throttle.h"
#include "core/index/sealing.h"
#include "core/index/segment.h"
#include "core/index/segment_directory.h"
#include "core/index/vector_cache.h"
#include "core/storage/monitored_store.h"
#include "core/storage/passage_store.h"

namespace pith {

enum class PutOutcome {
  kAdded,
  kUpdated,
  kUnchanged,
  // Another document has this one's id now, and may have been updated, too.
  kRenamed,
};

struct PutResult {
  PutOutcome outcome = PutOutcome::kUnchanged;
  size_t passages = 0;
  // Passages that are new and have to be embedded.
  size_t passages_to_embed = 0;
  bool truncated = false;
};

struct DeleteResult {
  size_t deleted = 0;
  size_t not_found = 0;
};

struct StoredDocument {
  DocumentRecord record;
  std::string text;
};

struct DocumentListing {
  std::string id;
  std::string title;
  size_t passages = 0;
  uint64_t text_bytes = 0;
  std::optional<FileStamp> stamp;
};

// A document with passages that have no code yet.
struct WaitingDocument {
  std::string id;
  // Why one of them cannot be embedded; OK if all only wait.
  absl::Status failure;
};

// A text, a unit vector, or a stored passage.
using SearchQuery = std::variant<std::string, std::vector<float>, PassageId>;

inline constexpr size_t kMaxHits = 1000;
inline constexpr size_t kMaxRerank = 2000;
inline constexpr size_t kMaxBeam = 10'000;

enum class SearchMode {
  // Candidates are found by code alone, and the best of them recomputed.
  kCodes,
  // Segments with a graph are searched on two levels (TwoLevelWalk): their
  // walk itself is steered by recomputed vectors. Others as kCodes.
  kTwoLevel,
};

struct SearchOptions {
  // Hits wanted: 1 to kMaxHits.
  size_t k = 10;
  // Candidates are recomputed until on average this share of the true k nearest
  // is among them (RecomputePolicy); nullopt: as many as `rerank` says.
  std::optional<double> recall_target = 0.95;
  // How many candidates are recomputed; with a recall target, at most. k to
  // kMaxRerank.
  size_t rerank = kMaxRerank;
  SearchMode mode = SearchMode::kCodes;
  // Nodes that the walk of a segment's graph keeps, 1 to kMaxBeam; nullopt: as
  // many as the target asks for. More if `rerank` without a target, or four
  // times k, is more. A two-level walk takes no notice.
  std::optional<size_t> beam;
};

struct SearchHit {
  PassageId passage{};
  // Inner product of exact unit vectors.
  float score = 0;
  std::string document_id;
  std::string title;
  Metadata metadata;
  std::string text;
  // What is embedded in front of the text.
  std::string heading_path;
  uint64_t offset = 0;
  // From 1.
  uint64_t first_line = 0;
  uint64_t last_line = 0;
};

struct SearchResult {
  // Best first; equal scores by passage id.
  std::vector<SearchHit> hits;
  uint64_t generation = 0;
  // Codes that were scored.
  size_t candidates_scored = 0;
  // Segments that were searched, beside the delta.
  size_t segments = 0;
  // Passages whose exact vector was needed, and where those came from.
  size_t passages_reranked = 0;
  VectorCounts vectors;
  size_t pending_passages = 0;
  absl::Duration embed_time;
  absl::Duration scan_time;
  absl::Duration rerank_time;
};

struct CollectionStatus {
  StoreCounts counts;
  uint64_t failed_passages = 0;
  // Passages embedded since the collection was opened.
  uint64_t embedded_passages = 0;
  // Why embedding failed last, if it did; OK again after a success.
  absl::Status embedding_error;
  uint64_t generation = 0;
  // Of codes, graphs and ids, in the delta and in segments.
  size_t code_memory_bytes = 0;
  size_t delta_passages = 0;
  size_t segments = 0;
  // Codebooks that the segments have between them.
  size_t codebooks = 0;
  // Passages in segments, and those of them that were deleted since.
  size_t sealed_passages = 0;
  size_t dead_passages = 0;
  // Why sealing failed last, if it did; OK again after a success.
  absl::Status sealing_error;
  // Why sealing pauses (SealThrottle::PauseReason); empty if it does not.
  std::string sealing_pause;
  // MonitoredStore::trouble.
  absl::Status storage_error;
};

struct CompactOptions {
  // Codes are made from the passages' vectors again, recomputed from their
  // texts unless they are stored, and from one codebook that is trained on
  // those. Else codes are made of codes, which keeps as many codebooks as there
  // are.
  bool recompute = false;
};

struct CompactProgress {
  SealPhase phase = SealPhase::kTraining;
  // That are moved, and those of them whose vectors are there again.
  size_t passages = 0;
  size_t recomputed = 0;
};

struct CompactResult {
  // Passages that left the delta, and those that are in new segments; none if
  // there was nothing to do.
  size_t sealed_passages = 0;
  size_t segment_passages = 0;
  // New ones, and those that they replaced.
  size_t segments = 0;
  size_t replaced_segments = 0;
  bool trained_codebook = false;
  // Passages that stay in the delta since no codebook fits them and they are
  // too few to train one, and how many it takes.
  size_t delta_passages = 0;
  size_t required_passages = 0;
};

// Documents that share one model, with the index over their passages.
//
// Writes are queued, applied by one writer thread in order, several with one
// synced commit, and acknowledged through a callback when they are durable. An
// indexer thread embeds the passages that wait, in order of id, and hands their
// codes to the writer. A sealing thread turns codes of the delta into segments.
// Searches read one published generation and take no lock but to fetch it.
// Thread-safe.
class Collection {
 public:
  struct Options {
    // Bounds of the write queue; beyond them writes are refused.
    size_t max_queued_writes = 1024;
    size_t max_queued_bytes = size_t{256} << 20;
    // Wait before embedding is tried again after the embedder failed; doubled
    // at each failure up to the maximum.
    absl::Duration min_retry_delay = absl::Milliseconds(200);
    absl::Duration max_retry_delay = absl::Seconds(30);
    // Passages in the delta from which on it is sealed, also when that is asked
    // for, as a codebook wants as many to be trained on.
    size_t seal_passages = 10'000;
    // Passages from which on a segment has a graph.
    size_t min_graph_passages = kMinGraphPassages;
    // Threads that seal.
    int seal_threads = 1;
    // Without a write for as long, the store is settled for less.
    absl::Duration settle_pause = absl::Seconds(20);
    // What they are kept to; outlives the collection. Sealing by itself pauses
    // when this says so, unless a compaction waits or the delta holds
    // kMaxPausedDelta times what it is sealed from. Null: nothing.
    SealThrottle* throttle = nullptr;
  };
  // Every search scans the delta.
  static constexpr size_t kMaxPausedDelta = 8;
  // Segments are made anew when more than this part of what they hold was
  // deleted: what is gone costs bytes, and a walk steps, until then.
  static constexpr size_t kDeadPart = 5;
  // docs/decisions/0007-graph.md has the measurement.
  static constexpr size_t kMinGraphPassages = 200'000;

  // In a collection's directory: where its segments lie.
  static constexpr char kSegmentDirectory[] = "segments";

  // Reads the codes from `store` and the segments from `segments`, a directory
  // that is made if it does not exist, and starts the threads. `embedder` and
  // `cache` outlive the collection. kFailedPrecondition if its model is not the
  // one in `config`, kDataLoss if store or segments are damaged.
  static absl::StatusOr<std::unique_ptr<Collection>> Open(
      const CollectionConfig& config, const std::filesystem::path& segments,
      std::unique_ptr<PassageStore> store, Embedder& embedder,
      VectorCache& cache, const Options& options);

  // As Close.
  ~Collection();

  Collection(const Collection&) = delete;
  Collection& operator=(const Collection&) = delete;

  // Stops the threads and waits for them: writes that are queued or come later
  // and those who wait in WhenSearchable or Compact get kUnavailable, and what
  // is being sealed stays in the delta. Reads go on. May be called again, by
  // one thread at a time.
  void Close() ABSL_LOCKS_EXCLUDED(mutex_);

  const CollectionConfig& config() const { return config_; }
  Embedder& embedder() const { return embedder_; }

  // Adds or replaces a document. `done` runs once, on the writer thread, when
  // the document is durable or has been refused (kInvalidArgument,
  // kResourceExhausted, kDataLoss, ...); before Put returns if it is refused at
  // the door.
  void Put(DocumentInput input,
           std::function<void(absl::StatusOr<PutResult>)> done);

  // Deletes documents by id. As Put.
  void Delete(std::vector<std::string> ids,
              std::function<void(absl::StatusOr<DeleteResult>)> done);

  // As Delete, and waits for the answer. Not for callbacks: they run on the
  // thread that would answer.
  absl::StatusOr<DeleteResult> DeleteAndWait(std::vector<std::string> ids);

  // Replaces what GetSources returns; durable when it returns. As DeleteAndWait
  // not for callbacks.
  absl::Status SetSources(std::string sources);
  // The folders that documents are read from, opaque here; empty until they are
  // set.
  absl::StatusOr<std::string> GetSources() const;

  // Makes `directory`, which must not exist, a copy of the collection's, as it
  // is at one moment between two writes; reads and searches go on meanwhile,
  // and writes wait for as long as it takes to write what is in memory and to
  // link files, or to copy them to another file system. Durable but for the
  // entry of `directory`. As DeleteAndWait not for callbacks. What it leaves
  // after an error is the caller's to remove.
  absl::Status CopyTo(const std::filesystem::path& directory);

  // Calls `done` once no passage waits for its embedding, apart from those that
  // cannot be embedded, whose number it gets. The result, if it has to wait, is
  // for ForgetWaiter.
  uint64_t WhenSearchable(std::function<void(absl::StatusOr<uint64_t>)> done);
  // Nobody waits any more: `done` is dropped, unless it runs already.
  void ForgetWaiter(uint64_t waiter);

  // Moves every passage with a code to one segment for each codebook, without
  // those that were deleted, and waits until that is published. Writes and
  // searches go on meanwhile. Does nothing where that is so already. Passages
  // of the delta stay there if no codebook fits them and they are too few to
  // train one. Requests are served one after another.
  //
  // kCancelled if `cancelled`, which is asked often, says so, kUnavailable if
  // the collection is closed, else what writing files and store, or with
  // `recompute` the embedder, fails with: apart from segments that were
  // published by then everything is as it was. kFailedPrecondition if
  // `recompute` is asked for and all passages are too few to train a codebook.
  // `progress` is called on another thread.
  absl::StatusOr<CompactResult> Compact(
      const CompactOptions& options, std::function<bool()> cancelled,
      std::function<void(const CompactProgress&)> progress)
      ABSL_LOCKS_EXCLUDED(mutex_);

  absl::StatusOr<std::optional<StoredDocument>> Get(std::string_view id) const;

  // As PassageStore::ListDocuments, with what the records say.
  absl::StatusOr<std::vector<DocumentListing>> List(
      std::string_view prefix, std::optional<std::string_view> after,
      size_t limit) const;

  // kInvalidArgument if the query or an option is out of range, kNotFound if
  // the query's passage does not exist; the embedder's errors.
  absl::StatusOr<SearchResult> Search(const SearchQuery& query,
                                      const SearchOptions& options,
                                      const RequestContext& context);

  CollectionStatus GetStatus() const;

  // The documents of the first `max_passages` passages that wait for their
  // embedding or cannot be embedded, in order of number.
  absl::StatusOr<std::vector<WaitingDocument>> ListWaiting(
      size_t max_passages) const;

 private:
  // What searches see, at one moment.
  struct Generation {
    uint64_t number = 0;
    std::shared_ptr<const DeltaSnapshot> delta;
    // In ascending order of number.
    std::vector<std::shared_ptr<const Segment>> segments;
    // Passages in segments that were deleted since.
    PassageSet dead;
  };
  struct PutWrite {
    DocumentInput input;
    std::function<void(absl::StatusOr<PutResult>)> done;
  };
  struct DeleteWrite {
    std::vector<std::string> ids;
    std::function<void(absl::StatusOr<DeleteResult>)> done;
  };
  // What the indexer found for passages that were pending.
  struct IndexedWrite {
    std::vector<StoreBatch::Code> codes;
    // Of the same passages if vectors are stored, else none.
    std::vector<StoreBatch::Vector> vectors;
    std::vector<std::pair<PassageId, absl::Status>> failures;
    // Of passages that have their codes.
    std::vector<StoreBatch::Vector> hub_vectors;

    bool empty() const {
      return codes.empty() && failures.empty() && hub_vectors.empty();
    }
    void Append(IndexedWrite other) {
      std::ranges::move(other.codes, std::back_inserter(codes));
      std::ranges::move(other.vectors, std::back_inserter(vectors));
      std::ranges::move(other.failures, std::back_inserter(failures));
      std::ranges::move(other.hub_vectors, std::back_inserter(hub_vectors));
    }
  };
  // Pending passages that are embedded together.
  struct EmbedCall {
    std::span<const PassageId> ids;
    // Those of `ids` that have a text, and what became of them.
    std::vector<Passage> passages;
    IndexedWrite write;
    // The others.
    IndexedWrite lost;
    absl::Status status;
  };
  // A segment whose file is durable, to be published in place of others.
  struct SealedWrite {
    // Null if nothing is left of what it replaces.
    std::shared_ptr<const Segment> segment;
    SegmentRef ref;
    // Passages in it that were in the delta when sealing began, and those of
    // the replaced segments that are not in it.
    std::vector<PassageId> from_delta;
    std::vector<PassageId> dropped;
    // Segments that it replaces.
    std::vector<uint64_t> replaced;
    // Its hubs, and those of what it replaces that are none of its, if the
    // collection stores hubs' vectors.
    std::vector<PassageId> hubs;
    std::vector<PassageId> former_hubs;
    std::function<void(const absl::Status&)> done;
  };
  struct SourcesWrite {
    std::string sources;
    std::function<void(const absl::Status&)> done;
  };
  // No write, but done between two.
  struct CopyWrite {
    std::filesystem::path directory;
    std::function<void(const absl::Status&)> done;
  };
  using Write = std::variant<PutWrite, DeleteWrite, IndexedWrite, SealedWrite,
                             SourcesWrite, CopyWrite>;
  struct QueuedWrite {
    Write write;
    size_t bytes = 0;
  };
  // What a new segment is made of, with what its publishing takes away.
  struct SegmentPlan {
    std::shared_ptr<const Codebook> codebook;
    bool trained_codebook = false;
    std::vector<CodedPassages> parts;
    SealedWrite write;
  };
  struct CompactRequest {
    CompactOptions options;
    std::function<bool()> cancelled;
    std::function<void(const CompactProgress&)> progress;
    // Taken up by the sealing thread, which will set the result.
    bool started = false;
    std::optional<absl::StatusOr<CompactResult>> result;
  };
  class Transaction;
  class Reranker;

  absl::Status ClosedError() const;
  static size_t SealedPassages(
      const std::vector<std::shared_ptr<const Segment>>& segments);
  // Each once.
  static std::vector<std::shared_ptr<const Codebook>> CodebooksOf(
      const std::vector<std::shared_ptr<const Segment>>& segments);

  Collection(const CollectionConfig& config,
             const std::filesystem::path& segments,
             std::unique_ptr<PassageStore> store, Embedder& embedder,
             VectorCache& cache, const Options& options);

  absl::Status Load();
  absl::Status LoadSegments(Generation& generation);
  // Segment files and codebooks that the manifest does not name.
  void RemoveUnreferencedFiles();
  absl::Status Enqueue(QueuedWrite write) ABSL_LOCKS_EXCLUDED(mutex_);
  // What `make` makes is queued, and its `done` waited for.
  absl::Status EnqueueAndWait(
      size_t bytes,
      absl::FunctionRef<Write(std::function<void(const absl::Status&)>)> make)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Writer thread.
  void RunWriter();
  // Waits for writes and takes the next group from the queue: puts and deletes
  // with distinct documents, or one write of another kind. Empty if the
  // writer is to stop.
  std::vector<QueuedWrite> NextGroup() ABSL_LOCKS_EXCLUDED(mutex_);
  void ApplyPutsAndDeletes(std::vector<QueuedWrite> writes);
  void ApplyIndexed(IndexedWrite write);
  // Those of passages that still exist and are hubs.
  absl::Status AddHubVectors(std::vector<StoreBatch::Vector> vectors,
                             StoreBatch& batch) const;
  absl::Status ApplySealed(const SealedWrite& write);
  absl::Status ApplySources(SourcesWrite& write);
  absl::Status ApplyCopy(const CopyWrite& write);
  absl::StatusOr<PutResult> AddPut(const DocumentInput& input,
                                   Transaction& transaction);
  absl::StatusOr<DeleteResult> AddDelete(const std::vector<std::string>& ids,
                                         Transaction& transaction);
  absl::Status CommitAndPublish(Transaction& transaction,
                                Durability durability);
  // Takes a passage of `text_bytes` that goes from `counts`, and adds it to
  // `tombstones` if it is in a segment.
  absl::Status EraseFromCounts(PassageId passage, uint64_t text_bytes,
                               StoreCounts& counts,
                               std::vector<PassageId>& tombstones) const;
  void NotifyIfSearchable() ABSL_LOCKS_EXCLUDED(mutex_);

  // Indexer thread.
  void RunIndexer();
  absl::Status EmbedPending();
  // From several threads at a time.
  absl::Status ReadAndEmbed(EmbedCall& call);
  // After a call that lost the model: its error, or, after so many in a row
  // that began with the same passage, what IsolateInto says.
  absl::Status CountUnavailable(EmbedCall& call);
  // Appends those of `ids` that have a text to `passages`; the others are
  // failures in `lost`.
  absl::Status ReadPending(std::span<const PassageId> ids,
                           std::vector<Passage>& passages,
                           IndexedWrite& lost) const;
  // Some of the hubs whose vectors are to be stored.
  absl::Status EmbedHubs();
  // Leaves out those that cannot be embedded.
  absl::Status EmbedHubsInto(std::span<const Passage> passages,
                             std::vector<StoreBatch::Vector>& vectors);
  // Embeds `passages` and appends what is found to `write`. An error
  // that may pass is returned, and `write` is then of no use.
  absl::Status EmbedInto(std::span<const Passage> passages,
                         IndexedWrite& write);
  RequestContext IngestContext();
  // Waits until `retry_delay` is over and a passage is to be embedded, and
  // settles the store when there is time. False if the indexer is to stop.
  bool WaitForWork(absl::Duration retry_delay) ABSL_LOCKS_EXCLUDED(mutex_);
  // As EmbedInto, one passage at a time, for a batch whose embedding lost the
  // model's process again and again: those passages that do so alone are
  // failures, unless all do.
  absl::Status IsolateInto(std::span<const Passage> passages,
                           IndexedWrite& write);

  // Sealing thread.
  void RunSealer();
  // Of sealing that is asked for by a request, or by itself by none.
  SealControl MakeSealControl(CompactRequest* request);
  // Waits while the throttle wants sealing to pause and nothing wants it to go
  // on; until `cancelled`.
  void WaitWhilePaused(const std::function<bool()>& cancelled)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<CompactResult> ServeCompact(CompactRequest& request);
  absl::StatusOr<CompactResult> SealDelta();
  // One segment for each codebook.
  absl::StatusOr<CompactResult> SealByCodebook(const SealControl& control);
  // One segment, of vectors anew. Tells how many there are.
  absl::StatusOr<CompactResult> SealRecomputed(
      const Generation& generation, const SealControl& control,
      absl::FunctionRef<void(size_t)> recomputed);
  // Tries again what may pass.
  absl::StatusOr<Matrix> Recompute(std::span<const Passage> passages,
                                   const RequestContext& context);
  // A segment of the delta. nullopt if no codebook fits and there are too few
  // passages to train one.
  absl::StatusOr<std::optional<SegmentPlan>> PlanDelta(
      const Generation& generation, const SealControl& control) const;
  static void AddDelta(CodedPassages codes, SegmentPlan& plan);
  void AddSegments(const Generation& generation,
                   const std::vector<std::shared_ptr<const Segment>>& segments,
                   SegmentPlan& plan) const;
  absl::StatusOr<CompactResult> Seal(SegmentPlan plan,
                                     const SealControl& control);
  // Seal's own part: may leave files.
  absl::StatusOr<CompactResult> BuildAndPublish(SegmentPlan plan,
                                                const SealControl& control);
  // More than 1 / kDeadPart of what is in segments was deleted.
  static bool ManyDead(const Generation& generation);
  // That there is enough to seal without being asked to.
  bool WantsSealing(const Generation& generation) const;
  // Passages in the delta from which on that is so.
  size_t SealedFrom(const Generation& generation) const;
  CodeShape Shape() const;
  // From which on a codebook is trained.
  size_t MinCodebookPassages() const;
  absl::Status Publish(SealedWrite write) ABSL_LOCKS_EXCLUDED(mutex_);
  std::shared_ptr<const Generation> CurrentGeneration() const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // The passages among `ids` that exist, in order.
  absl::StatusOr<std::vector<Passage>> ReadExisting(
      std::span<const PassageId> ids) const;
  // All passages of a document; kDataLoss if one is missing.
  absl::StatusOr<std::vector<Passage>> ReadPassages(
      DocumentNumber number, const DocumentRecord& record) const;
  absl::StatusOr<Matrix> EmbedPassages(std::span<const Passage> passages,
                                       const RequestContext& context);

  absl::StatusOr<std::vector<float>> QueryVector(const SearchQuery& query,
                                                 const RequestContext& context);
  // Candidates by corrected estimate, best first, and what is believed of each.
  struct RankedCandidates {
    std::vector<PassageId> passages;
    std::vector<ScoreBelief> beliefs;
    // As RecomputePolicy has it.
    double score_slope = kDefaultScoreSlope;
  };
  // What was measured for two collections of abstracts and of mixed texts was
  // 26 and 18. It matters little where no candidate is in a segment, as the
  // delta's spreads are small.
  static constexpr double kDefaultScoreSlope = 25;
  // At most options.rerank, over the delta and all segments. In two-level mode
  // what a graph yields is in `reranker` instead.
  absl::StatusOr<RankedCandidates> FindCandidates(const Generation& generation,
                                                  std::span<const float> query,
                                                  const SearchOptions& options,
                                                  const RequestContext& context,
                                                  Reranker& reranker,
                                                  SearchResult& result) const;
  // Returns how many codes were scored.
  static absl::StatusOr<size_t> FindTwoLevel(const Segment& segment,
                                             const Segment::Search& search,
                                             size_t k, size_t max_recomputed,
                                             Reranker& reranker);
  static absl::Status Rerank(const RankedCandidates& ranked,
                             const SearchOptions& options, Reranker& reranker);
  // Takes the text out of `passage`. nullopt if the document no longer has it.
  static std::optional<SearchHit> MakeHit(
      float score, Passage& passage,
      const std::optional<DocumentRecord>& record);

  const CollectionConfig config_;
  const Options options_;
  const std::unique_ptr<MonitoredStore> store_;
  Embedder& embedder_;
  const std::shared_ptr<const RotatedCodec> codec_;
  const ExactVectors exact_vectors_;

  const SegmentDirectory directory_;

  // Used by the writer thread alone once the threads run.
  Delta delta_;
  // Of all segments, if the collection stores hubs' vectors.
  absl::flat_hash_set<PassageId> current_hubs_;
  // By the writer thread alone, and by the sealing thread while no write of its
  // is under way.
  Manifest manifest_;
  // The last commit of what was sealed failed: whether it is there after a
  // restart is unknown until another succeeds.
  bool commit_unknown_ = false;

  // Used by the indexer thread alone: how often in a row a batch that begins
  // with this passage lost the model's process.
  PassageId unavailable_first_{};
  int unavailable_count_ = 0;

  mutable Mutex mutex_;
  CondVar write_queued_;
  CondVar work_changed_;
  std::deque<QueuedWrite> queue_ ABSL_GUARDED_BY(mutex_);
  size_t queued_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  // IndexedWrites that the writer has not yet committed, and why one failed, if
  // one did since the indexer last looked.
  size_t indexed_in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status indexed_write_status_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const Generation> generation_ ABSL_GUARDED_BY(mutex_);
  StoreCounts counts_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<PassageId, absl::Status> failed_ ABSL_GUARDED_BY(mutex_);
  absl::Status embedding_error_ ABSL_GUARDED_BY(mutex_);
  uint64_t embedded_passages_ ABSL_GUARDED_BY(mutex_) = 0;
  // Of the current hubs those whose vectors may not be stored yet.
  std::vector<PassageId> hubs_ ABSL_GUARDED_BY(mutex_);
  // The store is settled once what was written since the last time exceeds this
  // and this part of all text, so that the cost stays proportional to the
  // writes.
  static constexpr uint64_t kMinUnsettledBytes = 64 << 10;
  static constexpr uint64_t kUnsettledPart = 8;
  // The same when writes pause. A fortieth that is new and as much that is gone
  // take less than a tenth of a settled store's bytes, as what is new takes up
  // to three times as much until then.
  static constexpr uint64_t kPausedUnsettledPart = 40;
  // More than this is settled at once, and more than the other in a pause.
  uint64_t UnsettledBound(uint64_t part) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Bytes of text and codes written since the store was last settled.
  uint64_t unsettled_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Time last_write_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  std::map<uint64_t, std::function<void(absl::StatusOr<uint64_t>)>> waiters_
      ABSL_GUARDED_BY(mutex_);
  uint64_t next_waiter_ ABSL_GUARDED_BY(mutex_) = 1;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<CompactRequest*> compact_requests_ ABSL_GUARDED_BY(mutex_);
  CondVar seal_changed_;
  absl::Status sealing_error_ ABSL_GUARDED_BY(mutex_);
  std::string sealing_pause_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> cancel_background_ = false;

  std::thread writer_;
  std::thread indexer_;
  std::thread sealer_;
};

}  // namespace pith

#endif  // PITH_CORE_INDEX_COLLECTION_H_
