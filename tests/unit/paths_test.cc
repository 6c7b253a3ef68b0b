#include "core/base/paths.h"

#include <string>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/status_matchers.h"

namespace pith {
namespace {

PathInputs FullEnvironment() {
  return {.home = "/home/u",
          .xdg_data_home = "/data",
          .xdg_runtime_dir = "/run/user/7",
          .data_directory = "",
          .socket = "",
          .working_directory = "/work"};
}

TEST(StandardPaths, FollowTheXdgVariables) {
  const auto paths = ResolveStandardPaths(FullEnvironment());
  ASSERT_OK(paths);
  EXPECT_EQ(paths->data_directory, "/data/pith");
  EXPECT_EQ(paths->socket, "/run/user/7/pith/pith.sock");
  EXPECT_EQ(paths->lock, "/data/pith/pithd.lock");
  EXPECT_EQ(paths->log, "/data/pith/pithd.log");
  EXPECT_EQ(paths->models_directory, "/data/pith/models");
}

TEST(StandardPaths, FallBackToHomeAndTheDataDirectory) {
  PathInputs inputs = FullEnvironment();
  inputs.xdg_data_home = "";
  inputs.xdg_runtime_dir = "";
  const auto paths = ResolveStandardPaths(inputs);
  ASSERT_OK(paths);
  EXPECT_EQ(paths->data_directory, "/home/u/.local/share/pith");
  EXPECT_EQ(paths->socket, "/home/u/.local/share/pith/run/pith.sock");
}

TEST(StandardPaths, IgnoreRelativeVariables) {
  PathInputs inputs = FullEnvironment();
  inputs.xdg_data_home = "data";
  inputs.xdg_runtime_dir = "run";
  const auto paths = ResolveStandardPaths(inputs);
  ASSERT_OK(paths);
  EXPECT_EQ(paths->data_directory, "/home/u/.local/share/pith");
  EXPECT_EQ(paths->socket, "/home/u/.local/share/pith/run/pith.sock");
}

TEST(StandardPaths, PutTheSocketInAGivenDataDirectory) {
  PathInputs inputs = FullEnvironment();
  inputs.data_directory = "./second//store/";
  const auto paths = ResolveStandardPaths(inputs);
  ASSERT_OK(paths);
  EXPECT_EQ(paths->data_directory, "/work/second/store");
  EXPECT_EQ(paths->socket, "/work/second/store/run/pith.sock");
  EXPECT_EQ(paths->lock, "/work/second/store/pithd.lock");
}

TEST(StandardPaths, ShareModelsBetweenDataDirectories) {
  PathInputs inputs = FullEnvironment();
  inputs.data_directory = "/second";
  EXPECT_EQ(ResolveStandardPaths(inputs)->models_directory,
            "/data/pith/models");
  inputs.home = inputs.xdg_data_home = "";
  EXPECT_EQ(ResolveStandardPaths(inputs)->models_directory, "/second/models");
}

TEST(StandardPaths, PreferAGivenSocket) {
  PathInputs inputs = FullEnvironment();
  inputs.data_directory = "/second";
  inputs.socket = "my.sock";
  const auto paths = ResolveStandardPaths(inputs);
  ASSERT_OK(paths);
  EXPECT_EQ(paths->socket, "/work/my.sock");
}

TEST(StandardPaths, NeedSomePlaceForTheData) {
  EXPECT_THAT(ResolveStandardPaths({.working_directory = "/work"}),
              StatusIs(absl::StatusCode::kInvalidArgument, "HOME"));
}

TEST(StandardPaths, RefuseASocketPathThatNoSocketCanHave) {
  PathInputs inputs = FullEnvironment();
  inputs.socket = "/" + std::string(kMaxSocketPathBytes - 1, 's');
  EXPECT_OK(ResolveStandardPaths(inputs));
  inputs.socket += 's';
  EXPECT_THAT(ResolveStandardPaths(inputs),
              StatusIs(absl::StatusCode::kInvalidArgument, "107"));
}

}  // namespace
}  // namespace pith
