#include "core/storage/rocksdb_store.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rocksdb/db.h"
#include "rocksdb/file_system.h"
#include "rocksdb/options.h"

#include "core/base/coding.h"
#include "core/base/file.h"
#include "core/base/hash.h"
#include "tests/status_matchers.h"

namespace pith {
namespace {

namespace fs = std::filesystem;
using testing::Optional;

// Lets tests refuse appends to files and syncs of them.
class FaultyFileSystem : public rocksdb::FileSystemWrapper {
 public:
  FaultyFileSystem()
      : rocksdb::FileSystemWrapper(rocksdb::FileSystem::Default()) {}

  const char* Name() const override { return "FaultyFileSystem"; }

  enum class Fault { kNone, kInputOutput, kNoSpace, kSync };
  // From now on, for files that are open too.
  void Inject(Fault fault) { fault_ = fault; }

  int tables_created() const { return tables_created_; }
  // Makes `flag` true once as many tables as `count` have been created.
  void RaiseAtTable(int count, std::atomic<bool>* flag) {
    raised_ = flag;
    raise_at_ = count;
  }

  rocksdb::IOStatus NewWritableFile(
      const std::string& name, const rocksdb::FileOptions& options,
      std::unique_ptr<rocksdb::FSWritableFile>* result,
      rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus status =
        target()->NewWritableFile(name, options, result, debug);
    if (status.ok()) {
      *result = std::make_unique<File>(std::move(*result), *this);
      if (fs::path(name).extension() == ".sst" &&
          ++tables_created_ == raise_at_) {
        *raised_ = true;
      }
    }
    return status;
  }

 private:
  class File : public rocksdb::FSWritableFileOwnerWrapper {
   public:
    File(std::unique_ptr<rocksdb::FSWritableFile> target,
         const FaultyFileSystem& owner)
        : FSWritableFileOwnerWrapper(std::move(target)), owner_(owner) {}

    rocksdb::IOStatus Append(const rocksdb::Slice& bytes,
                             const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override {
      // A full disk takes what still fits.
      const rocksdb::IOStatus fault = owner_.Failure();
      if (!fault.ok()) {
        (void)target()->Append({bytes.data(), bytes.size() / 2}, options,
                               debug);
        return fault;
      }
      return target()->Append(bytes, options, debug);
    }
    rocksdb::IOStatus Append(const rocksdb::Slice& bytes,
                             const rocksdb::IOOptions& options,
                             const rocksdb::DataVerificationInfo&,
                             rocksdb::IODebugContext* debug) override {
      return Append(bytes, options, debug);
    }
    rocksdb::IOStatus Sync(const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
      if (owner_.fault_ == Fault::kSync) {
        return rocksdb::IOStatus::IOError("injected");
      }
      return target()->Sync(options, debug);
    }

   private:
    const FaultyFileSystem& owner_;
  };

  // As RocksDB's own file system tells of a full disk.
  static rocksdb::IOStatus NoSpace() {
    rocksdb::IOStatus status = rocksdb::IOStatus::NoSpace("injected");
    status.SetRetryable(true);
    return status;
  }

  rocksdb::IOStatus Failure() const {
    switch (fault_.load()) {
      case Fault::kNone:
      case Fault::kSync:
        return rocksdb::IOStatus::OK();
      case Fault::kInputOutput:
        return rocksdb::IOStatus::IOError("injected");
      case Fault::kNoSpace:
        return NoSpace();
    }
    return rocksdb::IOStatus::OK();
  }

  std::atomic<Fault> fault_ = Fault::kNone;
  std::atomic<int> tables_created_ = 0;
  std::atomic<int> raise_at_ = 0;
  std::atomic<std::atomic<bool>*> raised_ = nullptr;
};

class RocksDbStoreTest : public testing::Test {
 protected:
  RocksDbStoreTest()
      : root_(
            fs::path(testing::TempDir()) /
            absl::StrCat(
                "rocksdb_store.",
                testing::UnitTest::GetInstance()->current_test_info()->name())),
        directory_(root_ / "store") {
    fs::remove_all(root_);
    fs::create_directory(root_);
    RocksDbShared::Options options;
    options.file_system = file_system_;
    shared_ = std::make_unique<RocksDbShared>(options);
  }
  ~RocksDbStoreTest() override { fs::remove_all(root_); }

  std::unique_ptr<RocksDbStore> Create() {
    auto store = RocksDbStore::Create(directory_, "configuration", *shared_);
    EXPECT_OK(store);
    return *std::move(store);
  }
  absl::StatusOr<std::unique_ptr<RocksDbStore>> Open() {
    return RocksDbStore::Open(directory_, *shared_);
  }

  // The directory as a crash of the process would leave it now, less what
  // RocksDB is deleting because it needs it no more.
  void CrashTo(const fs::path& copy) {
    fs::create_directory(copy);
    for (const auto& entry : fs::directory_iterator(directory_)) {
      std::error_code error;
      fs::copy_file(entry.path(), copy / entry.path().filename(), error);
      EXPECT_TRUE(!error || !fs::exists(entry.path())) << error.message();
    }
  }

  // Files with `extension`, largest first.
  std::vector<fs::path> Files(const std::string& extension) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(directory_)) {
      if (entry.path().extension() == extension) {
        files.push_back(entry.path());
      }
    }
    std::sort(files.begin(), files.end(),
              [](const fs::path& a, const fs::path& b) {
                return fs::file_size(a) > fs::file_size(b);
              });
    return files;
  }

