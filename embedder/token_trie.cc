#include "embedder/token_trie.h"

#include <bit>

#include "glog/logging.h"

namespace pith {
namespace {

uint32_t EdgeKey(TokenTrie::Node parent, char byte) {
  return parent << 8 | static_cast<uint8_t>(byte);
}

// Where the edge `key` is or, if there is none, would be.
size_t FindSlot(const std::vector<TokenTrie::Edge>& edges, uint32_t key) {
  // Fibonacci hashing: the high bits of the product depend on all of the key.
  const auto shift = static_cast<uint32_t>(
      std::countl_zero(static_cast<uint32_t>(edges.size() - 1)));
  size_t slot = key * 0x9E3779B9u >> shift;
  while (edges[slot].child != TokenTrie::kRoot && edges[slot].key != key) {
    slot = (slot + 1) & (edges.size() - 1);
  }
  return slot;
}

}  // namespace

TokenTrie::TokenTrie(
    std::span<const std::pair<std::string_view, int32_t>> strings) {
  size_t max_nodes = 1;
  for (const auto& [string, value] : strings) {
    max_nodes += string.size();
  }
  CHECK_LE(max_nodes, kMaxBytes + 1);
  std::vector<Edge> edges(std::bit_ceil(2 * max_nodes));
  values_ = {-1};
  for (const auto& [string, value] : strings) {
    CHECK_GE(value, 0);
    Node node = kRoot;
    for (const char byte : string) {
      const uint32_t key = EdgeKey(node, byte);
      Edge& edge = edges[FindSlot(edges, key)];
      if (edge.child == kRoot) {
        edge = {key, static_cast<Node>(values_.size())};
        values_.push_back(-1);
      }
      node = edge.child;
    }
    if (node != kRoot && values_[node] < 0) {
      values_[node] = value;
    }
  }
  // Most prefixes are shared; a table of the right size stays in the cache.
  edges_.resize(std::bit_ceil(2 * values_.size()));
  for (const Edge& edge : edges) {
    if (edge.child != kRoot) {
      edges_[FindSlot(edges_, edge.key)] = edge;
    }
  }
}

TokenTrie::Node TokenTrie::Child(Node parent, char byte) const {
  return edges_[FindSlot(edges_, EdgeKey(parent, byte))].child;
}

std::optional<TokenTrie::Node> TokenTrie::Find(std::string_view prefix) const {
  Node node = kRoot;
  for (const char byte : prefix) {
    node = Child(node, byte);
    if (node == kRoot) {
      return std::nullopt;
    }
  }
  return node;
}

TokenTrie::Match TokenTrie::LongestMatch(Node from,
                                         std::string_view text) const {
  Match longest = {.length = 0, .value = -1};
  ForEachMatch(from, text, [&](Match match) { longest = match; });
  return longest;
}

std::optional<int32_t> TokenTrie::Value(std::string_view string) const {
  const std::optional<Node> node = Find(string);
  if (!node.has_value() || values_[*node] < 0) {
    return std::nullopt;
  }
  return values_[*node];
}

}  // namespace pith
