// Watched folders, through pithd and pith as their users run them.

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

#include "clients/cli/daemon.h"
#include "core/base/paths.h"
#include "proto/pith/v1/collections.grpc.pb.h"
#include "proto/pith/v1/documents.grpc.pb.h"
#include "proto/pith/v1/sources.grpc.pb.h"
#include "tests/file_power.h"
#include "tests/process.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"
#include "tests/worker_gates.h"

namespace pith {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

// Paths below the watched folder, and texts.
using Texts = std::map<std::string, std::string>;

class WatchTest : public testing::Test {
 protected:
  WatchTest() {
    fs::create_directory(docs_);
    paths_ = ResolveStandardPaths({.home = home_.string(),
                                   .data_directory = data_.string(),
                                   .working_directory = home_})
                 .value();
  }

  // Without a reconcile by time, unless they ask for one.
  void Start(std::vector<std::string> arguments = {"--reconcile-interval",
                                                   "100000"}) {
    arguments.insert(arguments.end(),
                     {"--data-dir", data_.string(), "--worker",
                      PITH_FAKE_WORKER, "--workers", "1", "--default-model",
                      (fs::path(PITH_TEST_DATA) / "tiny-bert").string()});
    ProcessOptions options = {.working_directory = home_,
                              .output = home_ / "daemon"};
    if (const char* gate = ::getenv("PITH_FAKE_GATE")) {
      options.environment.push_back(absl::StrCat("PITH_FAKE_GATE=", gate));
    }
    daemon_.emplace(PITH_DAEMON, arguments, options);
    channel_.reset();
    CHECK(Eventually([this] {
      auto channel = cli::Connect({.paths = paths_, .may_start = false});
      if (channel.ok()) {
        channel_ = *std::move(channel);
      }
      return channel_ != nullptr;
    }));
  }
  void Kill() {
    channel_.reset();
    daemon_->Kill();
  }
  void Stop() {
    channel_.reset();
    daemon_->Signal(SIGTERM);
    EXPECT_EQ(daemon_->Wait().exit_code, 0);
  }

  ProcessResult Pith(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(),
                     {"--data-dir", data_.string(), "--no-start"});
    return Process(PITH_CLI, arguments,
                   {.working_directory = home_, .output = home_ / "pith"})
        .Wait();
  }
  void Watch(const fs::path& path) const {
    const ProcessResult result = Pith({"watch", path.string()});
    EXPECT_EQ(result.exit_code, 0) << result.err;
  }

  template <typename Response, typename Service, typename Request>
  absl::StatusOr<Response> Call(
      grpc::Status (Service::*method)(grpc::ClientContext*, const Request&,
                                      Response*),
      const Request& request) const {
    Service stub(channel_);
    return cli::Call<Response>(stub, method, request);
  }
  std::vector<v1::Source> Sources() const {
    const auto response =
        Call(&v1::SourcesService::Stub::ListSources, v1::ListSourcesRequest());
    EXPECT_OK(response);
    return {response->sources().begin(), response->sources().end()};
  }
  v1::Source Source() const {
    const std::vector<v1::Source> sources = Sources();
    EXPECT_EQ(sources.size(), 1u);
    return sources.empty() ? v1::Source() : sources[0];
  }
  absl::StatusOr<v1::Document> Get(const std::string& collection,
                                   const std::string& id) const {
    v1::GetDocumentRequest request;
    request.set_collection(collection);
    request.set_id(id);
    const auto response =
        Call(&v1::DocumentsService::Stub::GetDocument, request);
    if (!response.ok()) {
      return response.status();
    }
    return response->document();
  }
  Texts Documents(const std::string& collection = "default") const {
    v1::ListDocumentsRequest request;
    request.set_collection(collection);
    const auto page = Call(&v1::DocumentsService::Stub::ListDocuments, request);
    EXPECT_OK(page);
    Texts texts;
    for (const auto& listed : page->documents()) {
      const auto document = Get(collection, listed.id());
      // Gone since it was listed.
      if (document.ok()) {
        texts[fs::path(listed.id()).lexically_relative(docs_)] =
            document->text();
      }
    }
    return texts;
  }
  // Polls until the documents are these.
  testing::AssertionResult Becomes(const Texts& expected) const {
    Texts last;
    if (Eventually([&] {
          last = Documents();
          return last == expected;
        })) {
      return testing::AssertionSuccess();
    }
    return testing::AssertionFailure() << testing::PrintToString(last);
  }
  // Polls until what is known of the one source is so.
  template <typename Condition>
  testing::AssertionResult SourceBecomes(const Condition& condition) const {
    v1::Source last;
    if (Eventually([&] {
          last = Source();
          return condition(last);
        })) {
      return testing::AssertionSuccess();
    }
    return testing::AssertionFailure() << last.DebugString();
  }

