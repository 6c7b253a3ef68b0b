#include "server/source_scan.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "core/base/file.h"
#include "core/base/mutex.h"
#include "core/base/reason.h"
#include "core/base/status_macros.h"
#include "core/source/folder_walker.h"
#include "core/source/path_order.h"
#include "core/source/reconcile.h"
#include "core/text/text_check.h"
#include "server/convert.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

// Documents that are on their way to the store.
constexpr size_t kMaxOutstanding = 64;
constexpr size_t kMaxOutstandingBytes = size_t{32} << 20;

constexpr int kMaxSkippedByName = 1000;
constexpr size_t kListPage = 1000;
constexpr size_t kDeletePage = 500;
constexpr absl::Duration kPollInterval = absl::Milliseconds(100);

// Longer than it takes to start a worker again after a crash.
constexpr absl::Duration kMaxStandstill = absl::Seconds(10);

// Reasons that are normal and many: counted, not listed.
bool IsListed(SkipReason reason) {
  return reason != SkipReason::kHidden && reason != SkipReason::kIgnored;
}

void ReportSkipped(Operation& operation, const std::string& path,
                   std::string_view reason, std::string_view detail,
                   bool listed) {
  operation.Update([&](v1::AddSourceProgress& progress) {
    ++(*progress.mutable_skipped_by_reason())[std::string(reason)];
    if (listed && progress.skipped_size() < kMaxSkippedByName) {
      v1::SkippedFile* skipped = progress.add_skipped();
      skipped->set_path(PrintableToProto(path));
      skipped->set_reason(std::string(reason));
      skipped->set_detail(PrintableToProto(detail));
    }
  });
}

void SetPhase(Operation& operation, v1::AddSourceProgress::Phase phase) {
  operation.Update(
      [phase](v1::AddSourceProgress& progress) { progress.set_phase(phase); });
}

// Sends documents to a collection, a bounded number at a time. Lives until all
// of them are answered.
class Sender {
 public:
  // A document that cannot be indexed.
  struct Refused {
    std::string id;
    std::optional<FileStamp> stamp;
    std::optional<std::string> renamed_from;
    std::string why;
  };

  Sender(Collection& collection, Operation& operation)
      : collection_(collection), operation_(operation) {}

  ~Sender() { Wait(); }

  // Waits while too much is outstanding. The first error that would meet every
  // other document, too, as damage is taken to if kMaxDamaged have met it.
  absl::Status Send(DocumentInput input) {
    const size_t bytes = input.text.size();
    {
      MutexLock lock(mutex_);
      while (outstanding_ >= kMaxOutstanding ||
             (outstanding_ > 0 &&
              outstanding_bytes_ + bytes > kMaxOutstandingBytes)) {
        answered_.Wait(mutex_);
      }
      PITH_RETURN_IF_ERROR(fatal_);
      ++outstanding_;
      outstanding_bytes_ += bytes;
    }
    Refused refused = {.id = input.id,
                       .stamp = input.stamp,
                       .renamed_from = input.renamed_from,
                       .why = ""};
    collection_.Put(std::move(input),
                    [this, refused = std::move(refused),
                     bytes](absl::StatusOr<PutResult> result) mutable {
                      Answered(std::move(refused), bytes, result);
                    });
    return absl::OkStatus();
  }

  struct Answers {
    std::vector<Refused> refused;
    // SourceScanResult::damage.
    absl::Status damage;
    // Ids of documents that files could not be renamed from, for damage.
    absl::flat_hash_set<std::string> still_needed;
  };

  // Waits until every document is answered; the first error as for Send. Ends
  // the sender's use.
  absl::StatusOr<Answers> Drain() {
    Wait();
    MutexLock lock(mutex_);
    PITH_RETURN_IF_ERROR(fatal_);
    return std::move(answers_);
  }

 private:
  void Wait() {
    MutexLock lock(mutex_);
    while (outstanding_ > 0) {
      answered_.Wait(mutex_);
    }
  }

