#include "embedder/torch/text_units.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace pith {
namespace {

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

int64_t TokensOf(const PackedTokens& tokens, size_t text) {
  return tokens.offsets[text + 1] - tokens.offsets[text];
}

// Whether texts of `length` rows each may be padded to `longer`.
bool MayPad(int64_t length, int64_t longer, double max_padding) {
  return static_cast<double>(longer - length) <=
         max_padding * static_cast<double>(longer);
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
    const int64_t count = TokensOf(tokens, text);
    const int64_t length = RoundUp(count, packing.length_multiple);
    const bool joins_group =
        !units.empty() &&
        MayPad(length, units.back().groups.back().length, packing.max_padding);
    const int64_t rows =
        joins_group ? units.back().groups.back().length : length;
    if (units.empty() || units.back().rows + rows > packing.unit_rows) {
      units.emplace_back();
    }
    TextUnit& unit = units.back();
    if (unit.groups.empty() || !joins_group) {
      unit.groups.push_back(
          {.begin = unit.rows, .texts = 0, .length = length, .padded = false});
    }
    TextGroup& group = unit.groups.back();
    ++group.texts;
    group.padded = group.padded || count < group.length;
    unit.texts.push_back(text);
    unit.rows += group.length;
  }
  for (TextUnit& unit : units) {
    unit.rows = RoundUp(unit.rows, packing.row_multiple);
  }
  return units;
}

void WriteUnit(const PackedTokens& tokens, const TextUnit& unit,
               std::span<int32_t> ids, std::span<int32_t> positions,
               std::span<float> weights) {
  std::ranges::fill(ids, 0);
  std::ranges::fill(positions, 0);
  std::ranges::fill(weights, 0.0f);
  auto text = unit.texts.begin();
  for (const TextGroup& group : unit.groups) {
    for (int64_t i = 0; i < group.texts; ++i, ++text) {
      const auto begin = static_cast<size_t>(group.begin + i * group.length);
      const auto count = static_cast<size_t>(TokensOf(tokens, *text));
      std::copy_n(tokens.ids.begin() + tokens.offsets[*text], count,
                  ids.begin() + static_cast<std::ptrdiff_t>(begin));
      const std::span<int32_t> places = positions.subspan(begin, count);
      std::iota(places.begin(), places.end(), 0);
      std::ranges::fill(weights.subspan(begin, count),
                        1.0f / static_cast<float>(count));
    }
  }
}

}  // namespace pith