  size_t LogLinesWith(const std::string& text) const {
    std::ifstream log(home_ / "daemon.err");
    size_t count = 0;
    for (std::string line; std::getline(log, line);) {
      count += line.find(text) != line.npos ? 1 : 0;
    }
    return count;
  }

  void Write(const fs::path& name, const std::string& text) const {
    fs::create_directories((docs_ / name).parent_path());
    std::ofstream(docs_ / name) << text;
  }

  const TempDirectory temp_;
  const fs::path home_ = fs::canonical(temp_.path());
  const fs::path data_ = home_ / "data";
  const fs::path docs_ = home_ / "docs";
  StandardPaths paths_;
  std::optional<Process> daemon_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(WatchTest, FilesAreFollowedAsTheyComeChangeAndGo) {
  Write("a.txt", "river");
  Write("sub/b.txt", "mountain");
  Start();
  Watch(docs_);
  EXPECT_EQ(Documents(),
            (Texts{{"a.txt", "river"}, {"sub/b.txt", "mountain"}}));
  EXPECT_EQ(Source().watching(), v1::Source::WATCHING_INOTIFY);

  Write("new.txt", "horse");
  Write("fresh/deep/c.txt", "school");
  EXPECT_TRUE(Becomes({{"a.txt", "river"},
                       {"fresh/deep/c.txt", "school"},
                       {"new.txt", "horse"},
                       {"sub/b.txt", "mountain"}}));
  Write("a.txt", "window");
  fs::remove(docs_ / "new.txt");
  // In a folder that was not there at first.
  Write("fresh/deep/c.txt", "garden");
  EXPECT_TRUE(Becomes({{"a.txt", "window"},
                       {"fresh/deep/c.txt", "garden"},
                       {"sub/b.txt", "mountain"}}));
  fs::remove_all(docs_ / "fresh");
  EXPECT_TRUE(Becomes({{"a.txt", "window"}, {"sub/b.txt", "mountain"}}));
  EXPECT_EQ(Source().indexed(), 2);
}

// As editors do: beside the file, under a name that is hidden or not, and moved
// over it.
TEST_F(WatchTest, AnAtomicSaveIsAChangeOfTheFile) {
  Write("a.txt", "river");
  Start();
  Watch(docs_);
  for (const char* temporary : {".a.txt.swp", "a.txt~", "4913"}) {
    SCOPED_TRACE(temporary);
    const std::string text = absl::StrCat("saved by ", temporary);
    Write(temporary, text);
    fs::rename(docs_ / temporary, docs_ / "a.txt");
    EXPECT_TRUE(Becomes({{"a.txt", text}}));
  }
}

TEST_F(WatchTest, MovesAreFollowed) {
  Write("a.txt", "river");
  Write("sub/deep/b.txt", "mountain");
  Start();
  Watch(docs_);
  fs::rename(docs_ / "a.txt", docs_ / "sub" / "z.txt");
  EXPECT_TRUE(
      Becomes({{"sub/deep/b.txt", "mountain"}, {"sub/z.txt", "river"}}));
  fs::rename(docs_ / "sub", docs_ / "other");
  EXPECT_TRUE(
      Becomes({{"other/deep/b.txt", "mountain"}, {"other/z.txt", "river"}}));
  // Under its new name it is watched, too.
  Write("other/deep/b.txt", "horse");
  EXPECT_TRUE(
      Becomes({{"other/deep/b.txt", "horse"}, {"other/z.txt", "river"}}));
  fs::rename(docs_ / "other", home_ / "outside");
  EXPECT_TRUE(Becomes({}));
  // Out of sight.
  std::ofstream(home_ / "outside" / "z.txt") << "window";
  fs::rename(home_ / "outside", docs_ / "back");
  EXPECT_TRUE(
      Becomes({{"back/deep/b.txt", "horse"}, {"back/z.txt", "window"}}));
  EXPECT_EQ(Source().indexed(), 2);
}

TEST_F(WatchTest, ADirectoryThatIsReplacedIsFollowed) {
  Write("sub/a.txt", "river");
  Write("next/b.txt", "mountain");
  Start();
  Watch(docs_);
  fs::rename(docs_ / "sub", home_ / "old");
  fs::rename(docs_ / "next", docs_ / "sub");
  EXPECT_TRUE(Becomes({{"sub/b.txt", "mountain"}}));
  Write("sub/c.txt", "horse");
  EXPECT_TRUE(Becomes({{"sub/b.txt", "mountain"}, {"sub/c.txt", "horse"}}));
  // By a file.
  fs::remove_all(docs_ / "sub");
  Write("sub", "window");
  EXPECT_TRUE(Becomes({{"sub", "window"}}));
}

TEST_F(WatchTest, LinksAreNotFollowed) {
  Write("sub/a.txt", "river");
  fs::create_directory_symlink("..", docs_ / "sub" / "loop");
  Start();
  Watch(docs_);
  fs::create_directory_symlink(docs_, docs_ / "loop");
  Write("b.txt", "mountain");
  EXPECT_TRUE(Becomes({{"b.txt", "mountain"}, {"sub/a.txt", "river"}}));
  EXPECT_TRUE(SourceBecomes([](const v1::Source& source) {
    return source.skipped_size() == 1 &&
           source.skipped(0).reason() == "symlink" &&
           source.skipped(0).count() == 2;
  }));
  EXPECT_EQ(Source().seen(), 4);
}

TEST_F(WatchTest, IgnoreFilesCountWhenTheyChange) {
  Write("a.txt", "river");
  Write("b.log", "mountain");
  Start();
  Watch(docs_);
  Write(".gitignore", "*.log\n");
  EXPECT_TRUE(Becomes({{"a.txt", "river"}}));
  fs::remove(docs_ / ".gitignore");
  EXPECT_TRUE(Becomes({{"a.txt", "river"}, {"b.log", "mountain"}}));
}

TEST_F(WatchTest, WhatMayNoLongerBeReadIsKeptAndSaid) {
  Write("a.txt", "river");
  Write("closed/b.txt", "mountain");
  if (!WithoutPowerOverFiles([this] { Start(); })) {
    GTEST_SKIP() << "root could not give up its power over files";
  }
  Watch(docs_);
  fs::permissions(docs_ / "a.txt", fs::perms::none);
  fs::permissions(docs_ / "closed", fs::perms::none);
  EXPECT_TRUE(SourceBecomes([](const v1::Source& source) {
    return source.skipped_size() == 1 &&
           source.skipped(0).reason() == "unreadable" &&
           source.skipped(0).count() == 2;
  }));
  EXPECT_EQ(Documents(),
            (Texts{{"a.txt", "river"}, {"closed/b.txt", "mountain"}}));
  // A complete reconcile finds the same.
  Pith({"add", docs_.string()});
  const v1::Source source = Source();
  ASSERT_EQ(source.kept_size(), 1);
  EXPECT_EQ(source.kept(0).reason(), "unreadable");
  EXPECT_EQ(source.kept(0).count(), 2);
  EXPECT_EQ(Documents().size(), 2u);
  fs::permissions(docs_ / "closed", fs::perms::owner_all);
  fs::permissions(docs_ / "a.txt", fs::perms::owner_all);
  Write("closed/b.txt", "horse");
  EXPECT_TRUE(Becomes({{"a.txt", "river"}, {"closed/b.txt", "horse"}}));
}

TEST_F(WatchTest, WithoutTheFolderItsDocumentsStay) {
  Write("a.txt", "river");
  Start({"--reconcile-interval", "1"});
  Watch(docs_);
  fs::rename(docs_, home_ / "away");
  EXPECT_TRUE(SourceBecomes([](const v1::Source& source) {
    return source.last_reconcile().has_error();
  }));
  EXPECT_THAT(Source().last_reconcile().error().message(),
              HasSubstr("No such file"));
  EXPECT_EQ(Documents(), (Texts{{"a.txt", "river"}}));
  const ProcessResult shown = Pith({"sources"});
  EXPECT_THAT(shown.out,
              AllOf(HasSubstr("with 0 removed: "), HasSubstr("No such file")));
  // Once, though it is tried again.
  const auto first = Source().last_reconcile().start_time().seconds();
  EXPECT_TRUE(SourceBecomes([first](const v1::Source& source) {
    return source.last_reconcile().start_time().seconds() > first + 2;
  }));
  EXPECT_EQ(LogLinesWith(": reconcile "), 1u);
  // A restart does not forget it.
  Stop();
  Start({"--reconcile-interval", "1"});
  EXPECT_TRUE(SourceBecomes([](const v1::Source& source) {
    return source.last_reconcile().has_error();
  }));
  EXPECT_EQ(Documents(), (Texts{{"a.txt", "river"}}));
  fs::rename(home_ / "away", docs_);
  Write("b.txt", "mountain");
  EXPECT_TRUE(Becomes({{"a.txt", "river"}, {"b.txt", "mountain"}}));
}

TEST_F(WatchTest, AnUnmountedVolumeLosesNoDocument) {
  // Of this process and those that it starts.
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("none", docs_.c_str(), "tmpfs", 0, nullptr) != 0) {
    GTEST_SKIP() << "may not mount: " << std::strerror(errno);
  }
  Write("a.txt", "river");
  Start({"--reconcile-interval", "1"});
  Watch(docs_);
  ASSERT_EQ(::umount2(docs_.c_str(), MNT_DETACH), 0) << std::strerror(errno);
  EXPECT_TRUE(SourceBecomes([](const v1::Source& source) {
    return source.kept_size() == 1 && source.kept(0).reason() == "unmounted" &&
           source.kept(0).count() == 1;
  }));
  EXPECT_EQ(Documents(), (Texts{{"a.txt", "river"}}));
  // Another volume, with one of the files.
  ASSERT_EQ(::mount("none", docs_.c_str(), "tmpfs", 0, nullptr), 0);
  Write("a.txt", "mountain");
  Write("b.txt", "horse");
  EXPECT_TRUE(Becomes({{"a.txt", "mountain"}, {"b.txt", "horse"}}));
  fs::remove(docs_ / "a.txt");
  EXPECT_TRUE(Becomes({{"b.txt", "horse"}}));
  ASSERT_EQ(::umount2(docs_.c_str(), MNT_DETACH), 0);
}

