#include "embedder/torch/text_units.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace pith {
namespace {

int32_t TokensOf(const PackedTokens& tokens, size_t text) {
  return tokens.offsets[text + 1] - tokens.offsets[text];
}

}  // namespace

std::vector<TextUnit> MakeUnits(const PackedTokens& tokens,
                                std::span<const size_t> texts,
                                const TextPacking& packing) {
  std::vector<size_t> order(texts.begin(), texts.end());
  std::ranges::stable_sort(order, [&](size_t a, size_t b) {
    return TokensOf(tokens, a) > TokensOf(tokens, b);
  });

  std::vector<TextUnit> units;
  for (const size_t text : order) {
    const int32_t rows = TokensOf(tokens, text);
    if (units.empty() || units.back().rows() + rows > packing.unit_rows) {
      units.emplace_back();
    }
    TextUnit& unit = units.back();
    unit.texts.push_back(text);
    unit.offsets.push_back(unit.offsets.back() + rows);
  }
  for (TextUnit& unit : units) {
    if (const int64_t over = unit.rows() % packing.row_multiple; over > 0) {
      unit.offsets.push_back(
          static_cast<int32_t>(unit.rows() + packing.row_multiple - over));
    }
  }
  return units;
}

void WriteUnit(const PackedTokens& tokens, const TextUnit& unit,
               std::span<int32_t> ids, std::span<int32_t> positions) {
  std::ranges::fill(ids, 0);
  std::ranges::fill(positions, 0);
  for (size_t i = 0; i < unit.texts.size(); ++i) {
    const auto begin = static_cast<size_t>(unit.offsets[i]);
    const auto count = static_cast<size_t>(TokensOf(tokens, unit.texts[i]));
    std::copy_n(tokens.ids.begin() + tokens.offsets[unit.texts[i]], count,
                ids.begin() + static_cast<std::ptrdiff_t>(begin));
    const std::span<int32_t> places = positions.subspan(begin, count);
    std::iota(places.begin(), places.end(), 0);
  }
}

}  // namespace pith