  void Answered(Refused document, size_t bytes,
                const absl::StatusOr<PutResult>& result) {
    if (result.ok()) {
      operation_.Update([&](v1::AddSourceProgress& progress) {
        switch (result->outcome) {
          case PutOutcome::kAdded:
            progress.set_added(progress.added() + 1);
            break;
          case PutOutcome::kUpdated:
            progress.set_updated(progress.updated() + 1);
            break;
          case PutOutcome::kRenamed:
            progress.set_renamed(progress.renamed() + 1);
            break;
          case PutOutcome::kUnchanged:
            progress.set_unchanged(progress.unchanged() + 1);
            break;
        }
        progress.set_passages_to_embed(
            progress.passages_to_embed() +
            static_cast<int64_t>(result->passages_to_embed));
      });
    }
    MutexLock lock(mutex_);
    if (absl::IsInvalidArgument(result.status())) {
      document.why = std::string(result.status().message());
      answers_.refused.push_back(std::move(document));
    } else if (!result.ok()) {
      const absl::Status error =
          Annotate(result.status(), absl::StrCat("add ", document.id));
      if (absl::IsDataLoss(error) && ++damaged_ < kMaxDamaged) {
        answers_.damage.Update(error);
        if (document.renamed_from) {
          answers_.still_needed.insert(*std::move(document.renamed_from));
        }
      } else {
        fatal_.Update(error);
      }
    }
    --outstanding_;
    outstanding_bytes_ -= bytes;
    answered_.Signal();
  }

  Collection& collection_;
  Operation& operation_;
  Mutex mutex_;
  CondVar answered_;
  size_t outstanding_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t outstanding_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  Answers answers_ ABSL_GUARDED_BY(mutex_);
  absl::Status fatal_ ABSL_GUARDED_BY(mutex_);
  int damaged_ ABSL_GUARDED_BY(mutex_) = 0;
};

// The device of `path`, or of the nearest directory above it that is there;
// nullopt if that cannot be found out.
std::optional<uint64_t> DeviceAt(const fs::path& path) {
  for (fs::path at = path;; at = at.parent_path()) {
    struct stat status {};
    if (::lstat(at.c_str(), &status) == 0) {
      return status.st_dev;
    }
    if ((errno != ENOENT && errno != ENOTDIR) || !at.has_relative_path()) {
      return std::nullopt;
    }
  }
}

// One scan. Files and documents are met in the same order, so that neither is
// ever held by the other's key.
class Reconciliation {
 public:
  Reconciliation(Collection& collection, const SourceScan& scan,
                 Operation& operation)
      : collection_(collection),
        scan_(scan),
        operation_(operation),
        sender_(collection, operation) {}

  absl::StatusOr<SourceScanResult> Run() {
    SetPhase(operation_, v1::AddSourceProgress::PHASE_SCANNING);
    std::vector<std::vector<File>> files;
    for (const std::string& top : scan_.tops) {
      PITH_ASSIGN_OR_RETURN(files.emplace_back(), Walk(top));
    }
    SetPhase(operation_, v1::AddSourceProgress::PHASE_READING);
    embedded_before_ = collection_.GetStatus().embedded_passages;
    for (size_t i = 0; i < files.size(); ++i) {
      PITH_RETURN_IF_ERROR(Meet(scan_.tops[i], files[i]));
    }
    PITH_RETURN_IF_ERROR(SendNew());
    PITH_ASSIGN_OR_RETURN(Sender::Answers answers, sender_.Drain());
    result_.damage = std::move(answers.damage);
    std::erase_if(gone_, [&](const Gone& document) {
      return answers.still_needed.contains(document.id);
    });
    for (const Sender::Refused& document : answers.refused) {
      AddSkipped(document.id, kFailedReason, document.why, document.stamp,
                 /*listed=*/true);
      // What an earlier state of the file gave, if it gave anything.
      gone_.push_back({document.id, document.stamp});
    }
    PITH_RETURN_IF_ERROR(RemoveGone());
    const v1::AddSourceProgress done = operation_.Describe().add_source();
    result_.documents =
        result_.documents_before + done.added() - done.removed();
    return std::move(result_);
  }

 private:
  struct File {
    std::string path;
    FileStamp stamp;
  };

  void AddSkipped(const std::string& path, std::string_view reason,
                  std::string_view detail, std::optional<FileStamp> stamp,
                  bool listed) {
    ReportSkipped(operation_, path, reason, detail, listed);
    result_.skipped.Add(path, {.reason = std::string(reason),
                               .detail = std::string(detail),
                               .stamp = std::move(stamp)});
  }

