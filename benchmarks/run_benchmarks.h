#ifndef PITH_BENCHMARKS_RUN_BENCHMARKS_H_
#define PITH_BENCHMARKS_RUN_BENCHMARKS_H_

#include <optional>
#include <vector>

#include "benchmark/benchmark.h"

namespace pith {

// Runs the registered benchmarks, with the library's table on standard output
// unless `quiet`: of each the median, or without repetitions the only, run in
// the order of registration. Nothing if one failed; standard error says why.
std::optional<std::vector<benchmark::BenchmarkReporter::Run>> RunBenchmarks(
    bool quiet);

}  // namespace pith

#endif  // PITH_BENCHMARKS_RUN_BENCHMARKS_H_
