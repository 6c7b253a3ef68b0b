#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/storage/monitored_store.h"
#include "core/storage/passage_store.h"
#include "core/storage/rocksdb_store.h"
#include "tests/fakes/in_memory_passage_store.h"
#include "tests/status_matchers.h"

namespace pith {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;
using testing::Pair;

// Owns a store and what it needs; a store that is reopened has lost what it did
// not write down.
class StoreHolder {
 public:
  virtual ~StoreHolder() = default;
  virtual PassageStore& store() = 0;
  virtual void Reopen() = 0;
};

class InMemoryHolder : public StoreHolder {
 public:
  PassageStore& store() override { return store_; }
  void Reopen() override {}

 private:
  InMemoryPassageStore store_;
};

class MonitoredHolder : public StoreHolder {
 public:
  PassageStore& store() override { return store_; }
  void Reopen() override {}

 private:
  MonitoredStore store_{std::make_unique<InMemoryPassageStore>()};
};

class RocksDbHolder : public StoreHolder {
 public:
  RocksDbHolder() : root_(Root()), shared_({}) {
    std::filesystem::remove_all(root_);
    std::filesystem::create_directory(root_);
    auto store = RocksDbStore::Create(root_ / "store", "", shared_);
    EXPECT_OK(store);
    store_ = *std::move(store);
  }
  ~RocksDbHolder() override {
    store_.reset();
    std::filesystem::remove_all(root_);
  }

  PassageStore& store() override { return *store_; }
  void Reopen() override {
    store_.reset();
    auto store = RocksDbStore::Open(root_ / "store", shared_);
    EXPECT_OK(store);
    store_ = *std::move(store);
  }

 private:
  static std::string Root() {
    std::string test =
        testing::UnitTest::GetInstance()->current_test_info()->name();
    std::replace(test.begin(), test.end(), '/', '.');
    return testing::TempDir() + "/passage_store_contract." + test;
  }

  std::filesystem::path root_;
  RocksDbShared shared_;
  std::unique_ptr<PassageStore> store_;
};

struct StoreKind {
  std::string name;
  std::function<std::unique_ptr<StoreHolder>()> create;
  // What was committed is there after the store is closed and opened again.
  bool survives_reopening = false;
};

void PrintTo(const StoreKind& kind, std::ostream* out) {
  *out << kind.name;
}

class PassageStoreContract : public testing::TestWithParam<StoreKind> {
 protected:
  void SetUp() override { holder_ = GetParam().create(); }
  PassageStore& store() { return holder_->store(); }

  // Runs `check` now, settled, and reopened if that is promised.
  void AtEveryStage(const std::function<void()>& check) {
    {
      SCOPED_TRACE("as committed");
      check();
    }
    if (GetParam().survives_reopening) {
      SCOPED_TRACE("reopened");
      holder_->Reopen();
      check();
    }
    SCOPED_TRACE("settled");
    std::atomic<bool> cancelled = false;
    EXPECT_OK(store().Settle(cancelled));
    check();
  }