  // Files at or below `top`, in byte order of their paths.
  absl::StatusOr<std::vector<File>> Walk(const std::string& top) {
    std::vector<File> files;
    PITH_RETURN_IF_ERROR(WalkBelow(
        scan_.root, top, {},
        {.file =
             [&](const fs::path& file, const FileStamp& stamp) {
               files.push_back({file.string(), stamp});
               operation_.Update([&](v1::AddSourceProgress& progress) {
                 progress.set_files_found(progress.files_found() + 1);
               });
               return !operation_.cancelled();
             },
         .skipped =
             [&](const fs::path& skipped, SkipReason reason,
                 std::string_view detail) {
               AddSkipped(skipped.string(), SkipReasonName(reason), detail,
                          std::nullopt, IsListed(reason));
               if (reason == SkipReason::kUnreadable) {
                 unreadable_.insert(skipped.string());
               }
             },
         .directory = scan_.folder}));
    std::sort(files.begin(), files.end(),
              [](const File& a, const File& b) { return a.path < b.path; });
    return files;
  }

  // Calls `visit` with each document at or below `top`, in byte order of ids.
  template <typename Visit>
  absl::Status VisitDocuments(const std::string& top, const Visit& visit) {
    // Of all ids with a prefix the prefix itself comes first.
    PITH_ASSIGN_OR_RETURN(std::vector<DocumentListing> page,
                          collection_.List(top, std::nullopt, 1));
    if (!page.empty() && page[0].id == top) {
      PITH_RETURN_IF_ERROR(visit(page[0]));
    }
    const std::string below = PrefixBelow(top);
    std::optional<std::string> after;
    do {
      PITH_ASSIGN_OR_RETURN(page, collection_.List(below, after, kListPage));
      for (const DocumentListing& document : page) {
        PITH_RETURN_IF_ERROR(visit(document));
      }
      if (!page.empty()) {
        after = page.back().id;
      }
    } while (page.size() == kListPage);
    return absl::OkStatus();
  }

  // Sends what has changed, and finds what is new and what is gone.
  absl::Status Meet(const std::string& top, const std::vector<File>& files) {
    auto next = files.begin();
    const auto meet = [&](const DocumentListing& document) -> absl::Status {
      ++result_.documents_before;
      for (; next != files.end() && next->path < document.id; ++next) {
        new_files_.push_back(*next);
      }
      if (next != files.end() && next->path == document.id) {
        if (document.stamp) {
          devices_seen_.insert(document.stamp->device);
        }
        return MeetFile(*next++, &document);
      }
      gone_.push_back({document.id, document.stamp});
      return absl::OkStatus();
    };
    PITH_RETURN_IF_ERROR(VisitDocuments(top, meet));
    new_files_.insert(new_files_.end(), next, files.end());
    return absl::OkStatus();
  }

  // Files without a document. One with the stamp of a gone document's file is
  // that file under another name; with it the document goes on, and RemoveGone
  // finds it no more. The inode alone would not do: those of deleted files are
  // given to new ones.
  absl::Status SendNew() {
    using Identity = std::tuple<uint64_t, uint64_t, uint64_t, int64_t>;
    const auto identity_of = [](const FileStamp& stamp) -> Identity {
      return {stamp.device, stamp.inode, stamp.bytes, stamp.mtime_ns};
    };
    absl::flat_hash_map<Identity, std::string> former_ids;
    for (const Gone& document : gone_) {
      if (document.stamp) {
        former_ids[identity_of(*document.stamp)] = document.id;
      }
    }
    for (const File& file : new_files_) {
      std::optional<std::string> former;
      // Not for a second link to the same file.
      if (auto found = former_ids.extract(identity_of(file.stamp))) {
        former = std::move(found.mapped());
      }
      PITH_RETURN_IF_ERROR(MeetFile(file, nullptr, std::move(former)));
    }
    return absl::OkStatus();
  }

