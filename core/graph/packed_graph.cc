#include "core/graph/packed_graph.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <limits>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"

namespace pith {
namespace {

constexpr size_t kBlock = 32;
constexpr size_t kPadding = 7;
constexpr size_t kMostNibbles = 8;
// A node's bytes are counted in one.
static_assert(kMaxDegree * kMostNibbles + (kMaxDegree + 3) / 4 * 2 <= 2 * 255);

uint64_t Load64(const uint8_t* bytes) {
  uint64_t value = 0;
  std::memcpy(&value, bytes, sizeof(value));
  if constexpr (std::endian::native == std::endian::big) {
    value = __builtin_bswap64(value);
  }
  return value;
}

// The sum of the lowest `count` bytes of eight; `count` at most 8.
uint64_t SumBytes(uint64_t bytes, size_t count) {
  bytes &= count == 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * count)) - 1;
  const uint64_t pairs =
      (bytes & 0x00FF00FF00FF00FFu) + (bytes >> 8 & 0x00FF00FF00FF00FFu);
  return pairs * 0x0001000100010001u >> 48;
}

uint32_t DecodeFirst(uint32_t node, uint32_t value) {
  return node + ((value >> 1) ^ (0 - (value & 1)));
}

// What stands for each of `neighbors` in memory.
void Distances(uint32_t node, std::span<const NodeId> neighbors,
               std::vector<uint32_t>& out) {
  out.clear();
  for (size_t i = 0; i < neighbors.size(); ++i) {
    const auto neighbor = static_cast<uint32_t>(neighbors[i]);
    if (i > 0) {
      out.push_back(neighbor - static_cast<uint32_t>(neighbors[i - 1]) - 1);
    } else if (neighbor > node) {
      out.push_back((neighbor - node) * 2);
    } else {
      out.push_back((node - neighbor) * 2 - 1);
    }
  }
}

// How many nibbles hold `value`, at least one.
size_t NibblesOf(uint32_t value) {
  return value == 0 ? 1 : (static_cast<size_t>(std::bit_width(value)) + 3) / 4;
}

// The four sizes that take the fewest nibbles for counts[i] values of i
// nibbles, the last one at least the largest and 2.
std::array<uint8_t, 4> BestWidths(
    const std::array<uint64_t, kMostNibbles + 1>& counts) {
  size_t largest = kMostNibbles;
  while (largest > 4 && counts[largest] == 0) {
    --largest;
  }
  std::array<uint8_t, 4> best{};
  uint64_t least = std::numeric_limits<uint64_t>::max();
  for (size_t a = 1; a < largest; ++a) {
    for (size_t b = a + 1; b < largest; ++b) {
      for (size_t c = b + 1; c < largest; ++c) {
        uint64_t nibbles = 0;
        for (size_t i = 1; i <= largest; ++i) {
          nibbles += counts[i] * (i <= a   ? a
                                  : i <= b ? b
                                  : i <= c ? c
                                           : largest);
        }
        if (nibbles < least) {
          least = nibbles;
          best = {static_cast<uint8_t>(a), static_cast<uint8_t>(b),
                  static_cast<uint8_t>(c), static_cast<uint8_t>(largest)};
        }
      }
    }
  }
  return best;
}

// Appends nibbles to bytes.
class NibbleWriter {
 public:
  explicit NibbleWriter(std::vector<uint8_t>& out) : out_(out) {}

  void Put(uint32_t value, size_t nibbles) {
    for (size_t i = 0; i < nibbles; ++i, value >>= 4) {
      if (half_) {
        out_.back() = static_cast<uint8_t>(out_.back() | (value & 0xF) << 4);
      } else {
        out_.push_back(static_cast<uint8_t>(value & 0xF));
      }
      half_ = !half_;
    }
  }
  // Three bits a nibble, the lowest first; the fourth says that more follow.
  void PutVarint(uint32_t value) {
    for (; value >= 8; value >>= 3) {
      Put((value & 7) | 8, 1);
    }
    Put(value, 1);
  }

 private:
  std::vector<uint8_t>& out_;
  // The last byte's high nibble is free.
  bool half_ = false;
};

// Reads what PutVarint wrote, and distrusts it.
class NibbleReader {
 public:
  explicit NibbleReader(std::string_view bytes) : bytes_(bytes) {}

  // nullopt at the end, or if it is longer than it needs or has more than 32
  // bits.
  std::optional<uint32_t> Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 33; shift += 3) {
      if (next_ == 2 * bytes_.size()) {
        return std::nullopt;
      }
      const uint32_t nibble = Nibble();
      value |= uint64_t{nibble & 7} << shift;
      if (nibble < 8) {
        const bool longer_than_needed = nibble == 0 && shift > 0;
        return longer_than_needed ||
                       value > std::numeric_limits<uint32_t>::max()
                   ? std::nullopt
                   : std::optional(static_cast<uint32_t>(value));
      }
    }
    return std::nullopt;
  }

  // True if only a zero nibble that fills the last byte is left, or nothing.
  bool AtEnd() {
    return next_ == 2 * bytes_.size() ||
           (next_ + 1 == 2 * bytes_.size() && Nibble() == 0);
  }
  size_t nibbles_read() const { return next_; }

 private:
  uint32_t Nibble() {
    const auto byte = static_cast<uint8_t>(bytes_[next_ / 2]);
    return (next_++ % 2 == 0 ? byte : byte >> 4) & 0xFu;
  }

  std::string_view bytes_;
  size_t next_ = 0;
};

