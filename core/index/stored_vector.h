#ifndef PITH_CORE_INDEX_STORED_VECTOR_H_
#define PITH_CORE_INDEX_STORED_VECTOR_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace pith {

// How a vector is stored.
enum class VectorFormat : uint8_t {
  kF16 = 1,  // two bytes an element
  kI8 = 2,   // one byte an element
};

// The bytes of a unit vector that is stored with the `precision` that it was
// computed at (Embedder::precision). docs/index_format.md has the layout.
//
// As f16 it comes back at a cosine of 0.9999999. As i8 each element is off by
// at most 1/254 of the largest one, so that the cosine depends on how even the
// elements are: 0.99997 on average and 0.99992 at least for all-MiniLM-L6-v2,
// and never less than sqrt(1 - d m^2 / 254^2) if m is the largest of d elements
// (docs/decisions/0009-vector-sources.md).
std::string EncodeStoredVector(std::span<const float> vector,
                               VectorFormat format, std::string_view precision);

// Writes the vector, of out.size() elements and unit norm but for rounding, to
// `out` and returns its precision. kDataLoss if `bytes` are not what
// EncodeStoredVector makes.
absl::StatusOr<std::string_view> DecodeStoredVector(std::string_view bytes,
                                                    std::span<float> out);

}  // namespace pith

#endif  // PITH_CORE_INDEX_STORED_VECTOR_H_
