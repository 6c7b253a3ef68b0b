#include "embedder/text_normalizer.h"

#include <algorithm>

#include "unicode/uchar.h"

#include "core/text/utf8.h"

namespace pith {

void ReplaceNormalizer::Normalize(std::string_view text,
                                  std::string& normalized) const {
  normalized.clear();
  while (true) {
    const size_t found = text.find(pattern);
    normalized += text.substr(0, found);
    if (found == std::string_view::npos) {
      return;
    }
    normalized += content;
    text.remove_prefix(found + pattern.size());
  }
}

void SpacesNormalizer::Normalize(std::string_view text,
                                 std::string& normalized) const {
  normalized.clear();
  while (true) {
    const size_t found = text.find("  ");
    normalized += text.substr(0, found);
    if (found == std::string_view::npos) {
      return;
    }
    normalized += content;
    text.remove_prefix(
        std::min(text.find_first_not_of(' ', found), text.size()));
  }
}

void StripNormalizer::Normalize(std::string_view text,
                                std::string& normalized) const {
  size_t end = 0;
  for (size_t i = 0; i < text.size();) {
    if (!u_isUWhiteSpace(NextCodePoint(text, &i))) {
      end = i;
    }
  }
  normalized = text.substr(0, end);
}

void TextNormalizer::Normalize(std::string_view text,
                               std::string& normalized) const {
  normalized = text;
  std::string before;
  for (const Step& step : steps_) {
    std::swap(before, normalized);
    std::visit(
        [&](const auto& normalizer) {
          normalizer.Normalize(before, normalized);
        },
        step);
  }
}

}  // namespace pith
