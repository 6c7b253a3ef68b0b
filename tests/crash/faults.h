#ifndef PITH_TESTS_CRASH_FAULTS_H_
#define PITH_TESTS_CRASH_FAULTS_H_

#include <atomic>
#include <cstdint>

namespace pith {

// What faults.cc did in a process, in a file that outlives it.
struct FaultReport {
  // On files that it watches.
  std::atomic<uint64_t> operations = 0;
  // 1 if it killed the process, and at the point that was asked for.
  std::atomic<uint64_t> kills = 0;
  std::atomic<uint64_t> reached = 0;
  // Operations that it made fail.
  std::atomic<uint64_t> failures = 0;
  // 1 if what was not synced was lost: changes of directories that were undone,
  // files that were cut.
  std::atomic<uint64_t> power_losses = 0;
  std::atomic<uint64_t> undone_entries = 0;
  std::atomic<uint64_t> cut_files = 0;
};

}  // namespace pith

#endif  // PITH_TESTS_CRASH_FAULTS_H_