  // `document` is null if there is none for the file.
  absl::Status MeetFile(const File& file, const DocumentListing* document,
                        std::optional<std::string> renamed_from = {}) {
    if (operation_.cancelled()) {
      return absl::CancelledError("cancelled");
    }
    if (document != nullptr && document->stamp &&
        IsUnchanged(*document->stamp, file.stamp)) {
      operation_.Update([&](v1::AddSourceProgress& progress) {
        progress.set_files_read(progress.files_read() + 1);
        progress.set_unchanged(progress.unchanged() + 1);
      });
      return absl::OkStatus();
    }
    std::optional<std::string> text;
    if (const SkippedFiles::Entry* known =
            scan_.known.FindUnchanged(file.path, file.stamp)) {
      AddSkipped(file.path, known->reason, known->detail, known->stamp,
                 /*listed=*/true);
    } else {
      text = ReadText(file);
    }
    ReportRead(file);
    if (text) {
      return sender_.Send({.id = file.path,
                           .text = *std::move(text),
                           .format = FormatFromPath(file.path),
                           .stamp = file.stamp,
                           .renamed_from = std::move(renamed_from)});
    }
    if (document != nullptr) {
      gone_.push_back({document->id, document->stamp});
    }
    return absl::OkStatus();
  }

  void ReportRead(const File& file) {
    const uint64_t embedded = collection_.GetStatus().embedded_passages;
    operation_.Update([&](v1::AddSourceProgress& progress) {
      progress.set_files_read(progress.files_read() + 1);
      progress.set_bytes_read(progress.bytes_read() +
                              static_cast<int64_t>(file.stamp.bytes));
      progress.set_passages_embedded(
          std::min(progress.passages_to_embed(),
                   static_cast<int64_t>(embedded - embedded_before_)));
    });
  }

  // Text that can be indexed, or nullopt if the file was skipped.
  std::optional<std::string> ReadText(const File& file) {
    const auto skip = [&](SkipReason reason, std::string_view detail,
                          std::optional<FileStamp> stamp) {
      AddSkipped(file.path, SkipReasonName(reason), detail, std::move(stamp),
                 /*listed=*/true);
      return std::nullopt;
    };
    if (!CheckUtf8Text(file.path).ok()) {
      return skip(SkipReason::kNotUtf8, "the file's name is not UTF-8",
                  std::nullopt);
    }
    absl::StatusOr<std::string> text = ReadFile(file.path, kMaxDocumentBytes);
    if (!text.ok()) {
      const std::string_view why = StdView(text.status().message());
      // A process without descriptors has the code of a file over the limit.
      std::error_code error;
      const uintmax_t bytes = fs::file_size(file.path, error);
      if (!error && bytes > kMaxDocumentBytes) {
        return skip(SkipReason::kTooLarge, why, std::nullopt);
      }
      if (!absl::IsNotFound(text.status())) {
        unreadable_.insert(file.path);
      }
      return skip(SkipReason::kUnreadable, why, std::nullopt);
    }
    if (text->find_first_not_of(" \t\r\n\v\f") == std::string::npos) {
      return skip(SkipReason::kEmpty, "", file.stamp);
    }
    if (const absl::Status status = CheckText(*text); !status.ok()) {
      return skip(ReasonOf(status) == kBinaryReason ? SkipReason::kBinary
                                                    : SkipReason::kNotUtf8,
                  StdView(status.message()), file.stamp);
    }
    return *std::move(text);
  }

  bool IsUnreadable(std::string_view id) const {
    for (size_t end = id.size(); end != id.npos && end > 0;
         end = id.rfind('/', end - 1)) {
      if (unreadable_.contains(AbslView(id.substr(0, end)))) {
        return true;
      }
    }
    return unreadable_.contains("/");
  }

