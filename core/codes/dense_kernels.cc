#include "core/codes/dense_kernels.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/codes/dense_kernels.cc"
// clang-format off: foreach_target.h includes this file again for each target.
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::CappedTag<float, 16>;

// A tile of kRows x kVectors vectors of c, from column `column` on.
template <size_t kRows, size_t kVectors>
HWY_INLINE void AddTile(const float* HWY_RESTRICT a, size_t a_row_stride,
                        size_t a_inner_stride, size_t inner,
                        const float* HWY_RESTRICT b, size_t columns,
                        float* HWY_RESTRICT c) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  hn::Vec<Floats> sums[kRows][kVectors];
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t v = 0; v < kVectors; ++v) {
      sums[i][v] = hn::LoadU(d, c + i * columns + v * lanes);
    }
  }
  for (size_t j = 0; j < inner; ++j) {
    hn::Vec<Floats> row[kVectors];
    for (size_t v = 0; v < kVectors; ++v) {
      row[v] = hn::LoadU(d, b + j * columns + v * lanes);
    }
    for (size_t i = 0; i < kRows; ++i) {
      const auto value = hn::Set(d, a[i * a_row_stride + j * a_inner_stride]);
      for (size_t v = 0; v < kVectors; ++v) {
        sums[i][v] = hn::Add(sums[i][v], hn::Mul(value, row[v]));
      }
    }
  }
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t v = 0; v < kVectors; ++v) {
      hn::StoreU(sums[i][v], d, c + i * columns + v * lanes);
    }
  }
}

template <size_t kVectors>
HWY_INLINE void AddStripe(const float* a, size_t a_row_stride,
                          size_t a_inner_stride, size_t rows, size_t inner,
                          const float* b, size_t columns, float* c) {
  size_t i = 0;
  for (; i + 4 <= rows; i += 4) {
    AddTile<4, kVectors>(a + i * a_row_stride, a_row_stride, a_inner_stride,
                         inner, b, columns, c + i * columns);
  }
  for (; i < rows; ++i) {
    AddTile<1, kVectors>(a + i * a_row_stride, a_row_stride, a_inner_stride,
                         inner, b, columns, c + i * columns);
  }
}

void AddProductImpl(const float* a, size_t a_row_stride, size_t a_inner_stride,
                    size_t rows, size_t inner, const float* b, size_t columns,
                    float* c) {
  const size_t lanes = hn::Lanes(Floats());
  size_t j = 0;
  for (; j + 4 * lanes <= columns; j += 4 * lanes) {
    AddStripe<4>(a, a_row_stride, a_inner_stride, rows, inner, b + j, columns,
                 c + j);
  }
  for (; j < columns; j += lanes) {
    AddStripe<1>(a, a_row_stride, a_inner_stride, rows, inner, b + j, columns,
                 c + j);
  }
}

// costs[k] = half_norms[k] - <vector, centroid k> for kVectors vectors of
// centroids; `least` takes in each lane's least.
template <size_t kVectors>
HWY_INLINE void StoreCosts(const float* HWY_RESTRICT vector, size_t dimension,
                           const float* HWY_RESTRICT centroids,
                           const float* HWY_RESTRICT half_norms,
                           size_t centroid_count, float* HWY_RESTRICT costs,
                           hn::Vec<Floats>& least) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  hn::Vec<Floats> sums[kVectors];
  for (size_t v = 0; v < kVectors; ++v) {
    sums[v] = hn::LoadU(d, half_norms + v * lanes);
  }
  for (size_t j = 0; j < dimension; ++j) {
    const auto value = hn::Set(d, vector[j]);
    const float* row = centroids + j * centroid_count;
    for (size_t v = 0; v < kVectors; ++v) {
      sums[v] = hn::Sub(sums[v], hn::Mul(value, hn::LoadU(d, row + v * lanes)));
    }
  }
  for (size_t v = 0; v < kVectors; ++v) {
    hn::StoreU(sums[v], d, costs + v * lanes);
    least = hn::Min(least, sums[v]);
  }
}

void FindNearestImpl(const float* vectors, size_t stride, size_t count,
                     size_t dimension, const float* centroids,
                     const float* half_norms, size_t centroid_count,
                     uint8_t* nearest, size_t nearest_stride) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  float costs[256];
  for (size_t i = 0; i < count; ++i) {
    const float* vector = vectors + i * stride;
    auto least = hn::Set(d, hwy::HighestValue<float>());
    size_t first = 0;
    for (; first + 8 * lanes <= centroid_count; first += 8 * lanes) {
      StoreCosts<8>(vector, dimension, centroids + first, half_norms + first,
                    centroid_count, costs + first, least);
    }
    for (; first < centroid_count; first += lanes) {
      StoreCosts<1>(vector, dimension, centroids + first, half_norms + first,
                    centroid_count, costs + first, least);
    }
    // Finite costs: one of them equals the least.
    least = hn::MinOfLanes(d, least);
    size_t k = 0;
    while (hn::AllFalse(d, hn::Eq(hn::LoadU(d, costs + k), least))) {
      k += lanes;
    }
    const auto lane =
        hn::FindFirstTrue(d, hn::Eq(hn::LoadU(d, costs + k), least));
    nearest[i * nearest_stride] =
        static_cast<uint8_t>(k + static_cast<size_t>(lane));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith {

HWY_EXPORT(AddProductImpl);
HWY_EXPORT(FindNearestImpl);

void AddProduct(const float* a, size_t a_row_stride, size_t a_inner_stride,
                size_t rows, size_t inner, const float* b, size_t columns,
                float* c) {
  HWY_DYNAMIC_DISPATCH(AddProductImpl)
  (a, a_row_stride, a_inner_stride, rows, inner, b, columns, c);
}

void FindNearest(const float* vectors, size_t stride, size_t count,
                 size_t dimension, const float* centroids,
                 const float* half_norms, size_t centroid_count,
                 uint8_t* nearest, size_t nearest_stride) {
  HWY_DYNAMIC_DISPATCH(FindNearestImpl)
  (vectors, stride, count, dimension, centroids, half_norms, centroid_count,
   nearest, nearest_stride);
}

}  // namespace pith
#endif  // HWY_ONCE
