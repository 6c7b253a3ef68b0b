#include "core/index/collection_check.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

#include "core/base/status_macros.h"
#include "core/base/string_view.h"
#include "core/codes/rotated_code.h"
#include "core/index/manifest.h"
#include "core/index/segment.h"
#include "core/index/stored_vector.h"

namespace pith {
namespace {

constexpr size_t kListedAtOnce = 16384;
// Documents between two questions whether to go on.
constexpr uint64_t kProgressInterval = 256;

using Ids = std::vector<PassageId>;

bool Contains(const Ids& sorted, PassageId id) {
  return std::binary_search(sorted.begin(), sorted.end(), id);
}

// Problems of one kind, all repairable.
struct Tally {
  std::string_view what;
  uint64_t count = 0;
  uint64_t first = 0;

  void Add(PassageId id) {
    if (count++ == 0) {
      first = static_cast<uint64_t>(id);
    }
  }
};

class Checker {
 public:
  Checker(const CollectionConfig& config, const PassageStore& store,
          const SegmentDirectory& directory, const CheckControl& control)
      : config_(config),
        store_(store),
        directory_(directory),
        control_(control) {}

  absl::StatusOr<CheckResult> Run() {
    // Not even an iterator is to be trusted where a block is damaged: RocksDB's
    // may end there without an error.
    const absl::Status bytes = store_.CheckBytes(control_.bytes());
    all_listed_ = bytes.ok();
    PITH_RETURN_IF_ERROR(Irreparable(bytes));
    PITH_RETURN_IF_ERROR(CheckSegments());
    PITH_RETURN_IF_ERROR(ReadMarks());
    PITH_RETURN_IF_ERROR(CheckDocuments());
    CheckPlaces();
    if (all_listed_) {
      PITH_RETURN_IF_ERROR(CheckOrphans());
      PITH_RETURN_IF_ERROR(CheckCounts());
    }
    for (const Tally* tally :
         {&lost_codes_, &two_codes_, &code_bytes_, &pending_codes_,
          &live_tombstones_, &orphan_codes_, &orphan_pending_, &orphan_vectors_,
          &damaged_vectors_, &orphan_texts_, &orphan_nodes_,
          &orphan_tombstones_}) {
      if (tally->count > 0) {
        AddProblem(absl::StrCat(AbslView(tally->what), ": ", tally->count,
                                ", the first is ", tally->first),
                   /*repairable=*/true);
      }
    }
    CheckResult result = {.report = std::move(report_)};
    const CheckReport& report = result.report;
    if (all_listed_ && report.problem_count > report.irreparable_count) {
      result.repair = std::move(repair_);
    }
    return result;
  }

 private:
  void AddProblem(std::string text, bool repairable) {
    ++report_.problem_count;
    report_.irreparable_count += repairable ? 0 : 1;
    if (report_.problems.size() < kMaxProblems) {
      report_.problems.push_back(
          {.text = std::move(text), .repairable = repairable});
    }
  }

  // Damage is a problem, and so is what cannot be read for an error of the
  // disk; others end the check.
  absl::Status Note(const absl::Status& status, bool repairable) {
    if (!absl::IsDataLoss(status) && !absl::IsInternal(status)) {
      return status;
    }
    AddProblem(std::string(status.message()), repairable);
    return absl::OkStatus();
  }
  absl::Status Irreparable(const absl::Status& status) {
    return Note(status, /*repairable=*/false);
  }

  absl::Status CheckCancelled() const {
    return control_.cancelled()
               ? absl::CancelledError("the check was cancelled")
               : absl::OkStatus();
  }

