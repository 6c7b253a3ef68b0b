#include "core/storage/snapshot.h"

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "core/base/file.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

class SnapshotTest : public testing::Test {
 protected:
  SnapshotTest() {
    fs::create_directories(snapshot() / "segments");
    Write("a", std::string(200'000, 'a'));
    Write("empty", "");
    Write("segments/b", "two\nlines");
  }

  fs::path snapshot() const { return temp_.path() / "snapshot"; }
  fs::path copy() const { return temp_.path() / "copy"; }
  void Write(const std::string& name, const std::string& bytes) {
    ASSERT_OK(WriteFileAtomically(snapshot() / name, bytes));
  }
  // Of the copy and of a check alike.
  void ExpectDamage(absl::StatusCode code, const std::string& message) {
    EXPECT_THAT(CheckSnapshot(snapshot(), {}), StatusIs(code, message));
    EXPECT_THAT(CopySnapshot(snapshot(), copy(), {}), StatusIs(code, message));
  }

  TempDirectory temp_;
};

TEST_F(SnapshotTest, IsCopiedByteForByte) {
  uint64_t told = 0;
  uint64_t total = 0;
  const WorkControl control = {.progress = [&](uint64_t bytes, uint64_t all) {
    EXPECT_GT(bytes, told);
    told = bytes;
    total = all;
  }};
  EXPECT_OK(FinishSnapshot(snapshot(), control));
  EXPECT_EQ(told, 200'009u);
  EXPECT_EQ(total, 200'009u);
  EXPECT_OK(CheckSnapshot(snapshot(), {}));
  ASSERT_OK(CopySnapshot(snapshot(), copy(), {}));
  EXPECT_EQ(*ReadFile(copy() / "a"), std::string(200'000, 'a'));
  EXPECT_EQ(*ReadFile(copy() / "empty"), "");
  EXPECT_EQ(*ReadFile(copy() / "segments/b"), "two\nlines");
  EXPECT_FALSE(fs::exists(copy() / "SHA256SUMS"));
}

TEST_F(SnapshotTest, Sha256sumReadsTheChecksums) {
  ASSERT_OK(FinishSnapshot(snapshot(), {}));
  const std::string check =
      absl::StrCat("cd ", snapshot().string(),
                   " && sha256sum --check --strict --quiet "
                   "SHA256SUMS");
  EXPECT_EQ(system(check.c_str()), 0);
}

TEST_F(SnapshotTest, WithoutChecksumsItIsNone) {
  ExpectDamage(absl::StatusCode::kNotFound,
               "is no finished snapshot: it has no SHA256SUMS");
}

TEST_F(SnapshotTest, DamageNamesTheFile) {
  ASSERT_OK(FinishSnapshot(snapshot(), {}));
  Write("segments/b", "two lines");
  ExpectDamage(
      absl::StatusCode::kDataLoss,
      (snapshot() / "segments/b").string() + ": the SHA-256 of its bytes is ");
}

TEST_F(SnapshotTest, AMissingFileIsNamed) {
  ASSERT_OK(FinishSnapshot(snapshot(), {}));
  fs::remove(snapshot() / "empty");
  ExpectDamage(absl::StatusCode::kDataLoss,
               "No such file or directory, but SHA256SUMS names it");
}

TEST_F(SnapshotTest, AFileThatIsNotNamedIsNoPartOfIt) {
  ASSERT_OK(FinishSnapshot(snapshot(), {}));
  Write("segments/c", "stray");
  ExpectDamage(absl::StatusCode::kDataLoss,
               "segments/c: SHA256SUMS does not name it");
}

TEST_F(SnapshotTest, NamesThatLeadElsewhereAreRefused) {
  const std::string sum(64, '0');
  for (const std::string& line :
       {sum + "  ../a", sum + "  /etc/passwd", sum + "  segments/../../a",
        sum + "  ", sum + "  segments/", sum + " a", std::string("a"),
        sum + "  a\n" + sum + "  a"}) {
    SCOPED_TRACE(line);
    fs::remove_all(copy());
    Write("SHA256SUMS", line + "\n");
    ExpectDamage(absl::StatusCode::kDataLoss, "names no file of a snapshot");
    EXPECT_FALSE(fs::exists(copy()));
  }
}

TEST_F(SnapshotTest, CanBeCancelled) {
  const WorkControl control = {.cancelled = [] { return true; }};
  EXPECT_THAT(FinishSnapshot(snapshot(), control),
              StatusIs(absl::StatusCode::kCancelled, "cancelled"));
  EXPECT_FALSE(fs::exists(snapshot() / "SHA256SUMS"));
}

TEST_F(SnapshotTest, NothingIsOverwritten) {
  ASSERT_OK(FinishSnapshot(snapshot(), {}));
  fs::create_directory(copy());
  ASSERT_OK(WriteFileAtomically(copy() / "a", "mine"));
  EXPECT_FALSE(CopySnapshot(snapshot(), copy(), {}).ok());
  EXPECT_EQ(*ReadFile(copy() / "a"), "mine");
}

}  // namespace
}  // namespace pith
