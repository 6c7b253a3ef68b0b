#include "core/base/secret.h"

#include <unistd.h>

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
using ::testing::HasSubstr;
using ::testing::Not;

TEST(ReadPrivateSecret, IsTheFileWithoutWhiteSpace) {
  const TempDirectory directory;
  const fs::path path = directory.path() / "token";
  EXPECT_THAT(ReadPrivateSecret(path).status(),
              StatusIs(absl::StatusCode::kNotFound, path.string()));
  ASSERT_OK(WriteFileAtomically(path, " s3cret\n"));
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(ReadPrivateSecret(path).value_or("none"), "s3cret");
}

TEST(ReadPrivateSecret, RefusesAFileThatOthersHaveAccessTo) {
  const TempDirectory directory;
  const fs::path path = directory.path() / "token";
  ASSERT_OK(WriteFileAtomically(path, "s3cret"));
  for (const fs::perms others :
       {fs::perms::others_read, fs::perms::group_read, fs::perms::others_write,
        fs::perms::group_write}) {
    fs::permissions(path, fs::perms::owner_read | others);
    const absl::Status status = ReadPrivateSecret(path).status();
    EXPECT_THAT(status,
                StatusIs(absl::StatusCode::kFailedPrecondition, "its mode is"));
    EXPECT_THAT(status.message(), HasSubstr(path.string()));
  }
}

TEST(ReadPrivateSecret, RefusesAnotherUsersFile) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can give a file away";
  }
  const TempDirectory directory;
  const fs::path path = directory.path() / "token";
  ASSERT_OK(WriteFileAtomically(path, "s3cret"));
  fs::permissions(path, fs::perms::owner_read);
  ASSERT_EQ(::chown(path.c_str(), 65534, 65534), 0);
  EXPECT_THAT(ReadPrivateSecret(path),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       "it belongs to user 65534, not to user 0 or root"));
}

TEST(ReadPrivateSecret, ShowsNothingOfWhatItRefuses) {
  const TempDirectory directory;
  const fs::path path = directory.path() / "token";
  for (const std::string& content :
       {std::string(), std::string("s3 cret"), std::string("s3\ncret"),
        std::string("s3\0", 3), std::string(1 << 20, 's')}) {
    ASSERT_OK(WriteFileAtomically(path, content));
    fs::permissions(path, fs::perms::owner_read);
    const absl::Status status = ReadPrivateSecret(path).status();
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(status.message(), Not(HasSubstr("s3")));
  }
}

TEST(SecretsEqual, ComparesAllOfThem) {
  EXPECT_TRUE(SecretsEqual("s3cret", "s3cret"));
  EXPECT_TRUE(SecretsEqual("", ""));
  EXPECT_FALSE(SecretsEqual("s3cret", "s3creT"));
  EXPECT_FALSE(SecretsEqual("s3cret", "s3cre"));
  EXPECT_FALSE(SecretsEqual("s3cret", ""));
}

}  // namespace
}  // namespace pith