TEST_F(WatchTest, ItGoesOnAfterItsDeath) {
  for (int i = 0; i < 50; ++i) {
    Write(absl::StrCat("old", i), absl::StrCat("river ", i));
    fs::last_write_time(
        docs_ / absl::StrCat("old", i),
        fs::file_time_type::clock::now() - std::chrono::hours(1));
  }
  {
    // In the middle of embedding.
    const Gates gates(1);
    Start();
    Process watch(
        PITH_CLI,
        {"watch", docs_.string(), "--data-dir", data_.string(), "--no-start"},
        {.working_directory = home_, .output = home_ / "watch"});
    const UniqueFd held = gates.Await(0);
    Kill();
    EXPECT_EQ(watch.Wait().exit_code, 2);
  }
  fs::remove(docs_ / "old7");
  Write("old8", "changed");
  Write("new", "mountain");
  Start();
  EXPECT_TRUE(SourceBecomes([](const v1::Source& source) {
    return source.has_last_reconcile() && source.indexed() == 50 &&
           source.pending_documents() == 0;
  }));
  const v1::Reconcile last = Source().last_reconcile();
  EXPECT_FALSE(last.has_error()) << last.error().message();
  const Texts documents = Documents();
  EXPECT_EQ(documents.size(), 50u);
  EXPECT_EQ(documents.count("old7"), 0u);
  EXPECT_EQ(documents.at("old8"), "changed");
  EXPECT_EQ(documents.at("new"), "mountain");
  // And is watched.
  Write("new", "horse");
  EXPECT_TRUE(Eventually([&] { return Documents().at("new") == "horse"; }));
}

