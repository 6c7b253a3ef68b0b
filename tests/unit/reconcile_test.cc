#include "core/source/reconcile.h"

#include <vector>

#include "gtest/gtest.h"

namespace pith {
namespace {

constexpr FileStamp kStamp = {
    .device = 1, .inode = 2, .bytes = 3, .mtime_ns = 4, .settled = true};

TEST(ReconcileTest, AStampSaysWhatTheSystemDoes) {
  struct stat status {};
  status.st_dev = 7;
  status.st_ino = 8;
  status.st_size = 9;
  status.st_mtim = {.tv_sec = 100, .tv_nsec = 5};
  const FileStamp stamp = StampOf(status, absl::FromUnixSeconds(200));
  EXPECT_EQ(stamp, (FileStamp{.device = 7,
                              .inode = 8,
                              .bytes = 9,
                              .mtime_ns = 100'000'000'005,
                              .settled = true}));
}

// A file that was changed just now may be changed again without its time
// showing that.
TEST(ReconcileTest, AYoungFileIsNotSettled) {
  struct stat status {};
  status.st_mtim = {.tv_sec = 100, .tv_nsec = 500};
  const absl::Time mtime = absl::TimeFromTimespec(status.st_mtim);
  struct Case {
    absl::Duration age;
    bool settled;
  };
  for (const Case& c : std::vector<Case>{
           {-absl::Hours(1), false},
           {absl::ZeroDuration(), false},
           {absl::Seconds(1), false},
           {kTimestampGrain, false},
           {kTimestampGrain + absl::Nanoseconds(1), true},
           {absl::Hours(1), true},
       }) {
    EXPECT_EQ(StampOf(status, mtime + c.age).settled, c.settled) << c.age;
  }
}

TEST(ReconcileTest, AFileIsUnchangedIfNothingButItsDeviceDiffers) {
  struct Case {
    const char* what;
    FileStamp recorded;
    FileStamp found;
    bool unchanged;
  };
  const auto with = [](auto member, auto value) {
    FileStamp stamp = kStamp;
    stamp.*member = value;
    return stamp;
  };
  for (const Case& c : std::vector<Case>{
           {"equal", kStamp, kStamp, true},
           {"other size", kStamp, with(&FileStamp::bytes, 9u), false},
           {"other time", kStamp, with(&FileStamp::mtime_ns, 9), false},
           {"replaced", kStamp, with(&FileStamp::inode, 9u), false},
           {"mounted again", kStamp, with(&FileStamp::device, 9u), true},
           {"racy when read", with(&FileStamp::settled, false), kStamp, false},
           {"the clock went back", kStamp, with(&FileStamp::settled, false),
            true},
       }) {
    EXPECT_EQ(IsUnchanged(c.recorded, c.found), c.unchanged) << c.what;
  }
}

TEST(ReconcileTest, ADocumentGoesOnlyIfItsFileIsKnownToBeGone) {
  struct Case {
    const char* what;
    GoneDocument document;
    GoneVerdict verdict;
  };
  for (const Case& c : std::vector<Case>{
           {"file deleted",
            {.stamp = kStamp, .device_there = 1},
            GoneVerdict::kDelete},
           {"never a file", {.device_there = 1}, GoneVerdict::kDelete},
           {"never a file, in an unreadable folder",
            {.unreadable = true, .device_there = 1},
            GoneVerdict::kKeepUnreadable},
           {"unreadable",
            {.stamp = kStamp, .unreadable = true, .device_there = 1},
            GoneVerdict::kKeepUnreadable},
           {"cannot be looked at",
            {.stamp = kStamp},
            GoneVerdict::kKeepUnreadable},
           {"an empty mount point",
            {.stamp = kStamp, .device_there = 9},
            GoneVerdict::kKeepUnmounted},
           {"deleted after it was mounted under another number",
            {.stamp = kStamp, .device_there = 9, .device_seen = true},
            GoneVerdict::kDelete},
           {"unreadable on a known device",
            {.stamp = kStamp,
            .unreadable = true,
            .device_there = 9,
            .device_seen = true},
            GoneVerdict::kKeepUnreadable},
       }) {
    EXPECT_EQ(JudgeGone(c.document), c.verdict) << c.what;
  }
}

}  // namespace
}  // namespace pith
