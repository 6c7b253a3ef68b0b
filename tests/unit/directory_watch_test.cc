#include "core/source/directory_watch.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::IsSupersetOf;
using ::testing::Not;

class DirectoryWatchTest : public testing::Test {
 protected:
  DirectoryWatchTest() {
    auto watch = DirectoryWatch::Create(std::nullopt);
    CHECK(watch.ok()) << watch.status();
    watch_ = *std::move(watch);
    Add(root_);
  }

  void Add(const fs::path& directory) {
    EXPECT_OK(watch_->Add(directory.string(), false));
  }
  static void Write(const fs::path& path, const std::string& text = "text") {
    std::ofstream(path) << text;
  }

  // What is heard until `last` is, which is to come.
  std::set<std::string> HearUntil(const fs::path& last) {
    std::set<std::string> heard;
    const absl::Time deadline = absl::Now() + absl::Minutes(1);
    while (!heard.contains(last.string()) && absl::Now() < deadline) {
      const auto changes = watch_->Wait(absl::Seconds(1));
      EXPECT_OK(changes);
      heard.insert(changes->paths.begin(), changes->paths.end());
      lost_ |= changes->lost;
    }
    EXPECT_THAT(heard, Contains(last.string()));
    return heard;
  }
  // What is heard of changes that were made already.
  std::set<std::string> Hear() {
    const fs::path last = root_ / "last";
    Write(last);
    std::set<std::string> heard = HearUntil(last);
    fs::remove(last);
    heard.erase(last.string());
    return heard;
  }

  const TempDirectory temp_;
  const fs::path root_ = temp_.path();
  std::unique_ptr<DirectoryWatch> watch_;
  bool lost_ = false;
};

TEST_F(DirectoryWatchTest, FilesThatComeChangeAndGoAreHeardOf) {
  const std::string file = root_ / "a.txt";
  const std::set<std::string> only = {file};
  Write(file);
  EXPECT_EQ(Hear(), only);
  Write(file, "other");
  EXPECT_EQ(Hear(), only);
  ASSERT_EQ(::chmod(file.c_str(), 0400), 0);
  EXPECT_EQ(Hear(), only);
  fs::remove(file);
  EXPECT_EQ(Hear(), only);
  EXPECT_FALSE(lost_);
}

TEST_F(DirectoryWatchTest, ARenameIsHeardOfAtBothEnds) {
  Write(root_ / "a.txt");
  Hear();
  fs::rename(root_ / "a.txt", root_ / "b.txt");
  EXPECT_EQ(Hear(), (std::set<std::string>{root_ / "a.txt", root_ / "b.txt"}));
}

TEST_F(DirectoryWatchTest, OnlyTheDirectoryItselfIsWatched) {
  fs::create_directory(root_ / "sub");
  EXPECT_THAT(Hear(), Contains((root_ / "sub").string()));
  Write(root_ / "sub" / "a.txt");
  EXPECT_THAT(Hear(), Not(Contains((root_ / "sub" / "a.txt").string())));
  Add(root_ / "sub");
  Write(root_ / "sub" / "a.txt");
  EXPECT_THAT(Hear(), Contains((root_ / "sub" / "a.txt").string()));
}

TEST_F(DirectoryWatchTest, HiddenFilesAreNotHeardOfAndIgnoreFilesAsTheFolder) {
  Write(root_ / ".a.txt.swp");
  EXPECT_EQ(Hear(), std::set<std::string>());
  for (const char* name : {".gitignore", ".pithignore"}) {
    Write(root_ / name);
    EXPECT_EQ(Hear(), std::set<std::string>{root_}) << name;
  }
}

TEST_F(DirectoryWatchTest, AMovedDirectoryIsHeardOfUnderItsNewPathAlone) {
  fs::create_directories(root_ / "old" / "sub");
  Add(root_ / "old");
  Add(root_ / "old" / "sub");
  Hear();
  EXPECT_EQ(watch_->directories(), 3u);
  fs::rename(root_ / "old", root_ / "new");
  EXPECT_THAT(Hear(), IsSupersetOf({(root_ / "old").string(),
                                    (root_ / "new").string()}));
  EXPECT_EQ(watch_->directories(), 1u);
  Write(root_ / "new" / "sub" / "unheard");
  Add(root_ / "new");
  Add(root_ / "new" / "sub");
  Write(root_ / "new" / "sub" / "a.txt");
  EXPECT_EQ(Hear(), std::set<std::string>{root_ / "new" / "sub" / "a.txt"});
}

// A complete walk may meet a directory that was moved before its move is heard
// of.
TEST_F(DirectoryWatchTest, ADirectoryThatIsWatchedAnewBeforeItsMoveIsHeardOf) {
  fs::create_directory(root_ / "old");
  Add(root_ / "old");
  fs::rename(root_ / "old", root_ / "new");
  Add(root_ / "new");
  Hear();
  EXPECT_EQ(watch_->directories(), 2u);
  Write(root_ / "new" / "a.txt");
  EXPECT_EQ(Hear(), std::set<std::string>{root_ / "new" / "a.txt"});
}

