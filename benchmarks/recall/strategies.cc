#include "benchmarks/recall/strategies.h"

#include <iterator>
#include <utility>

namespace pith {

std::vector<Strategy> AllStrategies() {
  std::vector<Strategy> all;
  all.push_back(ExactStrategy());
  all.push_back(DeltaCodesStrategy());
  for (std::vector<Strategy> some : {SegmentStrategies(), HnswStrategies()}) {
    std::move(some.begin(), some.end(), std::back_inserter(all));
  }
  all.push_back(IvfRecomputeStrategy());
  return all;
}

}  // namespace pith