  // The hash of every file by name, less RocksDB's messages.
  std::map<std::string, std::string> Contents() {
    std::map<std::string, std::string> contents;
    for (const auto& entry : fs::directory_iterator(directory_)) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with("LOG")) {
        Sha256 hash;
        hash.Update(*ReadFile(entry.path()));
        contents[name] = ToHex(hash.Finish());
      }
    }
    return contents;
  }

  static void FlipByte(const fs::path& path, size_t offset) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    const char byte = static_cast<char>(file.get());
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(static_cast<char>(byte ^ 0x10));
    ASSERT_TRUE(file.good()) << path;
  }

  // Writes `value` under `key` of meta, behind the store's back.
  void PutMeta(const std::string& key, const std::string& value) {
    Tamper([&](rocksdb::DB& db) {
      EXPECT_TRUE(db.Put(rocksdb::WriteOptions(), key, value).ok());
    });
  }

  void Tamper(const std::function<void(rocksdb::DB&)>& change) {
    std::vector<std::string> names;
    ASSERT_TRUE(rocksdb::DB::ListColumnFamilies(rocksdb::DBOptions(),
                                                directory_.string(), &names)
                    .ok());
    std::vector<rocksdb::ColumnFamilyDescriptor> columns;
    for (const std::string& name : names) {
      columns.emplace_back(name, rocksdb::ColumnFamilyOptions());
    }
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DB* raw = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open(rocksdb::DBOptions(), directory_.string(),
                                  columns, &handles, &raw)
                    .ok());
    const std::unique_ptr<rocksdb::DB> db(raw);
    change(*db);
    for (rocksdb::ColumnFamilyHandle* handle : handles) {
      EXPECT_TRUE(db->DestroyColumnFamilyHandle(handle).ok());
    }
  }

  const fs::path root_;
  const fs::path directory_;
  const std::shared_ptr<FaultyFileSystem> file_system_ =
      std::make_shared<FaultyFileSystem>();
  std::unique_ptr<RocksDbShared> shared_;
};

PassageId Id(uint64_t number) {
  return MakePassageId(DocumentNumber{number}, 0);
}

std::string Text(uint64_t number) {
  // As good as random, so that passages make the largest table.
  std::string text;
  while (text.size() < 1000) {
    Sha256 hash;
    hash.Update(absl::StrCat(number, " ", text.size()));
    absl::StrAppend(&text, ToHex(hash.Finish()));
  }
  return text;
}

// Document `number` with one passage.
StoreBatch OneDocument(uint64_t number) {
  StoreBatch batch;
  DocumentRecord record;
  record.id = absl::StrCat("document ", number);
  record.next_serial = 1;
  record.passages = {{.serial = 0, .bytes = Text(number).size()}};
  batch.put_documents = {{DocumentNumber{number}, record}};
  batch.put_passages = {{Id(number), "", Text(number)}};
  batch.counts.documents = number;
  batch.counts.passages = number;
  batch.counts.pending = number;
  batch.counts.next_document = DocumentNumber{number + 1};
  return batch;
}

absl::Status CommitOne(RocksDbStore& store, uint64_t number) {
  return store.Commit(OneDocument(number), Durability::kSynced);
}

absl::Status Settle(RocksDbStore& store) {
  std::atomic<bool> cancelled = false;
  return store.Settle(cancelled);
}

// Documents 1 to `last` are all there, whole, and nothing after them is.
void ExpectDocuments(const RocksDbStore& store, uint64_t last) {
  const auto counts = store.GetCounts();
  ASSERT_OK(counts);
  EXPECT_EQ(counts->documents, last);
  for (uint64_t number = 1; number <= last; ++number) {
    EXPECT_THAT(*store.FindDocument(absl::StrCat("document ", number)),
                Optional(DocumentNumber{number}));
    const std::vector<PassageId> ids = {Id(number)};
    const auto passages = store.GetPassages(ids);
    ASSERT_OK(passages);
    ASSERT_TRUE((*passages)[0].has_value()) << number;
    EXPECT_EQ((*passages)[0]->text, Text(number));
  }
  EXPECT_EQ(*store.FindDocument(absl::StrCat("document ", last + 1)),
            std::nullopt);
}

TEST_F(RocksDbStoreTest, ConfigurationComesBackWhenOpened) {
  const std::string configuration("any\0bytes\xff", 10);
  auto store = RocksDbStore::Create(directory_, configuration, *shared_);
  ASSERT_OK(store);
  EXPECT_EQ((*store)->configuration(), configuration);
  store->reset();
  store = Open();
  ASSERT_OK(store);
  EXPECT_EQ((*store)->configuration(), configuration);
}

TEST_F(RocksDbStoreTest, CreateRefusesADirectoryThatExists) {
  fs::create_directory(directory_);
  EXPECT_THAT(RocksDbStore::Create(directory_, "", *shared_),
              StatusIs(absl::StatusCode::kAlreadyExists, "store: it exists"));
}

TEST_F(RocksDbStoreTest, CreateReplacesWhatACrashDuringCreateLeft) {
  fs::path left = directory_;
  left += ".new";
  fs::create_directory(left);
  std::ofstream(left / "CURRENT") << "garbage";
  Create();
  EXPECT_FALSE(fs::exists(left));
}

TEST_F(RocksDbStoreTest, CreateWithoutAParentFailsAndLeavesNothing) {
  EXPECT_FALSE(RocksDbStore::Create(root_ / "no" / "store", "", *shared_).ok());
  EXPECT_FALSE(fs::exists(root_ / "no" / "store"));
}

