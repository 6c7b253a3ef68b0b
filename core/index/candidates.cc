#include "core/index/candidates.h"

#include <algorithm>
#include <utility>

namespace pith {
namespace {

bool IsBetter(const Candidate& a, const Candidate& b) {
  return a.estimate != b.estimate ? a.estimate > b.estimate
                                  : a.passage < b.passage;
}

}  // namespace

void CandidateHeap::Offer(const Candidate& candidate) {
  if (heap_.size() == capacity_) {
    if (!IsBetter(candidate, heap_.front())) {
      return;
    }
    std::pop_heap(heap_.begin(), heap_.end(), IsBetter);
    heap_.pop_back();
  }
  heap_.push_back(candidate);
  std::push_heap(heap_.begin(), heap_.end(), IsBetter);
}

std::vector<Candidate> CandidateHeap::TakeSorted() {
  std::sort_heap(heap_.begin(), heap_.end(), IsBetter);
  return std::exchange(heap_, {});
}

}  // namespace pith
