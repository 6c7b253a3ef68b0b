#include <string>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "benchmarks/recall/artifact_cache.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

TEST(ArtifactCache, BuildsOnce) {
  const TempDirectory directory;
  int builds = 0;
  const auto build = [&]() -> absl::StatusOr<std::string> {
    ++builds;
    return std::string("bytes\0more", 10);
  };
  const auto first = ArtifactCache(directory.path()).GetOrBuild("a key", build);
  const auto second =
      ArtifactCache(directory.path()).GetOrBuild("a key", build);
  ASSERT_OK(first);
  ASSERT_OK(second);
  EXPECT_EQ(builds, 1);
  EXPECT_EQ(first->bytes, std::string("bytes\0more", 10));
  EXPECT_EQ(second->bytes, first->bytes);
  EXPECT_EQ(second->build_seconds, first->build_seconds);
}

TEST(ArtifactCache, KeysAreApart) {
  const TempDirectory directory;
  const ArtifactCache cache(directory.path());
  const auto a = cache.GetOrBuild("a", [] { return std::string("1"); });
  const auto b = cache.GetOrBuild("b", [] { return std::string("2"); });
  ASSERT_OK(a);
  ASSERT_OK(b);
  EXPECT_EQ(a->bytes, "1");
  EXPECT_EQ(b->bytes, "2");
}

TEST(ArtifactCache, AnErrorIsNotKept) {
  const TempDirectory directory;
  const ArtifactCache cache(directory.path());
  EXPECT_THAT(cache.GetOrBuild(
                  "a", [] { return absl::InternalError("no luck today"); }),
              StatusIs(absl::StatusCode::kInternal, "no luck today"));
  const auto again = cache.GetOrBuild("a", [] { return std::string("1"); });
  ASSERT_OK(again);
  EXPECT_EQ(again->bytes, "1");
}

}  // namespace
}  // namespace pith
