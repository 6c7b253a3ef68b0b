#ifndef PITH_EMBEDDER_BERT_NORMALIZER_H_
#define PITH_EMBEDDER_BERT_NORMALIZER_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "unicode/normalizer2.h"
#include "unicode/uchar.h"

namespace pith {

// BertNormalizer of `tokenizers`: control characters out and white space to
// spaces, spaces around CJK ideographs, nonspacing marks out after canonical
// decomposition, lower case. Immutable, thread-safe.
class BertNormalizer {
 public:
  struct Options {
    bool clean_text = true;
    bool handle_chinese_chars = true;
    bool strip_accents = true;
    bool lowercase = true;
  };

  explicit BertNormalizer(const Options& options);

  // Replaces `normalized` by the normal form of `text`, which is UTF-8.
  void Normalize(std::string_view text, std::string& normalized) const;

 private:
  class Sink;

  void AddNonAscii(UChar32 c, Sink& sink) const;

  Options options_;
  const icu::Normalizer2* decomposer_;  // ICU's own, never destroyed
  // What each ASCII character becomes, or kDropped.
  std::array<char, 128> ascii_;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_BERT_NORMALIZER_H_
