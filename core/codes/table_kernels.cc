#include "core/codes/table_kernels.h"

#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/codes/table_kernels.cc"
// clang-format off: foreach_target.h includes this file again for each target.
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kCodes = kBlockCodes;

#if HWY_TARGET == HWY_SCALAR

void SumBlocks4(const uint8_t* tables, size_t rows, const uint8_t* blocks,
                size_t block_count, uint16_t* sums) {
  for (size_t b = 0; b < block_count; ++b) {
    const uint8_t* block = blocks + b * (rows + 1) * kCodes;
    for (size_t c = 0; c < kCodes; ++c) {
      uint32_t sum = 0;
      for (size_t r = 0; r < rows; ++r) {
        const uint8_t byte = block[r * kCodes + c];
        sum += tables[32 * r + (byte & 15)];
        sum += tables[32 * r + 16 + (byte >> 4)];
      }
      sums[b * kCodes + c / 2 + c % 2 * (kCodes / 2)] =
          static_cast<uint16_t>(sum);
    }
  }
}

#else  // HWY_TARGET != HWY_SCALAR

using Bytes = hn::CappedTag<uint8_t, kCodes>;
using Words = hn::Repartition<uint16_t, Bytes>;

// Sums of bytes in 16 bits. As words, bytes add to all bytes plus 256 times the
// odd ones, modulo 65,536; the odd ones are summed apart.
struct ByteSums {
  hn::Vec<Words> all;
  hn::Vec<Words> odd;

  HWY_INLINE ByteSums() : all(hn::Zero(Words())), odd(hn::Zero(Words())) {}
  HWY_INLINE void Add(hn::Vec<Bytes> bytes) {
    const auto words = hn::BitCast(Words(), bytes);
    all = hn::Add(all, words);
    odd = hn::Add(odd, hn::ShiftRight<8>(words));
  }
  HWY_INLINE void Store(uint16_t* HWY_RESTRICT even_sums,
                        uint16_t* HWY_RESTRICT odd_sums) const {
    hn::StoreU(hn::Sub(all, hn::ShiftLeft<8>(odd)), Words(), even_sums);
    hn::StoreU(odd, Words(), odd_sums);
  }
};

// Codes [part, part + kParts x lanes) of a block; they share loads of tables.
template <size_t kParts>
HWY_INLINE void SumParts4(const uint8_t* HWY_RESTRICT tables, size_t rows,
                          const uint8_t* HWY_RESTRICT block,
                          uint16_t* HWY_RESTRICT sums) {
  const Bytes d;
  const size_t lanes = hn::Lanes(d);
  const auto mask = hn::Set(d, 15);
  ByteSums parts[kParts];
  for (size_t r = 0; r < rows; ++r) {
    const auto low = hn::LoadDup128(d, tables + 32 * r);
    const auto high = hn::LoadDup128(d, tables + 32 * r + 16);
    for (size_t p = 0; p < kParts; ++p) {
      const auto bytes = hn::LoadU(d, block + r * kCodes + p * lanes);
      const auto words = hn::BitCast(Words(), bytes);
      const auto upper = hn::BitCast(d, hn::ShiftRight<4>(words));
      parts[p].Add(hn::TableLookupBytes(low, hn::And(bytes, mask)));
      parts[p].Add(hn::TableLookupBytes(high, hn::And(upper, mask)));
    }
  }
  for (size_t p = 0; p < kParts; ++p) {
    uint16_t* even = sums + p * lanes / 2;
    parts[p].Store(even, even + kCodes / 2);
  }
}

void SumBlocks4(const uint8_t* tables, size_t rows, const uint8_t* blocks,
                size_t block_count, uint16_t* sums) {
  const size_t lanes = hn::Lanes(Bytes());
  for (size_t b = 0; b < block_count; ++b) {
    const uint8_t* block = blocks + b * (rows + 1) * kCodes;
    uint16_t* block_sums = sums + b * kCodes;
    if (lanes == kCodes) {
      SumParts4<1>(tables, rows, block, block_sums);
      continue;
    }
    for (size_t first = 0; first < kCodes; first += 2 * lanes) {
      SumParts4<2>(tables, rows, block + first, block_sums + first / 2);
    }
  }
}

#endif  // HWY_TARGET == HWY_SCALAR

#if HWY_TARGET == HWY_AVX3_DL

