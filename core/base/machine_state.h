#ifndef PITH_CORE_BASE_MACHINE_STATE_H_
#define PITH_CORE_BASE_MACHINE_STATE_H_

#include <cstdint>
#include <filesystem>
#include <optional>

namespace pith {

// Where the system tells what the machine is doing; tests have files of their
// own.
struct MachineFiles {
  std::filesystem::path cpu = "/proc/stat";
  std::filesystem::path power = "/sys/class/power_supply";
};

// CPU time of all cores since the system started, in its ticks.
struct CpuTicks {
  // Of what does not run at a low priority (a nice value above 0).
  uint64_t busy = 0;
  uint64_t total = 0;
};

// nullopt if `file` is not as proc(5) says /proc/stat is.
std::optional<CpuTicks> ReadCpuTicks(const std::filesystem::path& file);

// That a battery of the machine's own discharges and no other source is
// connected. `directory` has one for each source of power, as
// sysfs-class-power of the kernel's documentation says; what cannot be read is
// none.
bool RunsOnBattery(const std::filesystem::path& directory);

}  // namespace pith

#endif  // PITH_CORE_BASE_MACHINE_STATE_H_
