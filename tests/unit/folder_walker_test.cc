#include "core/source/folder_walker.h"

#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/status_matchers.h"

namespace pith {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class FolderWalkerTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "walk.XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }

  void TearDown() override {
    std::error_code error;
    fs::remove_all(root_, error);
    EXPECT_FALSE(error) << error.message();
  }

  void Write(const std::string& name, const std::string& content = "text") {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << content;
  }

  absl::Status Walk(const fs::path& root,
                    const FolderWalkOptions& options = {}) {
    return Walk(root, root, options);
  }

  absl::Status Walk(const fs::path& root, const fs::path& top,
                    const FolderWalkOptions& options = {}) {
    files_.clear();
    stamps_.clear();
    skipped_.clear();
    details_.clear();
    directories_.clear();
    return WalkBelow(root, top, options,
                     {.file =
                          [&](const fs::path& path, const FileStamp& stamp) {
                            files_.push_back(Name(path));
                            stamps_.push_back(stamp);
                            return files_.size() != stop_after_;
                          },
                      .skipped =
                          [&](const fs::path& path, SkipReason reason,
                              std::string_view detail) {
                            skipped_.emplace_back(Name(path), reason);
                            details_.emplace_back(detail);
                          },
                      .directory =
                          [&](const fs::path& path) {
                            directories_.push_back(Name(path));
                            if (on_directory_ != nullptr) {
                              on_directory_(path);
                            }
                          }});
  }

  std::string Name(const fs::path& path) const {
    return path.lexically_relative(root_).string();
  }

  fs::path root_;
  size_t stop_after_ = 0;
  std::vector<std::string> files_;
  std::vector<FileStamp> stamps_;
  std::vector<std::string> directories_;
  std::function<void(const fs::path&)> on_directory_;
  std::vector<std::pair<std::string, SkipReason>> skipped_;
  std::vector<std::string> details_;
};

TEST_F(FolderWalkerTest, VisitsFilesByNameThenSubdirectoriesByName) {
  for (const char* name : {"b/z", "b/a/x", "c", "a/q", "Z", "b/b", "ab"}) {
    Write(name);
  }
  EXPECT_OK(Walk(root_));
  EXPECT_THAT(files_,
              ElementsAre("Z", "ab", "c", "a/q", "b/b", "b/z", "b/a/x"));
  EXPECT_THAT(skipped_, IsEmpty());
}

TEST_F(FolderWalkerTest, StampsWhatItVisits) {
  Write("a", "four");
  fs::last_write_time(root_ / "a",
                      fs::file_time_type::clock::now() - std::chrono::hours(1));
  Write("b", "young");
  ASSERT_OK(Walk(root_));
  ASSERT_EQ(stamps_.size(), 2u);
  struct stat status {};
  ASSERT_EQ(::stat((root_ / "a").c_str(), &status), 0);
  EXPECT_EQ(stamps_[0].inode, status.st_ino);
  EXPECT_EQ(stamps_[0].bytes, 4u);
  EXPECT_TRUE(stamps_[0].settled);
  EXPECT_EQ(stamps_[1].bytes, 5u);
  EXPECT_FALSE(stamps_[1].settled);
  ASSERT_OK(Walk(root_ / "a"));
  ASSERT_EQ(stamps_.size(), 1u);
  EXPECT_EQ(stamps_[0].inode, status.st_ino);
}

// What comes into a directory after it was named is visited.
TEST_F(FolderWalkerTest, NamesADirectoryBeforeItReadsIt) {
  Write("a/x");
  Write("b/.hidden/x");
  on_directory_ = [this](const fs::path& path) {
    std::ofstream(path / "late") << "text";
  };
  ASSERT_OK(Walk(root_));
  EXPECT_THAT(directories_, ElementsAre(".", "a", "b"));
  EXPECT_THAT(files_, ElementsAre("late", "a/late", "a/x", "b/late"));
}