// A table of 256 bytes fills four registers; two permutes look up in its halves
// by an index's low seven bits, the eighth chooses between them. kBlocks blocks
// share the loads of tables.
template <size_t kBlocks>
HWY_INLINE void SumTogether8(const uint8_t* HWY_RESTRICT tables, size_t rows,
                             const uint8_t* HWY_RESTRICT blocks,
                             uint16_t* HWY_RESTRICT sums) {
  const size_t block_bytes = (rows + 1) * kCodes;
  ByteSums parts[kBlocks];
  for (size_t r = 0; r < rows; ++r) {
    const uint8_t* table = tables + 256 * r;
    const __m512i t0 = _mm512_loadu_si512(table);
    const __m512i t1 = _mm512_loadu_si512(table + 64);
    const __m512i t2 = _mm512_loadu_si512(table + 128);
    const __m512i t3 = _mm512_loadu_si512(table + 192);
    for (size_t b = 0; b < kBlocks; ++b) {
      const __m512i index =
          _mm512_loadu_si512(blocks + b * block_bytes + r * kCodes);
      const __m512i lower = _mm512_permutex2var_epi8(t0, index, t1);
      const __m512i upper = _mm512_permutex2var_epi8(t2, index, t3);
      const __m512i entries =
          _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), lower, upper);
      parts[b].Add(hn::Vec<Bytes>{entries});
    }
  }
  for (size_t b = 0; b < kBlocks; ++b) {
    parts[b].Store(sums + b * kCodes, sums + b * kCodes + kCodes / 2);
  }
}

void SumBlocks8(const uint8_t* tables, size_t rows, const uint8_t* blocks,
                size_t block_count, uint16_t* sums) {
  const size_t block_bytes = (rows + 1) * kCodes;
  size_t b = 0;
  for (; b + 4 <= block_count; b += 4) {
    SumTogether8<4>(tables, rows, blocks + b * block_bytes, sums + b * kCodes);
  }
  for (; b < block_count; ++b) {
    SumTogether8<1>(tables, rows, blocks + b * block_bytes, sums + b * kCodes);
  }
}

#else  // HWY_TARGET != HWY_AVX3_DL

// Without byte permutes across registers, loads from the first-level cache are
// the faster lookups: eight codes' indices at a time.
void SumBlocks8(const uint8_t* tables, size_t rows, const uint8_t* blocks,
                size_t block_count, uint16_t* sums) {
  for (size_t b = 0; b < block_count; ++b) {
    const uint8_t* block = blocks + b * (rows + 1) * kCodes;
    for (size_t first = 0; first < kCodes; first += 8) {
      uint32_t part[8] = {};
      for (size_t r = 0; r < rows; ++r) {
        uint64_t indices;
        std::memcpy(&indices, block + r * kCodes + first, sizeof(indices));
        const uint8_t* table = tables + 256 * r;
        for (size_t c = 0; c < 8; ++c) {
          part[c] += table[indices >> (8 * c) & 0xFF];
        }
      }
      for (size_t c = 0; c < 8; ++c) {
        sums[b * kCodes + (first + c) / 2 + c % 2 * (kCodes / 2)] =
            static_cast<uint16_t>(part[c]);
      }
    }
  }
}

#endif  // HWY_TARGET == HWY_AVX3_DL

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith {
namespace {

HWY_EXPORT(SumBlocks4);
HWY_EXPORT(SumBlocks8);

uint32_t SumCode8(const uint8_t* tables, size_t rows, const uint8_t* code) {
  uint32_t sum = 0;
  for (size_t r = 0; r < rows; ++r) {
    sum += tables[256 * r + code[r]];
  }
  return sum;
}

uint32_t SumCode4(const uint8_t* tables, size_t rows, const uint8_t* code) {
  uint32_t sum = 0;
  for (size_t r = 0; r < rows; ++r) {
    sum += uint32_t{tables[32 * r + (code[r] & 15)]} +
           tables[32 * r + 16 + (code[r] >> 4)];
  }
  return sum;
}

}  // namespace

void SumBlocks(const CodeTables& tables, const uint8_t* blocks,
               size_t block_count, uint16_t* sums) {
  if (tables.bits == 4) {
    HWY_DYNAMIC_DISPATCH(SumBlocks4)
    (tables.entries.data(), tables.rows, blocks, block_count, sums);
  } else {
    HWY_DYNAMIC_DISPATCH(SumBlocks8)
    (tables.entries.data(), tables.rows, blocks, block_count, sums);
  }
}

void SumCodes(const CodeTables& tables, const uint8_t* codes,
              std::span<const uint32_t> nodes, uint16_t* sums) {
  const size_t code_bytes = tables.rows + 1;
  for (size_t i = 0; i < nodes.size(); ++i) {
    const uint8_t* code = codes + size_t{nodes[i]} * code_bytes;
    sums[i] = static_cast<uint16_t>(
        tables.bits == 4 ? SumCode4(tables.entries.data(), tables.rows, code)
                         : SumCode8(tables.entries.data(), tables.rows, code));
  }
}

}  // namespace pith
#endif  // HWY_ONCE
