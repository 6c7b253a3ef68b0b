#include "core/source/skipped_files.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace pith {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr FileStamp kStamp = {.inode = 1, .bytes = 2, .settled = true};

MATCHER_P4(IsGroup, reason, count, example, detail, "") {
  return arg.reason == reason && arg.count == static_cast<size_t>(count) &&
         arg.example == example && arg.detail == detail;
}

TEST(SkippedFilesTest, GroupsCountAndNameTheFirst) {
  SkippedFiles files;
  files.Add("/b", {.reason = "binary", .detail = "of b"});
  files.Add("/a", {.reason = "binary", .detail = "of a"});
  files.Add("/c", {.reason = "hidden"});
  files.Add("/c", {.reason = "empty"});
  EXPECT_EQ(files.count(), 3u);
  EXPECT_THAT(files.Groups(), ElementsAre(IsGroup("binary", 2, "/a", "of a"),
                                          IsGroup("empty", 1, "/c", "")));
}

TEST(SkippedFilesTest, WhatWasReadIsKnownUntilItChanges) {
  SkippedFiles files;
  files.Add("/a", {.reason = "binary", .stamp = kStamp});
  files.Add("/b", {.reason = "hidden"});
  ASSERT_NE(files.FindUnchanged("/a", kStamp), nullptr);
  EXPECT_EQ(files.FindUnchanged("/a", kStamp)->reason, "binary");
  FileStamp longer = kStamp;
  ++longer.bytes;
  EXPECT_EQ(files.FindUnchanged("/a", longer), nullptr);
  EXPECT_EQ(files.FindUnchanged("/b", kStamp), nullptr);
  EXPECT_EQ(files.FindUnchanged("/c", kStamp), nullptr);
}

TEST(SkippedFilesTest, ReplacingForgetsWhatLiesBelowAndNothingElse) {
  SkippedFiles files;
  for (const char* path : {"/a", "/a/x", "/a/y/z", "/a-b", "/ab", "/b"}) {
    files.Add(path, {.reason = "old"});
  }
  SkippedFiles found;
  found.Add("/a/y", {.reason = "new"});
  // Above what was looked at: a directory that is not entered.
  found.Add("/b", {.reason = "new"});
  files.Replace(std::vector<std::string>{"/a", "/b/c"}, std::move(found));
  EXPECT_THAT(files.Groups(), ElementsAre(IsGroup("new", 2, "/a/y", ""),
                                          IsGroup("old", 2, "/a-b", "")));
  files.Replace(std::vector<std::string>{"/"}, SkippedFiles());
  EXPECT_THAT(files.Groups(), IsEmpty());
}

TEST(SkippedFilesTest, BeyondTheBoundTheyAreOnlyCounted) {
  SkippedFiles files;
  constexpr size_t kMore = 5;
  for (size_t i = 0; i < SkippedFiles::kMaxEntries + kMore; ++i) {
    files.Add(absl::StrCat("/", i), {.reason = "binary", .stamp = kStamp});
  }
  EXPECT_EQ(files.count(), SkippedFiles::kMaxEntries + kMore);
  EXPECT_EQ(
      files.FindUnchanged(absl::StrCat("/", SkippedFiles::kMaxEntries), kStamp),
      nullptr);
  ASSERT_EQ(files.Groups().size(), 1u);
  EXPECT_EQ(files.Groups()[0].count, SkippedFiles::kMaxEntries + kMore);
}

}  // namespace
}  // namespace pith
