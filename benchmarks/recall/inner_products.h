#ifndef PITH_BENCHMARKS_RECALL_INNER_PRODUCTS_H_
#define PITH_BENCHMARKS_RECALL_INNER_PRODUCTS_H_

#include <cstddef>
#include <span>

#include "core/base/matrix.h"

namespace pith {

// out[i] = <query, matrix.row(first + i)>, summed in f32 in an order that
// depends on the machine: good to a few units of the last place, which is what
// a scan of stored vectors gives.
void InnerProducts(std::span<const float> query, const Matrix& matrix,
                   size_t first, std::span<float> out);

}  // namespace pith

#endif  // PITH_BENCHMARKS_RECALL_INNER_PRODUCTS_H_
