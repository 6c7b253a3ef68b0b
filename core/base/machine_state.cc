#include "core/base/machine_state.h"

#include <fstream>
#include <string>
#include <system_error>

namespace pith {
namespace {

namespace fs = std::filesystem;

// Empty if it cannot be read.
std::string FirstLine(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

}  // namespace

std::optional<CpuTicks> ReadCpuTicks(const fs::path& path) {
  std::ifstream file(path);
  std::string name;
  uint64_t user = 0;
  uint64_t nice = 0;
  uint64_t system = 0;
  uint64_t idle = 0;
  uint64_t waiting = 0;
  uint64_t interrupts = 0;
  uint64_t soft_interrupts = 0;
  uint64_t stolen = 0;
  file >> name >> user >> nice >> system >> idle >> waiting >> interrupts >>
      soft_interrupts >> stolen;
  if (!file || name != "cpu") {
    return std::nullopt;
  }
  const uint64_t busy = user + system + interrupts + soft_interrupts + stolen;
  return CpuTicks{.busy = busy, .total = busy + nice + idle + waiting};
}

bool RunsOnBattery(const fs::path& directory) {
  bool discharging = false;
  std::error_code error;
  for (fs::directory_iterator source(directory, error);
       !error && source != fs::directory_iterator(); source.increment(error)) {
    const fs::path& path = source->path();
    // Of a mouse or a telephone, say.
    if (FirstLine(path / "scope") == "Device") {
      continue;
    }
    const std::string type = FirstLine(path / "type");
    if (type != "Battery" && FirstLine(path / "online") == "1") {
      return false;
    }
    discharging |=
        type == "Battery" && FirstLine(path / "status") == "Discharging";
  }
  return discharging;
}

}  // namespace pith
