#include "benchmarks/update/searches.h"

#include <atomic>
#include <span>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "benchmarks/ranking_metrics.h"
#include "benchmarks/update/process_usage.h"
#include "core/base/status_macros.h"

namespace pith {
namespace {

using Json = nlohmann::ordered_json;

struct Measured {
  std::vector<double> milliseconds;
  size_t steps = 0;
  double recomputed = 0;
  double seconds = 0;
  double processor_seconds = 0;
};

absl::Status SearchBeside(const BackgroundLoad& load, size_t searches,
                          Collection& collection, const Matrix& queries,
                          size_t& next_query, Measured& measured) {
  std::atomic<bool> stop = false;
  absl::Status status;
  std::jthread background;
  if (load.step != nullptr) {
    background = std::jthread([&] {
      while (!stop && status.ok()) {
        status = load.step();
        ++measured.steps;
      }
    });
  }
  const absl::Time begin = absl::Now();
  const absl::Duration processor_begin = ProcessorTime();
  absl::Status search_status;
  for (size_t i = 0; i < searches && search_status.ok(); ++i) {
    const std::span<const float> query =
        queries.row(next_query++ % queries.rows());
    const absl::Time start = absl::Now();
    const absl::StatusOr<SearchResult> result = collection.Search(
        std::vector<float>(query.begin(), query.end()), {}, {});
    measured.milliseconds.push_back(
        absl::ToDoubleMilliseconds(absl::Now() - start));
    search_status = result.status();
    if (result.ok()) {
      measured.recomputed += static_cast<double>(result->passages_reranked);
    }
  }
  measured.seconds += absl::ToDoubleSeconds(absl::Now() - begin);
  measured.processor_seconds +=
      absl::ToDoubleSeconds(ProcessorTime() - processor_begin);
  stop = true;
  if (background.joinable()) {
    background.join();
  }
  PITH_RETURN_IF_ERROR(search_status);
  return status;
}

}  // namespace

absl::StatusOr<std::vector<Json>> MeasureSearches(
    const SearchesOptions& options, Collection& collection,
    const Matrix& queries, const std::vector<BackgroundLoad>& loads) {
  std::vector<Measured> measured(loads.size());
  size_t next_query = 0;
  Measured warm_up;
  PITH_RETURN_IF_ERROR(SearchBeside({}, options.searches, collection, queries,
                                    next_query, warm_up));
  for (size_t repetition = 0; repetition < options.repetitions; ++repetition) {
    for (size_t i = 0; i < loads.size(); ++i) {
      PITH_RETURN_IF_ERROR(SearchBeside(loads[i], options.searches, collection,
                                        queries, next_query, measured[i]));
    }
  }
  std::vector<Json> rows;
  double quiet_p99 = 0;
  for (size_t i = 0; i < loads.size(); ++i) {
    const double searches =
        static_cast<double>(measured[i].milliseconds.size());
    const double p99 = Percentile(measured[i].milliseconds, 99);
    quiet_p99 = i == 0 ? p99 : quiet_p99;
    Json row = {{"row", "searches"},
                {"embedder", options.embedder},
                {"while", loads[i].name},
                {"searches", measured[i].milliseconds.size()},
                {"background_steps", measured[i].steps},
                {"processor_share",
                 measured[i].processor_seconds / measured[i].seconds},
                {"recomputed_per_search", measured[i].recomputed / searches},
                {"p50_ms", Percentile(measured[i].milliseconds, 50)},
                {"p99_ms", p99},
                {"p99_over_quiet", p99 / quiet_p99}};
    absl::FPrintF(stderr, "%s\n", row.dump());
    rows.push_back(std::move(row));
  }
  return rows;
}

BackgroundLoad MergingLoad(Collection& collection,
                           std::function<absl::Status()> edit) {
  return {.name = "merging",
          .step = [&collection, edit = std::move(edit)]() -> absl::Status {
            PITH_RETURN_IF_ERROR(edit());
            return collection
                .Compact(
                    {}, [] { return false; }, [](const CompactProgress&) {})
                .status();
          }};
}

BackgroundLoad RecodingLoad(Collection& collection) {
  return {.name = "training and encoding", .step = [&collection] {
            return collection
                .Compact(
                    {.recompute = true}, [] { return false; },
                    [](const CompactProgress&) {})
                .status();
          }};
}

}  // namespace pith