void PackNode(std::span<const uint32_t> distances,
              const std::array<uint8_t, 4>& widths, std::vector<uint8_t>& out) {
  NibbleWriter writer(out);
  for (size_t begin = 0; begin < distances.size(); begin += 4) {
    const std::span<const uint32_t> group =
        distances.subspan(begin, std::min<size_t>(4, distances.size() - begin));
    // Sizes that are not used are the largest, for which a nibble that fills
    // the last byte is too small.
    uint32_t control = 0xFF;
    for (size_t i = 0; i < group.size(); ++i) {
      const size_t nibbles = NibblesOf(group[i]);
      uint32_t size = 0;
      while (widths[size] < nibbles) {
        ++size;
      }
      control ^= (3 - size) << (2 * i);
    }
    writer.Put(control, 2);
    for (size_t i = 0; i < group.size(); ++i) {
      writer.Put(group[i], widths[control >> (2 * i) & 3]);
    }
  }
}

}  // namespace

PackedGraph::PackedGraph(const AdjacencyLists& lists,
                         std::vector<NodeId> entry_points)
    : node_count_(lists.node_count()), entry_points_(std::move(entry_points)) {
  CHECK_LE(node_count_, kMaxNodes);
  CHECK_LE(entry_points_.size(), kMaxEntryPoints);
  CHECK(node_count_ == 0 || !entry_points_.empty());
  CHECK(entry_points_.empty() ||
        static_cast<size_t>(entry_points_.back()) < node_count_);
  CHECK(std::adjacent_find(entry_points_.begin(), entry_points_.end(),
                           std::greater_equal<>()) == entry_points_.end());
  std::vector<uint32_t> distances;
  std::array<uint64_t, kMostNibbles + 1> counts{};
  for (size_t i = 0; i < node_count_; ++i) {
    const NodeId node{static_cast<uint32_t>(i)};
    CHECK_LE(lists[node].size(), kMaxDegree) << "node " << i;
    Distances(static_cast<uint32_t>(i), lists[node], distances);
    for (const uint32_t distance : distances) {
      ++counts[NibblesOf(distance)];
    }
  }
  widths_ = BestWidths(counts);

  const size_t blocks = (node_count_ + kBlock - 1) / kBlock;
  blocks_.reserve(blocks);
  lengths_.reserve(blocks * kBlock);
  for (size_t i = 0; i < node_count_; ++i) {
    if (i % kBlock == 0) {
      blocks_.push_back(bytes_.size());
    }
    const size_t begin = bytes_.size();
    Distances(static_cast<uint32_t>(i), lists[NodeId{static_cast<uint32_t>(i)}],
              distances);
    PackNode(distances, widths_, bytes_);
    lengths_.push_back(static_cast<uint8_t>(bytes_.size() - begin));
  }
  lengths_.resize(blocks * kBlock, 0);
  bytes_.resize(bytes_.size() + kPadding, 0);
  bytes_.shrink_to_fit();
}

std::span<const NodeId> PackedGraph::Neighbors(NodeId node,
                                               NeighborBuffer& buffer) const {
  const auto number = static_cast<uint32_t>(node);
  const size_t in_block = number % kBlock;
  const uint8_t* const lengths = &lengths_[number - in_block];
  uint64_t begin = blocks_[number / kBlock];
  size_t word = 0;
  for (; word < in_block / 8; ++word) {
    begin += SumBytes(Load64(lengths + 8 * word), 8);
  }
  begin += SumBytes(Load64(lengths + 8 * word), in_block % 8);

  // In nibbles.
  uint64_t at = 2 * begin;
  const uint64_t end = at + uint64_t{2} * lengths[in_block];
  const auto load = [this](uint64_t nibble) {
    return Load64(&bytes_[nibble / 2]) >> (4 * (nibble % 2));
  };
  size_t count = 0;
  uint32_t previous = 0;
  // Two with sizes and one with a distance are the least.
  while (at + 2 < end) {
    uint64_t control = load(at);
    at += 2;
    for (int i = 0; i < 4; ++i, control >>= 2) {
      const unsigned width = widths_[control & 3];
      if (at + width > end) {
        break;
      }
      const auto value =
          static_cast<uint32_t>(load(at) & ((uint64_t{1} << 4 * width) - 1));
      at += width;
      previous = count == 0 ? DecodeFirst(number, value) : previous + value + 1;
      buffer[count++] = NodeId{previous};
    }
  }
  return std::span(buffer).first(count);
}

size_t PackedGraph::memory_bytes() const {
  return blocks_.size() * sizeof(uint64_t) + lengths_.size() + bytes_.size() +
         entry_points_.size() * sizeof(NodeId);
}

