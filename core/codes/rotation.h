#ifndef PITH_CORE_CODES_ROTATION_H_
#define PITH_CORE_CODES_ROTATION_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace pith {

// A pseudo-random orthogonal map of R^dimension into R^padded_dimension, the
// same on every machine for the same seed, bit for bit. It spreads a vector's
// energy evenly over its coordinates, so that one scalar quantiser fits them
// all. Rounds of random signs, fast Walsh-Hadamard transforms on overlapping
// power-of-two blocks and butterflies: O(d log d), nothing stored but signs.
// Immutable, thread-safe.
class Rotation {
 public:
  // `dimension` in [1, 65536]. The padded dimension is `dimension` rounded up
  // to a multiple of 64.
  Rotation(int dimension, uint64_t seed);

  int dimension() const { return dimension_; }
  int padded_dimension() const { return padded_dimension_; }

  // in: dimension() floats; out: padded_dimension() floats. Keeps inner
  // products.
  void Apply(std::span<const float> in, std::span<float> out) const;
  // The inverse (transpose). in: padded_dimension() floats; out: dimension()
  // floats.
  void ApplyInverse(std::span<const float> in, std::span<float> out) const;

 private:
  std::span<const float> Signs(size_t round, size_t which) const;

  int dimension_;
  int padded_dimension_;
  // The largest power of two that fits; blocks of it lie at the front and at
  // the back.
  size_t block_size_;
  // +1 or -1; padded_dimension_ for each of a round's three uses.
  std::vector<float> signs_;
};

}  // namespace pith

#endif  // PITH_CORE_CODES_ROTATION_H_