  std::unique_ptr<StoreHolder> holder_;
};

INSTANTIATE_TEST_SUITE_P(
    All, PassageStoreContract,
    testing::Values(
        StoreKind{.name = "InMemory",
                  .create = [] { return std::make_unique<InMemoryHolder>(); }},
        StoreKind{.name = "Monitored",
                  .create = [] { return std::make_unique<MonitoredHolder>(); }},
        StoreKind{.name = "RocksDb",
                  .create = [] { return std::make_unique<RocksDbHolder>(); },
                  .survives_reopening = true}),
    [](const auto& test) { return test.param.name; });

DocumentRecord Record(std::string id) {
  return {.id = std::move(id), .next_serial = 0};
}

Passage MakePassage(uint64_t document, uint32_t serial, std::string text) {
  return {.id = MakePassageId(DocumentNumber{document}, serial),
          .text = std::move(text)};
}

StoreCounts Counts(uint64_t documents, uint64_t passages, uint64_t pending) {
  return {.documents = documents,
          .passages = passages,
          .pending = pending,
          .text_bytes = 10 * passages,
          .next_document = DocumentNumber{1000}};
}

// Two documents; passages 1/0 and 2/0 with codes, 1/1 pending.
StoreBatch TwoDocuments() {
  return {.put_documents = {{DocumentNumber{1}, Record("a")},
                            {DocumentNumber{2}, Record("b")}},
          .put_passages = {MakePassage(1, 0, "one"), MakePassage(1, 1, "two"),
                           MakePassage(2, 0, "three")},
          .put_codes = {{MakePassageId(DocumentNumber{1}, 0), "code one"},
                        {MakePassageId(DocumentNumber{2}, 0), "code three"}},
          .counts = Counts(2, 3, 1)};
}

std::vector<std::string> ListIds(const PassageStore& store,
                                 std::string_view prefix,
                                 std::optional<std::string_view> after,
                                 size_t limit) {
  const auto documents = store.ListDocuments(prefix, after, limit);
  EXPECT_OK(documents);
  std::vector<std::string> ids;
  for (const DocumentSummary& document : *documents) {
    EXPECT_THAT(*store.FindDocument(document.id), Optional(document.number));
    ids.push_back(document.id);
  }
  return ids;
}

std::vector<std::pair<PassageId, std::string>> AllCodes(
    const PassageStore& store) {
  std::vector<std::pair<PassageId, std::string>> codes;
  EXPECT_OK(store.VisitCodes([&](PassageId id, std::string_view code) {
    codes.emplace_back(id, code);
    return absl::OkStatus();
  }));
  return codes;
}

std::vector<PassageId> AllTombstones(const PassageStore& store) {
  std::vector<PassageId> tombstones;
  EXPECT_OK(store.VisitTombstones([&](PassageId id) {
    tombstones.push_back(id);
    return absl::OkStatus();
  }));
  return tombstones;
}

// Numbers of documents, and passages, as they are visited.
std::vector<DocumentNumber> AllDocuments(const PassageStore& store) {
  std::vector<DocumentNumber> numbers;
  EXPECT_OK(store.VisitDocuments(
      [&](DocumentNumber number, const absl::StatusOr<DocumentRecord>& record) {
        EXPECT_OK(record);
        EXPECT_EQ(*store.GetDocument(number), *record);
        numbers.push_back(number);
        return absl::OkStatus();
      }));
  return numbers;
}

std::vector<PassageId> AllPassages(const PassageStore& store) {
  std::vector<PassageId> passages;
  EXPECT_OK(store.VisitPassages([&](PassageId id) {
    passages.push_back(id);
    return absl::OkStatus();
  }));
  return passages;
}

std::vector<std::pair<PassageId, std::string>> AllVectors(
    const PassageStore& store) {
  std::vector<std::pair<PassageId, std::string>> vectors;
  EXPECT_OK(store.VisitVectors([&](PassageId id, std::string_view vector) {
    vectors.emplace_back(id, vector);
    return absl::OkStatus();
  }));
  return vectors;
}

TEST_P(PassageStoreContract, StartsEmpty) {
  AtEveryStage([&] {
    EXPECT_EQ(*store().GetCounts(), StoreCounts());
    EXPECT_EQ(*store().FindDocument("a"), std::nullopt);
    EXPECT_EQ(*store().GetDocument(DocumentNumber{1}), std::nullopt);
    EXPECT_THAT(*store().GetPassages({}), IsEmpty());
    EXPECT_THAT(ListIds(store(), "", std::nullopt, 10), IsEmpty());
    EXPECT_THAT(*store().ListPending(PassageId{0}, 10), IsEmpty());
    EXPECT_THAT(AllCodes(store()), IsEmpty());
    EXPECT_THAT(AllTombstones(store()), IsEmpty());
    EXPECT_EQ(*store().GetManifest(), std::nullopt);
  });
}

TEST_P(PassageStoreContract, BatchIsReadBackAsAWhole) {
  ASSERT_OK(store().Commit(TwoDocuments(), Durability::kSynced));
  AtEveryStage([&] {
    EXPECT_EQ(*store().GetCounts(), Counts(2, 3, 1));
    EXPECT_THAT(*store().FindDocument("a"), Optional(DocumentNumber{1}));
    EXPECT_THAT(*store().FindDocument("b"), Optional(DocumentNumber{2}));
    EXPECT_EQ(*store().FindDocument("c"), std::nullopt);
    EXPECT_THAT(*store().GetDocument(DocumentNumber{2}), Optional(Record("b")));
    EXPECT_THAT(*store().ListPending(PassageId{0}, 10),
                ElementsAre(MakePassageId(DocumentNumber{1}, 1)));
    EXPECT_THAT(
        AllCodes(store()),
        ElementsAre(
            testing::Pair(MakePassageId(DocumentNumber{1}, 0), "code one"),
            testing::Pair(MakePassageId(DocumentNumber{2}, 0), "code three")));
  });
}

TEST_P(PassageStoreContract, BufferedBatchesAreReadBackToo) {
  ASSERT_OK(store().Commit(TwoDocuments(), Durability::kBuffered));
  AtEveryStage([&] { EXPECT_EQ(*store().GetCounts(), Counts(2, 3, 1)); });
}

TEST_P(PassageStoreContract, PassagesComeInTheOrderAskedForWithGapsAsNullopt) {
  ASSERT_OK(store().Commit(TwoDocuments(), Durability::kSynced));
  const std::vector<PassageId> ids = {
      MakePassageId(DocumentNumber{2}, 0), MakePassageId(DocumentNumber{9}, 0),
      MakePassageId(DocumentNumber{1}, 1), MakePassageId(DocumentNumber{2}, 0)};
  AtEveryStage([&] {
    EXPECT_THAT(*store().GetPassages(ids),
                ElementsAre(Optional(MakePassage(2, 0, "three")), std::nullopt,
                            Optional(MakePassage(1, 1, "two")),
                            Optional(MakePassage(2, 0, "three"))));
  });
}

TEST_P(PassageStoreContract, DocumentRecordComesBackWithAllItsFields) {
  DocumentRecord record;
  record.id = std::string("id\0\xff with any bytes", 20);
  record.title = "t\xc3\xbctle";
  record.metadata = {{"b", true},
                     {"d", -0.5},
                     {"i", int64_t{-7}},
                     {"s", std::string("text")},
                     {"", std::string()}};
  record.content_hash.bytes.fill(0xA5);
  record.next_serial = 7;
  record.passages = {{.serial = 6, .bytes = 300, .newlines = 4},
                     {.serial = 2, .bytes = 0, .newlines = 0}};
  ASSERT_OK(store().Commit({.put_documents = {{DocumentNumber{3}, record}},
                            .counts = Counts(1, 0, 0)},
                           Durability::kSynced));
  AtEveryStage([&] {
    EXPECT_THAT(*store().GetDocument(DocumentNumber{3}), Optional(record));
    EXPECT_THAT(*store().FindDocument(record.id), Optional(DocumentNumber{3}));
  });
}

TEST_P(PassageStoreContract, TextMayBeAnyBytesOfAnyLength) {
  std::string all_bytes;
  for (int i = 0; i < 512; ++i) {
    all_bytes.push_back(static_cast<char>(i));
  }
  std::string megabyte;
  for (int i = 0; megabyte.size() < size_t{1} << 20; ++i) {
    absl::StrAppend(&megabyte, i, " ");
  }
  const DocumentNumber document{1};
  const std::vector<Passage> passages = {
      {MakePassageId(document, 0), "", ""},
      {MakePassageId(document, 1), "", all_bytes},
      {MakePassageId(document, 2), all_bytes, ""},
      {MakePassageId(document, 3), all_bytes, megabyte},
      {MakePassageId(document, kMaxSerial), "context", "text"}};
  ASSERT_OK(
      store().Commit({.put_passages = passages, .counts = Counts(0, 5, 5)},
                     Durability::kSynced));
  std::vector<PassageId> ids;
  for (const Passage& passage : passages) {
    ids.push_back(passage.id);
  }
  AtEveryStage([&] {
    const auto read = store().GetPassages(ids);
    ASSERT_OK(read);
    for (size_t i = 0; i < passages.size(); ++i) {
      EXPECT_TRUE((*read)[i] == passages[i]) << i;
    }
  });
}

TEST_P(PassageStoreContract, PutReplacesADocumentAndErasureTakesPassagesAway) {
  ASSERT_OK(store().Commit(TwoDocuments(), Durability::kSynced));
  DocumentRecord changed = Record("a");
  changed.title = "changed";
  ASSERT_OK(
      store().Commit({.put_documents = {{DocumentNumber{1}, changed}},
                      .put_passages = {MakePassage(1, 2, "four")},
                      .erase_passages = {MakePassageId(DocumentNumber{1}, 0),
                                         MakePassageId(DocumentNumber{1}, 1)},
                      .counts = Counts(2, 2, 1)},
                     Durability::kSynced));
  const std::vector<PassageId> ids = {MakePassageId(DocumentNumber{1}, 0),
                                      MakePassageId(DocumentNumber{1}, 1),
                                      MakePassageId(DocumentNumber{1}, 2)};
  AtEveryStage([&] {
    EXPECT_EQ(*store().GetCounts(), Counts(2, 2, 1));
    EXPECT_THAT(*store().GetDocument(DocumentNumber{1}), Optional(changed));
    EXPECT_THAT(*store().GetPassages(ids),
                ElementsAre(std::nullopt, std::nullopt,
                            Optional(MakePassage(1, 2, "four"))));
    EXPECT_THAT(*store().ListPending(PassageId{0}, 10),
                ElementsAre(MakePassageId(DocumentNumber{1}, 2)));
    EXPECT_THAT(AllCodes(store()),
                ElementsAre(testing::Pair(MakePassageId(DocumentNumber{2}, 0),
                                          "code three")));
  });
}

TEST_P(PassageStoreContract, ErasedDocumentIsGone) {
  ASSERT_OK(store().Commit(TwoDocuments(), Durability::kSynced));
  ASSERT_OK(
      store().Commit({.erase_documents = {{DocumentNumber{2}, "b"}},
                      .erase_passages = {MakePassageId(DocumentNumber{2}, 0)},
                      .counts = Counts(1, 2, 1)},
                     Durability::kSynced));
  AtEveryStage([&] {
    EXPECT_EQ(*store().FindDocument("b"), std::nullopt);
    EXPECT_EQ(*store().GetDocument(DocumentNumber{2}), std::nullopt);
    EXPECT_THAT(ListIds(store(), "", std::nullopt, 10), ElementsAre("a"));
  });
}

TEST_P(PassageStoreContract, ADocumentMayGetAnotherId) {
  ASSERT_OK(store().Commit(TwoDocuments(), Durability::kSynced));
  ASSERT_OK(store().Commit({.put_documents = {{DocumentNumber{2}, Record("c")}},
                            .erase_ids = {"b"},
                            .counts = Counts(2, 3, 1)},
                           Durability::kSynced));
  AtEveryStage([&] {
    EXPECT_EQ(*store().FindDocument("b"), std::nullopt);
    EXPECT_THAT(*store().FindDocument("c"), Optional(DocumentNumber{2}));
    EXPECT_THAT(*store().GetDocument(DocumentNumber{2}), Optional(Record("c")));
    EXPECT_THAT(ListIds(store(), "", std::nullopt, 10), ElementsAre("a", "c"));
  });
}

TEST_P(PassageStoreContract, IdMayMoveToANewNumberInOneBatch) {
  ASSERT_OK(store().Commit(TwoDocuments(), Durability::kSynced));
  ASSERT_OK(store().Commit({.put_documents = {{DocumentNumber{7}, Record("a")}},
                            .erase_documents = {{DocumentNumber{1}, "a"}},
                            .counts = Counts(2, 3, 1)},
                           Durability::kSynced));
  AtEveryStage([&] {
    EXPECT_THAT(*store().FindDocument("a"), Optional(DocumentNumber{7}));
    EXPECT_EQ(*store().GetDocument(DocumentNumber{1}), std::nullopt);
    EXPECT_THAT(*store().GetDocument(DocumentNumber{7}), Optional(Record("a")));
  });
}

TEST_P(PassageStoreContract, DocumentsAreListedInByteOrderInPages) {
  StoreBatch batch;
  uint64_t number = 0;
  for (const char* id : {"b/2", "a", "b", "b/", "b/10", "b0", "\xff", ""}) {
    batch.put_documents.push_back({DocumentNumber{++number}, Record(id)});
  }
  batch.counts = Counts(number, 0, 0);
  ASSERT_OK(store().Commit(batch, Durability::kSynced));
  AtEveryStage([&] {
    const auto list = [&](std::string_view prefix,
                          std::optional<std::string_view> after, size_t limit) {
      return ListIds(store(), prefix, after, limit);
    };
    EXPECT_THAT(list("", std::nullopt, 100),
                ElementsAre("", "a", "b", "b/", "b/10", "b/2", "b0", "\xff"));
    EXPECT_THAT(list("", std::nullopt, 2), ElementsAre("", "a"));
    EXPECT_THAT(list("", "a", 2), ElementsAre("b", "b/"));
    EXPECT_THAT(list("", "\xff", 2), IsEmpty());
    EXPECT_THAT(list("", "", 1), ElementsAre("a"));
    EXPECT_THAT(list("", "between", 2), ElementsAre("\xff"));
    EXPECT_THAT(list("b/", std::nullopt, 100),
                ElementsAre("b/", "b/10", "b/2"));
    EXPECT_THAT(list("b/", "b/", 100), ElementsAre("b/10", "b/2"));
    EXPECT_THAT(list("b/", "b/2", 100), IsEmpty());
    EXPECT_THAT(list("b/", "a", 100), ElementsAre("b/", "b/10", "b/2"));
    EXPECT_THAT(list("b/", "c", 100), IsEmpty());
    EXPECT_THAT(list("nothing", std::nullopt, 100), IsEmpty());
    EXPECT_THAT(list("", std::nullopt, 0), IsEmpty());
  });
}

TEST_P(PassageStoreContract, PendingIsListedInOrderOfIdFromAnyPoint) {
  // Numbers whose order as bytes would differ were they little-endian.
  StoreBatch batch;
  for (const uint64_t number : {300u, 2u, 256u, 1u}) {
    batch.put_passages.push_back(MakePassage(number, 0, "x"));
  }
  batch.counts = Counts(0, 4, 4);
  ASSERT_OK(store().Commit(batch, Durability::kSynced));
  const auto id = [](uint64_t number, uint32_t serial = 0) {
    return MakePassageId(DocumentNumber{number}, serial);
  };
  AtEveryStage([&] {
    EXPECT_THAT(*store().ListPending(PassageId{0}, 10),
                ElementsAre(id(1), id(2), id(256), id(300)));
    EXPECT_THAT(*store().ListPending(id(2), 2), ElementsAre(id(2), id(256)));
    EXPECT_THAT(*store().ListPending(id(2, 1), 10),
                ElementsAre(id(256), id(300)));
    EXPECT_THAT(*store().ListPending(id(301), 10), IsEmpty());
    EXPECT_TRUE(*store().IsPending(id(2)));
    EXPECT_FALSE(*store().IsPending(id(2, 1)));
    EXPECT_FALSE(*store().IsPending(id(3)));
  });
}

TEST_P(PassageStoreContract, CodesAreVisitedInOrderOfIdUntilTheVisitorStops) {
  StoreBatch batch;
  for (const uint64_t number : {300u, 2u, 256u, 1u}) {
    batch.put_passages.push_back(MakePassage(number, 0, "x"));
    batch.put_codes.push_back(
        {MakePassageId(DocumentNumber{number}, 0), std::string("\0code", 5)});
  }
  batch.counts = Counts(0, 4, 0);
  ASSERT_OK(store().Commit(batch, Durability::kSynced));
  AtEveryStage([&] {
    std::vector<uint64_t> visited;
    const absl::Status status =
        store().VisitCodes([&](PassageId id, std::string_view code) {
          EXPECT_EQ(code, std::string_view("\0code", 5));
          visited.push_back(static_cast<uint64_t>(DocumentOf(id)));
          return visited.size() < 3 ? absl::OkStatus()
                                    : absl::CancelledError("enough");
        });
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kCancelled, "enough"));
    EXPECT_THAT(visited, ElementsAre(1, 2, 256));
    EXPECT_THAT(AllCodes(store()), testing::SizeIs(4));
    EXPECT_THAT(*store().ListPending(PassageId{0}, 10), IsEmpty());
  });
}

