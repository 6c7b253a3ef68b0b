#include "server/source_scan.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/source/reconcile.h"
#include "tests/collection_calls.h"
#include "tests/fakes/forwarding_passage_store.h"
#include "tests/fakes/hash_embedder.h"
#include "tests/fakes/in_memory_passage_store.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class SourceScanTest : public testing::Test {
 protected:
  SourceScanTest() {
    fs::create_directory(root_);
    Open(std::make_unique<ForwardingPassageStore>(store_));
  }

  void Open(std::unique_ptr<PassageStore> store) {
    collection_.reset();
    CollectionConfig config;
    config.name = "test";
    config.model = embedder_.identity();
    auto collection = Collection::Open(config, temp_.path() / "segments",
                                       std::move(store), embedder_, cache_, {});
    CHECK(collection.ok()) << collection.status();
    collection_ = *std::move(collection);
  }

  std::string Path(const std::string& name) const { return root_ / name; }

  // With a time of change an hour ago, so that its stamp counts.
  void Write(const std::string& name, const std::string& text) {
    fs::create_directories(fs::path(Path(name)).parent_path());
    std::ofstream(Path(name)) << text;
    SetAge(name, absl::Hours(1));
  }
  void SetAge(const std::string& name, absl::Duration age) {
    const timespec time = absl::ToTimespec(now_ - age);
    const timespec times[] = {time, time};
    PCHECK(::utimensat(AT_FDCWD, Path(name).c_str(), times, 0) == 0);
  }

  // Of everything, or of what lies below the root by these names.
  v1::AddSourceProgress Scan(
      const std::vector<std::string>& names = {},
      const std::function<void(const fs::path&)>& folder = nullptr) {
    Operation operation("op", DescribeAdd("test", root_.string()));
    std::vector<std::string> tops;
    for (const std::string& name : names) {
      tops.push_back(Path(name));
    }
    if (tops.empty()) {
      tops.push_back(root_.string());
    }
    auto result = ReconcileSource(
        *collection_,
        {.root = root_, .tops = tops, .folder = folder, .known = skipped_},
        operation);
    EXPECT_OK(result);
    if (result.ok()) {
      result_ = *std::move(result);
      if (names.empty()) {
        skipped_ = result_.skipped;
      }
    }
    return operation.Describe().add_source();
  }

  // Names below the root, of other documents their ids.
  std::vector<std::string> Documents() const {
    std::vector<std::string> names;
    const auto documents = collection_->List("", std::nullopt, 1000);
    CHECK(documents.ok()) << documents.status();
    for (const DocumentListing& document : *documents) {
      names.push_back(document.id.starts_with(Path(""))
                          ? document.id.substr(Path("").size())
                          : document.id);
    }
    return names;
  }
  std::string Text(const std::string& name) const {
    const auto document = collection_->Get(Path(name));
    return document.ok() && *document ? (*document)->text : "none";
  }

  TempDirectory temp_;
  const fs::path root_ = temp_.path() / "root";
  const absl::Time now_ = absl::Now();
  std::shared_ptr<InMemoryPassageStore> store_ =
      std::make_shared<InMemoryPassageStore>();
  HashEmbedder embedder_;
  VectorCache cache_{size_t{1} << 20};
  std::unique_ptr<Collection> collection_;
  SkippedFiles skipped_;
  SourceScanResult result_;
};

// Content that changes while size, time and inode stay shows what was read.
TEST_F(SourceScanTest, AFileWithItsOldStampIsNotRead) {
  Write("a", "first");
  EXPECT_EQ(Scan().added(), 1);
  Write("a", "other");
  const v1::AddSourceProgress second = Scan();
  EXPECT_EQ(second.unchanged(), 1);
  EXPECT_EQ(second.bytes_read(), 0);
  EXPECT_EQ(Text("a"), "first");
  SetAge("a", absl::Hours(2));
  EXPECT_EQ(Scan().updated(), 1);
  EXPECT_EQ(Text("a"), "other");
}

TEST_F(SourceScanTest, ARenameEmbedsNothing) {
  Write("a.txt", "first words of a text");
  Write("sub/b.txt", "second words of a text");
  EXPECT_EQ(Scan().added(), 2);
  ASSERT_OK(WaitSearchable(*collection_));
  const size_t embedded = embedder_.ingested();
  fs::rename(Path("a.txt"), Path("z.txt"));
  fs::rename(Path("sub"), Path("a"));
  const v1::AddSourceProgress scan = Scan();
  EXPECT_EQ(scan.renamed(), 2);
  EXPECT_EQ(scan.added() + scan.updated() + scan.removed(), 0);
  EXPECT_EQ(scan.passages_to_embed(), 0);
  EXPECT_EQ(result_.documents, 2);
  EXPECT_EQ(result_.kept_unmounted + result_.kept_unreadable, 0);
  EXPECT_THAT(Documents(), ElementsAre("a/b.txt", "z.txt"));
  EXPECT_EQ(Text("z.txt"), "first words of a text");
  EXPECT_EQ(Text("a/b.txt"), "second words of a text");
  EXPECT_EQ(Text("a.txt"), "none");
  ASSERT_OK(WaitSearchable(*collection_));
  EXPECT_EQ(embedder_.ingested(), embedded);
  EXPECT_EQ(Scan().unchanged(), 2);
}

