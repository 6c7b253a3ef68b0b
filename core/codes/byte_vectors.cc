#include "core/codes/byte_vectors.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "glog/logging.h"
#include "hwy/cache_control.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/codes/byte_vectors.cc"
// clang-format off: foreach_target.h includes this file again for each target.
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// clang-format on

#if HWY_TARGET == HWY_AVX3_DL
// The target is chosen only where there is VNNI, but does not ask the compiler
// for it.
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
#else
HWY_BEFORE_NAMESPACE();
#endif
namespace pith {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Sums of products of kRows rows with kColumns columns of `stride` bytes, a
// multiple of 64, all 64-byte aligned.
#if HWY_TARGET == HWY_AVX3_DL
template <size_t kRows, size_t kColumns>
HWY_INLINE void DotTile(const int8_t* const* HWY_RESTRICT rows,
                        const int8_t* const* HWY_RESTRICT columns,
                        size_t stride, float* HWY_RESTRICT out,
                        size_t out_stride) {
  // vpdpbusd multiplies unsigned with signed bytes: rows are taken plus 128,
  // and 128 times the columns' sums taken off again.
  const __m512i bias = _mm512_set1_epi8(-128);
  __m512i sums[kRows][kColumns];
  __m512i column_sums[kColumns];
  for (size_t c = 0; c < kColumns; ++c) {
    column_sums[c] = _mm512_setzero_si512();
    for (size_t r = 0; r < kRows; ++r) {
      sums[r][c] = _mm512_setzero_si512();
    }
  }
  for (size_t i = 0; i < stride; i += 64) {
    __m512i row[kRows];
    for (size_t r = 0; r < kRows; ++r) {
      row[r] = _mm512_xor_si512(_mm512_load_si512(rows[r] + i), bias);
    }
    for (size_t c = 0; c < kColumns; ++c) {
      const __m512i column = _mm512_load_si512(columns[c] + i);
      column_sums[c] = _mm512_dpbusd_epi32(column_sums[c], bias, column);
      for (size_t r = 0; r < kRows; ++r) {
        sums[r][c] = _mm512_dpbusd_epi32(sums[r][c], row[r], column);
      }
    }
  }
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t c = 0; c < kColumns; ++c) {
      out[r * out_stride + c] = static_cast<float>(_mm512_reduce_add_epi32(
          _mm512_sub_epi32(sums[r][c], column_sums[c])));
    }
  }
}
constexpr size_t kRowTile = 4;
#else
template <size_t kRows, size_t kColumns>
HWY_INLINE void DotTile(const int8_t* const* HWY_RESTRICT rows,
                        const int8_t* const* HWY_RESTRICT columns,
                        size_t stride, float* HWY_RESTRICT out,
                        size_t out_stride) {
  const hn::CappedTag<int16_t, 32> d16;
  const hn::Rebind<int8_t, decltype(d16)> d8;
  const hn::RepartitionToWide<decltype(d16)> d32;
  // ReorderWidenMulAccumulate may use both.
  hn::Vec<decltype(d32)> sum0[kRows][kColumns];
  hn::Vec<decltype(d32)> sum1[kRows][kColumns];
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t c = 0; c < kColumns; ++c) {
      sum0[r][c] = hn::Zero(d32);
      sum1[r][c] = hn::Zero(d32);
    }
  }
  for (size_t i = 0; i < stride; i += hn::Lanes(d16)) {
    hn::Vec<decltype(d16)> row[kRows];
    for (size_t r = 0; r < kRows; ++r) {
      row[r] = hn::PromoteTo(d16, hn::LoadU(d8, rows[r] + i));
    }
    for (size_t c = 0; c < kColumns; ++c) {
      const auto column = hn::PromoteTo(d16, hn::LoadU(d8, columns[c] + i));
      for (size_t r = 0; r < kRows; ++r) {
        sum0[r][c] = hn::ReorderWidenMulAccumulate(d32, row[r], column,
                                                   sum0[r][c], sum1[r][c]);
      }
    }
  }
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t c = 0; c < kColumns; ++c) {
      out[r * out_stride + c] = static_cast<float>(
          hn::GetLane(hn::SumOfLanes(d32, hn::Add(sum0[r][c], sum1[r][c]))));
    }
  }
}
constexpr size_t kRowTile = 2;
#endif

