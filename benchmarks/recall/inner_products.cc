#include "benchmarks/recall/inner_products.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "benchmarks/recall/inner_products.cc"
// clang-format off: foreach_target.h includes this file again for each target.
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// out[r] = <query, row r> of kRows rows that lie one after another.
template <size_t kRows>
HWY_INLINE void Rows(const float* HWY_RESTRICT query, size_t size,
                     const float* HWY_RESTRICT rows, float* HWY_RESTRICT out) {
  const hn::ScalableTag<float> d;
  hn::Vec<decltype(d)> sums[kRows];
  for (size_t r = 0; r < kRows; ++r) {
    sums[r] = hn::Zero(d);
  }
  size_t i = 0;
  for (; i + hn::Lanes(d) <= size; i += hn::Lanes(d)) {
    const auto q = hn::LoadU(d, query + i);
    for (size_t r = 0; r < kRows; ++r) {
      sums[r] = hn::MulAdd(q, hn::LoadU(d, rows + r * size + i), sums[r]);
    }
  }
  for (size_t r = 0; r < kRows; ++r) {
    out[r] = hn::GetLane(hn::SumOfLanes(d, sums[r]));
    for (size_t j = i; j < size; ++j) {
      out[r] += query[j] * rows[r * size + j];
    }
  }
}

void Products(const float* HWY_RESTRICT query, size_t size,
              const float* HWY_RESTRICT rows, size_t count,
              float* HWY_RESTRICT out) {
  // Enough sums in flight to hide the latency of an addition.
  constexpr size_t kBlock = 8;
  size_t i = 0;
  for (; i + kBlock <= count; i += kBlock) {
    Rows<kBlock>(query, size, rows + i * size, out + i);
  }
  for (; i < count; ++i) {
    Rows<1>(query, size, rows + i * size, out + i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith {

HWY_EXPORT(Products);

void InnerProducts(std::span<const float> query, const Matrix& matrix,
                   size_t first, std::span<float> out) {
  if (!out.empty()) {
    HWY_DYNAMIC_DISPATCH(Products)
    (query.data(), query.size(), matrix.row(first).data(), out.size(),
     out.data());
  }
}

}  // namespace pith
#endif  // HWY_ONCE
