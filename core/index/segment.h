#ifndef PITH_CORE_INDEX_SEGMENT_H_
#define PITH_CORE_INDEX_SEGMENT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

#include "core/base/ids.h"
#include "core/codes/codebook.h"
#include "core/codes/codec.h"
#include "core/graph/packed_graph.h"
#include "core/graph/two_level.h"
#include "core/index/candidates.h"
#include "core/index/passage_ids.h"
#include "core/index/passage_set.h"
#include "core/index/segment_file.h"

namespace pith {

// A sealed segment in memory: codes, passages and, if it is large, a graph over
// them. Whether it is scanned or walked is its own business. Immutable,
// thread-safe.
class Segment {
 public:
  // kDataLoss if `content`'s parts contradict each other or `codebook`.
  static absl::StatusOr<std::shared_ptr<const Segment>> Make(
      uint64_t number, SegmentContent content,
      std::shared_ptr<const Codebook> codebook);

  // Names it within its collection.
  uint64_t number() const { return number_; }
  size_t size() const { return passages_.size(); }
  const std::shared_ptr<const Codebook>& codebook() const { return codebook_; }
  bool has_graph() const { return graph_.has_value(); }
  // Null without one.
  const PackedGraph* graph() const { return graph_ ? &*graph_ : nullptr; }
  // As of SegmentContent.
  uint32_t changed_nodes() const { return changed_nodes_; }
  // Of its passages' scores (RecomputePolicy): as of SegmentContent, or what
  // the codebook's training sample had.
  float score_slope() const { return score_slope_; }
  // The passages of the graph's hubs, the share kHubShare of all nodes with the
  // most neighbours; none without a graph. Takes time as a sort of all nodes.
  std::vector<PassageId> Hubs() const;
  static constexpr double kHubShare = 0.02;
  // Nodes that no walk can reach from the entry points; 0 without a graph.
  size_t CountUnreached() const;
  PassageId passage(size_t node) const {
    return passages_[NodeId{static_cast<uint32_t>(node)}];
  }
  // `code`: the codebook's code_bytes().
  void CopyCode(size_t node, std::span<uint8_t> code) const;
  size_t memory_bytes() const { return memory_bytes_; }

  struct Search {
    // Of this segment's codebook.
    const CodeQuery& query;
    // Passages that are not to be found.
    const PassageSet& dead;
    // Candidates that a walk keeps; a scan offers all.
    size_t beam;
    const std::function<bool()>& cancelled;
  };
  // Offers what the code finds to `candidates`, as of `part`, and returns how
  // many codes were scored. kCancelled as `search` says.
  absl::StatusOr<size_t> Find(const Search& search, uint32_t part,
                              CandidateHeap& candidates) const;

  // Two-level search: `exact` gets nodes' passages. Only with a graph.
  absl::StatusOr<TwoLevelResult> FindTwoLevel(
      const Search& search, const TwoLevelOptions& options,
      absl::FunctionRef<absl::Status(std::span<const PassageId>,
                                     std::span<float>)>
          exact) const;

 private:
  Segment(uint64_t number, std::shared_ptr<const Codebook> codebook,
          PassageIds passages, uint32_t changed_nodes, float score_slope)
      : number_(number),
        codebook_(std::move(codebook)),
        passages_(std::move(passages)),
        changed_nodes_(changed_nodes),
        score_slope_(score_slope) {}

  size_t Scan(const Search& search, uint32_t part,
              CandidateHeap& candidates) const;

  const uint64_t number_;
  const std::shared_ptr<const Codebook> codebook_;
  const PassageIds passages_;
  const uint32_t changed_nodes_;
  const float score_slope_;
  // Node-major under a graph, in blocks for scanning else.
  std::vector<uint8_t> codes_;
  std::optional<PackedGraph> graph_;
  size_t memory_bytes_ = 0;
};

}  // namespace pith

#endif  // PITH_CORE_INDEX_SEGMENT_H_