TEST_F(RocksDbStoreTest, FailedCreateLeavesNothing) {
  file_system_->Inject(FaultyFileSystem::Fault::kNoSpace);
  EXPECT_THAT(RocksDbStore::Create(directory_, "", *shared_),
              StatusIs(absl::StatusCode::kResourceExhausted, "create store"));
  EXPECT_TRUE(fs::is_empty(root_));
}

TEST_F(RocksDbStoreTest, OpenOfNothingIsNotFound) {
  EXPECT_THAT(Open(),
              StatusIs(absl::StatusCode::kNotFound, "no such directory"));
}

TEST_F(RocksDbStoreTest, OpenOfAnEmptyDirectoryIsDataLoss) {
  fs::create_directory(directory_);
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kDataLoss, "open store"));
  EXPECT_TRUE(fs::is_empty(directory_));
}

TEST_F(RocksDbStoreTest, OpenTwiceIsRefused) {
  const auto store = Create();
  EXPECT_THAT(Open(),
              StatusIs(absl::StatusCode::kFailedPrecondition, "already open"));
  EXPECT_OK(CommitOne(*store, 1));
}

TEST_F(RocksDbStoreTest, EmptyStoreTakesLittleSpace) {
  const auto store = Create();
  ASSERT_OK(CommitOne(*store, 1));
  EXPECT_LT(*DirectoryBytes(directory_), 400'000u);
}

TEST_F(RocksDbStoreTest, SyncedBatchesSurviveACrash) {
  const auto store = Create();
  for (uint64_t number = 1; number <= 20; ++number) {
    ASSERT_OK(CommitOne(*store, number));
  }
  const fs::path copy = root_ / "crashed";
  CrashTo(copy);
  const auto reopened = RocksDbStore::Open(copy, *shared_);
  ASSERT_OK(reopened);
  ExpectDocuments(**reopened, 20);
}

// Whatever part of the last record a crash left, the batches before it are
// whole and the last one is there as a whole or not at all.
TEST_F(RocksDbStoreTest, TornLogLosesNoMoreThanItsLastBatch) {
  const auto store = Create();
  ASSERT_OK(CommitOne(*store, 1));
  ASSERT_OK(CommitOne(*store, 2));
  const size_t before = fs::file_size(Files(".log").front());
  ASSERT_OK(CommitOne(*store, 3));
  const fs::path log = Files(".log").front();
  const size_t after = fs::file_size(log);
  ASSERT_GT(after, before + 1000);
  for (size_t size = before; size <= after; size += (after - before) / 8) {
    SCOPED_TRACE(size);
    const fs::path copy = root_ / absl::StrCat("torn", size);
    CrashTo(copy);
    fs::resize_file(copy / log.filename(), size);
    const auto reopened = RocksDbStore::Open(copy, *shared_);
    ASSERT_OK(reopened);
    ExpectDocuments(**reopened, size == after ? 3 : 2);
  }
}

TEST_F(RocksDbStoreTest, DamageInTheMiddleOfTheLogIsDataLoss) {
  auto store = Create();
  for (uint64_t number = 1; number <= 20; ++number) {
    ASSERT_OK(CommitOne(*store, number));
  }
  const fs::path copy = root_ / "crashed";
  CrashTo(copy);
  FlipByte(copy / Files(".log").front().filename(), 5000);
  EXPECT_THAT(RocksDbStore::Open(copy, *shared_),
              StatusIs(absl::StatusCode::kDataLoss, "crashed"));
}

TEST_F(RocksDbStoreTest, DamagedTableIsDataLossAndNothingElse) {
  auto store = Create();
  for (uint64_t number = 1; number <= 20; ++number) {
    ASSERT_OK(CommitOne(*store, number));
  }
  ASSERT_OK(Settle(*store));
  store.reset();
  const fs::path table = Files(".sst").front();
  const size_t size = fs::file_size(table);
  for (size_t offset = 0; offset < size; offset += 997) {
    SCOPED_TRACE(offset);
    FlipByte(table, offset);
    const auto opened = Open();
    if (!opened.ok()) {
      EXPECT_THAT(opened, StatusIs(absl::StatusCode::kDataLoss, "open store"));
    } else {
      const std::vector<PassageId> ids = {Id(1)};
      const auto passages = (*opened)->GetPassages(ids);
      if (passages.ok()) {
        ASSERT_TRUE((*passages)[0].has_value());
        EXPECT_EQ((*passages)[0]->text, Text(1));
      } else {
        EXPECT_THAT(passages,
                    StatusIs(absl::StatusCode::kDataLoss, "read passages"));
      }
    }
    FlipByte(table, offset);
  }
}

TEST_F(RocksDbStoreTest, FlippedByteOfAPassageIsDataLoss) {
  auto store = Create();
  ASSERT_OK(CommitOne(*store, 1));
  ASSERT_OK(Settle(*store));
  store.reset();
  // The table's first block holds the passage.
  FlipByte(Files(".sst").front(), 10);
  const auto opened = Open();
  ASSERT_OK(opened);
  const std::vector<PassageId> ids = {Id(1)};
  EXPECT_THAT((*opened)->GetPassages(ids),
              StatusIs(absl::StatusCode::kDataLoss, "read passages"));
}

TEST_F(RocksDbStoreTest, TruncatedAndMissingTablesAreDataLoss) {
  auto store = Create();
  ASSERT_OK(CommitOne(*store, 1));
  ASSERT_OK(Settle(*store));
  store.reset();
  const fs::path table = Files(".sst").front();
  fs::resize_file(table, fs::file_size(table) / 2);
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kDataLoss, "open store"));
  fs::remove(table);
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kDataLoss, "open store"));
}