  // Deletes documents that are gone, unless their file may come back.
  absl::Status RemoveGone() {
    std::vector<std::string> ids;
    for (Gone& document : gone_) {
      GoneDocument gone = {.stamp = document.stamp,
                           .unreadable = IsUnreadable(document.id)};
      if (document.stamp) {
        gone.device_seen = devices_seen_.contains(document.stamp->device);
      }
      gone.device_there = DeviceAt(document.id);
      const GoneVerdict verdict = JudgeGone(gone);
      if (verdict == GoneVerdict::kDelete) {
        ids.push_back(std::move(document.id));
        continue;
      }
      ++(verdict == GoneVerdict::kKeepUnmounted ? result_.kept_unmounted
                                                : result_.kept_unreadable);
      if (result_.kept_example.empty()) {
        result_.kept_example = std::move(document.id);
      }
    }
    for (size_t first = 0; first < ids.size(); first += kDeletePage) {
      if (operation_.cancelled()) {
        return absl::CancelledError("cancelled");
      }
      const size_t last = std::min(ids.size(), first + kDeletePage);
      PITH_ASSIGN_OR_RETURN(
          const DeleteResult result,
          collection_.DeleteAndWait(
              {ids.begin() + static_cast<std::ptrdiff_t>(first),
               ids.begin() + static_cast<std::ptrdiff_t>(last)}));
      operation_.Update([&](v1::AddSourceProgress& progress) {
        progress.set_removed(progress.removed() +
                             static_cast<int64_t>(result.deleted));
      });
    }
    return absl::OkStatus();
  }

  struct Gone {
    std::string id;
    std::optional<FileStamp> stamp;
  };

  Collection& collection_;
  const SourceScan& scan_;
  Operation& operation_;
  SourceScanResult result_;
  std::vector<Gone> gone_;
  // That no document has.
  std::vector<File> new_files_;
  // Files and directories that are there and could not be read: documents at or
  // below them are kept.
  absl::flat_hash_set<std::string> unreadable_;
  absl::flat_hash_set<uint64_t> devices_seen_;
  uint64_t embedded_before_ = 0;
  // Last: it waits for its answers.
  Sender sender_;
};

}  // namespace

absl::StatusOr<SourceScanResult> ReconcileSource(Collection& collection,
                                                 const SourceScan& scan,
                                                 Operation& operation) {
  return Reconciliation(collection, scan, operation).Run();
}

absl::Status WaitUntilSearchable(Collection& collection, Operation& operation) {
  SetPhase(operation, v1::AddSourceProgress::PHASE_EMBEDDING);
  uint64_t embedded = 0;
  absl::Time last_progress = absl::Now();
  // Some may wait since an earlier operation, which this one waits for, too.
  operation.Update([pending = collection.GetStatus().counts.pending](
                       v1::AddSourceProgress& progress) {
    progress.set_passages_to_embed(
        std::max(progress.passages_to_embed(), static_cast<int64_t>(pending)));
  });
  while (true) {
    const CollectionStatus status = collection.GetStatus();
    const uint64_t waiting = status.counts.pending - status.failed_passages;
    operation.Update([&](v1::AddSourceProgress& progress) {
      // Others may add to the collection meanwhile, which makes this too low
      // until the end. Failed passages are pending, too.
      progress.set_passages_embedded(
          std::max<int64_t>(progress.passages_embedded(),
                            progress.passages_to_embed() -
                                static_cast<int64_t>(status.counts.pending)));
    });
    if (waiting == 0) {
      SetPhase(operation, v1::AddSourceProgress::PHASE_DONE);
      return absl::OkStatus();
    }
    if (status.embedding_error.ok() || status.embedded_passages != embedded) {
      embedded = status.embedded_passages;
      last_progress = absl::Now();
    } else if (absl::IsFailedPrecondition(status.embedding_error) ||
               absl::IsDataLoss(status.embedding_error) ||
               absl::IsNotFound(status.embedding_error) ||
               absl::Now() - last_progress > kMaxStandstill) {
      // The first three do not pass by themselves.
      return Annotate(
          status.embedding_error,
          absl::StrCat("documents are stored, but ", waiting,
                       " passages wait for their embedding, which is tried "
                       "again in the background"));
    }
    if (operation.WaitForCancel(kPollInterval)) {
      return absl::CancelledError("cancelled");
    }
  }
}

absl::Status ScanSource(Collection& collection, const fs::path& path,
                        Operation& operation) {
  PITH_ASSIGN_OR_RETURN(
      const SourceScanResult result,
      ReconcileSource(
          collection,
          {.root = path, .tops = {path.string()}, .known = SkippedFiles()},
          operation));
  PITH_RETURN_IF_ERROR(WaitUntilSearchable(collection, operation));
  return result.damage;
}

}  // namespace pith