TEST_P(PassageStoreContract, VectorsComeInTheOrderAskedForWithGapsAsNullopt) {
  StoreBatch batch = TwoDocuments();
  const PassageId one = MakePassageId(DocumentNumber{1}, 0);
  const PassageId two = MakePassageId(DocumentNumber{1}, 1);
  const PassageId three = MakePassageId(DocumentNumber{2}, 0);
  const std::string bytes("\0vector\xff", 8);
  batch.put_vectors = {{three, bytes}, {one, ""}};
  ASSERT_OK(store().Commit(batch, Durability::kSynced));
  AtEveryStage([&] {
    EXPECT_THAT(*store().GetVectors(std::vector{three, two, one, three}),
                ElementsAre(Optional(bytes), std::nullopt,
                            Optional(std::string()), Optional(bytes)));
    EXPECT_THAT(*store().GetVectors({}), IsEmpty());
    EXPECT_EQ(*store().GetCounts(), Counts(2, 3, 1));
  });
}

// Sealing takes the code alone, and only the passage's end the vector.
TEST_P(PassageStoreContract, VectorsStayUntilTheirPassageGoes) {
  StoreBatch batch = TwoDocuments();
  const PassageId one = MakePassageId(DocumentNumber{1}, 0);
  const PassageId three = MakePassageId(DocumentNumber{2}, 0);
  batch.put_vectors = {{one, "1"}, {three, "3"}};
  ASSERT_OK(store().Commit(batch, Durability::kSynced));
  ASSERT_OK(store().Commit({.put_vectors = {{three, "three"}},
                            .erase_codes = {one, three},
                            .counts = Counts(2, 3, 1)},
                           Durability::kSynced));
  AtEveryStage([&] {
    EXPECT_THAT(*store().GetVectors(std::vector{one, three}),
                ElementsAre(Optional(std::string("1")),
                            Optional(std::string("three"))));
  });
  ASSERT_OK(store().Commit({.erase_passages = {one}, .counts = Counts(2, 2, 1)},
                           Durability::kSynced));
  AtEveryStage([&] {
    EXPECT_THAT(*store().GetVectors(std::vector{one, three}),
                ElementsAre(std::nullopt, Optional(std::string("three"))));
  });
}

