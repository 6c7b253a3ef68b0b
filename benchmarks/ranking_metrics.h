#ifndef PITH_BENCHMARKS_RANKING_METRICS_H_
#define PITH_BENCHMARKS_RANKING_METRICS_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace pith {

// Measures of a ranking, best first, against the texts that are relevant. Texts
// are numbers; neither list repeats one, `relevant` is ascending and not empty,
// k is positive. Only the first k of the ranking count.

// Discounted cumulative gain with gain 1 for a relevant text and discount
// log2(1 + rank), as a share of what the best ranking reaches.
double NdcgAt(size_t k, std::span<const uint32_t> ranking,
              std::span<const uint32_t> relevant);

// Relevant texts in the ranking over all relevant texts; so it may not reach 1
// when more than k are relevant.
double RecallAt(size_t k, std::span<const uint32_t> ranking,
                std::span<const uint32_t> relevant);

// Texts that the first k of two rankings share, over the smaller of k and the
// size of `truth`, which is not empty.
double OverlapAt(size_t k, std::span<const uint32_t> ranking,
                 std::span<const uint32_t> truth);

// The smallest of `values` (not empty) that at least `percent` (0 to 100) of
// them do not exceed. Reorders them.
double Percentile(std::span<double> values, double percent);

}  // namespace pith

#endif  // PITH_BENCHMARKS_RANKING_METRICS_H_