// RocksDB itself takes a manifest that was cut off for an older state.
TEST_F(RocksDbStoreTest, ATruncatedManifestIsDataLossAtEveryLength) {
  auto store = Create();
  for (uint64_t number = 1; number <= 20; ++number) {
    ASSERT_OK(CommitOne(*store, number));
  }
  ASSERT_OK(Settle(*store));
  ASSERT_OK(CommitOne(*store, 21));
  store.reset();
  fs::path manifest;
  for (const auto& entry : fs::directory_iterator(directory_)) {
    if (entry.path().filename().string().starts_with("MANIFEST-")) {
      manifest = entry.path();
    }
  }
  ASSERT_FALSE(manifest.empty());
  const auto content = ReadFile(manifest);
  ASSERT_OK(content);
  for (size_t size = 0; size < content->size(); size += 7) {
    SCOPED_TRACE(size);
    std::ofstream(manifest, std::ios::binary) << content->substr(0, size);
    EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kDataLoss, "open store"));
  }
  std::ofstream(manifest, std::ios::binary) << *content;
  EXPECT_OK(Open());
}

TEST_F(RocksDbStoreTest, NewerFormatIsRefusedWithBothVersions) {
  Create();
  std::string version;
  PutFixed32(6, version);
  PutMeta("format", version);
  EXPECT_THAT(Open(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       "format 6 is newer than this build, which reads up "
                       "to 5"));
}

// An old build must not touch what it does not know.
TEST_F(RocksDbStoreTest, RefusalOfANewerFormatChangesNoByte) {
  ASSERT_OK(CommitOne(*Create(), 1));
  std::string version;
  PutFixed32(6, version);
  PutMeta("format", version);
  const auto before = Contents();
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kFailedPrecondition,
                               "format 6 is newer"));
  EXPECT_EQ(Contents(), before);
}

TEST_F(RocksDbStoreTest, NewerFormatWithOtherColumnFamiliesIsRefusedTheSame) {
  Create();
  std::string version;
  PutFixed32(6, version);
  PutMeta("format", version);
  Tamper([](rocksdb::DB& db) {
    rocksdb::ColumnFamilyHandle* handle = nullptr;
    ASSERT_TRUE(db.CreateColumnFamily({}, "segments", &handle).ok());
    EXPECT_TRUE(db.DestroyColumnFamilyHandle(handle).ok());
  });
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kFailedPrecondition,
                               "format 6 is newer"));
  std::string current;
  PutFixed32(5, current);
  PutMeta("format", current);
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kDataLoss, "column families"));
}

// A store as the first version wrote it, byte for byte: document 1, "a", with a
// passage that has a code and one that is pending.
void WriteStoreOfVersion1(const fs::path& directory) {
  const std::vector<
      std::pair<std::string, std::vector<std::pair<std::string, std::string>>>>
      columns = {
          {"default",
           {{"format", std::string("\1\0\0\0", 4)},
            {"configuration", "configuration"},
            {"counts", std::string("\1\2\1\10\2", 5)}}},
          {"documents",
           {{std::string("\0\0\0\0\0\0\0\1", 8),
             std::string("\1a\1A\0", 5) + std::string(16, '\xa5') +
                 std::string("\2\2\0\3\0\1\5\0", 8)}}},
          {"ids", {{"a", "\1"}}},
          {"passages",
           {{std::string("\0\0\0\0\1\0\0\0", 8), std::string("\0one", 4)},
            {std::string("\0\0\0\0\1\0\0\1", 8), std::string("\0three", 6)}}},
          {"pending", {{std::string("\0\0\0\0\1\0\0\1", 8), ""}}},
          {"codes", {{std::string("\0\0\0\0\1\0\0\0", 8), "code"}}}};
  rocksdb::DBOptions options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const auto& [name, entries] : columns) {
    descriptors.emplace_back(name, rocksdb::ColumnFamilyOptions());
  }
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* raw = nullptr;
  ASSERT_TRUE(rocksdb::DB::Open(options, directory.string(), descriptors,
                                &handles, &raw)
                  .ok());
  const std::unique_ptr<rocksdb::DB> db(raw);
  for (size_t i = 0; i < columns.size(); ++i) {
    for (const auto& [key, value] : columns[i].second) {
      EXPECT_TRUE(db->Put({}, handles[i], key, value).ok());
    }
    EXPECT_TRUE(db->DestroyColumnFamilyHandle(handles[i]).ok());
  }
}

