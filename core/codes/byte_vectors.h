#ifndef PITH_CORE_CODES_BYTE_VECTORS_H_
#define PITH_CORE_CODES_BYTE_VECTORS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "hwy/aligned_allocator.h"

namespace pith {

// Unit vectors rounded to a byte a coordinate, with exact integer inner
// products: what a graph is built from, so that it is the same on every
// machine. A coordinate x is kept as round(x * scale), cut off at +-127, where
// one scale serves all: 127 stands for eight times the root mean square of a
// coordinate, 8 / sqrt(dimension), or for 1 if that is less.
//
// Rows are as many bytes as the dimension, rounded up to a multiple of 64.
class ByteVectors {
 public:
  // All zero. `dimension` in [1, 65536].
  ByteVectors(size_t count, int dimension);

  size_t size() const { return count_; }
  int dimension() const { return dimension_; }
  size_t memory_bytes() const { return count_ * stride_; }

  // `vector`: dimension() floats of unit norm. Threads may set different rows
  // at a time.
  void Set(size_t row, std::span<const float> vector);

  // out[i * columns.size() + j] = inner product of rows[i] and columns[j], an
  // exact integer made a float. Id is uint32_t or an enumeration of it. One row
  // with a few columns costs a memory access each, which overlap; many rows
  // share the loads of columns. Thread-safe.
  template <typename Id>
  void Dot(std::span<const Id> rows, std::span<const Id> columns,
           std::span<float> out) const {
    static_assert(sizeof(Id) == sizeof(uint32_t));
    std::vector<const int8_t*> pointers;
    pointers.reserve(rows.size() + columns.size());
    for (const Id row : rows) {
      pointers.push_back(Row(static_cast<size_t>(row)));
    }
    for (const Id column : columns) {
      pointers.push_back(Row(static_cast<size_t>(column)));
    }
    const std::span all = pointers;
    DotPointers(all.first(rows.size()), all.subspan(rows.size()), out);
  }

 private:
  const int8_t* Row(size_t row) const { return values_.get() + row * stride_; }
  void DotPointers(std::span<const int8_t* const> rows,
                   std::span<const int8_t* const> columns,
                   std::span<float> out) const;

  size_t count_;
  int dimension_;
  size_t stride_;
  float scale_;
  hwy::AlignedFreeUniquePtr<int8_t[]> values_;
};

}  // namespace pith

#endif  // PITH_CORE_CODES_BYTE_VECTORS_H_
