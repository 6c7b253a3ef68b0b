#ifndef PITH_CORE_INDEX_CANDIDATES_H_
#define PITH_CORE_INDEX_CANDIDATES_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/base/ids.h"

namespace pith {

// A passage that a search found by its code.
struct Candidate {
  float estimate = 0;
  PassageId passage{};
  // Where its code is: a part of the generation and a slot or node in it.
  uint32_t part = 0;
  uint32_t node = 0;
};

// The best candidates offered so far: highest estimate, ties by lower passage.
class CandidateHeap {
 public:
  // `capacity` of at least 1.
  explicit CandidateHeap(size_t capacity) : capacity_(capacity) {}

  // What an estimate must reach to be worth offering.
  float threshold() const {
    return heap_.size() < capacity_ ? -std::numeric_limits<float>::infinity()
                                    : heap_.front().estimate;
  }
  void Offer(const Candidate& candidate);

  // Best first; leaves the heap empty.
  std::vector<Candidate> TakeSorted();

 private:
  const size_t capacity_;
  // Worst first.
  std::vector<Candidate> heap_;
};

}  // namespace pith

#endif  // PITH_CORE_INDEX_CANDIDATES_H_
