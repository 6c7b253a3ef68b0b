#include "core/index/collection_check.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/codes/rotated_code.h"
#include "core/graph/packed_graph.h"
#include "core/index/collection.h"
#include "core/index/manifest.h"
#include "core/index/segment_directory.h"
#include "core/index/stored_vector.h"
#include "core/storage/rocksdb_store.h"
#include "tests/collection_calls.h"
#include "tests/fakes/hash_embedder.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pointwise;

// Enough to train a codebook of 256 centroids.
constexpr int kSealed = 1100;
constexpr int kUnsealed = 20;

std::string Text(int i) {
  return absl::StrCat("topic", i % 40, " word", i % 97, "\nitem", i);
}

// Document i has number i + 1, and passage serial 0.
PassageId PassageOf(int i) {
  return MakePassageId(DocumentNumber{static_cast<uint64_t>(i) + 1}, 0);
}
constexpr int kDeleted = 7;
constexpr int kInSegment = 8;
constexpr int kInDelta = kSealed + 3;
const PassageId kNoPassage = MakePassageId(DocumentNumber{999}, 55);

// A collection that is closed: documents 0 to kSealed in a segment, kUnsealed
// more in the delta, number kDeleted deleted.
class CollectionCheckTest : public testing::Test {
 protected:
  CollectionCheckTest() {
    config_.name = "test";
    config_.model = embedder_.identity();
    config_.chunking = Chunking::kNone;
    config_.profile = CodeProfile::kMinimal;
    // Training takes a second.
    static const TempDirectory& made = *new TempDirectory;
    if (!fs::exists(made.path() / "collection")) {
      Make(made.path() / "collection");
    }
    fs::copy(made.path(), temp_.path(), fs::copy_options::recursive);
  }

  void Make(const fs::path& directory) {
    ASSERT_OK(RocksDbStore::Create(directory, EncodeCollectionConfig(config_),
                                   shared_));
    const auto collection = Open(directory);
    Put(*collection, 0, kSealed);
    ASSERT_OK(collection->Compact(
        {}, [] { return false; }, [](const CompactProgress&) {}));
    Put(*collection, kSealed, kSealed + kUnsealed);
    ASSERT_OK(collection->DeleteAndWait({absl::StrCat("doc", kDeleted)}));
  }

  static void Put(Collection& collection, int begin, int end) {
    for (int i = begin; i < end; ++i) {
      ASSERT_OK(PutAndWait(collection,
                           {.id = absl::StrCat("doc", i), .text = Text(i)}));
    }
    ASSERT_OK(WaitSearchable(collection));
  }

  std::unique_ptr<Collection> Open(const fs::path& directory) {
    absl::StatusOr<std::unique_ptr<RocksDbStore>> store =
        RocksDbStore::Open(directory, shared_);
    EXPECT_OK(store);
    absl::StatusOr<std::unique_ptr<Collection>> collection = Collection::Open(
        config_, directory / Collection::kSegmentDirectory, *std::move(store),
        embedder_, cache_,
        {.min_retry_delay = absl::Milliseconds(1), .seal_passages = kSealed});
    EXPECT_OK(collection);
    return *std::move(collection);
  }

  fs::path directory() const { return temp_.path() / "collection"; }
  SegmentDirectory segments() const {
    return SegmentDirectory(directory() / Collection::kSegmentDirectory);
  }
  fs::path FileThatStartsWith(const std::string& prefix) const {
    for (const auto& entry :
         fs::directory_iterator(directory() / Collection::kSegmentDirectory)) {
      if (entry.path().filename().string().starts_with(prefix)) {
        return entry.path();
      }
    }
    ADD_FAILURE() << "no file " << prefix;
    return {};
  }

  std::unique_ptr<RocksDbStore> OpenStore() {
    absl::StatusOr<std::unique_ptr<RocksDbStore>> store =
        RocksDbStore::Open(directory(), shared_);
    EXPECT_OK(store);
    return *std::move(store);
  }

