#include "embedder/torch/unit_runner.h"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <mutex>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/status_matchers.h"

namespace pith {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Le;

PackedTokens TextsOf(const std::vector<int32_t>& lengths) {
  PackedTokens tokens;
  for (const int32_t length : lengths) {
    tokens.ids.resize(tokens.ids.size() + static_cast<size_t>(length));
    tokens.offsets.push_back(static_cast<int32_t>(tokens.ids.size()));
  }
  return tokens;
}

// A device that has memory for units of up to `fitting_rows`.
struct Device {
  int64_t fitting_rows;
  // Of the units tried, in order.
  std::vector<int64_t> rows = {};
  std::vector<size_t> computed = {};
  std::mutex mutex = {};

  absl::Status operator()(int, const TextUnit& unit) {
    const std::lock_guard lock(mutex);
    rows.push_back(unit.rows());
    if (unit.rows() > fitting_rows) {
      return absl::ResourceExhaustedError("out of memory");
    }
    computed.insert(computed.end(), unit.texts.begin(), unit.texts.end());
    return absl::OkStatus();
  }

  // How often each of `texts` was computed.
  std::vector<int64_t> Counts(size_t texts) const {
    std::vector<int64_t> counts;
    for (size_t i = 0; i < texts; ++i) {
      counts.push_back(std::ranges::count(computed, i));
    }
    return counts;
  }
};

TEST(UnitRunner, ComputesEachTextOnce) {
  for (const int lanes : {1, 2, 5}) {
    UnitRunner runner({.unit_rows = 10}, lanes);
    Device device = {.fitting_rows = 10};
    EXPECT_OK(runner.Run(TextsOf({3, 9, 4, 4, 1, 10, 5}), std::ref(device)));
    EXPECT_THAT(device.Counts(7), Each(1));
    EXPECT_THAT(device.rows, Each(Le(10)));
    EXPECT_EQ(runner.unit_rows(), 10);
  }
}

TEST(UnitRunner, LanesComputeAtTheSameTime) {
  UnitRunner runner({.unit_rows = 4}, 2);
  std::barrier both(2);
  EXPECT_OK(runner.Run(TextsOf({4, 4}), [&](int, const TextUnit&) {
    both.arrive_and_wait();
    return absl::OkStatus();
  }));
}

TEST(UnitRunner, UnitsForWhichMemoryRunsOutAreHalvedUntilTheyFit) {
  UnitRunner runner({.unit_rows = 64}, 1);
  Device device = {.fitting_rows = 20};
  EXPECT_OK(runner.Run(TextsOf(std::vector<int32_t>(16, 4)), std::ref(device)));
  EXPECT_THAT(device.Counts(16), Each(1));
  EXPECT_THAT(device.rows, ElementsAre(64, 32, 16, 16, 16, 16));
}

TEST(UnitRunner, HalvesAreOfTheUnitThatFailed) {
  UnitRunner runner({.unit_rows = 8192}, 1);
  Device device = {.fitting_rows = 20};
  EXPECT_OK(runner.Run(TextsOf(std::vector<int32_t>(16, 4)), std::ref(device)));
  EXPECT_THAT(device.rows, ElementsAre(64, 64, 32, 16, 16, 16, 16));
}

TEST(UnitRunner, TheSizeThatFittedIsKept) {
  UnitRunner runner({.unit_rows = 64}, 1);
  const PackedTokens tokens = TextsOf(std::vector<int32_t>(16, 4));
  Device device = {.fitting_rows = 20};
  ASSERT_OK(runner.Run(tokens, std::ref(device)));
  EXPECT_EQ(runner.unit_rows(), 16);
  device.rows.clear();
  EXPECT_OK(runner.Run(tokens, std::ref(device)));
  EXPECT_THAT(device.rows, ElementsAre(16, 16, 16, 16));
}

TEST(UnitRunner, WhatFailsBesideOthersIsComputedAlone) {
  UnitRunner runner({.unit_rows = 8}, 2);
  std::barrier both(2);
  std::atomic<int> failures = 0;
  std::vector<int> lanes_alone;
  Device device = {.fitting_rows = 8};
  EXPECT_OK(runner.Run(TextsOf({8, 8}),
                       [&](int lane, const TextUnit& unit) -> absl::Status {
                         if (failures < 2) {
                           both.arrive_and_wait();
                           ++failures;
                           both.arrive_and_wait();
                           return absl::ResourceExhaustedError("");
                         }
                         lanes_alone.push_back(lane);
                         return device(lane, unit);
                       }));
  EXPECT_THAT(lanes_alone, ElementsAre(0, 0));
  EXPECT_THAT(device.Counts(2), Each(1));
}

TEST(UnitRunner, AShortUnitThatFailsBesideOthersOnlyHalvesTheSize) {
  UnitRunner runner({.unit_rows = 64}, 2);
  bool failed = false;
  EXPECT_OK(runner.Run(TextsOf({64, 2}), [&](int, const TextUnit& unit) {
    return unit.rows() == 2 && !std::exchange(failed, true)
               ? absl::ResourceExhaustedError("")
               : absl::OkStatus();
  }));
  EXPECT_EQ(runner.unit_rows(), 32);
}

TEST(UnitRunner, ATextThatDoesNotFitAloneIsNamed) {
  UnitRunner runner({.unit_rows = 64}, 2);
  Device device = {.fitting_rows = 20};
  EXPECT_THAT(runner.Run(TextsOf({4, 30, 4}), std::ref(device)),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       "text 1 of 30 tokens, alone: out of memory"));
}