TEST_F(WatchTest, WhatIsUnwatchedIsLeftAlone) {
  Write("a/x.txt", "river");
  Write("b/y.txt", "mountain");
  Start();
  Watch(docs_ / "a");
  Watch(docs_ / "b");
  EXPECT_EQ(Sources().size(), 2u);
  const ProcessResult unwatched = Pith({"unwatch", (docs_ / "a").string()});
  EXPECT_EQ(unwatched.exit_code, 0) << unwatched.err;
  EXPECT_EQ(Source().path(), (docs_ / "b").string());
  // Twice: before and after a restart.
  for (const char* text : {"horse", "school"}) {
    Write("a/x.txt", "window");
    // Later, and seen.
    Write("b/y.txt", text);
    EXPECT_TRUE(Becomes({{"a/x.txt", "river"}, {"b/y.txt", text}}));
    Stop();
    Start();
    EXPECT_EQ(Source().path(), (docs_ / "b").string());
  }
  const ProcessResult again = Pith({"unwatch", (docs_ / "a").string()});
  EXPECT_EQ(again.exit_code, 2);
  EXPECT_THAT(again.err, HasSubstr("is not watched"));
}

TEST_F(WatchTest, BeyondTheLimitOfWatchesTimeBringsChanges) {
  Write("a/x.txt", "river");
  Write("b/y.txt", "mountain");
  Start({"--reconcile-interval", "1", "--max-watches", "2"});
  Watch(docs_);
  const v1::Source source = Source();
  EXPECT_EQ(source.watching(), v1::Source::WATCHING_TIME);
  EXPECT_THAT(source.watching_reason(),
              AllOf(HasSubstr("watch"), HasSubstr("limit")));
  EXPECT_THAT(Pith({"sources"}).out, HasSubstr("time alone"));
  Write("a/x.txt", "horse");
  Write("b/y.txt", "school");
  EXPECT_TRUE(Becomes({{"a/x.txt", "horse"}, {"b/y.txt", "school"}}));
}

