#include "core/graph/order.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>

#include "glog/logging.h"

#include "core/base/status_macros.h"

namespace pith {
namespace {

constexpr size_t kGrain = 4096;
constexpr int kMostRounds = 20;
// Halves are not halved again below this many nodes.
constexpr size_t kSmallest = 4;
// Levels at which all threads work on one half after the other; below, each
// works on halves of its own.
constexpr int kSharedLevels = 3;

size_t Index(NodeId node) {
  return static_cast<size_t>(node);
}

// Bits of fraction of the estimates.
constexpr int kFraction = 16;

// floor(log2(value) * 2^kFraction), by squaring: no floating point.
int64_t FixedLog2(uint64_t value) {
  int64_t result = 0;
  while (value >> 31 > 1) {
    value >>= 1;
  }
  int whole = 63 - __builtin_clzll(value);
  result = static_cast<int64_t>(whole) << kFraction;
  // A mantissa in [1, 2) with 31 bits of fraction.
  uint64_t mantissa = value << (31 - whole);
  for (int bit = kFraction - 1; bit >= 0; --bit) {
    mantissa = mantissa * mantissa >> 31;
    if (mantissa >> 32 != 0) {
      mantissa >>= 1;
      result += int64_t{1} << bit;
    }
  }
  return result;
}

// What a list with d neighbours in a half saves by their being so many there,
// but for what all distributions have in common: d log2(d + 1).
class Savings {
 public:
  explicit Savings(size_t max_degree) {
    for (size_t d = 0; d <= max_degree + 1; ++d) {
      values_.push_back(static_cast<int64_t>(d) * FixedLog2(d + 1));
    }
  }

  // Of moving a node from the half where a list has `here` neighbours, the node
  // among them, to the one where it has `there`.
  int64_t OfMove(uint32_t here, uint32_t there) const {
    return values_[there + 1] - values_[there] -
           (values_[here] - values_[here - 1]);
  }

 private:
  std::vector<int64_t> values_;
};

struct Move {
  int64_t gain;
  uint32_t node;
};

// Larger gains first.
void SortMoves(std::span<Move> moves) {
  std::sort(moves.begin(), moves.end(), [](const Move& a, const Move& b) {
    return a.gain != b.gain ? a.gain > b.gain : a.node < b.node;
  });
}

// How many swaps of the i-th best moves of both sides gain.
size_t GainfulSwaps(std::span<const Move> left, std::span<const Move> right) {
  const size_t most = std::min(left.size(), right.size());
  size_t count = 0;
  while (count < most && left[count].gain + right[count].gain > 0) {
    ++count;
  }
  return count;
}

// A part of the nodes by itself: lists[i] for its i-th node has that node's
// neighbours, in the part or not, under numbers of its own.
class Part {
 public:
  Part(const AdjacencyLists& graph, const Savings& savings,
       std::span<uint32_t> nodes, const BuildControl& control)
      : savings_(savings), nodes_(nodes), control_(control) {
    for (const uint32_t node : nodes) {
      for (const NodeId neighbor : graph[NodeId{node}]) {
        lists_.push_back(static_cast<uint32_t>(neighbor));
      }
      offsets_.push_back(static_cast<uint32_t>(lists_.size()));
    }
    std::vector<uint32_t> distinct = lists_;
    std::sort(distinct.begin(), distinct.end());
    distinct.erase(std::unique(distinct.begin(), distinct.end()),
                   distinct.end());
    for (uint32_t& neighbor : lists_) {
      neighbor = static_cast<uint32_t>(
          std::lower_bound(distinct.begin(), distinct.end(), neighbor) -
          distinct.begin());
    }
    counts_.resize(distinct.size());
  }

  // Puts the nodes in order.
  void Order() {
    std::vector<uint32_t> places(nodes_.size());
    std::iota(places.begin(), places.end(), 0);
    Halve(places);
    std::vector<uint32_t> ordered(nodes_.size());
    for (size_t i = 0; i < places.size(); ++i) {
      ordered[i] = nodes_[places[i]];
    }
    std::copy(ordered.begin(), ordered.end(), nodes_.begin());
  }

 private:
  struct Counts {
    uint32_t left = 0;
    uint32_t right = 0;
  };

  std::span<const uint32_t> List(uint32_t place) const {
    return std::span(lists_).subspan(offsets_[place],
                                     offsets_[place + 1] - offsets_[place]);
  }

