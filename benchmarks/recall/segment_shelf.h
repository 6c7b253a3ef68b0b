#ifndef PITH_BENCHMARKS_RECALL_SEGMENT_SHELF_H_
#define PITH_BENCHMARKS_RECALL_SEGMENT_SHELF_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

#include "benchmarks/recall/measurement.h"
#include "core/codes/codebook.h"
#include "core/codes/rotated_code.h"
#include "core/index/sealing.h"
#include "core/index/segment.h"

namespace pith {

// The widths that are measured.
inline constexpr CodeShape kCodeShapes[] = {{.subquantizers = 32, .bits = 8},
                                            {.subquantizers = 48, .bits = 8},
                                            {.subquantizers = 96, .bits = 4},
                                            {.subquantizers = 96, .bits = 8}};

// "opq48x8".
std::string ShapeName(const CodeShape& shape);

// Every passage of the input in one segment; passage i is the only one of
// document i.
struct SealedPassages {
  std::shared_ptr<const Segment> segment;
  // But for the name.
  StrategyFacts facts;
};

// Segments that several strategies share, trained, encoded and built when first
// asked for, as the daemon seals them. One thread at a time, one input and one
// set of options.
class SegmentShelf {
 public:
  // Valid as long as the shelf. kInvalidArgument if there are too few passages
  // to train on.
  absl::StatusOr<const SealedPassages*> Get(const RecallInput& input,
                                            const RecallOptions& options,
                                            const CodeShape& shape,
                                            bool with_graph);

 private:
  // Codes for a segment, by the delta's codec or its own codebook.
  struct Coded {
    std::shared_ptr<const Codebook> codebook;
    CodedPassages passages;
    double seconds = 0;
  };

  absl::StatusOr<const Coded*> Encode(const RecallInput& input,
                                      const RecallOptions& options,
                                      const CodeShape& shape);

  std::map<std::string, Coded> coded_;
  std::map<std::pair<std::string, bool>, SealedPassages> sealed_;
};

// Codes of all rows, one after another, made by `threads` threads.
std::vector<uint8_t> EncodeRows(const Codec& codec, const Matrix& vectors,
                                int threads);

}  // namespace pith

#endif  // PITH_BENCHMARKS_RECALL_SEGMENT_SHELF_H_
