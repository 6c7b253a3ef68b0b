#include "core/storage/rocksdb_store.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
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

// Lets tests refuse appends to files.
class FaultyFileSystem : public rocksdb::FileSystemWrapper {
 public:
  FaultyFileSystem()
      : rocksdb::FileSystemWrapper(rocksdb::FileSystem::Default()) {}

  const char* Name() const override { return "FaultyFileSystem"; }

  enum class Fault { kNone, kInputOutput, kNoSpace };
  // From now on, for files that are open too.
  void Inject(Fault fault) { fault_ = fault; }

  rocksdb::IOStatus NewWritableFile(
      const std::string& name, const rocksdb::FileOptions& options,
      std::unique_ptr<rocksdb::FSWritableFile>* result,
      rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus status =
        target()->NewWritableFile(name, options, result, debug);
    if (status.ok()) {
      *result = std::make_unique<File>(std::move(*result), *this);
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

   private:
    const FaultyFileSystem& owner_;
  };

  rocksdb::IOStatus Failure() const {
    switch (fault_.load()) {
      case Fault::kNone:
        return rocksdb::IOStatus::OK();
      case Fault::kInputOutput:
        return rocksdb::IOStatus::IOError("injected");
      case Fault::kNoSpace:
        return rocksdb::IOStatus::NoSpace("injected");
    }
    return rocksdb::IOStatus::OK();
  }

  std::atomic<Fault> fault_ = Fault::kNone;
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

  // The directory as a crash of the process would leave it now.
  void CrashTo(const fs::path& copy) { fs::copy(directory_, copy); }

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
    absl::StrAppend(
        &text,
        ToHex(HashContent(absl::StrCat(number, " ", text.size())).bytes));
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
  ASSERT_OK(store->Settle());
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
  ASSERT_OK(store->Settle());
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
  ASSERT_OK(store->Settle());
  store.reset();
  const fs::path table = Files(".sst").front();
  fs::resize_file(table, fs::file_size(table) / 2);
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kDataLoss, "open store"));
  fs::remove(table);
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kDataLoss, "open store"));
}

TEST_F(RocksDbStoreTest, NewerFormatIsRefusedWithBothVersions) {
  Create();
  std::string version;
  PutFixed32(2, version);
  PutMeta("format", version);
  EXPECT_THAT(Open(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       "format 2 is newer than this build, which reads up "
                       "to 1"));
}

TEST_F(RocksDbStoreTest, NewerFormatWithOtherColumnFamiliesIsRefusedTheSame) {
  Create();
  std::string version;
  PutFixed32(3, version);
  PutMeta("format", version);
  Tamper([](rocksdb::DB& db) {
    rocksdb::ColumnFamilyHandle* handle = nullptr;
    ASSERT_TRUE(db.CreateColumnFamily({}, "segments", &handle).ok());
    EXPECT_TRUE(db.DestroyColumnFamilyHandle(handle).ok());
  });
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kFailedPrecondition,
                               "format 3 is newer"));
  std::string current;
  PutFixed32(1, current);
  PutMeta("format", current);
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kDataLoss, "column families"));
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
  ASSERT_OK(store->Settle());
  const auto settled = DirectoryBytes(directory_);
  ASSERT_OK(settled);
  EXPECT_LT(*settled, text_bytes / 2);
  // Settled is settled: nothing more to do.
  ASSERT_OK(store->Settle());
  EXPECT_EQ(*DirectoryBytes(directory_), *settled);
}

}  // namespace
}  // namespace pith
