#ifndef PITH_CORE_INDEX_FREQUENCY_SKETCH_H_
#define PITH_CORE_INDEX_FREQUENCY_SKETCH_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/base/hash.h"

namespace pith {

// About how often keys were seen lately, whether they are kept anywhere or not:
// a count-min sketch of four rows of 4-bit counters that are halved from time
// to time. Source: Einziger, Friedman, Manes, "TinyLFU", arXiv 1512.00727,
// section 3. Not thread-safe.
class FrequencySketch {
 public:
  static constexpr uint32_t kMaxFrequency = 15;

  // For about as many distinct keys as `keys`, in 8 to 16 bytes for each.
  explicit FrequencySketch(size_t keys);

  void Add(const ContentHash& key);
  // At least how often `key` was added, halved as often as all was, up to
  // kMaxFrequency; more only if other keys share all four of its counters.
  uint32_t Estimate(const ContentHash& key) const;

  size_t memory_bytes() const { return counters_.size(); }

 private:
  static constexpr size_t kRows = 4;

  // Where a key's counter of `row` is, in counters.
  size_t Slot(const ContentHash& key, size_t row) const;
  uint32_t Get(size_t slot) const;
  void Halve();

  const size_t row_counters_;  // a power of two
  const size_t max_additions_;
  size_t additions_ = 0;
  // Two counters a byte, one row after another.
  std::vector<uint8_t> counters_;
};

}  // namespace pith

#endif  // PITH_CORE_INDEX_FREQUENCY_SKETCH_H_