TEST_F(FolderWalkerTest, APartIsVisitedAsTheWholeWouldBe) {
  Write("a/b/x");
  Write("a/b/y.log");
  Write("a/b/c/z");
  Write("a/x");
  Write("ab");
  Write(".gitignore", "*.log\n/build/\n");
  Write("build/x");
  Write("a/.hidden/x");
  ASSERT_OK(Walk(root_, root_ / "a/b"));
  EXPECT_THAT(files_, ElementsAre("a/b/x", "a/b/c/z"));
  EXPECT_THAT(directories_, ElementsAre("a/b", "a/b/c"));
  EXPECT_THAT(skipped_,
              ElementsAre(std::pair("a/b/y.log", SkipReason::kIgnored)));
  ASSERT_OK(Walk(root_, root_ / "a/x"));
  EXPECT_THAT(files_, ElementsAre("a/x"));
  EXPECT_THAT(directories_, IsEmpty());
  ASSERT_OK(Walk(root_, root_ / "a/b/y.log"));
  EXPECT_THAT(files_, IsEmpty());
  EXPECT_THAT(skipped_,
              ElementsAre(std::pair("a/b/y.log", SkipReason::kIgnored)));
  // By the directory that is not entered.
  ASSERT_OK(Walk(root_, root_ / "build/x"));
  EXPECT_THAT(files_, IsEmpty());
  EXPECT_THAT(skipped_, ElementsAre(std::pair("build", SkipReason::kIgnored)));
  ASSERT_OK(Walk(root_, root_ / "a/.hidden/x"));
  EXPECT_THAT(files_, IsEmpty());
  EXPECT_THAT(skipped_,
              ElementsAre(std::pair("a/.hidden", SkipReason::kHidden)));
}

TEST_F(FolderWalkerTest, APartThatIsNotThereIsNothing) {
  Write("a/x");
  fs::create_directory_symlink(root_ / "a", root_ / "link");
  for (const char* name : {"none", "none/none", "a/x/none", "a/none"}) {
    ASSERT_OK(Walk(root_, root_ / name)) << name;
    EXPECT_THAT(files_, IsEmpty()) << name;
    EXPECT_THAT(skipped_, IsEmpty()) << name;
  }
  ASSERT_OK(Walk(root_, root_ / "link/x"));
  EXPECT_THAT(files_, IsEmpty());
  EXPECT_THAT(skipped_, ElementsAre(std::pair("link", SkipReason::kSymlink)));
  EXPECT_THAT(
      Walk(root_ / "a", root_),
      StatusIs(absl::StatusCode::kInvalidArgument, "does not lie below"));
  EXPECT_THAT(Walk(root_ / "none", root_ / "none/x"),
              StatusIs(absl::StatusCode::kNotFound, "none"));
}

TEST_F(FolderWalkerTest, SaysWhyItSkips) {
  Write(".hidden/file");
  Write(".dot");
  Write("empty", "");
  Write("large", std::string(11, 'x'));
  Write("fits", std::string(10, 'x'));
  ASSERT_EQ(::mkfifo((root_ / "pipe").c_str(), 0600), 0);
  fs::create_symlink("fits", root_ / "link");
  fs::create_directory_symlink(".", root_ / "loop");
  EXPECT_OK(Walk(root_, {.max_file_bytes = 10}));
  EXPECT_THAT(files_, ElementsAre("fits"));
  EXPECT_THAT(skipped_,
              ElementsAre(std::pair(".dot", SkipReason::kHidden),
                          std::pair(".hidden", SkipReason::kHidden),
                          std::pair("empty", SkipReason::kEmpty),
                          std::pair("large", SkipReason::kTooLarge),
                          std::pair("link", SkipReason::kSymlink),
                          std::pair("loop", SkipReason::kSymlink),
                          std::pair("pipe", SkipReason::kNotRegular)));
  EXPECT_EQ(details_[3], "11 bytes, the limit is 10");
}

TEST_F(FolderWalkerTest, DeeperRulesWinOverShallowerOnes) {
  Write(".gitignore", "*.log\nout/\n");
  Write("a.log");
  Write("a.txt");
  Write("sub/.gitignore", "!keep.log\n*.txt\n");
  Write("sub/keep.log");
  Write("sub/other.log");
  Write("sub/b.txt");
  Write("sub/deep/keep.log");
  EXPECT_OK(Walk(root_));
  EXPECT_THAT(files_,
              ElementsAre("a.txt", "sub/keep.log", "sub/deep/keep.log"));
  EXPECT_THAT(skipped_, Contains(std::pair("a.log", SkipReason::kIgnored)));
  EXPECT_THAT(details_, Contains(absl::StrCat((root_ / ".gitignore").string(),
                                              ":1: *.log")));
}

TEST_F(FolderWalkerTest, NothingBelowAnIgnoredDirectoryComesBack) {
  Write(".gitignore", "out/\n!out/keep\nother/*\n!other/keep\n");
  Write("out/keep");
  Write("out/.gitignore", "!*\n");
  Write("other/keep");
  Write("other/drop");
  EXPECT_OK(Walk(root_));
  EXPECT_THAT(files_, ElementsAre("other/keep"));
  EXPECT_THAT(skipped_, Contains(std::pair("out", SkipReason::kIgnored)));
}