TEST_F(SourceScanTest, ARenamedFileMayBeEditedOrLinked) {
  Write("a", "first words");
  Write("b", "second words");
  EXPECT_EQ(Scan().added(), 2);
  fs::rename(Path("a"), Path("edited"));
  Write("edited", "first words, edited");
  fs::create_hard_link(Path("b"), Path("link1"));
  fs::create_hard_link(Path("b"), Path("link2"));
  fs::remove(Path("b"));
  const v1::AddSourceProgress scan = Scan();
  EXPECT_EQ(scan.renamed(), 1);
  EXPECT_EQ(scan.added(), 2);
  EXPECT_EQ(scan.removed(), 1);
  EXPECT_EQ(result_.documents, 3);
  EXPECT_THAT(Documents(), ElementsAre("edited", "link1", "link2"));
  EXPECT_EQ(Text("edited"), "first words, edited");
  EXPECT_EQ(Text("link1"), "second words");
  EXPECT_EQ(Text("link2"), "second words");
  EXPECT_EQ(collection_->GetStatus().counts.documents, 3u);
}

TEST_F(SourceScanTest, AFileAsYoungAsTheScanIsReadAgain) {
  Write("a", "first");
  SetAge("a", absl::ZeroDuration());
  EXPECT_EQ(Scan().added(), 1);
  Write("a", "other");
  SetAge("a", absl::ZeroDuration());
  EXPECT_EQ(Scan().updated(), 1);
  EXPECT_EQ(Text("a"), "other");
}

// Its new stamp is kept, so that it is read once.
TEST_F(SourceScanTest, AFileThatWasOnlyTouchedIsReadOnceAndNotEmbedded) {
  Write("a", "first");
  Scan();
  ASSERT_OK(WaitSearchable(*collection_));
  const size_t embedded = embedder_.ingested();
  SetAge("a", absl::Hours(2));
  const v1::AddSourceProgress touched = Scan();
  EXPECT_EQ(touched.unchanged(), 1);
  EXPECT_EQ(touched.bytes_read(), 5);
  EXPECT_EQ(Scan().bytes_read(), 0);
  ASSERT_OK(WaitSearchable(*collection_));
  EXPECT_EQ(embedder_.ingested(), embedded);
}

// The stamp says what file the text is from: it goes with other text.
TEST_F(SourceScanTest, ADocumentThatWasPushedInBetweenIsReplaced) {
  Write("a", "first");
  Scan();
  ASSERT_OK(PutAndWait(*collection_, {.id = Path("a"), .text = "pushed"}));
  EXPECT_EQ(Scan().updated(), 1);
  EXPECT_EQ(Text("a"), "first");
}

TEST_F(SourceScanTest, ADocumentThatWasDeletedComesBack) {
  Write("a", "first");
  Scan();
  ASSERT_OK(collection_->DeleteAndWait({Path("a")}));
  EXPECT_EQ(Scan().added(), 1);
}

TEST_F(SourceScanTest, WhatHoldsNoTextIsReadOnceUntilItChanges) {
  Write("a", std::string("bin\0ary", 7));
  Write("b", " \n ");
  const v1::AddSourceProgress first = Scan();
  EXPECT_EQ(first.skipped_by_reason().at("binary"), 1);
  EXPECT_EQ(first.skipped_by_reason().at("empty"), 1);
  Write("a", "text :)");
  // With the old time: not read.
  EXPECT_EQ(Scan().skipped_by_reason().at("binary"), 1);
  EXPECT_THAT(Documents(), IsEmpty());
  SetAge("a", absl::Hours(2));
  const v1::AddSourceProgress third = Scan();
  EXPECT_EQ(third.added(), 1);
  EXPECT_EQ(third.skipped_by_reason().count("binary"), 0u);
}

TEST_F(SourceScanTest, TextThatBecomesSomethingElseGoes) {
  Write("a", "first");
  Write("b", "second");
  Scan();
  Write("a", std::string("\0\0", 2));
  Write(".pithignore", "b\n");
  EXPECT_EQ(Scan().removed(), 2);
  EXPECT_THAT(Documents(), IsEmpty());
}

