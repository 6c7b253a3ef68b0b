#include "embedder/remote/api_key.h"

#include <cstdlib>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/base/file.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kVariable[] = "PITH_API_KEY_TEST";

TEST(ReadApiKeyTest, NoSourceIsNoKey) {
  const auto key = ReadApiKey({});
  ASSERT_OK(key);
  EXPECT_EQ(*key, "");
}

TEST(ReadApiKeyTest, FromTheEnvironment) {
  const ApiKeySource source{.environment_variable = kVariable, .file = {}};
  unsetenv(kVariable);
  EXPECT_THAT(ReadApiKey(source).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       "API key from $PITH_API_KEY_TEST"));
  setenv(kVariable, "sk-1", 1);
  EXPECT_EQ(ReadApiKey(source).value_or("none"), "sk-1");
  unsetenv(kVariable);
}

TEST(ReadApiKeyTest, FromAFileThatMayChange) {
  TempDirectory directory;
  const ApiKeySource source{.environment_variable = "",
                            .file = directory.path() / "key"};
  EXPECT_THAT(ReadApiKey(source).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, "key: "));
  ASSERT_OK(WriteFileAtomically(source.file, "sk-1\n"));
  EXPECT_EQ(ReadApiKey(source).value_or("none"), "sk-1");
  ASSERT_OK(WriteFileAtomically(source.file, "  sk-2 "));
  EXPECT_EQ(ReadApiKey(source).value_or("none"), "sk-2");
}

TEST(ReadApiKeyTest, RefusesWhatNoHeaderMayHaveWithoutShowingIt) {
  TempDirectory directory;
  const ApiKeySource source{.environment_variable = "",
                            .file = directory.path() / "key"};
  for (const std::string& content :
       {std::string(), std::string("\n"), std::string("sk-1\r\nX-Evil: yes"),
        std::string("sk 1"), std::string("sk-\xC3\xA9"),
        std::string("sk\0a", 4), std::string(1 << 20, 'k')}) {
    ASSERT_OK(WriteFileAtomically(source.file, content));
    const absl::Status status = ReadApiKey(source).status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition, "key"));
    EXPECT_THAT(status.message(), Not(HasSubstr("sk")));
  }
}

}  // namespace
}  // namespace pith
