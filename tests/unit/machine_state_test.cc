#include "core/base/machine_state.h"

#include <filesystem>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/base/file.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

class MachineStateTest : public testing::Test {
 protected:
  void Write(const std::string& name, const std::string& content) {
    fs::create_directories((temp_.path() / name).parent_path());
    ASSERT_OK(WriteFileAtomically(temp_.path() / name, content));
  }

  TempDirectory temp_;
};

TEST_F(MachineStateTest, NicedWorkAndWaitingAreNotBusy) {
  Write("stat",
        "cpu  1 20 300 4000 50000 600000 7000000 80000000 9 9\n"
        "cpu0 1 1 1 1 1 1 1 1 1 1\n");
  const auto ticks = ReadCpuTicks(temp_.path() / "stat");
  ASSERT_TRUE(ticks);
  EXPECT_EQ(ticks->busy, 1 + 300 + 600000 + 7000000 + 80000000);
  EXPECT_EQ(ticks->total, 87654321);
}

TEST_F(MachineStateTest, ThisMachineHasTicks) {
  const auto ticks = ReadCpuTicks(MachineFiles().cpu);
  ASSERT_TRUE(ticks);
  EXPECT_GT(ticks->total, 0);
  EXPECT_LE(ticks->busy, ticks->total);
}

TEST_F(MachineStateTest, WhatIsNotAsItShouldBeHasNoTicks) {
  EXPECT_FALSE(ReadCpuTicks(temp_.path() / "missing"));
  for (const std::string content :
       {"", "cpu  1 2 3 4 5 6 7", "cpu0 1 2 3 4 5 6 7 8",
        "cpu  1 2 3 4 5 6 7 x"}) {
    Write("stat", content);
    EXPECT_FALSE(ReadCpuTicks(temp_.path() / "stat")) << content;
  }
}

TEST_F(MachineStateTest, ABatteryThatDischargesFeedsTheMachine) {
  EXPECT_FALSE(RunsOnBattery(temp_.path() / "missing"));
  EXPECT_FALSE(RunsOnBattery(temp_.path()));
  Write("AC/type", "Mains\n");
  Write("AC/online", "0\n");
  EXPECT_FALSE(RunsOnBattery(temp_.path())) << "there is no battery";
  Write("BAT0/type", "Battery\n");
  Write("BAT0/status", "Charging\n");
  EXPECT_FALSE(RunsOnBattery(temp_.path()));
  Write("BAT0/status", "Discharging\n");
  EXPECT_TRUE(RunsOnBattery(temp_.path()));
  // Of a mouse, which says of itself that it is there.
  Write("hid/type", "Battery\n");
  Write("hid/scope", "Device\n");
  Write("hid/online", "1\n");
  Write("hid/status", "Discharging\n");
  EXPECT_TRUE(RunsOnBattery(temp_.path()));
  // A charger that is too weak.
  Write("usb/type", "USB\n");
  Write("usb/online", "1\n");
  EXPECT_FALSE(RunsOnBattery(temp_.path()));
  Write("usb/online", "0\n");
  EXPECT_TRUE(RunsOnBattery(temp_.path()));
  Write("AC/online", "1\n");
  EXPECT_FALSE(RunsOnBattery(temp_.path()));
}

TEST_F(MachineStateTest, AMousesBatteryFeedsNoMachine) {
  Write("hid/type", "Battery\n");
  Write("hid/scope", "Device\n");
  Write("hid/status", "Discharging\n");
  EXPECT_FALSE(RunsOnBattery(temp_.path()));
}

}  // namespace
}  // namespace pith
