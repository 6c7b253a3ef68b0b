#ifndef PITH_CORE_BASE_VECTOR_MATH_H_
#define PITH_CORE_BASE_VECTOR_MATH_H_

#include <cmath>
#include <cstddef>
#include <span>

namespace pith {

// For the few vectors of a rerank; scans have kernels of their own. The sizes
// are equal.
inline float Dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum += double{a[i]} * double{b[i]};
  }
  return static_cast<float>(sum);
}

inline float Norm(std::span<const float> a) {
  return std::sqrt(Dot(a, a));
}

}  // namespace pith

#endif  // PITH_CORE_BASE_VECTOR_MATH_H_
