#include "benchmarks/run_benchmarks.h"

#include <iostream>
#include <utility>

namespace pith {
namespace {

class Collector : public benchmark::ConsoleReporter {
 public:
  explicit Collector(bool quiet) : quiet_(quiet) {}

  bool ReportContext(const Context& context) override {
    return quiet_ || ConsoleReporter::ReportContext(context);
  }

  // Called once for each benchmark's runs, then for their aggregates.
  void ReportRuns(const std::vector<Run>& runs) override {
    if (!quiet_) {
      ConsoleReporter::ReportRuns(runs);
    }
    for (const Run& run : runs) {
      if (run.error_occurred) {
        std::cerr << run.benchmark_name() << ": " << run.error_message << "\n";
        failed_ = true;
      } else if (run.repetitions <= 1 || run.aggregate_name == "median") {
        kept_.push_back(run);
      }
    }
  }

  bool failed() const { return failed_; }
  std::vector<Run> TakeKept() { return std::move(kept_); }

 private:
  bool quiet_;
  bool failed_ = false;
  std::vector<Run> kept_;
};

}  // namespace

std::optional<std::vector<benchmark::BenchmarkReporter::Run>> RunBenchmarks(
    bool quiet) {
  Collector collector(quiet);
  benchmark::RunSpecifiedBenchmarks(&collector);
  if (collector.failed()) {
    return std::nullopt;
  }
  return collector.TakeKept();
}

}  // namespace pith
