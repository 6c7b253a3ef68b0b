#ifndef PITH_EMBEDDER_PRECOMPILED_NORMALIZER_H_
#define PITH_EMBEDDER_PRECOMPILED_NORMALIZER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace pith {

// Precompiled of `tokenizers`: the replacements of a SentencePiece model's
// `precompiled_charsmap`, looked up for whole grapheme clusters of fewer than
// six bytes, else for single characters. As there, the shortest entry that a
// cluster begins with replaces all of it. Immutable, thread-safe.
class PrecompiledNormalizer {
 public:
  // The bytes of a charsmap: the size of a trie in bytes, u32 little-endian;
  // the trie, a double array as darts-clone lays it out; replacements in UTF-8,
  // each ended by a zero byte. kInvalidArgument if it is not that.
  static absl::StatusOr<PrecompiledNormalizer> Parse(std::string_view charsmap);

  // Replaces `normalized` by the normal form of `text`, which is UTF-8.
  void Normalize(std::string_view text, std::string& normalized) const;

 private:
  PrecompiledNormalizer(std::vector<uint32_t> trie, std::string replacements)
      : trie_(std::move(trie)), replacements_(std::move(replacements)) {}

  std::optional<std::string_view> Find(std::string_view key) const;

  std::vector<uint32_t> trie_;
  std::string replacements_;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_PRECOMPILED_NORMALIZER_H_