TEST_F(RocksDbStoreTest, StoreOfVersion1IsReadAndUpgraded) {
  WriteStoreOfVersion1(directory_);
  for (const char* const stage : {"upgraded", "reopened"}) {
    SCOPED_TRACE(stage);
    const auto store = Open();
    ASSERT_OK(store);
    EXPECT_EQ((*store)->configuration(), "configuration");
    const StoreCounts counts = {.documents = 1,
                                .passages = 2,
                                .pending = 1,
                                .text_bytes = 8,
                                .next_document = DocumentNumber{2}};
    EXPECT_EQ(*(*store)->GetCounts(), counts);
    DocumentRecord record;
    record.id = "a";
    record.title = "A";
    record.content_hash.bytes.fill(0xa5);
    record.next_serial = 2;
    record.passages = {{.serial = 0, .bytes = 3}, {.serial = 1, .bytes = 5}};
    EXPECT_THAT(*(*store)->GetDocument(DocumentNumber{1}), Optional(record));
    EXPECT_THAT(*(*store)->FindDocument("a"), Optional(DocumentNumber{1}));
    const PassageId pending = MakePassageId(DocumentNumber{1}, 1);
    const Passage one = {Id(1), "", "one"};
    const Passage three = {pending, "", "three"};
    EXPECT_THAT(*(*store)->GetPassages(std::vector{Id(1), pending}),
                testing::ElementsAre(Optional(one), Optional(three)));
    EXPECT_THAT(*(*store)->ListPending(PassageId{0}, 10),
                testing::ElementsAre(pending));
    size_t codes = 0;
    EXPECT_OK((*store)->VisitCodes([&](PassageId id, std::string_view code) {
      ++codes;
      EXPECT_EQ(id, Id(1));
      EXPECT_EQ(code, "code");
      return absl::OkStatus();
    }));
    EXPECT_EQ(codes, 1u);
    EXPECT_OK((*store)->VisitTombstones(
        [](PassageId) { return absl::InternalError("there is none"); }));
    EXPECT_EQ(*(*store)->GetManifest(), std::nullopt);
    EXPECT_EQ(*(*store)->GetSources(), std::nullopt);
    EXPECT_THAT(*(*store)->GetVectors(std::vector{Id(1)}),
                testing::ElementsAre(std::nullopt));
  }
  // A build that reads an older version refuses the store from now on.
  Tamper([](rocksdb::DB& db) {
    std::string format;
    EXPECT_TRUE(db.Get({}, "format", &format).ok());
    EXPECT_EQ(format, std::string("\5\0\0\0", 4));
  });
}

// A snapshot that an older build made must not be changed to be read.
TEST_F(RocksDbStoreTest, AnOlderFormatIsReadWithoutBeingRaised) {
  ASSERT_OK(CommitOne(*Create(), 1));
  for (uint32_t format = 3; format <= 5; ++format) {
    SCOPED_TRACE(format);
    std::string version;
    PutFixed32(format, version);
    PutMeta("format", version);
    {
      const auto opened = RocksDbStore::OpenReadOnly(directory_, *shared_);
      ASSERT_OK(opened);
      ExpectDocuments(**opened, 1);
    }
    Tamper([&](rocksdb::DB& db) {
      std::string stored;
      EXPECT_TRUE(db.Get({}, "format", &stored).ok());
      EXPECT_EQ(stored, version);
    });
  }
  std::string version;
  PutFixed32(2, version);
  PutMeta("format", version);
  EXPECT_THAT(RocksDbStore::OpenReadOnly(directory_, *shared_),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       "format 2 has to become 5 first"));
}

// The upgrade is one write: a store that it failed for is as it was.
TEST_F(RocksDbStoreTest, FailedUpgradeLeavesVersion1) {
  WriteStoreOfVersion1(directory_);
  file_system_->Inject(FaultyFileSystem::Fault::kNoSpace);
  EXPECT_THAT(Open(),
              StatusIs(absl::StatusCode::kResourceExhausted, "injected"));
  file_system_->Inject(FaultyFileSystem::Fault::kNone);
  Tamper([](rocksdb::DB& db) {
    std::string format;
    EXPECT_TRUE(db.Get({}, "format", &format).ok());
    EXPECT_EQ(format, std::string("\1\0\0\0", 4));
  });
  ASSERT_OK(Open());
}

// A batch that publishes a segment is there as a whole or not at all, wherever
// a crash cuts it off.
TEST_F(RocksDbStoreTest, PublishingIsAtomicInATornLog) {
  const auto store = Create();
  ASSERT_OK(CommitOne(*store, 1));
  StoreBatch codes;
  codes.put_codes = {{Id(1), "code"}};
  codes.put_tombstones = {Id(8)};
  codes.manifest = "old";
  codes.counts = *store->GetCounts();
  ASSERT_OK(store->Commit(codes, Durability::kSynced));
  const size_t before = fs::file_size(Files(".log").front());
  StoreBatch publish;
  publish.erase_codes = {Id(1)};
  publish.put_tombstones = {Id(9)};
  publish.erase_tombstones = {Id(8)};
  publish.manifest = "new";
  publish.counts = codes.counts;
  ASSERT_OK(store->Commit(publish, Durability::kSynced));
  const fs::path log = Files(".log").front();
  const size_t after = fs::file_size(log);
  ASSERT_GT(after, before);
  for (size_t cut = 0; cut <= after - before; cut += 9) {
    SCOPED_TRACE(cut);
    const size_t size = after - cut;
    const fs::path copy = root_ / absl::StrCat("torn", size);
    CrashTo(copy);
    fs::resize_file(copy / log.filename(), size);
    const auto reopened = RocksDbStore::Open(copy, *shared_);
    ASSERT_OK(reopened);
    const bool published = cut == 0;
    EXPECT_THAT(*(*reopened)->GetManifest(),
                Optional(std::string(published ? "new" : "old")));
    size_t left = 0;
    ASSERT_OK((*reopened)->VisitCodes([&](PassageId, std::string_view) {
      ++left;
      return absl::OkStatus();
    }));
    EXPECT_EQ(left, published ? 0u : 1u);
    std::vector<PassageId> tombstones;
    ASSERT_OK((*reopened)->VisitTombstones([&](PassageId id) {
      tombstones.push_back(id);
      return absl::OkStatus();
    }));
    EXPECT_THAT(tombstones, testing::ElementsAre(Id(published ? 9 : 8)));
    fs::remove_all(copy);
  }
}

