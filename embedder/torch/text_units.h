#ifndef PITH_EMBEDDER_TORCH_TEXT_UNITS_H_
#define PITH_EMBEDDER_TORCH_TEXT_UNITS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "embedder/engine.h"

namespace pith {

// How texts are put together for the model. Every token is a row of the
// matrices that go through the layers, and so is what pads.
struct TextPacking {
  // Most rows of a unit, unless one text alone has more.
  int64_t unit_rows;
  // A unit's rows are padded to a multiple of this.
  int64_t row_multiple = 1;
};

// Texts that go through the layers together, one after another.
struct TextUnit {
  std::vector<size_t> texts;  // longest first
  // First row of each text, and the end. What pads a unit is one text more
  // here, so that nothing but `texts` tells it from the others.
  std::vector<int32_t> offsets = {0};

  int64_t rows() const { return offsets.back(); }
};

// Units that hold each of `texts` once, longest first.
std::vector<TextUnit> MakeUnits(const PackedTokens& tokens,
                                std::span<const size_t> texts,
                                const TextPacking& packing);

// Writes what the model reads of a unit, a row a place: token ids and positions
// in their text, zeros where rows pad. Both spans are of unit.rows().
void WriteUnit(const PackedTokens& tokens, const TextUnit& unit,
               std::span<int32_t> ids, std::span<int32_t> positions);

}  // namespace pith

#endif  // PITH_EMBEDDER_TORCH_TEXT_UNITS_H_
