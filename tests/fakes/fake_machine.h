#ifndef PITH_TESTS_FAKES_FAKE_MACHINE_H_
#define PITH_TESTS_FAKES_FAKE_MACHINE_H_

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "core/base/file.h"
#include "core/base/machine_state.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {

// Files that tell of a machine with a battery, which is idle and plugged in
// until something else is said.
class FakeMachine {
 public:
  FakeMachine() {
    std::filesystem::create_directories(temp_.path() / "power" / "AC");
    std::filesystem::create_directories(temp_.path() / "power" / "BAT0");
    Write("power/AC/type", "Mains\n");
    Write("power/BAT0/type", "Battery\n");
    SetOnBattery(false);
    PassTicks(0, 1);
  }

  MachineFiles files() const {
    return {.cpu = temp_.path() / "stat", .power = temp_.path() / "power"};
  }

  void SetOnBattery(bool on_battery) {
    Write("power/BAT0/status", on_battery ? "Discharging\n" : "Full\n");
    Write("power/AC/online", on_battery ? "0\n" : "1\n");
  }

  void PassTicks(int busy, int idle) {
    busy_ += busy;
    idle_ += idle;
    // Sealing's own are at a low priority.
    niced_ += idle;
    Write("stat", absl::StrCat("cpu  ", busy_, " ", niced_, " 0 ", idle_,
                               " 0 0 0 0\n"));
  }

 private:
  void Write(const std::string& name, const std::string& content) {
    EXPECT_OK(WriteFileAtomically(temp_.path() / name, content));
  }

  TempDirectory temp_;
  int busy_ = 0;
  int niced_ = 0;
  int idle_ = 0;
};

}  // namespace pith

#endif  // PITH_TESTS_FAKES_FAKE_MACHINE_H_