TEST_F(RocksDbStoreTest, MalformedTombstoneIsDataLoss) {
  Create();
  PutMeta("tombstone:1234567", "");
  const auto store = Open();
  ASSERT_OK(store);
  EXPECT_THAT(
      (*store)->VisitTombstones([](PassageId) { return absl::OkStatus(); }),
      StatusIs(absl::StatusCode::kDataLoss, "tombstone key"));
}

TEST_F(RocksDbStoreTest, MissingOrMalformedMetaIsDataLoss) {
  Create();
  PutMeta("format", "1");
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kDataLoss, "format"));
  std::string version;
  PutFixed32(1, version);
  PutMeta("format", version);
  ASSERT_OK(Open());
  PutMeta("counts", "\xff");
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kDataLoss, "counts"));
  Tamper([](rocksdb::DB& db) {
    EXPECT_TRUE(db.Delete(rocksdb::WriteOptions(), "format").ok());
  });
  EXPECT_THAT(Open(),
              StatusIs(absl::StatusCode::kDataLoss, "no value for \"format\""));
}

TEST_F(RocksDbStoreTest, FailedWriteLeavesWhatWasCommittedBefore) {
  auto store = Create();
  ASSERT_OK(CommitOne(*store, 1));
  file_system_->Inject(FaultyFileSystem::Fault::kInputOutput);
  EXPECT_THAT(CommitOne(*store, 2),
              StatusIs(absl::StatusCode::kInternal, "injected"));
  ExpectDocuments(*store, 1);
  const fs::path copy = root_ / "crashed";
  CrashTo(copy);
  file_system_->Inject(FaultyFileSystem::Fault::kNone);
  const auto reopened = RocksDbStore::Open(copy, *shared_);
  ASSERT_OK(reopened);
  ExpectDocuments(**reopened, 1);
}

TEST_F(RocksDbStoreTest, FullDiskRefusesWritesUntilThereIsSpace) {
  auto store = Create();
  ASSERT_OK(CommitOne(*store, 1));
  file_system_->Inject(FaultyFileSystem::Fault::kNoSpace);
  for (int attempt = 0; attempt < 3; ++attempt) {
    EXPECT_THAT(CommitOne(*store, 2),
                StatusIs(absl::StatusCode::kResourceExhausted, "injected"));
    ExpectDocuments(*store, 1);
  }
  file_system_->Inject(FaultyFileSystem::Fault::kNone);
  ASSERT_OK(CommitOne(*store, 2));
  ASSERT_OK(CommitOne(*store, 3));
  ExpectDocuments(*store, 3);
  store.reset();
  const auto reopened = Open();
  ASSERT_OK(reopened);
  ExpectDocuments(**reopened, 3);
}

struct FailedWrite {
  FaultyFileSystem::Fault fault;
  absl::StatusCode code;
};
constexpr FailedWrite kFailedWrites[] = {
    {FaultyFileSystem::Fault::kInputOutput, absl::StatusCode::kInternal},
    {FaultyFileSystem::Fault::kNoSpace, absl::StatusCode::kResourceExhausted},
    {FaultyFileSystem::Fault::kSync, absl::StatusCode::kInternal},
};

// Nothing is in memory but what the failed write was to add.
TEST_F(RocksDbStoreTest, WritesGoOnAfterTheFirstOneSinceOpeningFailed) {
  uint64_t last = 0;
  ASSERT_OK(CommitOne(*Create(), ++last));
  for (const auto& [fault, code] : kFailedWrites) {
    SCOPED_TRACE(static_cast<int>(fault));
    auto store = *Open();
    file_system_->Inject(fault);
    for (int attempt = 0; attempt < 3; ++attempt) {
      EXPECT_THAT(CommitOne(*store, last + 1), StatusIs(code, "injected"));
      ExpectDocuments(*store, last);
    }
    file_system_->Inject(FaultyFileSystem::Fault::kNone);
    ASSERT_OK(CommitOne(*store, ++last));
    ASSERT_OK(CommitOne(*store, ++last));
    ExpectDocuments(*store, last);
    const fs::path copy = root_ / absl::StrCat("crashed", last);
    CrashTo(copy);
    const auto reopened = RocksDbStore::Open(copy, *shared_);
    ASSERT_OK(reopened);
    ExpectDocuments(**reopened, last);
  }
}

TEST_F(RocksDbStoreTest, WritesGoOnAfterTheFirstOneSinceSettlingFailed) {
  const auto store = Create();
  uint64_t last = 0;
  ASSERT_OK(CommitOne(*store, ++last));
  for (const auto& [fault, code] : kFailedWrites) {
    SCOPED_TRACE(static_cast<int>(fault));
    ASSERT_OK(Settle(*store));
    file_system_->Inject(fault);
    EXPECT_THAT(CommitOne(*store, last + 1), StatusIs(code, "injected"));
    ExpectDocuments(*store, last);
    file_system_->Inject(FaultyFileSystem::Fault::kNone);
    ASSERT_OK(CommitOne(*store, ++last));
    ASSERT_OK(CommitOne(*store, ++last));
    ExpectDocuments(*store, last);
    const fs::path copy = root_ / absl::StrCat("crashed", last);
    CrashTo(copy);
    const auto reopened = RocksDbStore::Open(copy, *shared_);
    ASSERT_OK(reopened);
    ExpectDocuments(**reopened, last);
  }
}

