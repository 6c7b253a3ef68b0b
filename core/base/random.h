#ifndef PITH_CORE_BASE_RANDOM_H_
#define PITH_CORE_BASE_RANDOM_H_

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

namespace pith {

// SplitMix64 (Steele, Lea, Flood 2014): random numbers that are the same
// everywhere.
inline constexpr uint64_t kSplitMixStep = 0x9E3779B97F4A7C15u;

// What one step makes of a state: a hash of 64 bits, one to one.
inline uint64_t MixBits(uint64_t value) {
  value += kSplitMixStep;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
  return value ^ (value >> 31);
}

inline uint64_t NextRandom(uint64_t& state) {
  return MixBits(std::exchange(state, state + kSplitMixStep));
}

// `count` of [0, size) in random order. count <= size.
inline std::vector<size_t> RandomPositions(size_t size, size_t count,
                                           uint64_t& state) {
  std::vector<size_t> order(size);
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t i = 0; i < count; ++i) {
    std::swap(order[i], order[i + NextRandom(state) % (size - i)]);
  }
  order.resize(count);
  return order;
}

}  // namespace pith

#endif  // PITH_CORE_BASE_RANDOM_H_