  // Commits what no collection would.
  void Break(StoreBatch batch) {
    const auto store = OpenStore();
    batch.counts = *store->GetCounts();
    ASSERT_OK(store->Commit(batch, Durability::kSynced));
  }

  CheckResult Check() {
    absl::StatusOr<CheckResult> result =
        CheckCollection(config_, *OpenStore(), segments(), {});
    EXPECT_OK(result);
    return *std::move(result);
  }

  static std::vector<std::string> Texts(const CheckReport& report) {
    std::vector<std::string> texts;
    for (const CheckProblem& problem : report.problems) {
      texts.push_back(problem.text);
    }
    return texts;
  }

  // Commits what mends, after which nothing is wrong, the collection opens, and
  // every document is found.
  void RepairAndExpectWhole(const CheckResult& broken) {
    ASSERT_TRUE(broken.repair.has_value());
    ASSERT_OK(OpenStore()->Commit(*broken.repair, Durability::kSynced));
    EXPECT_THAT(Texts(Check().report), IsEmpty());
    const auto collection = Open(directory());
    ASSERT_NE(collection, nullptr);
    ASSERT_OK(WaitSearchable(*collection));
    for (const int i : {0, kInSegment, kInDelta}) {
      const absl::StatusOr<SearchResult> found = collection->Search(
          Text(i), {.k = 1, .recall_target = std::nullopt, .rerank = 200}, {});
      ASSERT_OK(found);
      ASSERT_EQ(found->hits.size(), 1u);
      EXPECT_EQ(found->hits[0].document_id, absl::StrCat("doc", i));
    }
    EXPECT_EQ(collection->GetStatus().counts.documents,
              static_cast<uint64_t>(kSealed + kUnsealed - 1));
  }

  TempDirectory temp_;
  RocksDbShared shared_{{}};
  HashEmbedder embedder_;
  VectorCache cache_{0};
  CollectionConfig config_;
};

TEST_F(CollectionCheckTest, AWholeCollectionHasNoProblem) {
  const CheckResult result = Check();
  EXPECT_THAT(Texts(result.report), IsEmpty());
  EXPECT_FALSE(result.repair.has_value());
  EXPECT_EQ(result.report.documents, kSealed + kUnsealed - 1u);
  EXPECT_EQ(result.report.passages, kSealed + kUnsealed - 1u);
  EXPECT_EQ(result.report.segments, 1u);
  EXPECT_EQ(result.report.segment_passages, static_cast<uint64_t>(kSealed));
  EXPECT_EQ(result.report.delta_passages, static_cast<uint64_t>(kUnsealed));
  EXPECT_EQ(result.report.pending_passages, 0u);
  EXPECT_EQ(result.report.lost_codes, 0u);
}

struct Damage {
  std::string name;
  StoreBatch batch;
  // Part of each.
  std::vector<std::string> problems;
};

void PrintTo(const Damage& damage, std::ostream* out) {
  *out << damage.name;
}

class CollectionCheckDamage : public CollectionCheckTest,
                              public testing::WithParamInterface<Damage> {};

TEST_P(CollectionCheckDamage, IsNamedAndMended) {
  Break(GetParam().batch);
  const CheckResult result = Check();
  const std::vector<std::string>& problems = GetParam().problems;
  EXPECT_THAT(Texts(result.report),
              Pointwise(testing::Truly([](const auto& pair) {
                          return absl::StrContains(std::get<0>(pair),
                                                   std::get<1>(pair));
                        }),
                        problems));
  EXPECT_EQ(result.report.problem_count, problems.size());
  EXPECT_EQ(result.report.irreparable_count, 0u);
  RepairAndExpectWhole(result);
}

std::string SomeCode() {
  return std::string(
      RotatedCodec(HashEmbedder().identity().dimension).code_bytes(), 'x');
}

std::string SomeVector() {
  std::vector<float> vector(
      static_cast<size_t>(HashEmbedder().identity().dimension));
  vector[0] = 1;
  return EncodeStoredVector(vector, VectorFormat::kF16, "f32");
}

std::string Number(PassageId id) {
  return absl::StrCat(static_cast<uint64_t>(id));
}