TEST_F(FolderWalkerTest, PithignoreWinsOverGitignoreBesideIt) {
  Write(".gitignore", "a\n!b\n");
  Write(".pithignore", "!a\nb\n");
  Write("a");
  Write("b");
  Write("sub/.gitignore", "a\n");
  Write("sub/a");
  EXPECT_OK(Walk(root_));
  EXPECT_THAT(files_, ElementsAre("a"));
}

TEST_F(FolderWalkerTest, RulesAboveTheRootCountInARepositoryAlone) {
  Write(".gitignore", "*.log\n/sub/deep/x\n");
  Write("sub/deep/a.log");
  Write("sub/deep/x");
  Write("sub/deep/y");
  EXPECT_OK(Walk(root_ / "sub/deep"));
  EXPECT_THAT(files_,
              ElementsAre("sub/deep/a.log", "sub/deep/x", "sub/deep/y"));
  fs::create_directory(root_ / ".git");
  EXPECT_OK(Walk(root_ / "sub/deep"));
  EXPECT_THAT(files_, ElementsAre("sub/deep/y"));
  // Above the directory that holds .git, nothing counts.
  fs::create_directory(root_ / "sub/.git");
  EXPECT_OK(Walk(root_ / "sub/deep"));
  EXPECT_EQ(files_.size(), 3);
}

TEST_F(FolderWalkerTest, VisitsASingleFileWhateverTheRules) {
  Write(".gitignore", "*\n");
  Write("a.log");
  Write("empty", "");
  EXPECT_OK(Walk(root_ / "a.log"));
  EXPECT_THAT(files_, ElementsAre("a.log"));
  EXPECT_OK(Walk(root_ / "empty"));
  EXPECT_THAT(skipped_, ElementsAre(std::pair("empty", SkipReason::kEmpty)));
}

TEST_F(FolderWalkerTest, RefusesARootThatIsNotThere) {
  EXPECT_THAT(Walk(root_ / "none"),
              StatusIs(absl::StatusCode::kNotFound, "none"));
  EXPECT_THAT(Walk("relative"),
              StatusIs(absl::StatusCode::kInvalidArgument, "relative"));
  EXPECT_THAT(Walk(root_ / "a/../b"),
              StatusIs(absl::StatusCode::kInvalidArgument, ".."));
}

TEST_F(FolderWalkerTest, TakesARootWithASlashOrBehindALink) {
  Write("sub/a");
  fs::create_directory_symlink("sub", root_ / "link");
  EXPECT_OK(Walk(root_ / "sub/"));
  EXPECT_THAT(files_, ElementsAre("sub/a"));
  EXPECT_OK(Walk(root_ / "link"));
  EXPECT_THAT(files_, ElementsAre("link/a"));
}

TEST_F(FolderWalkerTest, StopsWhenTheVisitorSaysSo) {
  Write("a");
  Write("b");
  stop_after_ = 1;
  EXPECT_THAT(Walk(root_), StatusIs(absl::StatusCode::kCancelled, "/a"));
  EXPECT_THAT(files_, ElementsAre("a"));
}

TEST_F(FolderWalkerTest, GoesOnBehindWhatItMayNotRead) {
  if (::geteuid() == 0) {
    GTEST_SKIP() << "root may read everything";
  }
  Write("a/file");
  Write("b");
  Write("c/file");
  ASSERT_EQ(::chmod((root_ / "a").c_str(), 0), 0);
  ASSERT_EQ(::chmod((root_ / "b").c_str(), 0), 0);
  EXPECT_OK(Walk(root_));
  EXPECT_THAT(files_, ElementsAre("c/file"));
  EXPECT_THAT(skipped_, ElementsAre(std::pair("b", SkipReason::kUnreadable),
                                    std::pair("a", SkipReason::kUnreadable)));
  EXPECT_THAT(Walk(root_ / "a"),
              StatusIs(absl::StatusCode::kPermissionDenied, "/a"));
  ASSERT_EQ(::chmod((root_ / "a").c_str(), 0700), 0);
}

// What it keeps out is not known.
TEST_F(FolderWalkerTest, ADirectoryWithoutItsRulesIsNotEntered) {
  Write("a/.gitignore");
  Write("a/sub/file");
  Write("b/file");
  // Beyond the limit: not even root can read it.
  fs::resize_file(root_ / "a/.gitignore", (uintmax_t{16} << 20) + 1);
  EXPECT_OK(Walk(root_));
  EXPECT_THAT(files_, ElementsAre("b/file"));
  EXPECT_THAT(skipped_, ElementsAre(std::pair("a", SkipReason::kUnreadable)));
  EXPECT_THAT(details_, ElementsAre(testing::HasSubstr("a/.gitignore")));
  EXPECT_OK(Walk(root_, root_ / "a/sub/file"));
  EXPECT_THAT(files_, IsEmpty());
  EXPECT_THAT(skipped_, ElementsAre(std::pair("a", SkipReason::kUnreadable)));
  EXPECT_FALSE(Walk(root_ / "a").ok());
  EXPECT_FALSE(Walk(root_ / "a", root_ / "a/sub").ok());
  fs::create_directory(root_ / "a/.git");
  EXPECT_FALSE(Walk(root_ / "a/sub").ok());
}