TEST_P(PassageStoreContract, AVectorMayGoBeforeItsPassage) {
  StoreBatch batch = TwoDocuments();
  const PassageId one = MakePassageId(DocumentNumber{1}, 0);
  const PassageId three = MakePassageId(DocumentNumber{2}, 0);
  batch.put_vectors = {{one, "1"}, {three, "3"}};
  ASSERT_OK(store().Commit(batch, Durability::kSynced));
  ASSERT_OK(store().Commit({.erase_vectors = {one}, .counts = Counts(2, 3, 1)},
                           Durability::kSynced));
  AtEveryStage([&] {
    EXPECT_THAT(*store().GetVectors(std::vector{one, three}),
                ElementsAre(std::nullopt, Optional(std::string("3"))));
    EXPECT_THAT(*store().GetPassages(std::vector{one}),
                ElementsAre(testing::Ne(std::nullopt)));
  });
}

// What sealing publishes, in one batch.
TEST_P(PassageStoreContract, PassagesThatMoveToASegmentStayWithoutACode) {
  ASSERT_OK(store().Commit(TwoDocuments(), Durability::kSynced));
  const PassageId sealed = MakePassageId(DocumentNumber{1}, 0);
  const std::string manifest("one\0segment\xff", 12);
  ASSERT_OK(store().Commit({.erase_codes = {sealed},
                            .manifest = manifest,
                            .counts = Counts(2, 3, 1)},
                           Durability::kSynced));
  AtEveryStage([&] {
    EXPECT_THAT(AllCodes(store()),
                ElementsAre(testing::Pair(MakePassageId(DocumentNumber{2}, 0),
                                          "code three")));
    EXPECT_THAT(*store().GetPassages(std::vector{sealed}),
                ElementsAre(Optional(MakePassage(1, 0, "one"))));
    EXPECT_THAT(*store().ListPending(PassageId{0}, 10),
                ElementsAre(MakePassageId(DocumentNumber{1}, 1)));
    EXPECT_THAT(*store().GetManifest(), Optional(manifest));
    EXPECT_THAT(AllTombstones(store()), IsEmpty());
  });
}