INSTANTIATE_TEST_SUITE_P(
    All, CollectionCheckDamage,
    testing::Values(
        Damage{"LostCode",
               {.erase_codes = {PassageOf(kInDelta)}},
               {"passages without a code that are not pending: 1, the first "
                "is " +
                Number(PassageOf(kInDelta))}},
        Damage{"CodeInDeltaAndSegment",
               {.put_codes = {{PassageOf(kInSegment), SomeCode()}}},
               {"a code in the delta and in a segment: 1"}},
        Damage{"CodeOfWrongLength",
               {.put_codes = {{PassageOf(kInDelta), "short"}}},
               {"codes of a wrong length: 1"}},
        Damage{"CodeOfNoPassage",
               {.put_codes = {{kNoPassage, SomeCode()}}},
               {"codes of passages that do not exist: 1"}},
        Damage{"MarkOfAPassageWithACode",
               {.put_pending = {PassageOf(kInDelta)}},
               {"counts: ", "passages with a code that are pending: 1"}},
        Damage{"MarkOfNoPassage",
               {.put_pending = {kNoPassage}},
               {"counts: ", "pending marks of passages that do not exist: 1"}},
        Damage{"TextOfNoDocument",
               {.put_passages = {{.id = kNoPassage, .text = "lost"}}},
               {"counts: ", "pending marks of passages that do not exist: 1",
                "texts of passages of no document: 1"}},
        Damage{"VectorOfNoPassage",
               {.put_vectors = {{kNoPassage, SomeVector()}}},
               {"vectors of passages that do not exist: 1"}},
        Damage{"DamagedVector",
               {.put_vectors = {{PassageOf(kInDelta), "no vector"}}},
               {"stored vectors that cannot be decoded: 1"}},
        Damage{"TombstoneOfALivePassage",
               {.put_tombstones = {PassageOf(kInSegment)}},
               {"tombstones of passages that exist: 1"}},
        Damage{"TombstoneOfNothing",
               {.put_tombstones = {kNoPassage}},
               {"tombstones of passages in no segment: 1"}},
        Damage{"NoTombstone",
               {.erase_tombstones = {PassageOf(kDeleted)}},
               {"do not exist and have no tombstone: 1, the first is " +
                Number(PassageOf(kDeleted))}},
        Damage{"LostId",
               {.erase_ids = {"doc8"}},
               {"its id \"doc8\" does not lead to it"}},
        Damage{"DamagedManifest", {.manifest = "\1"}, {"manifest"}}),
    [](const auto& test) { return test.param.name; });

TEST_F(CollectionCheckTest, CountsThatDoNotAgreeAreNamed) {
  {
    const auto store = OpenStore();
    StoreBatch batch = {.counts = *store->GetCounts()};
    ++batch.counts.documents;
    batch.counts.text_bytes -= 3;
    ASSERT_OK(store->Commit(batch, Durability::kSynced));
  }
  const CheckResult result = Check();
  EXPECT_THAT(Texts(result.report),
              ElementsAre(HasSubstr("counts: 1120 documents, 1119 passages")));
  RepairAndExpectWhole(result);
}

TEST_F(CollectionCheckTest, ADamagedSegmentIsMadeAgainFromItsTexts) {
  const fs::path file = FileThatStartsWith("segment-");
  {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(fs::file_size(file) / 2));
    stream.put('\x5a');
    stream.put('\x5b');
  }
  const CheckResult result = Check();
  EXPECT_THAT(Texts(result.report),
              ElementsAre(HasSubstr("segment 1 of 1100 passages: ")));
  EXPECT_EQ(result.report.lost_codes, kSealed - 1u);
  RepairAndExpectWhole(result);
}

TEST_F(CollectionCheckTest, AMissingSegmentIsMadeAgainFromItsTexts) {
  fs::remove(FileThatStartsWith("segment-"));
  const CheckResult result = Check();
  EXPECT_THAT(Texts(result.report),
              ElementsAre(HasSubstr("No such file or directory")));
  RepairAndExpectWhole(result);
}

