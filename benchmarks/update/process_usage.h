#ifndef PITH_BENCHMARKS_UPDATE_PROCESS_USAGE_H_
#define PITH_BENCHMARKS_UPDATE_PROCESS_USAGE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace pith {

// What this process, without its children, has used; from /proc.

// Bytes that it caused to be sent to storage (write_bytes less
// cancelled_write_bytes).
absl::StatusOr<uint64_t> WrittenBytes();

// Resident now, and the most since the start or since ResetPeakMemory.
absl::StatusOr<uint64_t> ResidentBytes();
absl::StatusOr<uint64_t> PeakResidentBytes();
absl::Status ResetPeakMemory();

// Of all threads.
absl::Duration ProcessorTime();

// Watches the number of open file descriptors from a thread of its own.
class OpenFileWatch {
 public:
  OpenFileWatch();

  // The most that were seen.
  size_t peak() const { return peak_; }

 private:
  std::atomic<size_t> peak_ = 0;
  std::jthread watcher_;
};

}  // namespace pith

#endif  // PITH_BENCHMARKS_UPDATE_PROCESS_USAGE_H_
