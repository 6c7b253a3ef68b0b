#ifndef PITH_CORE_CODES_DENSE_KERNELS_H_
#define PITH_CORE_CODES_DENSE_KERNELS_H_

#include <cstddef>
#include <cstdint>

namespace pith {

// Float kernels of encoding and training. Every sum runs in the order of its
// index, and products and sums are rounded apart: results are the same bits on
// every machine. Row lengths that are rounded up to it are multiples of this.
inline constexpr size_t kFloatLanes = 16;

constexpr size_t RoundUpToLanes(size_t count) {
  return (count + kFloatLanes - 1) / kFloatLanes * kFloatLanes;
}

// Adds to c, rows x columns, the product of a, rows x inner, and b, inner x
// columns. Element (i, j) of `a` is a[i * a_row_stride + j * a_inner_stride],
// so that it may be a transpose. `columns` is a multiple of kFloatLanes, and
// rows of `b` and `c` lie that far apart.
void AddProduct(const float* a, size_t a_row_stride, size_t a_inner_stride,
                size_t rows, size_t inner, const float* b, size_t columns,
                float* c);

// nearest[i * nearest_stride] = the k that minimises half_norms[k] - <x_i,
// centroid k>, the smallest such k, for the `count` vectors x_i of `dimension`
// floats that lie `stride` floats apart. centroids[j * centroid_count + k] is
// coordinate j of centroid k; half_norms[k] is half its squared norm. All
// values are finite and small enough that no cost overflows. `centroid_count`
// is 16 or 256.
void FindNearest(const float* vectors, size_t stride, size_t count,
                 size_t dimension, const float* centroids,
                 const float* half_norms, size_t centroid_count,
                 uint8_t* nearest, size_t nearest_stride);

}  // namespace pith

#endif  // PITH_CORE_CODES_DENSE_KERNELS_H_
