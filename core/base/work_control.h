#ifndef PITH_CORE_BASE_WORK_CONTROL_H_
#define PITH_CORE_BASE_WORK_CONTROL_H_

#include <cstdint>
#include <functional>

namespace pith {

// How those who wait for long work follow it, and end it.
struct WorkControl {
  // Asked often; the work then fails with kCancelled.
  std::function<bool()> cancelled = [] { return false; };
  // Told what of `total` is done, in the unit of what takes this.
  std::function<void(uint64_t done, uint64_t total)> progress = [](uint64_t,
                                                                   uint64_t) {};
};

}  // namespace pith

#endif  // PITH_CORE_BASE_WORK_CONTROL_H_
