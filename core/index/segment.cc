#include "core/index/segment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

#include "core/base/status_macros.h"
#include "core/graph/walk.h"

namespace pith {
namespace {

// Codes that are scored before candidates are picked from them; whole blocks.
constexpr size_t kScanChunk = 16 * Codec::kBlockCodes;

// What a walk asks of a query's tables.
struct WalkScorer {
  const CodeQuery& query;
  std::span<const uint8_t> codes;
  std::vector<uint32_t> numbers = {};

  void Score(std::span<const NodeId> nodes, std::span<float> out) {
    numbers.assign(nodes.size(), 0);
    std::transform(nodes.begin(), nodes.end(), numbers.begin(),
                   [](NodeId node) { return static_cast<uint32_t>(node); });
    query.Score(codes, numbers, out);
  }
};

}  // namespace

absl::StatusOr<std::shared_ptr<const Segment>> Segment::Make(
    uint64_t number, SegmentContent content,
    std::shared_ptr<const Codebook> codebook) {
  if (content.code_bytes != codebook->code_bytes()) {
    return absl::DataLossError(
        absl::StrCat("segment ", number, " has codes of ", content.code_bytes,
                     " bytes, its codebook makes ", codebook->code_bytes()));
  }
  const float slope = content.score_slope.value_or(codebook->score_slope());
  std::shared_ptr<Segment> segment(new Segment(number, std::move(codebook),
                                               std::move(content.passages),
                                               content.changed_nodes, slope));
  if (content.graph) {
    PITH_ASSIGN_OR_RETURN(
        segment->graph_,
        Annotate(PackedGraph::Parse(*content.graph, segment->size()),
                 absl::StrCat("segment ", number, ", section \"graph\"")));
    segment->codes_ = std::move(content.codes);
  } else {
    segment->codes_ = segment->codebook_->ToBlocks(content.codes);
  }
  segment->memory_bytes_ =
      sizeof(Segment) + segment->codes_.capacity() +
      segment->passages_.memory_bytes() +
      (segment->graph_ ? segment->graph_->memory_bytes() : 0);
  return segment;
}

size_t Segment::CountUnreached() const {
  if (!graph_) {
    return 0;
  }
  std::vector<bool> reached(size(), false);
  std::vector<NodeId> found;
  const auto add = [&](std::span<const NodeId> nodes) {
    for (const NodeId node : nodes) {
      if (!reached[static_cast<size_t>(node)]) {
        reached[static_cast<size_t>(node)] = true;
        found.push_back(node);
      }
    }
  };
  add(graph_->entry_points());
  NeighborBuffer buffer;
  for (size_t i = 0; i < found.size(); ++i) {
    add(graph_->Neighbors(found[i], buffer));
  }
  return size() - found.size();
}

std::vector<PassageId> Segment::Hubs() const {
  std::vector<PassageId> hubs;
  if (!graph_) {
    return hubs;
  }
  std::vector<std::pair<size_t, uint32_t>> nodes;
  nodes.reserve(size());
  NeighborBuffer buffer;
  for (uint32_t node = 0; node < size(); ++node) {
    nodes.emplace_back(graph_->Neighbors(NodeId{node}, buffer).size(), node);
  }
  // Most neighbours first, equal ones by number.
  const auto before = [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  };
  const auto count = static_cast<ptrdiff_t>(
      std::ceil(kHubShare * static_cast<double>(nodes.size())));
  std::partial_sort(nodes.begin(), nodes.begin() + count, nodes.end(), before);
  hubs.reserve(static_cast<size_t>(count));
  for (ptrdiff_t i = 0; i < count; ++i) {
    hubs.push_back(passage(nodes[static_cast<size_t>(i)].second));
  }
  return hubs;
}

void Segment::CopyCode(size_t node, std::span<uint8_t> code) const {
  if (graph_) {
    std::copy_n(
        codes_.begin() + static_cast<std::ptrdiff_t>(node * code.size()),
        code.size(), code.begin());
  } else {
    codebook_->CopyCode(codes_, node, code);
  }
}

absl::StatusOr<size_t> Segment::Find(const Search& search, uint32_t part,
                                     CandidateHeap& candidates) const {
  if (!graph_) {
    return Scan(search, part, candidates);
  }
  thread_local WalkScratch scratch;
  WalkScorer scorer{search.query, codes_};
  PITH_ASSIGN_OR_RETURN(
      const WalkResult walk,
      Walk(*graph_, graph_->entry_points(), scorer,
           WalkOptions{.beam = search.beam, .cancelled = search.cancelled},
           scratch, [&](NodeId node) {
             return !search.dead.Contains(passages_[node]);
           }));
  for (const ScoredNode& found : walk.candidates) {
    candidates.Offer({.estimate = found.score,
                      .passage = passages_[found.node],
                      .part = part,
                      .node = static_cast<uint32_t>(found.node)});
  }
  return walk.evaluations;
}

size_t Segment::Scan(const Search& search, uint32_t part,
                     CandidateHeap& candidates) const {
  std::array<float, kScanChunk> estimates;
  for (size_t first = 0; first < size(); first += kScanChunk) {
    const size_t count = std::min(kScanChunk, size() - first);
    search.query.Scan(
        std::span(codes_).subspan(first * codebook_->code_bytes()),
        std::span(estimates).first(count));
    for (size_t i = 0; i < count; ++i) {
      if (estimates[i] < candidates.threshold()) {
        continue;
      }
      const PassageId passage =
          passages_[NodeId{static_cast<uint32_t>(first + i)}];
      if (!search.dead.Contains(passage)) {
        candidates.Offer({.estimate = estimates[i],
                          .passage = passage,
                          .part = part,
                          .node = static_cast<uint32_t>(first + i)});
      }
    }
  }
  return size();
}

absl::StatusOr<TwoLevelResult> Segment::FindTwoLevel(
    const Search& search, const TwoLevelOptions& options,
    absl::FunctionRef<absl::Status(std::span<const PassageId>,
                                   std::span<float>)>
        exact) const {
  thread_local WalkScratch scratch;
  WalkScorer scorer{search.query, codes_};
  std::vector<PassageId> batch;
  return TwoLevelWalk(
      *graph_, graph_->entry_points(), scorer,
      [&](std::span<const NodeId> nodes, std::span<float> out) {
        batch.clear();
        for (const NodeId node : nodes) {
          batch.push_back(passages_[node]);
        }
        return exact(batch, out);
      },
      options, scratch,
      [&](NodeId node) { return !search.dead.Contains(passages_[node]); });
}

}  // namespace pith