TEST_F(FolderWalkerTest, GoesOnBehindATreeTooDeepToOpen) {
  const fs::path before = fs::current_path();
  fs::current_path(root_);
  for (int depth = 0; depth < 10'000; ++depth) {
    ASSERT_EQ(::mkdir("d", 0700), 0);
    ASSERT_EQ(::chdir("d"), 0);
  }
  fs::current_path(before);
  Write("e/file");
  EXPECT_OK(Walk(root_));
  EXPECT_THAT(files_, ElementsAre("e/file"));
  ASSERT_EQ(skipped_.size(), 1);
  EXPECT_EQ(skipped_[0].second, SkipReason::kUnreadable);
  EXPECT_THAT(details_[0], testing::HasSubstr("File name too long"));
  // remove_all of the standard library holds a descriptor for each level.
  ASSERT_EQ(std::system(absl::StrCat("rm -rf ", root_.string(), "/d").c_str()),
            0);
}

TEST_F(FolderWalkerTest, AgreesWithGitOnGeneratedTrees) {
  if (std::system("git --version > /dev/null 2>&1") != 0) {
    GTEST_SKIP() << "git is not installed";
  }
  std::mt19937 random(7);
  const auto below = [&](size_t bound) { return random() % bound; };
  static constexpr const char* kNames[] = {"a", "b", "ab", "abc", "a.o", "b.c"};
  static constexpr const char* kPieces[] = {
      "a",  "b",  "*",    "**",    "*b",  "a*",  "?",
      "ab", "b*", "[ab]", "[!a]*", "*.o", "a**", "[a-b]?"};
  for (int round = 0; round < 20; ++round) {
    const std::string tree = absl::StrCat("t", round, "/");
    for (int i = 0; i < 60; ++i) {
      std::string name;
      for (size_t depth = 0; depth <= below(4); ++depth) {
        absl::StrAppend(&name, name.empty() ? "" : "/",
                        kNames[below(std::size(kNames))]);
      }
      // A name cannot be a file and a directory; the first comer stays.
      std::error_code error;
      fs::create_directories((root_ / tree / name).parent_path(), error);
      if (!error && !fs::exists(root_ / tree / name, error) && !error) {
        Write(tree + name);
      }
    }
    std::vector<std::string> directories = {""};
    for (const auto& entry : fs::recursive_directory_iterator(root_ / tree)) {
      const std::string name =
          entry.path().lexically_relative(root_ / tree).string();
      if (entry.is_directory()) {
        directories.push_back(name + "/");
      }
    }
    std::string rules_written;
    for (int file = 0; file < 3; ++file) {
      std::string rules;
      for (size_t rule = 0; rule <= below(4); ++rule) {
        rules += below(3) == 0 ? "!" : "";
        rules += below(3) == 0 ? "/" : "";
        for (size_t piece = 0; piece <= below(3); ++piece) {
          absl::StrAppend(&rules, piece == 0 ? "" : "/",
                          kPieces[below(std::size(kPieces))]);
        }
        rules += below(4) == 0 ? "/\n" : "\n";
      }
      const std::string& directory = directories[below(directories.size())];
      Write(tree + directory + ".gitignore", rules);
      absl::StrAppend(&rules_written, directory, ".gitignore:\n", rules);
    }
    const std::string command = absl::StrCat(
        "cd ", (root_ / tree).string(),
        " && git init -q . && git -c core.excludesFile=/dev/null ls-files "
        "--others --exclude-per-directory=.gitignore > .list");
    ASSERT_EQ(std::system(command.c_str()), 0);
    std::ifstream list(root_ / tree / ".list");
    std::vector<std::string> expected;
    for (std::string line; std::getline(list, line);) {
      if (!fs::path(line).filename().string().starts_with('.')) {
        expected.push_back(tree + line);
      }
    }
    EXPECT_OK(Walk(root_ / tree));
    EXPECT_THAT(files_, testing::UnorderedElementsAreArray(expected))
        << "round " << round << "\n"
        << rules_written;
  }
}

}  // namespace
}  // namespace pith
