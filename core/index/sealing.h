#ifndef PITH_CORE_INDEX_SEALING_H_
#define PITH_CORE_INDEX_SEALING_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "core/base/ids.h"
#include "core/base/parallel.h"
#include "core/codes/codebook.h"
#include "core/codes/codec.h"
#include "core/index/segment.h"
#include "core/index/segment_file.h"

namespace pith {

// From codes of the delta and of segments to a segment. Neither vectors nor the
// model are needed: codes decode to what a graph and other codes are made from.

// How often one who waits, for others' sealing or to go on with its own, asks
// whether that is still wanted.
inline constexpr absl::Duration kCancelInterval = absl::Milliseconds(100);

enum class SealPhase {
  kRecomputing,
  kTraining,
  kEncoding,
  kBuilding,
  kWriting
};

struct SealControl {
  int threads = 1;
  // Asked often; whatever is going on then fails with kCancelled.
  std::function<bool()> cancelled = [] { return false; };
  // Called as often, from every thread; may keep it waiting until `cancelled`.
  std::function<void()> pace = [] {};
  // Told what begins, from the thread that called.
  std::function<void(SealPhase)> progress = [](SealPhase) {};

  BuildControl build() const {
    return {.threads = static_cast<size_t>(threads),
            .cancelled = [pace = pace, cancelled = cancelled] {
              pace();
              return cancelled();
            }};
  }
};

// Codes that lie one after another, with their passages.
struct CodedPassages {
  std::shared_ptr<const Codec> codec;
  std::vector<PassageId> passages;
  std::vector<uint8_t> codes;
  // If they are what a segment with a graph has but for the nodes for which
  // `gone` holds, in its order; else null.
  std::shared_ptr<const Segment> segment = nullptr;
  std::vector<bool> gone = {};

  std::span<const uint8_t> code(size_t i) const {
    const size_t bytes = codec->code_bytes();
    return std::span(codes).subspan(i * bytes, bytes);
  }
};

// Graphs are extended while no more than this share of their nodes, as they are
// then, came and went since they were built from nothing: beyond it recall
// falls behind and little time is saved (docs/decisions/0007-graph.md).
inline constexpr double kMaxChangedShare = 0.5;

// A segment of all `parts` with codes of `codebook`. Codes that are so already
// are kept, others are decoded and encoded. Nodes are in order of passage, or
// in that of a graph, which it gets from `min_graph_passages` on: the largest
// of the parts' graphs, extended, or one built from nothing if that would
// change too much. kDataLoss if a passage occurs twice.
absl::StatusOr<SegmentContent> BuildSegment(
    std::vector<CodedPassages> parts,
    const std::shared_ptr<const Codebook>& codebook, size_t min_graph_passages,
    uint64_t seed, const SealControl& control);

}  // namespace pith

#endif  // PITH_CORE_INDEX_SEALING_H_
