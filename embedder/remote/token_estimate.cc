#include "embedder/remote/token_estimate.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "absl/strings/ascii.h"

namespace pith {
namespace {

enum class Kind { kLetter, kDigit, kSpace, kOther, kNotAscii };

Kind KindOf(char c) {
  const auto byte = static_cast<unsigned char>(c);
  if (byte >= 0x80) {
    return Kind::kNotAscii;
  }
  if (absl::ascii_isalpha(byte)) {
    return Kind::kLetter;
  }
  if (absl::ascii_isdigit(byte)) {
    return Kind::kDigit;
  }
  return absl::ascii_isspace(byte) && c != '\n' ? Kind::kSpace : Kind::kOther;
}

size_t BytesPerToken(Kind kind) {
  switch (kind) {
    case Kind::kLetter:
      return 4;
    case Kind::kDigit:
    case Kind::kNotAscii:
      return 2;
    case Kind::kSpace:
      return std::numeric_limits<size_t>::max();
    case Kind::kOther:
      break;
  }
  return 1;
}

}  // namespace

int EstimateTokens(std::string_view text) {
  size_t tokens = 0;
  for (size_t begin = 0; begin < text.size();) {
    const Kind kind = KindOf(text[begin]);
    size_t end = begin + 1;
    while (end < text.size() && KindOf(text[end]) == kind) {
      ++end;
    }
    if (kind != Kind::kSpace) {
      const size_t per_token = BytesPerToken(kind);
      tokens += (end - begin + per_token - 1) / per_token;
    }
    begin = end;
  }
  return static_cast<int>(
      std::min(tokens, size_t{std::numeric_limits<int>::max()}));
}

std::string_view CutToTokens(std::string_view text, const TokenCounter& counter,
                             int max_tokens) {
  if (counter.CountTokens(text) <= max_tokens) {
    return text;
  }
  const auto is_boundary = [text](size_t position) {
    return (static_cast<uint8_t>(text[position]) & 0xC0) != 0x80;
  };
  // text.substr(0, fits) fits, text.substr(0, too_long) does not.
  size_t fits = 0;
  size_t too_long = text.size();
  while (true) {
    size_t middle = fits + (too_long - fits) / 2;
    while (middle > fits && !is_boundary(middle)) {
      --middle;
    }
    if (middle == fits) {
      middle = fits + (too_long - fits) / 2 + 1;
      while (middle < too_long && !is_boundary(middle)) {
        ++middle;
      }
    }
    if (middle >= too_long) {
      return text.substr(0, fits);
    }
    (counter.CountTokens(text.substr(0, middle)) <= max_tokens ? fits
                                                               : too_long) =
        middle;
  }
}

}  // namespace pith