TEST_F(RocksDbStoreTest, StoreMayBeSettledOrClosedAfterAFailedWrite) {
  for (const auto& [fault, code] : kFailedWrites) {
    SCOPED_TRACE(static_cast<int>(fault));
    fs::remove_all(directory_);
    auto store = Create();
    ASSERT_OK(CommitOne(*store, 1));
    for (uint64_t last = 1; last <= 2; ++last) {
      file_system_->Inject(fault);
      EXPECT_THAT(CommitOne(*store, last + 1), StatusIs(code, "injected"));
      EXPECT_FALSE(Settle(*store).ok());
      file_system_->Inject(FaultyFileSystem::Fault::kNone);
      ASSERT_OK(CommitOne(*store, last + 1));
      ASSERT_OK(Settle(*store));
      ExpectDocuments(*store, last + 1);
    }
    file_system_->Inject(fault);
    EXPECT_THAT(CommitOne(*store, 4), StatusIs(code, "injected"));
    store.reset();
    file_system_->Inject(FaultyFileSystem::Fault::kNone);
    const auto reopened = Open();
    ASSERT_OK(reopened);
    ASSERT_OK(CommitOne(**reopened, 4));
    ExpectDocuments(**reopened, 4);
  }
}

// A log that a failed write left may hold its batch in part, in whole or not at
// all, and a crash may come before the log is deleted.
TEST_F(RocksDbStoreTest, LogOfAFailedWriteAddsNothingAfterTheNextWrite) {
  for (const bool settled : {false, true}) {
    for (const auto& [fault, code] : kFailedWrites) {
      SCOPED_TRACE(absl::StrCat(settled, " ", static_cast<int>(fault)));
      fs::remove_all(directory_);
      const auto store = Create();
      ASSERT_OK(CommitOne(*store, 1));
      if (settled) {
        ASSERT_OK(Settle(*store));
      } else {
        // In memory are some column families and not others.
        ASSERT_OK(Settle(*store));
        StoreBatch batch;
        batch.put_codes = {{Id(1), "code"}};
        batch.counts = *store->GetCounts();
        ASSERT_OK(store->Commit(batch, Durability::kSynced));
      }
      file_system_->Inject(fault);
      EXPECT_THAT(CommitOne(*store, 2), StatusIs(code, "injected"));
      const fs::path copy =
          root_ / absl::StrCat("crashed", settled, static_cast<int>(fault));
      CrashTo(root_ / "failed");
      file_system_->Inject(FaultyFileSystem::Fault::kNone);
      StoreBatch batch;
      batch.counts = *store->GetCounts();
      ASSERT_OK(store->Commit(batch, Durability::kSynced));
      CrashTo(copy);
      for (const auto& entry : fs::directory_iterator(root_ / "failed")) {
        if (entry.path().extension() == ".log") {
          fs::copy_file(entry.path(), copy / entry.path().filename(),
                        fs::copy_options::skip_existing);
        }
      }
      fs::remove_all(root_ / "failed");
      const auto reopened = RocksDbStore::Open(copy, *shared_);
      ASSERT_OK(reopened);
      ExpectDocuments(**reopened, 1);
      EXPECT_EQ(*(*reopened)->GetDocument(DocumentNumber{2}), std::nullopt);
      EXPECT_EQ((*(*reopened)->GetPassages(std::vector{Id(2)}))[0],
                std::nullopt);
    }
  }
}

