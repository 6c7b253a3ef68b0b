#include "core/index/candidates.h"

#include <limits>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pith {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::pair<float, uint64_t>> Take(CandidateHeap& heap) {
  std::vector<std::pair<float, uint64_t>> taken;
  for (const Candidate& candidate : heap.TakeSorted()) {
    taken.emplace_back(candidate.estimate,
                       static_cast<uint64_t>(candidate.passage));
  }
  return taken;
}

TEST(CandidateHeap, KeepsTheBestAndTellsWhatIsNeeded) {
  CandidateHeap heap(2);
  EXPECT_EQ(heap.threshold(), -std::numeric_limits<float>::infinity());
  heap.Offer({.estimate = 0.2F, .passage = PassageId{1}});
  EXPECT_EQ(heap.threshold(), -std::numeric_limits<float>::infinity());
  heap.Offer({.estimate = 0.1F, .passage = PassageId{2}});
  EXPECT_EQ(heap.threshold(), 0.1F);
  heap.Offer({.estimate = 0.05F, .passage = PassageId{3}});
  EXPECT_EQ(heap.threshold(), 0.1F);
  heap.Offer({.estimate = 0.3F, .passage = PassageId{4}});
  EXPECT_EQ(heap.threshold(), 0.2F);
  EXPECT_THAT(Take(heap),
              ElementsAre(std::pair(0.3F, 4u), std::pair(0.2F, 1u)));
  EXPECT_THAT(Take(heap), IsEmpty());
}

TEST(CandidateHeap, TiesGoToTheLowerPassageWhateverTheOrder) {
  for (const bool ascending : {false, true}) {
    CandidateHeap heap(3);
    for (uint64_t i = 0; i < 6; ++i) {
      heap.Offer(
          {.estimate = 0.5F, .passage = PassageId{ascending ? i : 5 - i}});
    }
    EXPECT_THAT(Take(heap),
                ElementsAre(std::pair(0.5F, 0u), std::pair(0.5F, 1u),
                            std::pair(0.5F, 2u)));
  }
}

}  // namespace
}  // namespace pith
