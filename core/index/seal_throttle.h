#ifndef PITH_CORE_INDEX_SEAL_THROTTLE_H_
#define PITH_CORE_INDEX_SEAL_THROTTLE_H_

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"

#include "core/base/machine_state.h"
#include "core/base/mutex.h"

namespace pith {

// Keeps the threads that seal, of all collections together, to a share of the
// machine, and tells when sealing that nobody waits for had better not go on.
// Thread-safe.
class SealThrottle {
 public:
  struct Options {
    // Of all cores' time what sealing takes at most, above 0 and up to 1;
    // nullopt: any.
    std::optional<double> cpu_share;
    int cores =
        std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    // Share of all cores' time, 0 to 1, above which what else the machine does,
    // niced work excepted, has sealing pause; nullopt: none.
    std::optional<double> max_load;
    bool pause_on_battery = false;
    MachineFiles files;
    // How often those are read. The load is that of the time between two reads.
    absl::Duration read_interval = absl::Seconds(2);
  };
  explicit SealThrottle(const Options& options)
      : options_(options),
        cores_(options.cpu_share
                   ? std::optional(*options.cpu_share * options.cores)
                   : std::nullopt) {}

  // Charges the calling thread's CPU time since it last called, or since it
  // began, and sleeps until all that was charged is within the bound, or
  // `cancelled`.
  void Wait(const std::function<bool()>& cancelled) ABSL_LOCKS_EXCLUDED(mutex_);

  // Wait's decision: charges `cpu_time` and returns how long the caller is to
  // sleep. Over any time what is used is within the bound, but for kBurst and
  // what each thread uses between two calls.
  absl::Duration Charge(absl::Time now, absl::Duration cpu_time)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Why sealing should pause, for users to read: "on battery" or "machine busy
  // 83 %"; nullopt: it may go on. The load is not known before the second read,
  // and not after more than kStaleReads intervals without a call: it may go on
  // then. Every change is logged.
  std::optional<std::string> PauseReason(absl::Time now)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Sleep is not worth it for less than this.
  static constexpr absl::Duration kBurst = absl::Milliseconds(10);
  static constexpr int kStaleReads = 5;
  // Once sealing pauses for load it does until that is below this part of
  // max_load.
  static constexpr double kResumePart = 0.8;

 private:
  struct Ticks {
    CpuTicks ticks;
    absl::Time time;
  };

  std::optional<std::string> Reason() const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  // CPU seconds that a second allows.
  const std::optional<double> cores_;

  Mutex mutex_;
  // CPU time that was charged and is not yet made up for, at charge_time_.
  absl::Duration debt_ ABSL_GUARDED_BY(mutex_);
  absl::Time charge_time_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  // When a thread last began to read files_, and what was found.
  absl::Time read_time_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  std::optional<Ticks> last_ticks_ ABSL_GUARDED_BY(mutex_);
  bool on_battery_ ABSL_GUARDED_BY(mutex_) = false;
  // The load, while it has sealing pause.
  std::optional<double> load_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pith

#endif  // PITH_CORE_INDEX_SEAL_THROTTLE_H_