  void Halve(std::span<uint32_t> places) {
    if (places.size() < kSmallest) {
      return;
    }
    const std::span<uint32_t> left = places.first(places.size() / 2);
    const std::span<uint32_t> right = places.subspan(left.size());
    for (const uint32_t place : left) {
      for (const uint32_t neighbor : List(place)) {
        ++counts_[neighbor].left;
      }
    }
    for (const uint32_t place : right) {
      for (const uint32_t neighbor : List(place)) {
        ++counts_[neighbor].right;
      }
    }
    for (int round = 0; round < kMostRounds; ++round) {
      if (places.size() >= kGrain) {
        // It may have to wait; who calls heeds the answer.
        (void)control_.cancelled();
      }
      moves_left_.clear();
      for (const uint32_t place : left) {
        int64_t gain = 0;
        for (const uint32_t neighbor : List(place)) {
          const Counts counts = counts_[neighbor];
          gain += savings_.OfMove(counts.left, counts.right);
        }
        moves_left_.push_back({gain, place});
      }
      moves_right_.clear();
      for (const uint32_t place : right) {
        int64_t gain = 0;
        for (const uint32_t neighbor : List(place)) {
          const Counts counts = counts_[neighbor];
          gain += savings_.OfMove(counts.right, counts.left);
        }
        moves_right_.push_back({gain, place});
      }
      SortMoves(moves_left_);
      SortMoves(moves_right_);
      const size_t swaps = GainfulSwaps(moves_left_, moves_right_);
      if (swaps == 0) {
        break;
      }
      for (size_t i = 0; i < swaps; ++i) {
        for (const uint32_t neighbor : List(moves_left_[i].node)) {
          --counts_[neighbor].left;
          ++counts_[neighbor].right;
        }
        for (const uint32_t neighbor : List(moves_right_[i].node)) {
          --counts_[neighbor].right;
          ++counts_[neighbor].left;
        }
        std::swap(moves_left_[i], moves_right_[i]);
      }
      for (size_t i = 0; i < left.size(); ++i) {
        left[i] = moves_left_[i].node;
      }
      for (size_t i = 0; i < right.size(); ++i) {
        right[i] = moves_right_[i].node;
      }
    }
    for (const uint32_t place : places) {
      for (const uint32_t neighbor : List(place)) {
        counts_[neighbor] = {};
      }
    }
    Halve(left);
    Halve(right);
  }