TEST_P(PassageStoreContract, SourcesStayUntilABatchBringsOthers) {
  EXPECT_EQ(*store().GetSources(), std::nullopt);
  ASSERT_OK(store().Commit({.manifest = "m", .sources = "first"},
                           Durability::kSynced));
  ASSERT_OK(store().Commit(TwoDocuments(), Durability::kSynced));
  AtEveryStage([&] {
    EXPECT_THAT(*store().GetSources(), Optional(std::string("first")));
    EXPECT_THAT(*store().GetManifest(), Optional(std::string("m")));
  });
  ASSERT_OK(store().Commit({.sources = ""}, Durability::kSynced));
  AtEveryStage(
      [&] { EXPECT_THAT(*store().GetSources(), Optional(std::string())); });
}

TEST_P(PassageStoreContract, ManifestStaysUntilABatchBringsAnother) {
  ASSERT_OK(store().Commit({.manifest = "first"}, Durability::kSynced));
  ASSERT_OK(store().Commit(TwoDocuments(), Durability::kSynced));
  AtEveryStage([&] {
    EXPECT_THAT(*store().GetManifest(), Optional(std::string("first")));
  });
  ASSERT_OK(store().Commit({.manifest = ""}, Durability::kSynced));
  AtEveryStage(
      [&] { EXPECT_THAT(*store().GetManifest(), Optional(std::string())); });
}

