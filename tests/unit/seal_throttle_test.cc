#include "core/index/seal_throttle.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/fakes/fake_machine.h"

namespace pith {
namespace {

using ::testing::Optional;

constexpr absl::Duration kNone = absl::ZeroDuration();

absl::Time At(double seconds) {
  return absl::FromUnixSeconds(1'000'000'000) + absl::Seconds(seconds);
}

// CPU seconds that `threads` take in ten seconds, which use `piece` at a time
// and wait as they are told.
double UsedInTenSeconds(double cores, int threads, absl::Duration piece) {
  SealThrottle throttle({.cpu_share = cores / 4, .cores = 4});
  // When each is to go on.
  std::vector<absl::Time> next(threads, At(0));
  absl::Duration used;
  while (true) {
    const auto first = std::min_element(next.begin(), next.end());
    const absl::Time end = *first + piece;
    if (end > At(10)) {
      return absl::ToDoubleSeconds(used);
    }
    used += piece;
    *first = end + throttle.Charge(end, piece);
  }
}

TEST(SealThrottleTest, TakesItsShareWhateverTheThreads) {
  for (const int threads : {1, 2, 7}) {
    for (const double cores : {0.1, 0.5, 0.9}) {
      for (const int milliseconds : {1, 5, 30}) {
        const double used =
            UsedInTenSeconds(cores, threads, absl::Milliseconds(milliseconds));
        // Each may use a piece more than is there, and the first is free.
        const double above =
            absl::ToDoubleSeconds(SealThrottle::kBurst) +
            (threads + 1) * static_cast<double>(milliseconds) / 1e3;
        EXPECT_LE(used, 10 * cores + above)
            << threads << " " << cores << " " << milliseconds;
        EXPECT_GE(used, 0.9 * 10 * cores)
            << threads << " " << cores << " " << milliseconds;
      }
    }
  }
}

TEST(SealThrottleTest, NobodyWaitsWithinTheBound) {
  // Two threads cannot use three cores.
  EXPECT_NEAR(UsedInTenSeconds(3, 2, absl::Milliseconds(5)), 20, 0.01);
  SealThrottle unbound({});
  EXPECT_EQ(unbound.Charge(At(0), absl::Hours(1)), kNone);
}

TEST(SealThrottleTest, TimeWithoutWorkIsNotSaved) {
  SealThrottle throttle({.cpu_share = 0.25, .cores = 2});
  EXPECT_EQ(throttle.Charge(At(0), kNone), kNone);
  EXPECT_EQ(throttle.Charge(At(3600), kNone), kNone);
  EXPECT_EQ(throttle.Charge(At(3600), absl::Seconds(1)), absl::Seconds(2));
}

TEST(SealThrottleTest, AClockThatIsSetBackKeepsNobodyWaiting) {
  SealThrottle throttle({.cpu_share = 0.25, .cores = 2});
  EXPECT_EQ(throttle.Charge(At(3600), kNone), kNone);
  EXPECT_EQ(throttle.Charge(At(3600), absl::Seconds(1)), absl::Seconds(2));
  EXPECT_EQ(throttle.Charge(At(0), kNone), absl::Seconds(2));
  EXPECT_EQ(throttle.Charge(At(2), kNone), kNone);
}

TEST(SealThrottleTest, ChargesTheTimeOfTheThreadAndStopsWhenCancelled) {
  // One that has used any must wait for longer than a test takes.
  SealThrottle throttle({.cpu_share = 1e-9});
  int asked = 0;
  const auto cancelled = [&] { return ++asked > 1; };
  while (asked == 0) {
    throttle.Wait(cancelled);
  }
  EXPECT_EQ(asked, 2);
}

TEST(SealThrottleTest, PausesOnBattery) {
  FakeMachine machine;
  SealThrottle throttle({.pause_on_battery = true, .files = machine.files()});
  EXPECT_EQ(throttle.PauseReason(At(0)), std::nullopt);
  machine.SetOnBattery(true);
  EXPECT_EQ(throttle.PauseReason(At(1)), std::nullopt) << "not read again yet";
  EXPECT_THAT(throttle.PauseReason(At(2)), Optional(std::string("on battery")));
  machine.SetOnBattery(false);
  EXPECT_EQ(throttle.PauseReason(At(4)), std::nullopt);
  machine.SetOnBattery(true);
  EXPECT_THAT(throttle.PauseReason(At(0)), Optional(std::string("on battery")))
      << "the clock was set back";
}

TEST(SealThrottleTest, PausesWhileTheMachineIsBusyWithOtherThings) {
  FakeMachine machine;
  SealThrottle throttle({.max_load = 0.5, .files = machine.files()});
  machine.PassTicks(1000, 0);
  EXPECT_EQ(throttle.PauseReason(At(0)), std::nullopt) << "it was busy before";
  // As many are niced.
  machine.PassTicks(200, 100);
  EXPECT_EQ(throttle.PauseReason(At(2)), std::nullopt) << "50 %";
  machine.PassTicks(830, 85);
  EXPECT_THAT(throttle.PauseReason(At(4)),
              Optional(std::string("machine busy 83 %")));
  machine.PassTicks(45, 27);
  EXPECT_THAT(throttle.PauseReason(At(6)),
              Optional(std::string("machine busy 45 %")))
      << "less, but not much";
  machine.PassTicks(40, 30);
  EXPECT_EQ(throttle.PauseReason(At(8)), std::nullopt) << "40 %";
  machine.PassTicks(45, 27);
  EXPECT_EQ(throttle.PauseReason(At(10)), std::nullopt);
}

TEST(SealThrottleTest, ALoadOfLongAgoIsNone) {
  FakeMachine machine;
  SealThrottle throttle({.max_load = 0.5, .files = machine.files()});
  EXPECT_EQ(throttle.PauseReason(At(0)), std::nullopt);
  machine.PassTicks(100, 0);
  EXPECT_NE(throttle.PauseReason(At(2)), std::nullopt);
  machine.PassTicks(100, 0);
  EXPECT_EQ(throttle.PauseReason(At(100)), std::nullopt);
  machine.PassTicks(100, 0);
  EXPECT_NE(throttle.PauseReason(At(102)), std::nullopt);
}

TEST(SealThrottleTest, NothingIsReadThatIsNotAskedFor) {
  FakeMachine machine;
  machine.SetOnBattery(true);
  SealThrottle throttle({.files = machine.files()});
  for (int i = 0; i < 4; ++i) {
    machine.PassTicks(100, 0);
    EXPECT_EQ(throttle.PauseReason(At(2 * i)), std::nullopt);
  }
}

TEST(SealThrottleTest, AMachineThatTellsNothingIsNeverBusy) {
  FakeMachine machine;
  SealThrottle throttle({.max_load = 0.5,
                         .pause_on_battery = true,
                         .files = {.cpu = "/nowhere", .power = "/nowhere"}});
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(throttle.PauseReason(At(2 * i)), std::nullopt);
  }
  // A counter that goes back.
  SealThrottle throttle_of_machine({.max_load = 0.5, .files = machine.files()});
  machine.PassTicks(100, 0);
  EXPECT_EQ(throttle_of_machine.PauseReason(At(0)), std::nullopt);
  machine.PassTicks(-50, 0);
  EXPECT_EQ(throttle_of_machine.PauseReason(At(2)), std::nullopt);
}

}  // namespace
}  // namespace pith