TEST(UnitRunner, SizesShrinkToSingleTextsWithPaddingToo) {
  UnitRunner runner({.unit_rows = 64, .row_multiple = 16}, 1);
  // Two texts never fit, though their rows are no more than one text's.
  std::vector<size_t> computed;
  EXPECT_OK(runner.Run(TextsOf({2, 2, 2}),
                       [&](int, const TextUnit& unit) -> absl::Status {
                         if (unit.texts.size() > 1) {
                           return absl::ResourceExhaustedError("");
                         }
                         computed.push_back(unit.texts.front());
                         return absl::OkStatus();
                       }));
  EXPECT_THAT(computed, ElementsAre(0, 1, 2));
}

TEST(UnitRunner, OtherFailuresAreTheCallsAndShrinkNothing) {
  UnitRunner runner({.unit_rows = 4}, 2);
  EXPECT_THAT(runner.Run(TextsOf({4, 4, 4}),
                         [&](int, const TextUnit& unit) {
                           return unit.texts.front() == 1
                                      ? absl::InternalError("broken")
                                      : absl::OkStatus();
                         }),
              StatusIs(absl::StatusCode::kInternal, "broken"));
  EXPECT_EQ(runner.unit_rows(), 4);
}

TEST(UnitRunner, OtherFailuresOfAUnitThatIsTriedAgainAreTheCalls) {
  UnitRunner runner({.unit_rows = 4}, 1);
  bool first = true;
  EXPECT_THAT(runner.Run(TextsOf({2, 2}),
                         [&](int, const TextUnit&) {
                           return std::exchange(first, false)
                                      ? absl::ResourceExhaustedError("")
                                      : absl::InternalError("broken");
                         }),
              StatusIs(absl::StatusCode::kInternal, "broken"));
}

TEST(UnitRunner, UnitsGrowAgainAfterManyThatWorked) {
  UnitRunner runner({.unit_rows = 64}, 1);
  Device device = {.fitting_rows = 20};
  ASSERT_OK(runner.Run(TextsOf({16, 16, 16, 16}), std::ref(device)));
  device.fitting_rows = 64;
  for (const int64_t rows : {16, 32}) {
    const PackedTokens unit = TextsOf({static_cast<int32_t>(rows)});
    for (int64_t i = 0; i < UnitRunner::kUnitsBeforeGrowth; ++i) {
      ASSERT_EQ(runner.unit_rows(), rows);
      ASSERT_OK(runner.Run(unit, std::ref(device)));
    }
  }
  EXPECT_EQ(runner.unit_rows(), 64);
}

TEST(UnitRunner, NoTextsAreNothingToDo) {
  UnitRunner runner({.unit_rows = 64}, 2);
  Device device = {.fitting_rows = 0};
  EXPECT_OK(runner.Run({}, std::ref(device)));
}

}  // namespace
}  // namespace pith
