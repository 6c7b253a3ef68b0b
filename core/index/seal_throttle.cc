#include "core/index/seal_throttle.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "glog/logging.h"

#include "core/base/thread_time.h"
#include "core/index/sealing.h"

namespace pith {
namespace {

// The share of the time between two readings in which cores were busy.
std::optional<double> Load(const CpuTicks& from, const CpuTicks& to) {
  // Counters of time that is waited for may go back (proc(5)).
  if (to.total <= from.total || to.busy < from.busy) {
    return std::nullopt;
  }
  return std::min(1.0, static_cast<double>(to.busy - from.busy) /
                           static_cast<double>(to.total - from.total));
}

}  // namespace

void SealThrottle::Wait(const std::function<bool()>& cancelled) {
  if (!cores_) {
    return;
  }
  thread_local absl::Duration charged;
  const absl::Duration used = ThreadTime();
  absl::Duration wait =
      Charge(absl::Now(), used - std::exchange(charged, used));
  while (wait > absl::ZeroDuration() && !cancelled()) {
    absl::SleepFor(std::min(wait, kCancelInterval));
    wait = Charge(absl::Now(), absl::ZeroDuration());
  }
}

absl::Duration SealThrottle::Charge(absl::Time now, absl::Duration cpu_time) {
  if (!cores_) {
    return absl::ZeroDuration();
  }
  MutexLock lock(mutex_);
  // The clock may be set back.
  const absl::Duration elapsed =
      std::max(now - charge_time_, absl::ZeroDuration());
  charge_time_ = now;
  debt_ = std::max(debt_ + cpu_time - elapsed * *cores_, absl::ZeroDuration());
  return debt_ < kBurst ? absl::ZeroDuration() : debt_ / *cores_;
}

std::optional<std::string> SealThrottle::PauseReason(absl::Time now) {
  {
    MutexLock lock(mutex_);
    if (now >= read_time_ && now < read_time_ + options_.read_interval) {
      return Reason();
    }
    read_time_ = now;
  }
  const bool on_battery =
      options_.pause_on_battery && RunsOnBattery(options_.files.power);
  std::optional<Ticks> ticks;
  if (options_.max_load) {
    if (const auto read = ReadCpuTicks(options_.files.cpu)) {
      ticks = {*read, now};
    }
  }

  MutexLock lock(mutex_);
  std::optional<double> load;
  if (ticks && last_ticks_ &&
      now - last_ticks_->time <= kStaleReads * options_.read_interval) {
    load = Load(last_ticks_->ticks, ticks->ticks);
    if (load && *load <= *options_.max_load * (load_ ? kResumePart : 1)) {
      load.reset();
    }
  }
  last_ticks_ = ticks;
  const bool changed =
      std::exchange(on_battery_, on_battery) != on_battery ||
      std::exchange(load_, load).has_value() != load.has_value();
  std::optional<std::string> reason = Reason();
  if (changed && reason) {
    LOG(INFO) << "sealing that nobody asked for pauses: " << *reason;
  } else if (changed) {
    LOG(INFO) << "sealing goes on";
  }
  return reason;
}

std::optional<std::string> SealThrottle::Reason() const {
  if (on_battery_) {
    return "on battery";
  }
  if (load_) {
    return absl::StrCat("machine busy ", std::lround(100 * *load_), " %");
  }
  return std::nullopt;
}

}  // namespace pith
