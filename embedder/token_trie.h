#ifndef PITH_EMBEDDER_TOKEN_TRIE_H_
#define PITH_EMBEDDER_TOKEN_TRIE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace pith {

// Strings with a number each, for finding the longest that a text begins with.
// Immutable, thread-safe.
class TokenTrie {
 public:
  using Node = uint32_t;
  static constexpr Node kRoot = 0;
  static constexpr size_t kMaxBytes = (size_t{1} << 24) - 1;

  struct Match {
    size_t length;
    int32_t value;
  };

  // A node's parent and byte, and the node. The root is nobody's child: an edge
  // to it is an empty slot of the hash table.
  struct Edge {
    uint32_t key;
    Node child;
  };

  // Values are at least 0. Of equal strings the first counts; empty ones are
  // left out. At most kMaxBytes in all.
  explicit TokenTrie(
      std::span<const std::pair<std::string_view, int32_t>> strings);

  // The node at the end of `prefix`, or nullopt if no string begins so.
  std::optional<Node> Find(std::string_view prefix) const;

  // The longest string that, without the prefix of node `from`, `text` begins
  // with, and that is longer than this prefix. A length of 0 if there is none.
  Match LongestMatch(Node from, std::string_view text) const;

  // Calls `found` for every such string, shortest first.
  template <typename Function>
  void ForEachMatch(Node from, std::string_view text,
                    const Function& found) const {
    Node node = from;
    for (size_t i = 0; i < text.size(); ++i) {
      node = Child(node, text[i]);
      if (node == kRoot) {
        return;
      }
      if (values_[node] >= 0) {
        found(Match{.length = i + 1, .value = values_[node]});
      }
    }
  }

  // The number of `string`, if it is one of the strings.
  std::optional<int32_t> Value(std::string_view string) const;

 private:
  Node Child(Node parent, char byte) const;

  // Hash table with open addressing: a power of two, at most half full.
  std::vector<Edge> edges_;
  // By node; -1 where no string ends.
  std::vector<int32_t> values_;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_TOKEN_TRIE_H_