TEST_F(SourceScanTest, NamesThatBeginAlikeAreNotMixedUp) {
  for (const char* name : {"a", "a-b/x", "a.txt", "ab", "b/c/d", "b/c-d"}) {
    Write(name, name);
  }
  EXPECT_EQ(Scan().added(), 6);
  EXPECT_EQ(Scan().unchanged(), 6);
  fs::remove(Path("a"));
  Write("a/x", "x");
  fs::remove_all(Path("b/c"));
  const v1::AddSourceProgress changed = Scan();
  EXPECT_EQ(changed.added(), 1);
  EXPECT_EQ(changed.removed(), 2);
  EXPECT_EQ(changed.unchanged(), 4);
  EXPECT_THAT(Documents(), ElementsAre("a-b/x", "a.txt", "a/x", "ab", "b/c-d"));
}

TEST_F(SourceScanTest, APartIsScannedAloneAndSkippedInIt) {
  Write("a/x", "ax");
  Write("b/x", "bx");
  Scan();
  EXPECT_EQ(result_.documents, 2);
  fs::remove_all(Path("a"));
  fs::remove_all(Path("b"));
  // Of other sizes: they may get the inodes.
  Write("c/y", "c and y");
  Write("d/y", "d, and y");
  Write("c/z", std::string("\0", 1));
  const v1::AddSourceProgress part = Scan({"a", "c"});
  EXPECT_EQ(part.removed(), 1);
  EXPECT_EQ(part.added(), 1);
  EXPECT_EQ(result_.documents_before, 1);
  EXPECT_EQ(result_.documents, 1);
  EXPECT_EQ(result_.skipped.count(), 1u);
  EXPECT_THAT(Documents(), ElementsAre("b/x", "c/y"));
  Scan();
  EXPECT_THAT(Documents(), ElementsAre("c/y", "d/y"));
}

TEST_F(SourceScanTest, WithoutDescriptorsNothingIsDeleted) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "UndefinedBehaviorSanitizer opens pipes to look at memory";
#endif
  Write("a", "first");
  Write("sub/b", "second");
  Scan();
  ASSERT_OK(WaitSearchable(*collection_));
  Write("a", "first, edited");
  rlimit limit;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  // When "a" is found and neither it nor "sub" is read.
  EXPECT_EQ(Scan({},
                 [&](const fs::path& folder) {
                   const rlimit none = {0, limit.rlim_max};
                   if (folder == Path("sub")) {
                     PCHECK(::setrlimit(RLIMIT_NOFILE, &none) == 0);
                   }
                 })
                .removed(),
            0);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(result_.kept_unreadable, 2);
  EXPECT_EQ(Text("a"), "first");
  EXPECT_EQ(Scan().updated(), 1);
  EXPECT_THAT(Documents(), ElementsAre("a", "sub/b"));
}

TEST_F(SourceScanTest, AFileThatOutgrowsTheLimitGoes) {
  Write("a", "first");
  fs::create_directory(Path("sub"));
  Scan();
  SetAge("a", absl::Hours(2));
  const v1::AddSourceProgress grown = Scan({}, [&](const fs::path& folder) {
    // When "a" is found.
    if (folder == Path("sub")) {
      fs::resize_file(Path("a"), kMaxDocumentBytes + 1);
    }
  });
  EXPECT_EQ(grown.skipped_by_reason().at("too_large"), 1);
  EXPECT_EQ(grown.removed(), 1);
}

TEST_F(SourceScanTest, WithoutItsRootNothingIsDeleted) {
  Write("a", "first");
  Scan();
  fs::rename(root_, temp_.path() / "away");
  Operation operation("op", DescribeAdd("test", ""));
  EXPECT_THAT(ReconcileSource(
                  *collection_,
                  {.root = root_, .tops = {root_.string()}, .known = skipped_},
                  operation),
              StatusIs(absl::StatusCode::kNotFound, "root"));
  EXPECT_THAT(
      ReconcileSource(*collection_,
                      {.root = root_, .tops = {Path("a")}, .known = skipped_},
                      operation),
      StatusIs(absl::StatusCode::kNotFound, "root"));
  EXPECT_EQ(Text("a"), "first");
}