std::string PackedGraph::Serialize() const {
  std::vector<uint8_t> out;
  NibbleWriter writer(out);
  // `nodes` as distances from the one before, the first from `next`.
  const auto put = [&writer](std::span<const NodeId> nodes, uint32_t next) {
    writer.PutVarint(static_cast<uint32_t>(nodes.size()));
    for (const NodeId node : nodes) {
      writer.PutVarint(static_cast<uint32_t>(node) - next);
      next = static_cast<uint32_t>(node) + 1;
    }
  };
  put(entry_points_, 0);
  NeighborBuffer buffer;
  for (size_t i = 0; i < node_count_; ++i) {
    const NodeId node{static_cast<uint32_t>(i)};
    const std::span<const NodeId> all = Neighbors(node, buffer);
    put(all.subspan(static_cast<size_t>(
            std::upper_bound(all.begin(), all.end(), node) - all.begin())),
        static_cast<uint32_t>(i + 1));
  }
  return {out.begin(), out.end()};
}

absl::StatusOr<PackedGraph> PackedGraph::Parse(std::string_view bytes,
                                               size_t node_count) {
  const auto damaged = [](const auto&... what) {
    return absl::DataLossError(absl::StrCat("graph: ", what...));
  };
  // Every node has at least its count, a nibble.
  if (node_count > 2 * bytes.size() || node_count > kMaxNodes) {
    return damaged(node_count, " nodes in ", bytes.size(), " bytes");
  }
  NibbleReader reader(bytes);
  const std::optional<uint32_t> entry_count = reader.Varint();
  if (!entry_count.has_value()) {
    return damaged("no count of entry points");
  }
  if (*entry_count > std::min(node_count, kMaxEntryPoints) ||
      (*entry_count == 0) != (node_count == 0)) {
    return damaged(*entry_count, " entry points for ", node_count, " nodes");
  }
  std::vector<NodeId> entry_points;
  uint64_t next = 0;
  for (uint32_t i = 0; i < *entry_count; ++i) {
    const std::optional<uint32_t> gap = reader.Varint();
    if (!gap.has_value()) {
      return damaged("entry point ", i, " of ", *entry_count,
                     " is no number, at nibble ", reader.nibbles_read());
    }
    if (*gap >= node_count - next) {
      return damaged("entry point ", i, " is ", *gap, " after ", next, ", of ",
                     node_count, " nodes");
    }
    next += *gap;
    entry_points.push_back(NodeId{static_cast<uint32_t>(next)});
    ++next;
  }

  // The edges at their lower nodes, then each node's number of neighbours in
  // all, then both directions.
  std::vector<uint32_t> higher;
  std::vector<uint8_t> higher_counts(node_count);
  std::vector<uint8_t> degrees(node_count);
  for (size_t node = 0; node < node_count; ++node) {
    const std::optional<uint32_t> count = reader.Varint();
    if (!count.has_value()) {
      return damaged("node ", node, " of ", node_count,
                     " has no count, at nibble ", reader.nibbles_read());
    }
    if (*count > kMaxDegree - degrees[node]) {
      return damaged("node ", node, " has ", degrees[node], " and ", *count,
                     " neighbours, more than ", kMaxDegree);
    }
    next = node + 1;
    for (uint32_t i = 0; i < *count; ++i) {
      const std::optional<uint32_t> gap = reader.Varint();
      if (!gap.has_value()) {
        return damaged("neighbour ", i, " of ", *count, " of node ", node,
                       " is no number, at nibble ", reader.nibbles_read());
      }
      if (*gap >= node_count - next) {
        return damaged("node ", node, " has a neighbour ", *gap, " after ",
                       next, ", of ", node_count, " nodes");
      }
      next += *gap;
      if (degrees[next] == kMaxDegree) {
        return damaged("node ", next, " has more than ", kMaxDegree,
                       " neighbours");
      }
      ++degrees[next];
      higher.push_back(static_cast<uint32_t>(next));
      ++next;
    }
    higher_counts[node] = static_cast<uint8_t>(*count);
    degrees[node] = static_cast<uint8_t>(degrees[node] + *count);
  }
  if (!reader.AtEnd()) {
    return damaged("something follows the last node, at nibble ",
                   reader.nibbles_read(), " of ", 2 * bytes.size());
  }

  AdjacencyLists lists;
  lists.offsets.reserve(node_count + 1);
  for (const uint8_t degree : degrees) {
    lists.offsets.push_back(lists.offsets.back() + degree);
  }
  lists.neighbors.resize(lists.offsets.back());
  // Lower neighbours come first and in ascending order: their nodes are read in
  // that order, and before the node itself.
  std::vector<uint64_t> ends(lists.offsets.begin(), lists.offsets.end() - 1);
  size_t edge = 0;
  for (size_t node = 0; node < node_count; ++node) {
    for (size_t i = 0; i < higher_counts[node]; ++i, ++edge) {
      lists.neighbors[ends[node]++] = NodeId{higher[edge]};
      lists.neighbors[ends[higher[edge]]++] =
          NodeId{static_cast<uint32_t>(node)};
    }
  }
  return PackedGraph(lists, std::move(entry_points));
}

}  // namespace pith