TEST_F(WatchTest, WrongFoldersAreRefusedWithTheReason) {
  Write("a/b/x.txt", "river");
  Start();
  Watch(docs_ / "a");
  for (const fs::path& path : {docs_, docs_ / "a" / "b"}) {
    const ProcessResult refused = Pith({"watch", path.string()});
    EXPECT_EQ(refused.exit_code, 2);
    EXPECT_THAT(refused.err, HasSubstr("docs/a is watched"));
  }
  const ProcessResult file =
      Pith({"watch", (docs_ / "a" / "b" / "x.txt").string()});
  EXPECT_EQ(file.exit_code, 2);
  EXPECT_THAT(file.err, HasSubstr("no folder"));
  EXPECT_EQ(Pith({"watch", (docs_ / "none").string()}).exit_code, 2);
  // Once more is no error.
  Watch(docs_ / "a");
  EXPECT_EQ(Sources().size(), 1u);
}

TEST_F(WatchTest, StatusSaysWhatWasSkippedAndWhatFailed) {
  Write("a.txt", "river");
  Write("b.bin", std::string("\0\1", 2));
  Write("c.bin", std::string("\0\1", 2));
  Write(".hidden/x", "x");
  Write("empty", "");
  Start();
  EXPECT_EQ(Pith({"sources"}).exit_code, 1);
  Watch(docs_);
  const ProcessResult shown = Pith({"sources", "--json"});
  const auto source =
      nlohmann::json::parse(shown.out, nullptr, false)["sources"][0];
  EXPECT_EQ(source["seen"], 5);
  EXPECT_EQ(source["indexed"], 1);
  EXPECT_EQ(source["pending_changes"], 0);
  EXPECT_EQ(source["pending_documents"], 0);
  EXPECT_EQ(source["skipped"].size(), 3u);
  EXPECT_EQ(source["skipped"][0]["reason"], "binary");
  EXPECT_EQ(source["skipped"][0]["count"], 2);
  EXPECT_EQ(source["skipped"][0]["example"], (docs_ / "b.bin").string());
  EXPECT_EQ(source["last_reconcile"]["added"], 1);
  EXPECT_THAT(Pith({"sources"}).out,
              AllOf(HasSubstr(docs_.string()), HasSubstr("2 binary"),
                    HasSubstr("inotify")));
  EXPECT_THAT(Pith({"status"}).out,
              AllOf(HasSubstr("source "), HasSubstr("1 indexed"),
                    HasSubstr("2 binary")));
  // What becomes text is no longer skipped.
  Write("b.bin", "mountain");
  EXPECT_TRUE(SourceBecomes([](const v1::Source& now) {
    return now.indexed() == 2 && now.skipped(0).count() == 1;
  }));
  EXPECT_EQ(Source().seen(), 5);
}

