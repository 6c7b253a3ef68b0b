#include "core/source/change_hints.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pith {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr ChangeHints::Limits kLimits = {.quiet = absl::Seconds(1),
                                         .max_wait = absl::Seconds(5),
                                         .min_rest = absl::Seconds(2),
                                         .max_rest = absl::Seconds(16),
                                         .max_paths = 4};

absl::Time At(double seconds) {
  return absl::UnixEpoch() + absl::Seconds(seconds);
}

double Seconds(absl::Time time) {
  return absl::ToDoubleSeconds(time - absl::UnixEpoch());
}

TEST(ChangeHintsTest, APathIsDueWhenItHasBeenQuiet) {
  ChangeHints hints(kLimits);
  EXPECT_EQ(hints.DueTime(), absl::InfiniteFuture());
  hints.Add("/a", At(0));
  hints.Add("/a", At(0.5));
  EXPECT_EQ(Seconds(hints.DueTime()), 1.5);
  EXPECT_THAT(hints.Take(At(1.4)).paths, IsEmpty());
  EXPECT_EQ(hints.waiting(), 1u);
  EXPECT_THAT(hints.Take(At(1.5)).paths, ElementsAre("/a"));
  EXPECT_EQ(hints.waiting(), 0u);
  EXPECT_EQ(hints.DueTime(), absl::InfiniteFuture());
  EXPECT_THAT(hints.Take(At(9)).paths, IsEmpty());
}

TEST(ChangeHintsTest, APathThatIsNeverQuietIsDueInTheEnd) {
  ChangeHints hints(kLimits);
  for (double t = 0; t < 5; t += 0.25) {
    hints.Add("/a", At(t));
    EXPECT_THAT(hints.Take(At(t)).paths, IsEmpty());
  }
  EXPECT_THAT(hints.Take(At(5)).paths, ElementsAre("/a"));
}

// The scans of a file that always changes become rare, not a busy loop.
TEST(ChangeHintsTest, APathThatAlwaysChangesRestsLongerEachTime) {
  ChangeHints hints(kLimits);
  std::vector<double> taken;
  for (double t = 0; t < 120; t += 0.25) {
    if (!hints.Take(At(t)).paths.empty()) {
      taken.push_back(t);
    }
    hints.Add("/a", At(t));
  }
  // Rests of 2, 4, 8, 16, 16, ... seconds, but five seconds' wait at least.
  EXPECT_THAT(taken, ElementsAre(5, 10, 15, 23, 39, 55, 71, 87, 103, 119));
}

TEST(ChangeHintsTest, ARestIsForgottenWhenNothingWasHeard) {
  ChangeHints hints(kLimits);
  hints.Add("/a", At(0));
  EXPECT_THAT(hints.Take(At(1)).paths, ElementsAre("/a"));
  // While it rests until 3.
  hints.Add("/a", At(1.5));
  EXPECT_EQ(Seconds(hints.DueTime()), 3);
  EXPECT_THAT(hints.Take(At(3)).paths, ElementsAre("/a"));
  // It rests until 7 now; this comes after.
  hints.Add("/a", At(8));
  EXPECT_EQ(Seconds(hints.DueTime()), 9);
  EXPECT_THAT(hints.Take(At(9)).paths, ElementsAre("/a"));
  hints.Add("/a", At(9.5));
  EXPECT_EQ(Seconds(hints.DueTime()), 11);
}

TEST(ChangeHintsTest, WhatLiesBelowAnotherIsNotTakenByItself) {
  ChangeHints hints({.quiet = absl::ZeroDuration()});
  for (const char* path : {"/a/b", "/a", "/a-b", "/a/c/d", "/b/c"}) {
    hints.Add(path, At(0));
  }
  EXPECT_THAT(hints.Take(At(0)).paths, ElementsAre("/a", "/a-b", "/b/c"));
}

TEST(ChangeHintsTest, MorePathsThanFitAreEverything) {
  ChangeHints hints(kLimits);
  for (int i = 0; i < 4; ++i) {
    hints.Add(absl::StrCat("/", i), At(0));
  }
  EXPECT_EQ(hints.waiting(), 4u);
  hints.Add("/4", At(0.5));
  hints.Add("/5", At(0.75));
  EXPECT_EQ(hints.waiting(), 1u);
  EXPECT_EQ(Seconds(hints.DueTime()), 1.75);
  const ChangeHints::Due due = hints.Take(At(1.75));
  EXPECT_TRUE(due.everything);
  EXPECT_THAT(due.paths, IsEmpty());
  EXPECT_EQ(hints.waiting(), 0u);
}

TEST(ChangeHintsTest, PathsThatRestMakeRoomWhenTheyHaveRested) {
  ChangeHints hints(kLimits);
  for (int i = 0; i < 4; ++i) {
    hints.Add(absl::StrCat("/", i), At(0));
  }
  EXPECT_EQ(hints.Take(At(1)).paths.size(), 4u);
  hints.Add("/4", At(3));
  EXPECT_THAT(hints.Take(At(4)).paths, ElementsAre("/4"));
}

TEST(ChangeHintsTest, AFloodOfEverythingRestsToo) {
  ChangeHints hints(kLimits);
  hints.Add("/a", At(0));
  hints.AddEverything(At(0));
  EXPECT_TRUE(hints.Take(At(1)).everything);
  hints.AddEverything(At(1));
  EXPECT_EQ(Seconds(hints.DueTime()), 3);
  EXPECT_TRUE(hints.Take(At(3)).everything);
  hints.AddEverything(At(3));
  EXPECT_EQ(Seconds(hints.DueTime()), 7);
}

}  // namespace
}  // namespace pith