  absl::Status CheckSegments() {
    Manifest manifest;
    const absl::StatusOr<std::optional<std::string>> bytes =
        store_.GetManifest();
    PITH_RETURN_IF_ERROR(Note(bytes.status(), /*repairable=*/true));
    segments_lost_ = !bytes.ok();
    if (bytes.ok() && *bytes) {
      absl::StatusOr<Manifest> decoded = DecodeManifest(**bytes);
      if (decoded.ok()) {
        manifest = *std::move(decoded);
      } else {
        PITH_RETURN_IF_ERROR(Note(decoded.status(), /*repairable=*/true));
        segments_lost_ = true;
      }
    }
    Manifest kept = {.next_segment = manifest.next_segment};
    // For their codebooks; not the segments, which would fill the memory.
    std::vector<std::shared_ptr<const Segment>> last;
    for (const SegmentRef& ref : manifest.segments) {
      PITH_RETURN_IF_ERROR(CheckCancelled());
      absl::StatusOr<std::shared_ptr<const Segment>> segment =
          directory_.LoadSegment(ref, config_.model.dimension, last);
      const absl::Status checked =
          segment.ok() ? CheckSegment(**segment) : segment.status();
      if (checked.ok()) {
        kept.segments.push_back(ref);
      } else {
        PITH_RETURN_IF_ERROR(
            Note(Annotate(checked, absl::StrCat("segment ", ref.number, " of ",
                                                ref.passages, " passages")),
                 /*repairable=*/true));
        segments_lost_ = true;
      }
      if (segment.ok()) {
        last = {*std::move(segment)};
      }
    }
    report_.segments = manifest.segments.size();
    report_.segment_passages = sealed_.size();
    if (segments_lost_) {
      repair_.manifest = EncodeManifest(kept);
    }
    return absl::OkStatus();
  }

  // Adds the segment's passages to sealed_ if nothing is wrong.
  absl::Status CheckSegment(const Segment& segment) {
    if (const size_t unreached = segment.CountUnreached(); unreached > 0) {
      return absl::DataLossError(absl::StrCat(
          unreached, " nodes cannot be reached from the entry points"));
    }
    Ids passages;
    passages.reserve(segment.size());
    for (size_t node = 0; node < segment.size(); ++node) {
      passages.push_back(segment.passage(node));
    }
    std::sort(passages.begin(), passages.end());
    Ids common;
    std::set_intersection(passages.begin(), passages.end(), sealed_.begin(),
                          sealed_.end(), std::back_inserter(common));
    if (!common.empty()) {
      return absl::DataLossError(absl::StrCat(
          common.size(), " passages are in another segment, too; the first is ",
          static_cast<uint64_t>(common[0])));
    }
    const auto middle = static_cast<ptrdiff_t>(sealed_.size());
    sealed_.insert(sealed_.end(), passages.begin(), passages.end());
    std::inplace_merge(sealed_.begin(), sealed_.begin() + middle,
                       sealed_.end());
    return absl::OkStatus();
  }

  absl::Status ReadMarks() {
    PITH_RETURN_IF_ERROR(
        Irreparable(store_.VisitTombstones([this](PassageId id) {
          tombstones_.push_back(id);
          return CheckCancelled();
        })));
    const size_t code_bytes =
        RotatedCodec(config_.model.dimension).code_bytes();
    PITH_RETURN_IF_ERROR(
        Irreparable(store_.VisitCodes([&](PassageId id, std::string_view code) {
          if (code.size() == code_bytes) {
            codes_.push_back(id);
          } else {
            code_bytes_.Add(id);
            damaged_codes_.push_back(id);
            repair_.erase_codes.push_back(id);
          }
          return absl::OkStatus();
        })));
    report_.delta_passages = codes_.size();
    PassageId from{0};
    while (true) {
      const absl::StatusOr<Ids> ids = store_.ListPending(from, kListedAtOnce);
      PITH_RETURN_IF_ERROR(Irreparable(ids.status()));
      if (!ids.ok() || ids->empty()) {
        break;
      }
      pending_.insert(pending_.end(), ids->begin(), ids->end());
      from = PassageId{static_cast<uint64_t>(ids->back()) + 1};
    }
    report_.pending_passages = pending_.size();
    std::vector<float> decoded(static_cast<size_t>(config_.model.dimension));
    return Irreparable(
        store_.VisitVectors([&](PassageId id, std::string_view vector) {
          ++report_.vectors;
          if (DecodeStoredVector(vector, decoded).ok()) {
            vectors_.push_back(id);
          } else {
            // A vector that is not there is recomputed.
            damaged_vectors_.Add(id);
            repair_.erase_vectors.push_back(id);
          }
          return CheckCancelled();
        }));
  }

