#include "core/base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

TEST(WriteFileAtomically, ReplacesTheFileAndLeavesNothingElse) {
  TempDirectory temp;
  const fs::path path = temp.path() / "file";
  ASSERT_OK(WriteFileAtomically(path, "one"));
  ASSERT_OK(WriteFileAtomically(path, "two"));
  EXPECT_EQ(*ReadFile(path), "two");
  EXPECT_EQ(std::distance(fs::directory_iterator(temp.path()), {}), 1);
}

TEST(WriteFileAtomically, FailureNamesThePathAndLeavesTheOldContent) {
  TempDirectory temp;
  fs::create_directory(temp.path() / "target");
  ASSERT_OK(WriteFileAtomically(temp.path() / "target" / "inner", "old"));
  // A directory that is not empty cannot be replaced by a file.
  EXPECT_FALSE(WriteFileAtomically(temp.path() / "target", "new").ok());
  EXPECT_EQ(*ReadFile(temp.path() / "target" / "inner"), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(temp.path()), {}), 1);
  EXPECT_THAT(WriteFileAtomically(temp.path() / "no" / "file", "x"),
              StatusIs(absl::StatusCode::kNotFound, "/no/file"));
}

TEST(ReadFile, RefusesWhatIsMissingOrLargerThanTheLimit) {
  TempDirectory temp;
  EXPECT_THAT(ReadFile(temp.path() / "none"),
              StatusIs(absl::StatusCode::kNotFound, "none"));
  ASSERT_OK(WriteFileAtomically(temp.path() / "file", "12345"));
  EXPECT_OK(ReadFile(temp.path() / "file", 5));
  EXPECT_THAT(
      ReadFile(temp.path() / "file", 4),
      StatusIs(absl::StatusCode::kResourceExhausted, "limit of 4 bytes"));
}

TEST(CreatePrivateDirectories, MakesParentsForTheOwnerAlone) {
  TempDirectory temp;
  ASSERT_OK(CreatePrivateDirectories(temp.path() / "a" / "b"));
  struct stat info;
  ASSERT_EQ(stat((temp.path() / "a" / "b").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  ASSERT_OK(WriteFileAtomically(temp.path() / "file", ""));
  EXPECT_FALSE(CreatePrivateDirectories(temp.path() / "file" / "x").ok());
}

TEST(FileLock, ASecondOwnerIsRefusedWithTheFirstOnesPid) {
  TempDirectory temp;
  const fs::path path = temp.path() / "lock";
  EXPECT_EQ(*FileLock::Owner(path), std::nullopt);
  {
    absl::StatusOr<FileLock> lock = FileLock::Acquire(path);
    ASSERT_OK(lock);
    EXPECT_EQ(*FileLock::Owner(path), getpid());
    EXPECT_THAT(FileLock::Acquire(path),
                StatusIs(absl::StatusCode::kFailedPrecondition,
                         absl::StrCat("process ", getpid())));
  }
  EXPECT_EQ(*FileLock::Owner(path), std::nullopt);
  EXPECT_OK(FileLock::Acquire(path));
}

TEST(FileLock, ItsFileIsEmptyOnceReleasedAndNotWhenMoved) {
  TempDirectory temp;
  const fs::path path = temp.path() / "lock";
  {
    absl::StatusOr<FileLock> first = FileLock::Acquire(path);
    ASSERT_OK(first);
    const FileLock moved = *std::move(first);
    EXPECT_EQ(*FileLock::Owner(path), getpid());
  }
  EXPECT_EQ(*ReadFile(path), "");
}

TEST(FileLock, AssignmentReleasesWhatWasHeld) {
  TempDirectory temp;
  const fs::path path = temp.path() / "lock";
  const fs::path other = temp.path() / "other";
  absl::StatusOr<FileLock> lock = FileLock::Acquire(path);
  ASSERT_OK(lock);
  lock = FileLock::Acquire(other);
  ASSERT_OK(lock);
  EXPECT_EQ(*FileLock::Owner(path), std::nullopt);
  EXPECT_EQ(*ReadFile(path), "");
  EXPECT_EQ(*FileLock::Owner(other), getpid());
}

TEST(FileLock, AnOwnerThatNeverWritesItsPidIsAnError) {
  TempDirectory temp;
  const fs::path path = temp.path() / "lock";
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(flock(fd.get(), LOCK_EX), 0);
  EXPECT_THAT(FileLock::Owner(path),
              StatusIs(absl::StatusCode::kInternal, "not a process id"));
  fd = UniqueFd();
  EXPECT_EQ(*FileLock::Owner(path), std::nullopt);
}

TEST(FileLock, DoesNotFollowASymbolicLink) {
  TempDirectory temp;
  const fs::path path = temp.path() / "lock";
  ASSERT_OK(WriteFileAtomically(temp.path() / "precious", "content"));
  fs::create_symlink("precious", path);
  EXPECT_THAT(FileLock::Acquire(path),
              StatusIs(absl::StatusCode::kInternal, path.string()));
  EXPECT_THAT(FileLock::Owner(path),
              StatusIs(absl::StatusCode::kInternal, path.string()));
  EXPECT_EQ(*ReadFile(temp.path() / "precious"), "content");
}

TEST(FileLock, IsFreeOnceItsOwnerDied) {
  TempDirectory temp;
  const fs::path path = temp.path() / "lock";
  const pid_t child = fork();
  if (child == 0) {
    _exit(FileLock::Acquire(path).ok() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(WEXITSTATUS(status), 0);
  EXPECT_OK(FileLock::Acquire(path));
}

}  // namespace
}  // namespace pith
