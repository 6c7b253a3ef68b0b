#include "core/index/frequency_sketch.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace pith {
namespace {

constexpr size_t kCountersPerKey = 4;
constexpr size_t kMinRowCounters = 64;
constexpr size_t kAdditionsPerKey = 10;

}  // namespace

FrequencySketch::FrequencySketch(size_t keys)
    : row_counters_(
          std::bit_ceil(std::max(kMinRowCounters, kCountersPerKey * keys))),
      max_additions_(row_counters_ / kCountersPerKey * kAdditionsPerKey),
      counters_(kRows * row_counters_ / 2) {}

size_t FrequencySketch::Slot(const ContentHash& key, size_t row) const {
  // The hash is cryptographic: its halves are as good as two hash functions.
  uint64_t first = 0;
  uint64_t step = 0;
  static_assert(sizeof(key.bytes) == sizeof(first) + sizeof(step));
  std::memcpy(&first, key.bytes.data(), sizeof(first));
  std::memcpy(&step, key.bytes.data() + sizeof(first), sizeof(step));
  return row * row_counters_ + ((first + row * step) & (row_counters_ - 1));
}

uint32_t FrequencySketch::Get(size_t slot) const {
  return counters_[slot / 2] >> (slot % 2 * 4) & 0xF;
}

uint32_t FrequencySketch::Estimate(const ContentHash& key) const {
  uint32_t least = kMaxFrequency;
  for (size_t row = 0; row < kRows; ++row) {
    least = std::min(least, Get(Slot(key, row)));
  }
  return least;
}

void FrequencySketch::Add(const ContentHash& key) {
  // Counters above the least have other keys' additions in them.
  const uint32_t least = Estimate(key);
  if (least < kMaxFrequency) {
    for (size_t row = 0; row < kRows; ++row) {
      const size_t slot = Slot(key, row);
      if (Get(slot) == least) {
        counters_[slot / 2] =
            static_cast<uint8_t>(counters_[slot / 2] + (1 << (slot % 2 * 4)));
      }
    }
  }
  if (++additions_ == max_additions_) {
    Halve();
  }
}

void FrequencySketch::Halve() {
  for (uint8_t& pair : counters_) {
    pair = pair >> 1 & 0x77;
  }
  additions_ /= 2;
}

}  // namespace pith