  absl::Status CheckDocuments() {
    absl::StatusOr<StoreCounts> stored = store_.GetCounts();
    PITH_RETURN_IF_ERROR(Irreparable(stored.status()));
    if (stored.ok()) {
      stored_counts_ = *stored;
      counts_.next_document = stored->next_document;
    }
    // Numbers are not reused, not even those of what was deleted.
    for (const Ids* ids : {&sealed_, &tombstones_, &codes_, &pending_}) {
      if (!ids->empty()) {
        CountNumber(DocumentOf(ids->back()));
      }
    }
    const absl::Status visited = store_.VisitDocuments(
        [this](DocumentNumber number,
               const absl::StatusOr<DocumentRecord>& record) -> absl::Status {
          if (++report_.documents % kProgressInterval == 0) {
            PITH_RETURN_IF_ERROR(CheckCancelled());
            control_.documents_progress(
                report_.documents,
                stored_counts_ ? stored_counts_->documents : 0);
          }
          if (record.ok()) {
            return CheckDocument(number, *record);
          }
          all_listed_ = false;
          return Irreparable(Annotate(
              record.status(),
              absl::StrCat("document ", static_cast<uint64_t>(number))));
        });
    all_listed_ = all_listed_ && visited.ok();
    return Irreparable(visited);
  }

  void CountNumber(DocumentNumber number) {
    counts_.next_document =
        std::max(counts_.next_document,
                 DocumentNumber{static_cast<uint64_t>(number) + 1});
  }

  absl::Status CheckDocument(DocumentNumber number,
                             const DocumentRecord& record) {
    CountNumber(number);
    ++counts_.documents;
    counts_.passages += record.passages.size();
    PITH_RETURN_IF_ERROR(CheckId(number, record));
    Ids ids;
    ids.reserve(record.passages.size());
    for (const PassageEntry& entry : record.passages) {
      counts_.text_bytes += entry.bytes;
      ids.push_back(MakePassageId(number, entry.serial));
    }
    PITH_RETURN_IF_ERROR(Irreparable(CheckTexts(record, ids)));
    std::sort(ids.begin(), ids.end());
    listed_.insert(listed_.end(), ids.begin(), ids.end());
    return absl::OkStatus();
  }

  // That the document's id leads to it.
  absl::Status CheckId(DocumentNumber number, const DocumentRecord& record) {
    const absl::StatusOr<std::optional<DocumentNumber>> found =
        store_.FindDocument(record.id);
    PITH_RETURN_IF_ERROR(Irreparable(found.status()));
    if (!found.ok() || *found == number) {
      return absl::OkStatus();
    }
    if (*found) {
      const absl::StatusOr<std::optional<DocumentRecord>> other =
          store_.GetDocument(**found);
      PITH_RETURN_IF_ERROR(Irreparable(other.status()));
      if (other.ok() && *other && (*other)->id == record.id) {
        AddProblem(absl::StrCat("documents ", static_cast<uint64_t>(number),
                                " and ", static_cast<uint64_t>(**found),
                                " are both \"", record.id, "\""),
                   /*repairable=*/false);
        return absl::OkStatus();
      }
    }
    for (const StoreBatch::Document& other : repair_.put_documents) {
      if (other.record.id == record.id) {
        AddProblem(absl::StrCat("documents ", static_cast<uint64_t>(number),
                                " and ", static_cast<uint64_t>(other.number),
                                " are both \"", record.id, "\""),
                   /*repairable=*/false);
        return absl::OkStatus();
      }
    }
    AddProblem(absl::StrCat("document ", static_cast<uint64_t>(number),
                            ": its id \"", record.id, "\" does not lead to it"),
               /*repairable=*/true);
    repair_.put_documents.push_back({.number = number, .record = record});
    return absl::OkStatus();
  }

