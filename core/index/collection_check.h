#ifndef PITH_CORE_INDEX_COLLECTION_CHECK_H_
#define PITH_CORE_INDEX_COLLECTION_CHECK_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "core/base/work_control.h"
#include "core/index/collection_config.h"
#include "core/index/segment_directory.h"
#include "core/storage/passage_store.h"

namespace pith {

// What was found wrong.
struct CheckProblem {
  // What it is of, what is wrong, values and bounds.
  std::string text;
  // All that it takes to mend it is there.
  bool repairable = false;
};

struct CheckReport {
  uint64_t documents = 0;
  uint64_t passages = 0;
  uint64_t segments = 0;
  // Nodes of segments, those of deleted passages included.
  uint64_t segment_passages = 0;
  // Passages of the delta, and those that wait for their code.
  uint64_t delta_passages = 0;
  uint64_t pending_passages = 0;
  uint64_t vectors = 0;
  // At most kMaxProblems of them; problems of one kind that many passages have
  // are one problem.
  std::vector<CheckProblem> problems;
  uint64_t problem_count = 0;
  uint64_t irreparable_count = 0;
  // Passages that lost their code: `repair` makes them wait for a new one.
  uint64_t lost_codes = 0;
};

struct CheckResult {
  CheckReport report;
  // What mends all that is repairable: codes that are lost are made again from
  // their texts. nullopt if nothing is, or if bytes of the store or a
  // document's record are damaged, so that nobody knows what belongs to it.
  std::optional<StoreBatch> repair;
};

struct CheckControl {
  // Asked often; the check then fails with kCancelled.
  std::function<bool()> cancelled = [] { return false; };
  // Told of the bytes whose checksums were compared, which comes first, and
  // then of the documents that were checked; and of how many there are.
  std::function<void(uint64_t done, uint64_t total)> bytes_progress =
      [](uint64_t, uint64_t) {};
  std::function<void(uint64_t done, uint64_t total)> documents_progress =
      [](uint64_t, uint64_t) {};

  WorkControl bytes() const {
    return {.cancelled = cancelled, .progress = bytes_progress};
  }
};

inline constexpr size_t kMaxProblems = 100;

// Reads every byte of a collection and compares its parts: that checksums fit,
// that every id leads to its document and every document to its passages, of as
// many bytes and lines as it says, that every passage has one code, is pending
// or is in one segment, that nothing is of a passage that does not exist, that
// counts agree, and that every node of a graph can be reached. What is wrong is
// in the result; the status says only why the check could not go on:
// kCancelled, or that something could not be read for another reason than
// damage. Nothing may change meanwhile: it is for a snapshot or a collection
// that is closed.
//
// Takes some 50 bytes a passage of memory beside two segments', and what
// `repair` holds.
absl::StatusOr<CheckResult> CheckCollection(const CollectionConfig& config,
                                            const PassageStore& store,
                                            const SegmentDirectory& segments,
                                            const CheckControl& control);

}  // namespace pith

#endif  // PITH_CORE_INDEX_COLLECTION_CHECK_H_
