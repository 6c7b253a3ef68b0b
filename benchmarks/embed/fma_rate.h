#ifndef PITH_BENCHMARKS_EMBED_FMA_RATE_H_
#define PITH_BENCHMARKS_EMBED_FMA_RATE_H_

namespace pith {

// Multiply-adds of f32 that this core does in a second, in registers; the best
// of some runs.
double MeasureFmaRate();

}  // namespace pith

#endif  // PITH_BENCHMARKS_EMBED_FMA_RATE_H_