TEST_P(PassageStoreContract, TombstonesAreVisitedInOrderUntilTheVisitorStops) {
  const auto id = [](uint64_t number) {
    return MakePassageId(DocumentNumber{number}, 0);
  };
  const PassageId last =
      MakePassageId(DocumentNumber{kMaxDocumentNumber}, kMaxSerial);
  ASSERT_OK(store().Commit(
      {.put_tombstones = {last, id(300), id(2), id(256), PassageId{0}}},
      Durability::kSynced));
  AtEveryStage([&] {
    EXPECT_THAT(AllTombstones(store()),
                ElementsAre(PassageId{0}, id(2), id(256), id(300), last));
    size_t visited = 0;
    EXPECT_THAT(store().VisitTombstones([&](PassageId) {
      return ++visited < 2 ? absl::OkStatus() : absl::CancelledError("enough");
    }),
                StatusIs(absl::StatusCode::kCancelled, "enough"));
    EXPECT_EQ(visited, 2u);
    EXPECT_EQ(*store().GetCounts(), StoreCounts());
  });
}

// A merge drops what its segments' passages left behind, while another passage
// is deleted.
TEST_P(PassageStoreContract, TombstonesComeAndGoInOneBatch) {
  ASSERT_OK(store().Commit(TwoDocuments(), Durability::kSynced));
  const auto id = [](uint64_t number) {
    return MakePassageId(DocumentNumber{number}, 0);
  };
  ASSERT_OK(store().Commit({.erase_passages = {id(1)},
                            .put_tombstones = {id(1), id(3)},
                            .counts = Counts(2, 2, 1)},
                           Durability::kSynced));
  ASSERT_OK(store().Commit({.erase_passages = {id(2)},
                            .put_tombstones = {id(2), id(3)},
                            .erase_tombstones = {id(1), id(7)},
                            .manifest = "merged",
                            .counts = Counts(2, 1, 1)},
                           Durability::kSynced));
  AtEveryStage([&] {
    EXPECT_THAT(AllTombstones(store()), ElementsAre(id(2), id(3)));
    EXPECT_THAT(AllCodes(store()), IsEmpty());
    EXPECT_THAT(*store().GetManifest(), Optional(std::string("merged")));
    EXPECT_EQ(*store().GetCounts(), Counts(2, 1, 1));
  });
}

