#ifndef PITH_CORE_CODES_TABLE_KERNELS_H_
#define PITH_CORE_CODES_TABLE_KERNELS_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace pith {

// Sums of table entries that codes select: the kernels of scanning and walking.
// A code is `rows` bytes, each one or two sub-codes, and a scale byte, which
// they step over. Exact integers, the same on every target.

// Codes in a block: byte r of code c is byte r * kBlockCodes + c of it.
inline constexpr size_t kBlockCodes = 64;

// A query's tables for every sub-quantiser, one after another: of 256 entries
// each for `bits` of 8, where a row is one sub-code, and of 16 for 4, where it
// is two, the first in its low bits. At most 256 tables, so that a sum fits 16
// bits.
struct CodeTables {
  int bits = 8;
  size_t rows = 0;
  std::span<const uint8_t> entries;
};

// sums[b * 64 + c / 2 + c % 2 * 32] = the sum for code c of block b; blocks lie
// (rows + 1) * 64 bytes apart.
void SumBlocks(const CodeTables& tables, const uint8_t* blocks,
               size_t block_count, uint16_t* sums);

// sums[i] = the sum for code nodes[i] of `codes`, which lie rows + 1 bytes
// apart.
void SumCodes(const CodeTables& tables, const uint8_t* codes,
              std::span<const uint32_t> nodes, uint16_t* sums);

}  // namespace pith

#endif  // PITH_CORE_CODES_TABLE_KERNELS_H_