template <size_t kRows>
HWY_INLINE void DotRows(const int8_t* const* rows, const int8_t* const* columns,
                        size_t column_count, size_t stride, float* out,
                        size_t out_stride) {
  size_t c = 0;
  for (; c + 4 <= column_count; c += 4) {
    DotTile<kRows, 4>(rows, columns + c, stride, out + c, out_stride);
  }
  for (; c < column_count; ++c) {
    DotTile<kRows, 1>(rows, columns + c, stride, out + c, out_stride);
  }
}

// out[r * out_stride + c] for all rows and columns.
void DotAll(const int8_t* const* rows, size_t row_count,
            const int8_t* const* columns, size_t column_count, size_t stride,
            float* out, size_t out_stride) {
  size_t r = 0;
  for (; r + kRowTile <= row_count; r += kRowTile) {
    DotRows<kRowTile>(rows + r, columns, column_count, stride,
                      out + r * out_stride, out_stride);
  }
  for (; r < row_count; ++r) {
    DotRows<1>(rows + r, columns, column_count, stride, out + r * out_stride,
               out_stride);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith {
namespace {

HWY_EXPORT(DotAll);

constexpr size_t kAlignment = 64;
// Columns that stay in the first-level cache while rows go by: 12 KB at 384.
constexpr size_t kColumnBlock = 32;

}  // namespace

ByteVectors::ByteVectors(size_t count, int dimension)
    : count_(count), dimension_(dimension) {
  CHECK(dimension >= 1 && dimension <= 65536) << dimension;
  const auto d = static_cast<size_t>(dimension);
  stride_ = (d + kAlignment - 1) / kAlignment * kAlignment;
  const double largest =
      std::min(1.0, 8.0 / std::sqrt(static_cast<double>(dimension)));
  scale_ = static_cast<float>(127.0 / largest);
  values_ = hwy::AllocateAligned<int8_t>(std::max<size_t>(1, count_ * stride_));
  CHECK(values_ != nullptr) << count_ << " x " << stride_ << " bytes";
  std::memset(values_.get(), 0, count_ * stride_);
}

void ByteVectors::Set(size_t row, std::span<const float> vector) {
  CHECK_LT(row, count_);
  CHECK_EQ(vector.size(), static_cast<size_t>(dimension_));
  int8_t* out = values_.get() + row * stride_;
  for (size_t i = 0; i < vector.size(); ++i) {
    const float scaled = std::clamp(vector[i] * scale_, -127.0f, 127.0f);
    // Rounds half away from zero, whatever the rounding mode.
    out[i] = static_cast<int8_t>(scaled < 0 ? scaled - 0.5f : scaled + 0.5f);
  }
}

void ByteVectors::DotPointers(std::span<const int8_t* const> rows,
                              std::span<const int8_t* const> columns,
                              std::span<float> out) const {
  CHECK_EQ(out.size(), rows.size() * columns.size());
  if (out.empty()) {
    return;
  }
  for (const int8_t* column :
       columns.first(std::min(columns.size(), kColumnBlock))) {
    for (size_t i = 0; i < stride_; i += kAlignment) {
      hwy::Prefetch(column + i);
    }
    // Without it GCC 12 keeps only one prefetch of such a loop.
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  const auto dot_all = HWY_DYNAMIC_DISPATCH(DotAll);
  for (size_t begin = 0; begin < columns.size(); begin += kColumnBlock) {
    dot_all(rows.data(), rows.size(), columns.data() + begin,
            std::min(kColumnBlock, columns.size() - begin), stride_,
            out.data() + begin, columns.size());
  }
}

}  // namespace pith
#endif  // HWY_ONCE