  // kDataLoss if a text is not as the record says.
  absl::Status CheckTexts(const DocumentRecord& record, const Ids& ids) const {
    const std::string name = absl::StrCat("document \"", record.id, "\"");
    const absl::StatusOr<std::vector<std::optional<Passage>>> passages =
        store_.GetPassages(ids);
    PITH_RETURN_IF_ERROR(Annotate(passages.status(), name));
    for (size_t i = 0; i < ids.size(); ++i) {
      const PassageEntry& entry = record.passages[i];
      const std::optional<Passage>& passage = (*passages)[i];
      const auto id = static_cast<uint64_t>(ids[i]);
      if (!passage) {
        return absl::DataLossError(
            absl::StrCat(name, ": the text of passage ", id, " is missing"));
      }
      const auto newlines = static_cast<uint64_t>(
          std::count(passage->text.begin(), passage->text.end(), '\n'));
      if (passage->text.size() != entry.bytes || newlines != entry.newlines) {
        return absl::DataLossError(
            absl::StrCat(name, ": passage ", id, " has ", passage->text.size(),
                         " bytes and ", newlines, " newlines, not ",
                         entry.bytes, " and ", entry.newlines));
      }
    }
    return absl::OkStatus();
  }

  // That every passage has its code in one place, or is pending.
  void CheckPlaces() {
    report_.passages = listed_.size();
    for (const PassageId id : listed_) {
      const bool sealed = Contains(sealed_, id);
      const bool coded = Contains(codes_, id);
      const bool pending = Contains(pending_, id);
      if (sealed && Contains(tombstones_, id)) {
        live_tombstones_.Add(id);
        repair_.erase_tombstones.push_back(id);
      }
      if (sealed && coded) {
        two_codes_.Add(id);
        repair_.erase_codes.push_back(id);
      }
      if (sealed || coded) {
        if (pending) {
          pending_codes_.Add(id);
          repair_.erase_pending.push_back(id);
        }
        continue;
      }
      ++counts_.pending;
      if (!pending) {
        ++report_.lost_codes;
        repair_.put_pending.push_back(id);
        if (!segments_lost_ && !Contains(damaged_codes_, id)) {
          lost_codes_.Add(id);
        }
      }
    }
  }

  // What belongs to no document.
  absl::Status CheckOrphans() {
    const auto find_orphans = [this](const Ids& ids, Tally& tally,
                                     Ids& erased) {
      for (const PassageId id : ids) {
        if (!Contains(listed_, id)) {
          tally.Add(id);
          erased.push_back(id);
        }
      }
    };
    find_orphans(codes_, orphan_codes_, repair_.erase_codes);
    find_orphans(pending_, orphan_pending_, repair_.erase_pending);
    find_orphans(vectors_, orphan_vectors_, repair_.erase_vectors);
    for (const PassageId id : sealed_) {
      if (!Contains(listed_, id) && !Contains(tombstones_, id)) {
        orphan_nodes_.Add(id);
        repair_.put_tombstones.push_back(id);
      }
    }
    for (const PassageId id : tombstones_) {
      if (Contains(sealed_, id)) {
        continue;
      }
      repair_.erase_tombstones.push_back(id);
      if (!segments_lost_) {
        orphan_tombstones_.Add(id);
      }
    }
    PITH_RETURN_IF_ERROR(CheckIds());
    return Irreparable(store_.VisitPassages([this](PassageId id) {
      if (!Contains(listed_, id) && !lost_documents_.contains(DocumentOf(id))) {
        orphan_texts_.Add(id);
        repair_.erase_passages.push_back(id);
      }
      return CheckCancelled();
    }));
  }