TEST_F(WatchTest, ASourceGoesWithItsCollection) {
  Write("a.txt", "river");
  Start();
  Watch(docs_);
  v1::DeleteCollectionRequest request;
  request.set_name("default");
  ASSERT_OK(Call(&v1::CollectionsService::Stub::DeleteCollection, request));
  EXPECT_THAT(Sources(), IsEmpty());
  // Another of the same name knows nothing of it.
  EXPECT_EQ(Pith({"collection", "create", "default"}).exit_code, 0);
  EXPECT_THAT(Sources(), IsEmpty());
  EXPECT_THAT(Documents(), IsEmpty());
}

TEST_F(WatchTest, TwoCollectionsWatchOneFolder) {
  Write("sub/a.txt", "river");
  Start();
  ASSERT_EQ(Pith({"collection", "create", "other"}).exit_code, 0);
  Watch(docs_);
  EXPECT_EQ(Pith({"-c", "other", "watch", docs_.string()}).exit_code, 0);
  Write("sub/a.txt", "mountain");
  EXPECT_TRUE(Becomes({{"sub/a.txt", "mountain"}}));
  EXPECT_TRUE(Eventually([&] {
    return Documents("other") == Texts{{"sub/a.txt", "mountain"}};
  }));
  EXPECT_EQ(Pith({"-c", "other", "unwatch", docs_.string()}).exit_code, 0);
  Write("sub/a.txt", "horse");
  EXPECT_TRUE(Becomes({{"sub/a.txt", "horse"}}));
  EXPECT_EQ(Documents("other"), (Texts{{"sub/a.txt", "mountain"}}));
}

}  // namespace
}  // namespace pith
