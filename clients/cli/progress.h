#ifndef PITH_CLIENTS_CLI_PROGRESS_H_
#define PITH_CLIENTS_CLI_PROGRESS_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "absl/time/time.h"

#include "proto/pith/v1/operations.pb.h"

namespace pith::cli {

// Turns the reports of one AddSource operation into a line of progress. Knows
// no clock and no terminal.
class ProgressMeter {
 public:
  // Takes the latest report; `now` never goes back.
  void Update(const v1::AddSourceProgress& progress, absl::Time now);

  // Takes that `now` there has been no other report since.
  void Advance(absl::Time now);

  // Share of the work that is done, 0 to 1. While files are still being read,
  // those to come are taken to need as much as those so far.
  double Fraction() const;

  // Passages embedded a second over the last fifteen seconds, once there are
  // two seconds to judge by.
  std::optional<double> PassagesPerSecond() const;
  std::optional<absl::Duration> Remaining() const;

  // "[#####-----]  50 %  reading 12/24 files  310 passages/s  0:12 left", no
  // wider than `columns`.
  std::string Bar(int columns) const;
  // The same as words, for a log.
  std::string Line() const;

 private:
  struct Sample {
    absl::Time time;
    int64_t passages_embedded;
  };

  // Passages that will have to be embedded in all, as far as can be told.
  double ExpectedPassages() const;
  std::string Work() const;

  v1::AddSourceProgress progress_;
  // Oldest first, the last one current.
  std::deque<Sample> samples_;
};

// What a compaction is at: "encoding 12,000 passages".
std::string CompactText(const v1::CompactProgress& progress);

// The same of any operation that is not one of adding; nullopt of those.
std::optional<std::string> WorkText(const v1::Operation& operation);

}  // namespace pith::cli

#endif  // PITH_CLIENTS_CLI_PROGRESS_H_
