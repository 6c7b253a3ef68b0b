#ifndef PITH_TESTS_FILE_POWER_H_
#define PITH_TESTS_FILE_POWER_H_

#include <linux/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <thread>

namespace pith {

// Runs `action` without root's power to read every file, which processes that
// it starts do not have either. False if that power cannot be given up.
template <typename Action>
bool WithoutPowerOverFiles(const Action& action) {
  if (::geteuid() != 0) {
    action();
    return true;
  }
  bool dropped = false;
  // Of this thread and its children alone.
  std::thread([&] {
    dropped = ::prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE) == 0 &&
              ::prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH) == 0;
    if (dropped) {
      action();
    }
  }).join();
  return dropped;
}

}  // namespace pith

#endif  // PITH_TESTS_FILE_POWER_H_