  // That no id leads elsewhere than to its document.
  absl::Status CheckIds() {
    std::optional<std::string> after;
    while (true) {
      PITH_RETURN_IF_ERROR(CheckCancelled());
      const absl::StatusOr<std::vector<DocumentSummary>> ids =
          store_.ListDocuments("", after, kListedAtOnce);
      if (!ids.ok() || ids->empty()) {
        return Irreparable(ids.status());
      }
      for (const DocumentSummary& summary : *ids) {
        const absl::StatusOr<std::optional<DocumentRecord>> record =
            store_.GetDocument(summary.number);
        PITH_RETURN_IF_ERROR(Irreparable(record.status()));
        const auto number = static_cast<uint64_t>(summary.number);
        if (record.ok() && !*record) {
          AddProblem(absl::StrCat("document ", number, ", \"", summary.id,
                                  "\", has no record"),
                     /*repairable=*/false);
          lost_documents_.insert(summary.number);
        } else if (record.ok() && (*record)->id != summary.id) {
          AddProblem(absl::StrCat("id \"", summary.id, "\" leads to document ",
                                  number, ", which is \"", (*record)->id, "\""),
                     /*repairable=*/true);
          repair_.erase_ids.push_back(summary.id);
        }
      }
      after = ids->back().id;
    }
  }

  absl::Status CheckCounts() {
    repair_.counts = counts_;
    if (!stored_counts_) {
      return absl::OkStatus();
    }
    // As they should have been before `repair`.
    StoreCounts expected = counts_;
    expected.pending = pending_.size();
    if (expected != *stored_counts_) {
      AddProblem(
          absl::StrCat("counts: ", stored_counts_->documents, " documents, ",
                       stored_counts_->passages, " passages, ",
                       stored_counts_->pending, " pending, ",
                       stored_counts_->text_bytes, " bytes, next document ",
                       static_cast<uint64_t>(stored_counts_->next_document),
                       "; there are ", expected.documents, ", ",
                       expected.passages, ", ", expected.pending, ", ",
                       expected.text_bytes, " and ",
                       static_cast<uint64_t>(expected.next_document)),
          /*repairable=*/true);
    }
    return absl::OkStatus();
  }

  const CollectionConfig& config_;
  const PassageStore& store_;
  const SegmentDirectory& directory_;
  const CheckControl& control_;

  CheckReport report_;
  StoreBatch repair_;
  // A segment, or all, went: that passages have no code is no other problem.
  bool segments_lost_ = false;
  // The store is sound, and every document's record could be read.
  bool all_listed_ = true;
  // Those that there are.
  StoreCounts counts_;
  std::optional<StoreCounts> stored_counts_;

  // All ascending.
  Ids sealed_;
  Ids tombstones_;
  Ids codes_;
  // Those of a wrong length, which are not in codes_.
  Ids damaged_codes_;
  Ids pending_;
  Ids vectors_;
  // Of all documents.
  Ids listed_;
  // Those that only their ids tell of.
  absl::flat_hash_set<DocumentNumber> lost_documents_;

  Tally lost_codes_{"passages without a code that are not pending"};
  Tally two_codes_{"passages with a code in the delta and in a segment"};
  Tally code_bytes_{"codes of a wrong length"};
  Tally pending_codes_{"passages with a code that are pending"};
  Tally live_tombstones_{"tombstones of passages that exist"};
  Tally orphan_codes_{"codes of passages that do not exist"};
  Tally orphan_pending_{"pending marks of passages that do not exist"};
  Tally orphan_vectors_{"vectors of passages that do not exist"};
  Tally damaged_vectors_{"stored vectors that cannot be decoded"};
  Tally orphan_texts_{"texts of passages of no document"};
  Tally orphan_nodes_{
      "passages in segments that do not exist and have no tombstone"};
  Tally orphan_tombstones_{"tombstones of passages in no segment"};
};

}  // namespace

absl::StatusOr<CheckResult> CheckCollection(const CollectionConfig& config,
                                            const PassageStore& store,
                                            const SegmentDirectory& segments,
                                            const CheckControl& control) {
  return Checker(config, store, segments, control).Run();
}

}  // namespace pith