// As an empty mount point is: the document is from another device than the
// folder is on.
TEST_F(SourceScanTest, WhatIsOnAFileSystemThatIsNotThereIsKept) {
  Write("here", "here");
  Scan();
  for (const char* name : {"mount/a", "mount/b"}) {
    ASSERT_OK(PutAndWait(
        *collection_,
        {.id = Path(name), .text = name, .stamp = FileStamp{.device = 12345}}));
  }
  fs::create_directory(Path("mount"));
  EXPECT_EQ(Scan().removed(), 0);
  EXPECT_EQ(result_.kept_unmounted, 2);
  EXPECT_EQ(result_.documents, 3);
  EXPECT_EQ(result_.kept_example, Path("mount/a"));
  EXPECT_EQ(Scan({"mount"}).removed(), 0);
  // A file below the mount point is none of the volume's.
  Write("mount/other", "other");
  EXPECT_EQ(Scan().removed(), 0);
  EXPECT_THAT(Documents(),
              ElementsAre("here", "mount/a", "mount/b", "mount/other"));
  // The volume is back under another number, with one file deleted.
  Write("mount/a", "mount/a");
  EXPECT_EQ(Scan().removed(), 1);
  EXPECT_EQ(result_.kept_unmounted, 0);
  EXPECT_THAT(Documents(), ElementsAre("here", "mount/a", "mount/other"));
}

// A store in which passages of documents `first` to `last` cannot be read.
class DamagedStore : public ForwardingPassageStore {
 public:
  DamagedStore(std::shared_ptr<PassageStore> store, uint64_t first,
               uint64_t last)
      : ForwardingPassageStore(std::move(store)), first_(first), last_(last) {}

  absl::StatusOr<std::vector<std::optional<Passage>>> GetPassages(
      std::span<const PassageId> ids) const override {
    for (const PassageId id : ids) {
      const auto document = static_cast<uint64_t>(DocumentOf(id));
      if (document >= first_ && document <= last_) {
        return absl::DataLossError("a block's checksum");
      }
    }
    return ForwardingPassageStore::GetPassages(ids);
  }

 private:
  uint64_t first_;
  uint64_t last_;
};

TEST_F(SourceScanTest, DamageOfSomeDocumentsStopsNoOther) {
  Write("a", "first");
  Write("b", "second");
  Write("c", "third");
  Write("binary", std::string("\0\1", 2));
  Scan();
  Open(std::make_unique<DamagedStore>(store_, /*first=*/2, /*last=*/3));
  Write("a", "changed");
  Write("b", "changed, too");
  fs::rename(Path("c"), Path("renamed"));
  Write("d", "new");
  v1::AddSourceProgress progress = Scan();
  EXPECT_THAT(result_.damage, StatusIs(absl::StatusCode::kDataLoss, "add "));
  EXPECT_EQ(progress.updated(), 1);
  EXPECT_EQ(progress.added(), 1);
  EXPECT_EQ(progress.removed(), 0);
  EXPECT_EQ(Text("a"), "changed");
  EXPECT_EQ(Text("d"), "new");
  // The renamed one stays under its old name, which is better than not at all.
  EXPECT_THAT(Documents(), ElementsAre("a", "b", "c", "d"));
  EXPECT_EQ(result_.skipped.count(), 1u);

  // Nothing remembers the damaged ones as files that cannot be indexed.
  Open(std::make_unique<ForwardingPassageStore>(store_));
  progress = Scan();
  EXPECT_OK(result_.damage);
  EXPECT_EQ(progress.updated(), 1);
  EXPECT_EQ(progress.renamed(), 1);
  EXPECT_EQ(Text("b"), "changed, too");
  EXPECT_EQ(Text("renamed"), "third");
}

TEST_F(SourceScanTest, DamageOfManyDocumentsEndsAScan) {
  for (int i = 0; i < 150; ++i) {
    Write(absl::StrCat(i), "first");
  }
  Scan();
  Open(std::make_unique<DamagedStore>(store_, /*first=*/1, /*last=*/150));
  for (int i = 0; i < 150; ++i) {
    Write(absl::StrCat(i), "changed");
  }
  Operation operation("op", DescribeAdd("test", root_.string()));
  EXPECT_THAT(ReconcileSource(
                  *collection_,
                  {.root = root_, .tops = {root_.string()}, .known = skipped_},
                  operation),
              StatusIs(absl::StatusCode::kDataLoss, "add "));
}

TEST_F(SourceScanTest, EachFolderIsNamedBeforeItIsRead) {
  Write("a/x", "x");
  std::vector<std::string> folders;
  Operation operation("op", DescribeAdd("test", ""));
  ASSERT_OK(ReconcileSource(*collection_,
                            {.root = root_,
                             .tops = {root_.string()},
                             .folder =
                                 [&](const fs::path& folder) {
                                   folders.push_back(folder.string());
                                   std::ofstream(folder / "late") << "late";
                                 },
                             .known = skipped_},
                            operation));
  EXPECT_THAT(folders, ElementsAre(root_.string(), Path("a")));
  EXPECT_THAT(Documents(), ElementsAre("a/late", "a/x", "late"));
}

}  // namespace
}  // namespace pith
