#ifndef PITH_EMBEDDER_TEXT_NORMALIZER_H_
#define PITH_EMBEDDER_TEXT_NORMALIZER_H_

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "embedder/bert_normalizer.h"
#include "embedder/precompiled_normalizer.h"

namespace pith {

// Replace of `tokenizers`: every occurrence of a text by another. Neither is
// empty.
struct ReplaceNormalizer {
  std::string pattern;
  std::string content;

  void Normalize(std::string_view text, std::string& normalized) const;
};

// The same for every run of two or more spaces, the regular expression " {2,}".
struct SpacesNormalizer {
  std::string content;

  void Normalize(std::string_view text, std::string& normalized) const;
};

// Strip of `tokenizers` on the right: without white space at its end.
struct StripNormalizer {
  void Normalize(std::string_view text, std::string& normalized) const;
};

// Normalizers of `tokenizers`, one after another. Immutable, thread-safe.
class TextNormalizer {
 public:
  using Step =
      std::variant<BertNormalizer, PrecompiledNormalizer, ReplaceNormalizer,
                   SpacesNormalizer, StripNormalizer>;

  // Without steps, text stays as it is.
  explicit TextNormalizer(std::vector<Step> steps) : steps_(std::move(steps)) {}

  // Replaces `normalized` by the normal form of `text`, which is UTF-8.
  void Normalize(std::string_view text, std::string& normalized) const;

 private:
  std::vector<Step> steps_;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_TEXT_NORMALIZER_H_
