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
  // A text's rows are padded to a multiple of this,
  int64_t length_multiple = 1;
  // and further, to as many as a longer text's beside it, if at most this share
  // of them is padding then. More makes groups fewer and work in vain more.
  double max_padding = 0;
  // A unit's rows are padded to a multiple of this.
  int64_t row_multiple = 1;
};

// Texts of as many rows each, one after another in a unit.
struct TextGroup {
  int64_t begin;  // first row
  int64_t texts;
  int64_t length;  // rows of each
  bool padded;     // whether a text has fewer tokens

  int64_t rows() const { return texts * length; }

  friend bool operator==(const TextGroup&, const TextGroup&) = default;
};

// Texts that go through the layers together.
struct TextUnit {
  std::vector<size_t> texts;  // longest first
  std::vector<TextGroup> groups;
  int64_t rows = 0;
};

// Units that hold each of `texts` once, longest first.
std::vector<TextUnit> MakeUnits(const PackedTokens& tokens,
                                std::span<const size_t> texts,
                                const TextPacking& packing);

// Writes what the model reads of a unit, a row a place: token ids, positions
// in their text, and weights, 1 / tokens of the text. Rows that pad have zeros.
// All spans are of unit.rows.
void WriteUnit(const PackedTokens& tokens, const TextUnit& unit,
               std::span<int32_t> ids, std::span<int32_t> positions,
               std::span<float> weights);

}  // namespace pith

#endif  // PITH_EMBEDDER_TORCH_TEXT_UNITS_H_