TEST_F(CollectionCheckTest, AMissingCodebookTakesItsSegmentsWithIt) {
  fs::remove(FileThatStartsWith("codebook-"));
  const CheckResult result = Check();
  EXPECT_THAT(Texts(result.report), ElementsAre(HasSubstr("codebook-")));
  RepairAndExpectWhole(result);
}

TEST_F(CollectionCheckTest, ANodeThatNoWalkReachesIsNamed) {
  Manifest manifest = *DecodeManifest(**OpenStore()->GetManifest());
  SegmentContent content = *segments().ReadSegment(manifest.segments[0]);
  AdjacencyLists lists;
  lists.offsets.assign(content.passages.size() + 1, 0);
  content.graph = PackedGraph(lists, {NodeId{0}}).Serialize();
  manifest.segments[0] = *segments().WriteSegment(1, content);
  Break({.manifest = EncodeManifest(manifest)});
  const CheckResult result = Check();
  EXPECT_THAT(Texts(result.report),
              ElementsAre(HasSubstr("1099 nodes cannot be reached")));
  RepairAndExpectWhole(result);
}

TEST_F(CollectionCheckTest, PassagesOfTwoSegmentsAreNamed) {
  Manifest manifest = *DecodeManifest(**OpenStore()->GetManifest());
  const SegmentContent content = *segments().ReadSegment(manifest.segments[0]);
  manifest.segments.push_back(*segments().WriteSegment(2, content));
  manifest.next_segment = 3;
  Break({.manifest = EncodeManifest(manifest)});
  const CheckResult result = Check();
  EXPECT_THAT(
      Texts(result.report),
      ElementsAre(HasSubstr("segment 2 of 1100 passages: 1100 passages are in "
                            "another segment, too")));
  EXPECT_EQ(result.report.lost_codes, 0u);
  RepairAndExpectWhole(result);
}

TEST_F(CollectionCheckTest, ALostTextIsBeyondRepairAndTheRestIsMended) {
  Break({.erase_passages = {PassageOf(kInSegment)}});
  CheckResult result = Check();
  const auto lost = HasSubstr("document \"doc8\": the text of passage " +
                              Number(PassageOf(kInSegment)) + " is missing");
  EXPECT_THAT(Texts(result.report), ElementsAre(lost));
  EXPECT_EQ(result.report.irreparable_count, 1u);
  EXPECT_FALSE(result.repair.has_value());

  fs::remove(FileThatStartsWith("segment-"));
  result = Check();
  EXPECT_EQ(result.report.problem_count, 2u);
  ASSERT_TRUE(result.repair.has_value());
  ASSERT_OK(OpenStore()->Commit(*result.repair, Durability::kSynced));
  EXPECT_THAT(Texts(Check().report), ElementsAre(lost));
  // It opens, names what cannot be embedded, and the document can be removed.
  const auto collection = Open(directory());
  const absl::StatusOr<uint64_t> failed = WaitSearchable(*collection);
  ASSERT_OK(failed);
  EXPECT_EQ(*failed, 1u);
  const auto waiting = collection->ListWaiting(10);
  ASSERT_OK(waiting);
  ASSERT_EQ(waiting->size(), 1u);
  EXPECT_EQ((*waiting)[0].id, "doc8");
  EXPECT_THAT((*waiting)[0].failure,
              StatusIs(absl::StatusCode::kDataLoss, "its text is missing"));
  ASSERT_OK(collection->DeleteAndWait({"doc8"}));
  EXPECT_EQ(*WaitSearchable(*collection), 0u);
}