TEST_P(PassageStoreContract, SettlingThatIsCancelledLeavesWhatWasCommitted) {
  ASSERT_OK(store().Commit(TwoDocuments(), Durability::kSynced));
  std::atomic<bool> cancelled = true;
  EXPECT_THAT(store().Settle(cancelled),
              StatusIs(absl::StatusCode::kCancelled, "settle store"));
  AtEveryStage([&] { EXPECT_EQ(*store().GetCounts(), TwoDocuments().counts); });
}

TEST_P(PassageStoreContract, EverythingIsVisitedInOrder) {
  StoreBatch batch = TwoDocuments();
  batch.put_vectors = {{MakePassageId(DocumentNumber{2}, 0), "vector"},
                       {MakePassageId(DocumentNumber{1}, 1), "another"}};
  ASSERT_OK(store().Commit(batch, Durability::kSynced));
  AtEveryStage([&] {
    EXPECT_THAT(AllDocuments(store()),
                ElementsAre(DocumentNumber{1}, DocumentNumber{2}));
    EXPECT_THAT(AllPassages(store()),
                ElementsAre(MakePassageId(DocumentNumber{1}, 0),
                            MakePassageId(DocumentNumber{1}, 1),
                            MakePassageId(DocumentNumber{2}, 0)));
    EXPECT_THAT(
        AllVectors(store()),
        ElementsAre(Pair(MakePassageId(DocumentNumber{1}, 1), "another"),
                    Pair(MakePassageId(DocumentNumber{2}, 0), "vector")));
    EXPECT_OK(store().CheckBytes({}));
  });
  const auto stop = absl::AbortedError("enough");
  EXPECT_EQ(store().VisitPassages([&](PassageId) { return stop; }), stop);
  EXPECT_EQ(
      store().VisitVectors([&](PassageId, std::string_view) { return stop; }),
      stop);
  EXPECT_EQ(store().VisitDocuments(
                [&](DocumentNumber, const absl::StatusOr<DocumentRecord>&) {
                  return stop;
                }),
            stop);
}

TEST_P(PassageStoreContract, PendingMarksCanBePutAndErased) {
  ASSERT_OK(store().Commit(TwoDocuments(), Durability::kSynced));
  ASSERT_OK(
      store().Commit({.put_pending = {MakePassageId(DocumentNumber{2}, 0)},
                      .erase_pending = {MakePassageId(DocumentNumber{1}, 1)},
                      .counts = Counts(2, 3, 1)},
                     Durability::kSynced));
  AtEveryStage([&] {
    EXPECT_THAT(*store().ListPending(PassageId{0}, 10),
                ElementsAre(MakePassageId(DocumentNumber{2}, 0)));
    EXPECT_THAT(AllPassages(store()), testing::SizeIs(3));
  });
}

}  // namespace
}  // namespace pith