TEST_F(DirectoryWatchTest, ADirectoryThatIsReplacedIsWatchedInItsPlace) {
  fs::create_directory(root_ / "sub");
  Add(root_ / "sub");
  fs::rename(root_ / "sub", temp_.path() / "away");
  fs::create_directory(root_ / "sub");
  // The move is heard of later and ends whatever is watched there; but it is
  // heard of, so that whoever looks watches anew.
  Add(root_ / "sub");
  EXPECT_THAT(Hear(), Contains((root_ / "sub").string()));
  Add(root_ / "sub");
  Write(root_ / "sub" / "a.txt");
  EXPECT_EQ(Hear(), std::set<std::string>{root_ / "sub" / "a.txt"});
}

TEST_F(DirectoryWatchTest, DeletedDirectoriesFreeTheirWatches) {
  fs::create_directories(root_ / "sub" / "sub");
  Add(root_ / "sub");
  Add(root_ / "sub" / "sub");
  fs::remove_all(root_ / "sub");
  EXPECT_THAT(Hear(), Contains((root_ / "sub").string()));
  EXPECT_EQ(watch_->directories(), 1u);
}

TEST_F(DirectoryWatchTest, TheEndOfTheFirstDirectoryIsHeardOf) {
  fs::create_directory(root_ / "top");
  Hear();
  auto watch = DirectoryWatch::Create(std::nullopt);
  ASSERT_OK(watch);
  watch_ = *std::move(watch);
  Add(root_ / "top");
  fs::remove(root_ / "top");
  HearUntil(root_ / "top");
}

TEST_F(DirectoryWatchTest, WhatIsRemovedIsSilent) {
  for (const char* name : {"a", "a/b", "a-b"}) {
    fs::create_directory(root_ / name);
    Add(root_ / name);
  }
  watch_->RemoveBelow(root_ / "a");
  EXPECT_EQ(watch_->directories(), 2u);
  Hear();
  Write(root_ / "a" / "b" / "x");
  Write(root_ / "a-b" / "x");
  EXPECT_EQ(Hear(), std::set<std::string>{root_ / "a-b" / "x"});
}

TEST_F(DirectoryWatchTest, TheLimitIsKeptAndSaid) {
  auto watch = DirectoryWatch::Create(2);
  ASSERT_OK(watch);
  for (const char* name : {"a", "b", "c"}) {
    fs::create_directory(root_ / name);
  }
  EXPECT_OK((*watch)->Add(root_ / "a", false));
  EXPECT_OK((*watch)->Add(root_ / "b", false));
  EXPECT_THAT((*watch)->Add(root_ / "c", false),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       "2 folders are watched already"));
  EXPECT_OK((*watch)->Add(root_ / "a", false));
  (*watch)->RemoveBelow(root_ / "a");
  EXPECT_OK((*watch)->Add(root_ / "c", false));
}

TEST_F(DirectoryWatchTest, OnlyTheRootMayBeALink) {
  fs::create_directory(root_ / "sub");
  fs::create_directory_symlink("sub", root_ / "link");
  EXPECT_THAT(watch_->Add(root_ / "link", false),
              StatusIs(absl::StatusCode::kNotFound, "link"));
  EXPECT_OK(watch_->Add(root_ / "link", true));
  Hear();
  Write(root_ / "sub" / "a");
  EXPECT_EQ(Hear(), std::set<std::string>{root_ / "link" / "a"});
}

TEST_F(DirectoryWatchTest, WhatIsNoDirectoryIsAnError) {
  EXPECT_THAT(watch_->Add(root_ / "none", false),
              StatusIs(absl::StatusCode::kNotFound, "none"));
  Write(root_ / "file");
  EXPECT_FALSE(watch_->Add(root_ / "file", false).ok());
}

TEST_F(DirectoryWatchTest, AFullQueueIsSaid) {
  // More than fs.inotify.max_queued_events, alternating so that no two alike
  // follow each other and become one.
  size_t limit = 0;
  std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> limit;
  ASSERT_GT(limit, 0u);
  if (limit > 100'000) {
    GTEST_SKIP() << "fs.inotify.max_queued_events is " << limit;
  }
  Write(root_ / "a");
  Write(root_ / "b");
  for (size_t i = 0; i <= limit / 2; ++i) {
    ASSERT_EQ(::chmod((root_ / "a").c_str(), 0600), 0);
    ASSERT_EQ(::chmod((root_ / "b").c_str(), 0600), 0);
  }
  const absl::Time deadline = absl::Now() + absl::Minutes(1);
  while (!lost_ && absl::Now() < deadline) {
    const auto changes = watch_->Wait(absl::Seconds(1));
    ASSERT_OK(changes);
    lost_ = changes->lost;
  }
  EXPECT_TRUE(lost_);
}

TEST_F(DirectoryWatchTest, AWakeEndsOneWait) {
  watch_->Wake();
  const auto changes = watch_->Wait(absl::InfiniteDuration());
  ASSERT_OK(changes);
  EXPECT_TRUE(changes->paths.empty());
}

}  // namespace
}  // namespace pith