TEST_F(CollectionCheckTest, NothingIsMendedInADamagedDatabase) {
  {
    const auto store = OpenStore();
    std::atomic<bool> cancelled = false;
    ASSERT_OK(store->Settle(cancelled));
  }
  fs::remove(FileThatStartsWith("segment-"));
  int damaged = 0;
  for (const auto& entry : fs::directory_iterator(directory())) {
    if (entry.path().extension() != ".sst") {
      continue;
    }
    SCOPED_TRACE(entry.path());
    std::fstream file(entry.path(),
                      std::ios::in | std::ios::out | std::ios::binary);
    // The first block: an iterator over the whole may not see it fail.
    file.seekg(10);
    const int byte = file.get();
    file.seekp(10);
    file.put(static_cast<char>(byte ^ 1));
    file.flush();
    const auto store = RocksDbStore::OpenReadOnly(directory(), shared_);
    if (store.ok()) {
      const absl::StatusOr<CheckResult> result =
          CheckCollection(config_, **store, segments(), {});
      ASSERT_OK(result);
      EXPECT_GT(result->report.irreparable_count, 0u);
      EXPECT_GT(result->report.problem_count, result->report.irreparable_count);
      EXPECT_FALSE(result->repair.has_value());
      ++damaged;
    }
    file.seekp(10);
    file.put(static_cast<char>(byte));
  }
  EXPECT_GT(damaged, 2);
  EXPECT_TRUE(Check().repair.has_value());
}

TEST_F(CollectionCheckTest, ADocumentThatLostItsRecordKeepsItsTexts) {
  // No batch erases a record and not its id; the deleted one's number is free.
  const DocumentNumber number = DocumentOf(PassageOf(kDeleted));
  Break({.put_documents = {{.number = number, .record = {.id = "ghost"}}}});
  Break({.erase_documents = {{number, "none"}}});
  const CheckResult result = Check();
  EXPECT_THAT(Texts(result.report),
              ElementsAre(HasSubstr("document 8, \"ghost\", has no record")));
  EXPECT_GT(result.report.irreparable_count, 0u);
}

TEST_F(CollectionCheckTest, ATextOfAnotherLengthIsBeyondRepair) {
  Break({.put_passages = {{.id = PassageOf(kInSegment), .text = "other"}},
         .erase_pending = {PassageOf(kInSegment)}});
  const CheckResult result = Check();
  EXPECT_THAT(
      Texts(result.report),
      ElementsAre(HasSubstr(" has 5 bytes and 0 newlines, not 18 and 1")));
  EXPECT_FALSE(result.repair.has_value());
}

TEST_F(CollectionCheckTest, CanBeCancelled) {
  EXPECT_THAT(CheckCollection(config_, *OpenStore(), segments(),
                              {.cancelled = [] { return true; }}),
              StatusIs(absl::StatusCode::kCancelled, "cancelled"));
}

TEST_F(CollectionCheckTest, ACopyIsOfOneMoment) {
  const fs::path copy = temp_.path() / "copy";
  {
    const auto collection = Open(directory());
    std::atomic<int> put = 0;
    std::atomic<bool> stop = false;
    std::thread writer([&] {
      while (!stop) {
        const int i = 10'000 + put;
        ASSERT_OK(PutAndWait(*collection,
                             {.id = absl::StrCat("doc", i), .text = Text(i)}));
        ++put;
      }
    });
    while (put < 20) {
      std::this_thread::yield();
    }
    const int before = put;
    ASSERT_OK(collection->CopyTo(copy));
    const int after = put + 1;
    stop = true;
    writer.join();
    // Both go on from here for themselves.
    ASSERT_OK(collection->DeleteAndWait({"doc0"}));

    const auto restored = Open(copy);
    const auto documents =
        static_cast<int>(restored->GetStatus().counts.documents) -
        (kSealed + kUnsealed - 1);
    EXPECT_GE(documents, before);
    EXPECT_LE(documents, after);
    EXPECT_TRUE(restored->Get("doc0")->has_value());
    ASSERT_OK(WaitSearchable(*restored));
  }
  const auto store = RocksDbStore::OpenReadOnly(copy, shared_);
  ASSERT_OK(store);
  const absl::StatusOr<CheckResult> result = CheckCollection(
      config_, **store, SegmentDirectory(copy / Collection::kSegmentDirectory),
      {});
  ASSERT_OK(result);
  EXPECT_THAT(Texts(result->report), IsEmpty());
}

}  // namespace
}  // namespace pith