  const Savings& savings_;
  std::span<uint32_t> nodes_;
  const BuildControl& control_;
  std::vector<uint32_t> offsets_ = {0};
  std::vector<uint32_t> lists_;
  // Neighbours that each list's owner has in the halves at hand. The graph is
  // mutual: a node's neighbours are the owners of the lists it is in.
  std::vector<Counts> counts_;
  std::vector<Move> moves_left_;
  std::vector<Move> moves_right_;
};

enum class Side : uint8_t { kNone, kLeft, kRight };

// Halves `nodes`, which may be many, with all threads.
absl::Status HalveShared(const AdjacencyLists& graph, const Savings& savings,
                         const BuildControl& control, std::span<uint32_t> nodes,
                         std::vector<Side>& sides) {
  const std::span<uint32_t> left = nodes.first(nodes.size() / 2);
  const std::span<uint32_t> right = nodes.subspan(left.size());
  for (const uint32_t node : left) {
    sides[node] = Side::kLeft;
  }
  for (const uint32_t node : right) {
    sides[node] = Side::kRight;
  }
  struct Counts {
    uint16_t left = 0;
    uint16_t right = 0;
  };
  std::vector<Counts> counts(graph.node_count());
  std::vector<Move> moves(nodes.size());
  for (int round = 0; round < kMostRounds; ++round) {
    PITH_RETURN_IF_ERROR(
        ParallelFor(control, graph.node_count(), kGrain,
                    [&](size_t /*worker*/, size_t begin, size_t end) {
                      for (size_t i = begin; i < end; ++i) {
                        Counts count;
                        for (const NodeId neighbor :
                             graph[NodeId{static_cast<uint32_t>(i)}]) {
                          const Side side = sides[Index(neighbor)];
                          if (side == Side::kLeft) {
                            ++count.left;
                          } else if (side == Side::kRight) {
                            ++count.right;
                          }
                        }
                        counts[i] = count;
                      }
                    }));
    PITH_RETURN_IF_ERROR(ParallelFor(
        control, nodes.size(), kGrain,
        [&](size_t /*worker*/, size_t begin, size_t end) {
          for (size_t i = begin; i < end; ++i) {
            const bool is_left = sides[nodes[i]] == Side::kLeft;
            int64_t gain = 0;
            for (const NodeId neighbor : graph[NodeId{nodes[i]}]) {
              const Counts count = counts[Index(neighbor)];
              gain += is_left ? savings.OfMove(count.left, count.right)
                              : savings.OfMove(count.right, count.left);
            }
            moves[i] = {gain, nodes[i]};
          }
        }));
    const std::span<Move> moves_left = std::span(moves).first(left.size());
    const std::span<Move> moves_right = std::span(moves).subspan(left.size());
    PITH_RETURN_IF_ERROR(
        ParallelFor(control, 2, 1, [&](size_t /*worker*/, size_t i, size_t) {
          SortMoves(i == 0 ? moves_left : moves_right);
        }));
    const size_t swaps = GainfulSwaps(moves_left, moves_right);
    if (swaps == 0) {
      break;
    }
    for (size_t i = 0; i < swaps; ++i) {
      sides[moves_left[i].node] = Side::kRight;
      sides[moves_right[i].node] = Side::kLeft;
      std::swap(moves_left[i], moves_right[i]);
    }
    for (size_t i = 0; i < nodes.size(); ++i) {
      nodes[i] = moves[i].node;
    }
  }
  for (const uint32_t node : nodes) {
    sides[node] = Side::kNone;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<NodeId>> OrderNodes(const AdjacencyLists& graph,
                                               std::vector<NodeId> start,
                                               const BuildControl& control) {
  const size_t n = graph.node_count();
  CHECK_EQ(start.size(), n);
  size_t max_degree = 0;
  for (size_t i = 0; i < n; ++i) {
    max_degree =
        std::max<size_t>(max_degree, graph.offsets[i + 1] - graph.offsets[i]);
  }
  const Savings savings(max_degree);
  std::vector<uint32_t> order(n);
  std::transform(start.begin(), start.end(), order.begin(), Index);
  std::vector<NodeId>().swap(start);

  std::vector<std::span<uint32_t>> parts = {order};
  std::vector<Side> sides(n, Side::kNone);
  for (int level = 0; level < kSharedLevels; ++level) {
    std::vector<std::span<uint32_t>> halves;
    for (const std::span<uint32_t> part : parts) {
      if (part.size() >= kSmallest) {
        PITH_RETURN_IF_ERROR(HalveShared(graph, savings, control, part, sides));
      }
      halves.push_back(part.first(part.size() / 2));
      halves.push_back(part.subspan(part.size() / 2));
    }
    parts = std::move(halves);
    control.progress(0.5 * (level + 1) / kSharedLevels);
  }
  PITH_RETURN_IF_ERROR(ParallelFor(
      control, parts.size(), 1, [&](size_t /*worker*/, size_t i, size_t) {
        Part(graph, savings, parts[i], control).Order();
      }));

  std::vector<NodeId> new_numbers(n);
  for (size_t i = 0; i < n; ++i) {
    new_numbers[order[i]] = NodeId{static_cast<uint32_t>(i)};
  }
  return new_numbers;
}

AdjacencyLists Renumber(const AdjacencyLists& graph,
                        const std::vector<NodeId>& new_numbers) {
  std::vector<NodeId> old_numbers(new_numbers.size());
  for (size_t i = 0; i < new_numbers.size(); ++i) {
    old_numbers[Index(new_numbers[i])] = NodeId{static_cast<uint32_t>(i)};
  }
  AdjacencyLists result;
  result.offsets.reserve(graph.offsets.size());
  result.neighbors.reserve(graph.neighbors.size());
  for (const NodeId old : old_numbers) {
    const auto begin = static_cast<ptrdiff_t>(result.neighbors.size());
    for (const NodeId neighbor : graph[old]) {
      result.neighbors.push_back(new_numbers[Index(neighbor)]);
    }
    std::sort(result.neighbors.begin() + begin, result.neighbors.end());
    result.offsets.push_back(result.neighbors.size());
  }
  return result;
}

}  // namespace pith