// The last table that settling creates is one that a compaction writes.
TEST_F(RocksDbStoreTest, SettlingIsCancelledWhileItCompacts) {
  StoreBatch batch;
  for (uint64_t number = 1; number <= 1000; ++number) {
    batch.put_passages.push_back({Id(number), "", "text"});
    batch.put_codes.push_back({Id(number), Text(number)});
  }
  auto store = Create();
  ASSERT_OK(store->Commit(batch, Durability::kSynced));
  const int created = file_system_->tables_created();
  ASSERT_OK(Settle(*store));
  const int tables = file_system_->tables_created() - created;
  const auto settled = DirectoryBytes(directory_);
  ASSERT_OK(settled);
  store.reset();
  fs::remove_all(directory_);

  store = Create();
  ASSERT_OK(store->Commit(batch, Durability::kSynced));
  std::atomic<bool> cancelled = false;
  file_system_->RaiseAtTable(file_system_->tables_created() + tables,
                             &cancelled);
  EXPECT_THAT(store->Settle(cancelled),
              StatusIs(absl::StatusCode::kCancelled, "compact store"));
  EXPECT_TRUE(cancelled);
  cancelled = false;
  ASSERT_OK(store->Settle(cancelled));
  EXPECT_NEAR(static_cast<double>(*DirectoryBytes(directory_)),
              static_cast<double>(*settled), 10'000);
  uint64_t codes = 0;
  ASSERT_OK(store->VisitCodes([&](PassageId id, std::string_view code) {
    ++codes;
    EXPECT_EQ(id, Id(codes));
    EXPECT_EQ(code, Text(codes));
    return absl::OkStatus();
  }));
  EXPECT_EQ(codes, 1000u);
}

TEST_F(RocksDbStoreTest, TextIsCompressedWithADictionaryOnceSettled) {
  auto store = Create();
  StoreBatch batch;
  size_t text_bytes = 0;
  for (uint64_t number = 1; number <= 8000; ++number) {
    Passage passage{Id(number), "", ""};
    // Text that repeats over passages more than within one.
    for (uint64_t word = 0; word < 40; ++word) {
      absl::StrAppend(&passage.text, "word",
                      (number * 7919 + word * word * 104729) % 2000, " ");
    }
    text_bytes += passage.text.size();
    batch.put_passages.push_back(std::move(passage));
  }
  batch.counts.passages = batch.put_passages.size();
  ASSERT_OK(store->Commit(batch, Durability::kSynced));
  ASSERT_OK(Settle(*store));
  const auto settled = DirectoryBytes(directory_);
  ASSERT_OK(settled);
  EXPECT_LT(*settled, text_bytes / 2);
  // Settled is settled: nothing more to do.
  ASSERT_OK(Settle(*store));
  EXPECT_EQ(*DirectoryBytes(directory_), *settled);
}

TEST_F(RocksDbStoreTest, ACheckpointHasWhatWasCommittedAndGoesItsOwnWay) {
  const auto store = Create();
  for (uint64_t number = 1; number <= 5; ++number) {
    ASSERT_OK(CommitOne(*store, number));
  }
  const fs::path copy = root_ / "copy";
  ASSERT_OK(store->Checkpoint(copy));
  EXPECT_EQ(fs::status(copy).permissions() & fs::perms::all,
            fs::perms::owner_all);
  ASSERT_OK(CommitOne(*store, 6));
  ASSERT_OK(Settle(*store));

  const auto copied = RocksDbStore::Open(copy, *shared_);
  ASSERT_OK(copied);
  ExpectDocuments(**copied, 5);
  StoreBatch batch = OneDocument(6);
  batch.erase_documents = {{DocumentNumber{1}, "document 1"}};
  ASSERT_OK((*copied)->Commit(batch, Durability::kSynced));
  ASSERT_OK(Settle(**copied));
  ExpectDocuments(*store, 6);
  EXPECT_FALSE(store->Checkpoint(copy).ok());
  ExpectDocuments(*store, 6);
}

TEST_F(RocksDbStoreTest, OpenedForReadingItChangesNoFile) {
  auto store = Create();
  ASSERT_OK(CommitOne(*store, 1));
  ASSERT_OK(Settle(*store));
  ASSERT_OK(CommitOne(*store, 2));
  store.reset();
  const auto state = [this] {
    std::map<fs::path, fs::file_time_type> files;
    for (const auto& entry : fs::directory_iterator(directory_)) {
      files[entry.path()] = entry.last_write_time();
    }
    return files;
  };
  const auto before = state();
  {
    const auto opened = RocksDbStore::OpenReadOnly(directory_, *shared_);
    ASSERT_OK(opened);
    ExpectDocuments(**opened, 2);
    EXPECT_OK((*opened)->CheckBytes({}));
    EXPECT_FALSE(CommitOne(**opened, 3).ok());
  }
  EXPECT_EQ(state(), before);
}

TEST_F(RocksDbStoreTest, ACheckOfBytesTellsHowFarItIsAndCanBeCancelled) {
  auto store = Create();
  ASSERT_OK(CommitOne(*store, 1));
  ASSERT_OK(Settle(*store));
  uint64_t bytes = 0;
  std::vector<uint64_t> told;
  EXPECT_OK(store->CheckBytes({.progress = [&](uint64_t done, uint64_t total) {
    bytes = total;
    told.push_back(done);
  }}));
  EXPECT_EQ(told.front(), 0u);
  EXPECT_EQ(told.back(), bytes);
  EXPECT_GT(bytes, 1000u);
  EXPECT_TRUE(std::is_sorted(told.begin(), told.end()));
  EXPECT_THAT(store->CheckBytes({.cancelled = [] { return true; }}),
              StatusIs(absl::StatusCode::kCancelled, "cancelled"));
}

TEST_F(RocksDbStoreTest, ACheckOfBytesIsNotLedAstrayByACompaction) {
  auto store = Create();
  ASSERT_OK(CommitOne(*store, 1));
  ASSERT_OK(Settle(*store));
  const auto before = Files(".sst");
  bool compacted = false;
  EXPECT_OK(store->CheckBytes({.progress = [&](uint64_t, uint64_t) {
    if (!std::exchange(compacted, true)) {
      ASSERT_OK(CommitOne(*store, 2));
      ASSERT_OK(Settle(*store));
    }
  }}));
  EXPECT_TRUE(compacted);
  EXPECT_NE(Files(".sst"), before);
}

TEST_F(RocksDbStoreTest, EveryFlippedByteOfATableIsFound) {
  auto store = Create();
  for (uint64_t number = 1; number <= 20; ++number) {
    ASSERT_OK(CommitOne(*store, number));
  }
  ASSERT_OK(Settle(*store));
  store.reset();
  int blocks = 0;
  for (const fs::path& table : Files(".sst")) {
    // Of the data, which comes first; the end is read when a table is opened.
    for (size_t offset = 0; offset < fs::file_size(table) / 2; offset += 501) {
      SCOPED_TRACE(absl::StrCat(table.string(), " ", offset));
      FlipByte(table, offset);
      const auto opened = RocksDbStore::OpenReadOnly(directory_, *shared_);
      EXPECT_THAT(opened.ok() ? (*opened)->CheckBytes({}) : opened.status(),
                  StatusIs(absl::StatusCode::kDataLoss, "store"));
      ++blocks;
      FlipByte(table, offset);
    }
  }
  EXPECT_GT(blocks, 10);
}

}  // namespace
}  // namespace pith
