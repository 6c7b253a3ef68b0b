#ifndef PITH_EMBEDDER_BYTE_LEVEL_BPE_H_
#define PITH_EMBEDDER_BYTE_LEVEL_BPE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

#include "embedder/token_model.h"

namespace pith {

// ByteLevel and BPE of `tokenizers`: GPT-2's regular expression cuts text into
// words, and in a word the bytes' tokens are merged, two neighbours at a time,
// in the order of the list of merges. A word of n bytes takes O(n log n).
// Immutable, thread-safe.
class ByteLevelBpe final : public TokenModel {
 public:
  struct Merge {
    int32_t left;
    int32_t right;
    int32_t result;
  };

  struct Options {
    // Nothing for a byte that the vocabulary lacks.
    std::array<std::optional<int32_t>, 256> byte_ids;
    // First merged first. Of equal pairs the last counts.
    std::vector<Merge> merges;
    // The token of such bytes; without it they are left out.
    std::optional<int32_t> unknown_id;
    // Neighbouring unknown bytes are one token.
    bool fuse_unknown = false;
    // A text that does not begin with a space gets one.
    bool add_prefix_space = false;
  };

  explicit ByteLevelBpe(const Options& options);

  // How a vocabulary writes `byte`: a printable character stands for each.
  static std::string ByteName(uint8_t byte);

  void Tokenize(std::string_view text, bool begins_input,
                LimitedIds& ids) const override;

 private:
  struct RankedMerge {
    uint32_t rank;
    int32_t result;
  };
  struct Symbol;
  struct Candidate;
  struct Scratch;

  static uint64_t PairKey(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 |
           static_cast<uint32_t>(right);
  }
  void AddWord(std::string_view word, Scratch& scratch, LimitedIds& ids) const;
  void AddCandidate(uint32_t left, Scratch& scratch) const;

  std::array<std::optional<int32_t>, 256> byte_ids_;
  absl::flat_hash_map<uint64_t, RankedMerge> merges_;
  std::optional<int32_t> unknown_id_;
  bool fuse_unknown_;
  bool add_prefix_space_;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_BYTE_LEVEL_BPE_H_
