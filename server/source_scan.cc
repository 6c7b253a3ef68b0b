#include "server/source_scan.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "core/base/file.h"
#include "core/base/mutex.h"
#include "core/base/reason.h"
#include "core/base/status_macros.h"
#include "core/source/folder_walker.h"
#include "core/text/text_check.h"

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

// A path, or words with one in them, as a message can carry it: file names may
// be any bytes, messages are UTF-8.
std::string Printable(std::string_view text) {
  return CheckUtf8Text(text).ok() ? std::string(text)
                                  : absl::CEscape(AbslView(text));
}

void AddSkipped(Operation& operation, const fs::path& path,
                std::string_view reason, std::string_view detail, bool listed) {
  operation.Update([&](v1::AddSourceProgress& progress) {
    ++(*progress.mutable_skipped_by_reason())[std::string(reason)];
    if (listed && progress.skipped_size() < kMaxSkippedByName) {
      v1::SkippedFile* skipped = progress.add_skipped();
      skipped->set_path(Printable(path.string()));
      skipped->set_reason(std::string(reason));
      skipped->set_detail(Printable(detail));
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
  Sender(Collection& collection, Operation& operation)
      : collection_(collection), operation_(operation) {}

  ~Sender() { Wait(); }

  // Waits while too much is outstanding. The first error that would meet every
  // other document, too.
  absl::Status Send(const fs::path& path, DocumentInput input) {
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
    collection_.Put(std::move(input),
                    [this, path, bytes](absl::StatusOr<PutResult> result) {
                      Answered(path, bytes, result);
                    });
    return absl::OkStatus();
  }

  // Waits until every document is answered; the first error as for Send.
  absl::Status Drain() {
    Wait();
    MutexLock lock(mutex_);
    return fatal_;
  }

 private:
  void Wait() {
    MutexLock lock(mutex_);
    while (outstanding_ > 0) {
      answered_.Wait(mutex_);
    }
  }

  void Answered(const fs::path& path, size_t bytes,
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
          case PutOutcome::kUnchanged:
            progress.set_unchanged(progress.unchanged() + 1);
            break;
        }
        progress.set_passages_to_embed(
            progress.passages_to_embed() +
            static_cast<int64_t>(result->passages_to_embed));
      });
    } else if (absl::IsInvalidArgument(result.status())) {
      AddSkipped(operation_, path, "failed", StdView(result.status().message()),
                 true);
    }
    MutexLock lock(mutex_);
    if (!result.ok() && !absl::IsInvalidArgument(result.status()) &&
        fatal_.ok()) {
      fatal_ = Annotate(result.status(), absl::StrCat("add ", path.string()));
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
  absl::Status fatal_ ABSL_GUARDED_BY(mutex_);
};

// What one walk saw.
struct Found {
  std::vector<std::pair<fs::path, uint64_t>> files;
  // Files that are there and could not be read, and directories: their
  // documents are kept.
  std::vector<std::string> unreadable;
};

absl::StatusOr<Found> Walk(const fs::path& path, Operation& operation) {
  Found found;
  const absl::Status walked =
      WalkFolder(path, {},
                 {.file =
                      [&](const fs::path& file, uint64_t bytes) {
                        found.files.emplace_back(file, bytes);
                        operation.Update([&](v1::AddSourceProgress& progress) {
                          progress.set_files_found(progress.files_found() + 1);
                        });
                        return !operation.cancelled();
                      },
                  .skipped =
                      [&](const fs::path& skipped, SkipReason reason,
                          std::string_view detail) {
                        AddSkipped(operation, skipped, SkipReasonName(reason),
                                   detail, IsListed(reason));
                        if (reason == SkipReason::kUnreadable) {
                          found.unreadable.push_back(skipped.string());
                        }
                      }});
  PITH_RETURN_IF_ERROR(walked);
  return found;
}

// Text that can be indexed, or nullopt if the file was skipped.
std::optional<std::string> ReadText(const fs::path& path, Operation& operation,
                                    Found& found) {
  if (!CheckUtf8Text(path.string()).ok()) {
    AddSkipped(operation, path, SkipReasonName(SkipReason::kNotUtf8),
               "the file's name is not UTF-8", true);
    return std::nullopt;
  }
  absl::StatusOr<std::string> text = ReadFile(path, kMaxDocumentBytes);
  if (!text.ok()) {
    const bool too_large = absl::IsResourceExhausted(text.status());
    AddSkipped(operation, path,
               SkipReasonName(too_large ? SkipReason::kTooLarge
                                        : SkipReason::kUnreadable),
               StdView(text.status().message()), true);
    if (!too_large && !absl::IsNotFound(text.status())) {
      found.unreadable.push_back(path.string());
    }
    return std::nullopt;
  }
  if (text->find_first_not_of(" \t\r\n\v\f") == std::string::npos) {
    AddSkipped(operation, path, SkipReasonName(SkipReason::kEmpty), "", true);
    return std::nullopt;
  }
  if (const absl::Status status = CheckText(*text); !status.ok()) {
    const SkipReason reason = ReasonOf(status) == kBinaryReason
                                  ? SkipReason::kBinary
                                  : SkipReason::kNotUtf8;
    AddSkipped(operation, path, SkipReasonName(reason),
               StdView(status.message()), true);
    return std::nullopt;
  }
  return *std::move(text);
}

// Deletes documents at or below `path` that are not in `present` and not at or
// below an unreadable path.
absl::Status RemoveGone(Collection& collection, const fs::path& path,
                        const absl::flat_hash_set<std::string>& present,
                        const std::vector<std::string>& unreadable,
                        Operation& operation) {
  const auto is_below = [](std::string_view id, std::string_view top) {
    return id.starts_with(top) &&
           (id.size() == top.size() || id[top.size()] == '/');
  };
  std::vector<std::string> gone;
  const std::string root = path.string();
  std::optional<std::string> after;
  while (true) {
    PITH_ASSIGN_OR_RETURN(const std::vector<DocumentListing> page,
                          collection.List(root, after, kListPage));
    for (const DocumentListing& document : page) {
      if (is_below(document.id, root) && !present.contains(document.id) &&
          std::none_of(unreadable.begin(), unreadable.end(),
                       [&](const std::string& top) {
                         return is_below(document.id, top);
                       })) {
        gone.push_back(document.id);
      }
    }
    if (page.empty()) {
      break;
    }
    after = page.back().id;
  }
  for (size_t first = 0; first < gone.size(); first += kDeletePage) {
    if (operation.cancelled()) {
      return absl::CancelledError("cancelled");
    }
    const size_t last = std::min(gone.size(), first + kDeletePage);
    PITH_ASSIGN_OR_RETURN(
        const DeleteResult result,
        collection.DeleteAndWait(
            {gone.begin() + static_cast<std::ptrdiff_t>(first),
             gone.begin() + static_cast<std::ptrdiff_t>(last)}));
    operation.Update([&](v1::AddSourceProgress& progress) {
      progress.set_removed(progress.removed() +
                           static_cast<int64_t>(result.deleted));
    });
  }
  return absl::OkStatus();
}

// Waits until nothing is pending, and keeps passages_embedded up to date. The
// embedder's error if it goes on failing, since that wait might have no end.
absl::Status WaitUntilSearchable(Collection& collection, Operation& operation) {
  uint64_t embedded = 0;
  absl::Time last_progress = absl::Now();
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

}  // namespace

absl::Status ScanSource(Collection& collection, const fs::path& path,
                        Operation& operation) {
  SetPhase(operation, v1::AddSourceProgress::PHASE_SCANNING);
  PITH_ASSIGN_OR_RETURN(Found found, Walk(path, operation));

  SetPhase(operation, v1::AddSourceProgress::PHASE_READING);
  const uint64_t embedded_before = collection.GetStatus().embedded_passages;
  absl::flat_hash_set<std::string> present;
  {
    Sender sender(collection, operation);
    for (const auto& [file, bytes] : found.files) {
      if (operation.cancelled()) {
        return absl::CancelledError("cancelled");
      }
      std::optional<std::string> text = ReadText(file, operation, found);
      const uint64_t embedded = collection.GetStatus().embedded_passages;
      operation.Update([&, size = bytes](v1::AddSourceProgress& progress) {
        progress.set_files_read(progress.files_read() + 1);
        progress.set_bytes_read(progress.bytes_read() +
                                static_cast<int64_t>(size));
        progress.set_passages_embedded(
            std::min(progress.passages_to_embed(),
                     static_cast<int64_t>(embedded - embedded_before)));
      });
      if (!text) {
        continue;
      }
      present.insert(file.string());
      PITH_RETURN_IF_ERROR(
          sender.Send(file, {.id = file.string(),
                             .text = *std::move(text),
                             .format = FormatFromPath(file.string())}));
    }
    PITH_RETURN_IF_ERROR(sender.Drain());
  }
  PITH_RETURN_IF_ERROR(
      RemoveGone(collection, path, present, found.unreadable, operation));

  SetPhase(operation, v1::AddSourceProgress::PHASE_EMBEDDING);
  PITH_RETURN_IF_ERROR(WaitUntilSearchable(collection, operation));
  SetPhase(operation, v1::AddSourceProgress::PHASE_DONE);
  return absl::OkStatus();
}

}  // namespace pith
