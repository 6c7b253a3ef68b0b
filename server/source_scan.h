#ifndef PITH_SERVER_SOURCE_SCAN_H_
#define PITH_SERVER_SOURCE_SCAN_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "core/index/collection.h"
#include "core/source/skipped_files.h"
#include "server/operations.h"

namespace pith {

// The reason of skipped files whose text the collection does not take.
inline constexpr std::string_view kFailedReason = "failed";

inline constexpr int kMaxDamaged = 100;

struct SourceScan {
  // A file or a folder; absolute, normal.
  std::filesystem::path root;
  // What is looked at: paths at or below `root`, none below another.
  std::vector<std::string> tops;
  // Told of each folder before it is read. May be null.
  std::function<void(const std::filesystem::path&)> folder;
  // What earlier scans of the source skipped.
  const SkippedFiles& known;
};

struct SourceScanResult {
  // At or below the tops.
  SkippedFiles skipped;
  // Documents at or below the tops, before and after.
  int64_t documents_before = 0;
  int64_t documents = 0;
  // Of them, those whose file is gone or unreadable, kept all the same; the
  // first such and why.
  int64_t kept_unreadable = 0;
  int64_t kept_unmounted = 0;
  std::string kept_example;
  // kDataLoss of the first document whose stored text is damaged, so that its
  // file could not replace it; it is as it was. OK if there is none. With
  // kMaxDamaged of them a scan fails.
  absl::Status damage;
};

// Brings `collection` into agreement with the files at or below the scan's
// tops: as SourcesService.AddSource says, by docs/sources.md's rules. Reports
// to `operation` and returns when everything is stored. Deletes nothing, and
// fails, if `root` is not there or cannot be read. kCancelled if the operation
// was; what was stored by then stays.
absl::StatusOr<SourceScanResult> ReconcileSource(Collection& collection,
                                                 const SourceScan& scan,
                                                 Operation& operation);

// Waits until nothing is pending, and keeps the operation's passages_embedded
// up to date. The embedder's error if it goes on failing, since that wait might
// have no end.
absl::Status WaitUntilSearchable(Collection& collection, Operation& operation);

// Both, of everything at `path`; then SourceScanResult::damage.
absl::Status ScanSource(Collection& collection,
                        const std::filesystem::path& path,
                        Operation& operation);

}  // namespace pith

#endif  // PITH_SERVER_SOURCE_SCAN_H_
