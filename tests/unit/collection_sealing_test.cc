#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/base/file.h"
#include "core/base/vector_math.h"
#include "core/index/collection.h"
#include "core/index/segment_file.h"
#include "core/storage/rocksdb_store.h"
#include "tests/collection_calls.h"
#include "tests/fakes/fake_machine.h"
#include "tests/fakes/forwarding_passage_store.h"
#include "tests/fakes/hash_embedder.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// Enough to train a codebook of 256 centroids.
constexpr int kEnough = 1100;

// Fails some commits of a manifest.
class FailingStore : public ForwardingPassageStore {
 public:
  struct Commits {
    std::atomic<int> to_fail = 0;
    std::atomic<int> manifests = 0;
  };

  FailingStore(std::shared_ptr<PassageStore> store, Commits& commits)
      : ForwardingPassageStore(std::move(store)), commits_(commits) {}
  absl::Status Commit(const StoreBatch& batch, Durability durability) override {
    if (batch.manifest) {
      ++commits_.manifests;
      if (commits_.to_fail > 0) {
        --commits_.to_fail;
        return absl::InternalError("write to the log: an error for a test");
      }
    }
    return ForwardingPassageStore::Commit(batch, durability);
  }

 private:
  Commits& commits_;
};

class CollectionSealingTest : public testing::Test {
 protected:
  CollectionSealingTest() {
    config_.name = "test";
    config_.model = embedder_.identity();
    config_.chunking = Chunking::kNone;
    config_.profile = CodeProfile::kMinimal;
    options_.min_retry_delay = absl::Milliseconds(1);
    options_.max_retry_delay = absl::Milliseconds(2);
    // More than any test has: sealed when asked for alone.
    options_.seal_passages = 1'000'000;
    EXPECT_OK(RocksDbStore::Create(temp_.path() / "store",
                                   EncodeCollectionConfig(config_), shared_));
    EXPECT_OK(Open());
  }

  fs::path segments() const { return temp_.path() / "segments"; }

  absl::Status Open() {
    collection_.reset();
    absl::StatusOr<std::unique_ptr<RocksDbStore>> store =
        RocksDbStore::Open(temp_.path() / "store", shared_);
    if (!store.ok()) {
      return store.status();
    }
    absl::StatusOr<std::unique_ptr<Collection>> collection = Collection::Open(
        config_, segments(),
        std::make_unique<FailingStore>(*std::move(store), commits_), embedder_,
        cache_, options_);
    if (!collection.ok()) {
      return collection.status();
    }
    collection_ = *std::move(collection);
    return absl::OkStatus();
  }

  // Sealing is worth it from here on.
  void AllowSealing(size_t passages) {
    options_.seal_passages = passages;
    ASSERT_OK(Open());
  }

  // As AllowSealing, on battery.
  void AllowSealingOnBattery(size_t passages) {
    machine_.SetOnBattery(true);
    throttle_.emplace(
        SealThrottle::Options{.pause_on_battery = true,
                              .files = machine_.files(),
                              .read_interval = absl::ZeroDuration()});
    options_.throttle = &*throttle_;
    AllowSealing(passages);
  }

  template <typename Condition>
  void WaitUntil(const Condition& condition) {
    while (!condition(collection_->GetStatus())) {
      absl::SleepFor(absl::Milliseconds(1));
    }
  }

  void WaitUntilPaused() {
    WaitUntil([](const CollectionStatus& status) {
      return status.sealing_pause == "on battery";
    });
  }

  // An empty collection of its own, which sealing is worth from kEnough on.
  void StartAnewWith(VectorSource source) {
    collection_.reset();
    fs::remove_all(temp_.path() / "store");
    config_.vector_source = source;
    ASSERT_OK(RocksDbStore::Create(temp_.path() / "store",
                                   EncodeCollectionConfig(config_), shared_));
    AllowSealing(kEnough);
  }

  // With documents 0 to kEnough, sealed. Training takes a second, so the first
  // test that wants it keeps a copy for the others.
  void StartSealed() {
    static const TempDirectory& sealed = *new TempDirectory;
    if (!fs::exists(sealed.path() / "store")) {
      Put(0, kEnough);
      AllowSealing(kEnough);
      ASSERT_OK(Compact());
      collection_.reset();
      fs::copy(temp_.path(), sealed.path(), fs::copy_options::recursive);
    }
    collection_.reset();
    fs::remove_all(temp_.path() / "store");
    fs::remove_all(segments());
    fs::copy(sealed.path(), temp_.path(), fs::copy_options::recursive);
    AllowSealing(kEnough);
  }

  static std::string Text(int i) {
    return absl::StrCat("topic", i % 40, " word", i % 97, " thing", i % 61,
                        " item", i);
  }

  // Sums of a few words only, unlike Text's.
  static std::string OtherText(int i) {
    std::string text = "other";
    for (int word = 0; word < 8; ++word) {
      for (int n = (i * (2 * word + 3) + i / 11) % 5; n > 0; --n) {
        absl::StrAppend(&text, " other", word);
      }
    }
    return text;
  }

  void Put(int begin, int end, const std::string& prefix = "doc",
           std::string (*text)(int) = Text) {
    for (int i = begin; i < end; ++i) {
      collection_->Put(
          {.id = absl::StrCat(prefix, i), .text = text(i)},
          [](const absl::StatusOr<PutResult>& result) { EXPECT_OK(result); });
      // Writes are applied in order: waiting for one waits for those before.
      if (i % 500 == 499) {
        ASSERT_OK(collection_->DeleteAndWait({"none"}));
      }
    }
    ASSERT_OK(collection_->DeleteAndWait({"none"}));
    ASSERT_OK(WaitSearchable(*collection_));
  }

  absl::StatusOr<CompactResult> Compact(
      std::function<void(const CompactProgress&)> progress =
          [](const CompactProgress&) {},
      const CompactOptions& options = {}) {
    return collection_->Compact(
        options, [] { return false; }, std::move(progress));
  }

  std::vector<std::string> Find(const std::string& text,
                                SearchOptions options = {
                                    .k = 10,
                                    .recall_target = std::nullopt,
                                    .rerank = kMaxRerank}) {
    absl::StatusOr<SearchResult> result =
        collection_->Search(text, options, {});
    EXPECT_OK(result);
    std::vector<std::string> ids;
    for (const SearchHit& hit : result->hits) {
      ids.push_back(hit.document_id);
    }
    return ids;
  }

  // The share of what an exact search finds for each of some queries that
  // `options` find.
  double Recall(const SearchOptions& options) {
    size_t found = 0;
    size_t wanted = 0;
    for (int i = 0; i < 40; ++i) {
      const std::string query = Text(7 * i + 3);
      const std::vector<std::string> exact = Find(query);
      for (const std::string& id : Find(query, options)) {
        found += std::count(exact.begin(), exact.end(), id);
      }
      wanted += exact.size();
    }
    return static_cast<double>(found) / static_cast<double>(wanted);
  }

  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(segments())) {
      names.push_back(entry.path().filename());
    }
    return names;
  }

  fs::path SegmentFile() const {
    for (const auto& entry : fs::directory_iterator(segments())) {
      if (entry.path().filename().string().starts_with("segment-")) {
        return entry.path();
      }
    }
    ADD_FAILURE() << "no segment file";
    return {};
  }

  TempDirectory temp_;
  RocksDbShared shared_{{}};
  HashEmbedder embedder_;
  // What was found stays not found.
  VectorCache cache_{0};
  CollectionConfig config_;
  Collection::Options options_;
  FailingStore::Commits commits_;
  FakeMachine machine_;
  std::optional<SealThrottle> throttle_;
  std::unique_ptr<Collection> collection_;
};

TEST_F(CollectionSealingTest, CompactingMovesEveryCodeToOneSegment) {
  Put(0, kEnough);
  const std::vector<std::string> before = Find(Text(3));
  AllowSealing(kEnough - 1);
  absl::StatusOr<CompactResult> result = Compact();
  ASSERT_OK(result);
  // Either this or the collection by itself has done it.
  CollectionStatus status = collection_->GetStatus();
  EXPECT_EQ(status.delta_passages, 0);
  EXPECT_EQ(status.sealed_passages, kEnough);
  EXPECT_EQ(status.segments, 1);
  EXPECT_THAT(Files(), SizeIs(2));
  EXPECT_EQ(Find(Text(3)), before);

  // Without another embedding, and without codes in the store.
  const size_t embedded = status.embedded_passages;
  ASSERT_OK(Open());
  status = collection_->GetStatus();
  EXPECT_EQ(embedded, 0);
  EXPECT_EQ(status.embedded_passages, 0);
  EXPECT_EQ(status.delta_passages, 0);
  EXPECT_EQ(status.sealed_passages, kEnough);
  EXPECT_EQ(Find(Text(3)), before);
  result = Compact();
  ASSERT_OK(result);
  EXPECT_EQ(result->segment_passages, 0) << "there was nothing to do";
}

TEST_F(CollectionSealingTest, TheDeltaIsSealedByItselfWhenItIsLarge) {
  options_.seal_passages = kEnough;
  ASSERT_OK(Open());
  Put(0, kEnough + 50);
  const absl::Time limit = absl::Now() + absl::Seconds(60);
  while (collection_->GetStatus().segments == 0 && absl::Now() < limit) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  const CollectionStatus status = collection_->GetStatus();
  EXPECT_EQ(status.segments, 1);
  EXPECT_GE(status.sealed_passages, kEnough);
  EXPECT_EQ(status.delta_passages + status.sealed_passages, kEnough + 50);
  EXPECT_OK(status.sealing_error);
}

// A code moves to a segment; its vector stays in the store.
TEST_F(CollectionSealingTest, StoredVectorsOutliveTheirCodesInTheDelta) {
  StartAnewWith(VectorSource::kStoredI8);
  Put(0, kEnough);
  ASSERT_OK(Compact());
  ASSERT_OK(collection_->DeleteAndWait({"doc3"}));
  Put(kEnough, kEnough + 5);
  for (const char* const stage : {"sealed", "reopened", "merged"}) {
    SCOPED_TRACE(stage);
    if (stage == std::string_view("reopened")) {
      ASSERT_OK(Open());
    } else if (stage == std::string_view("merged")) {
      ASSERT_OK(Compact());
    }
    const size_t searched = embedder_.searched();
    const auto result = collection_->Search(
        Text(5), {.k = 10, .recall_target = std::nullopt, .rerank = 200}, {});
    ASSERT_OK(result);
    EXPECT_EQ(result->hits[0].document_id, "doc5");
    EXPECT_EQ(result->vectors.stored, 200u);
    EXPECT_EQ(result->vectors.recomputed, 0u);
    EXPECT_EQ(embedder_.searched(), searched + 1);
  }
}

TEST_F(CollectionSealingTest, VectorsOfHubsAloneAreStored) {
  options_.min_graph_passages = 100;
  StartAnewWith(VectorSource::kStoredHubs);
  Put(0, kEnough);
  const auto stored = [this] {
    const auto result = collection_->Search(
        Text(5), {.k = 10, .recall_target = std::nullopt, .rerank = kMaxRerank},
        {});
    EXPECT_OK(result);
    EXPECT_EQ(result->vectors.stored + result->vectors.recomputed,
              result->passages_reranked);
    return result->vectors.stored;
  };
  // Hubs are 2 % of a segment, less those that were deleted.
  const auto await = [&](size_t count) {
    const absl::Time limit = absl::Now() + absl::Seconds(60);
    while (stored() != count && absl::Now() < limit) {
      absl::SleepFor(absl::Milliseconds(5));
    }
    EXPECT_EQ(stored(), count);
  };
  EXPECT_EQ(stored(), 0u);
  ASSERT_OK(Compact());
  await(22);

  // They are there after a restart, and nothing is embedded for them.
  const size_t ingested = embedder_.ingested();
  ASSERT_OK(Open());
  ASSERT_OK(WaitSearchable(*collection_));
  EXPECT_EQ(stored(), 22u);
  EXPECT_EQ(embedder_.ingested(), ingested);

  // Another segment has other hubs, and the vectors of no others stay.
  for (int i = 0; i < kEnough; i += 3) {
    ASSERT_OK(collection_->DeleteAndWait({absl::StrCat("doc", i)}));
  }
  Put(kEnough, kEnough + 67);
  ASSERT_OK(Compact());
  await(16);
}

TEST_F(CollectionSealingTest, HubsOfAReplacedSegmentAreNotStoredAfterwards) {
  options_.min_graph_passages = 100;
  StartAnewWith(VectorSource::kStoredHubs);
  Put(0, kEnough);
  embedder_.Hold();
  ASSERT_OK(Compact());
  for (int i = 0; i < kEnough; i += 3) {
    ASSERT_OK(collection_->DeleteAndWait({absl::StrCat("doc", i)}));
  }
  ASSERT_OK(Compact());
  embedder_.Release();
  const size_t hubs = 15;
  size_t stored = 0;
  const absl::Time limit = absl::Now() + absl::Seconds(20);
  while (stored < hubs && absl::Now() < limit) {
    const auto result = collection_->Search(
        Text(5), {.k = 10, .recall_target = std::nullopt, .rerank = kMaxRerank},
        {});
    ASSERT_OK(result);
    stored = result->vectors.stored;
  }
  EXPECT_EQ(stored, hubs);
  ASSERT_OK(Open());
  const auto result = collection_->Search(
      Text(5), {.k = 10, .recall_target = std::nullopt, .rerank = kMaxRerank},
      {});
  ASSERT_OK(result);
  EXPECT_EQ(result->vectors.stored, hubs);
}

TEST_F(CollectionSealingTest, TooFewPassagesStayInTheDelta) {
  Put(0, 20);
  const absl::StatusOr<CompactResult> result = Compact();
  ASSERT_OK(result);
  EXPECT_EQ(result->segment_passages, 0);
  EXPECT_EQ(result->delta_passages, 20);
  EXPECT_EQ(collection_->GetStatus().delta_passages, 20);
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(CollectionSealingTest, WhatIsDeletedFromASegmentStaysDeleted) {
  StartSealed();
  EXPECT_THAT(Find(Text(5)), Contains("doc5"));
  ASSERT_OK(collection_->DeleteAndWait({"doc5"}));
  EXPECT_THAT(Find(Text(5)), Not(Contains("doc5")));
  EXPECT_EQ(collection_->GetStatus().dead_passages, 1);
  ASSERT_OK(Open());
  EXPECT_THAT(Find(Text(5)), Not(Contains("doc5")));
  EXPECT_EQ(collection_->GetStatus().dead_passages, 1);
  EXPECT_EQ(collection_->GetStatus().counts.passages, kEnough - 1);

  const absl::StatusOr<CompactResult> result = Compact();
  ASSERT_OK(result);
  EXPECT_EQ(result->segment_passages, kEnough - 1);
  EXPECT_EQ(result->replaced_segments, 1);
  EXPECT_FALSE(result->trained_codebook);
  EXPECT_EQ(collection_->GetStatus().dead_passages, 0);
  EXPECT_THAT(Files(), SizeIs(2)) << "the replaced segment is gone";
  ASSERT_OK(Open());
  EXPECT_EQ(collection_->GetStatus().sealed_passages, kEnough - 1);
}

TEST_F(CollectionSealingTest, ADocumentThatChangesMovesBackToTheDelta) {
  StartSealed();
  ASSERT_OK(PutAndWait(*collection_,
                       {.id = "doc5", .text = "something else entirely"}));
  ASSERT_OK(WaitSearchable(*collection_));
  EXPECT_EQ(Find("something else entirely")[0], "doc5");
  EXPECT_THAT(Find(Text(5)), Not(Contains("doc5")));
  ASSERT_OK(Compact());
  EXPECT_EQ(Find("something else entirely")[0], "doc5");
  const CollectionStatus status = collection_->GetStatus();
  EXPECT_EQ(status.sealed_passages, kEnough);
  EXPECT_EQ(status.delta_passages, 0);
}

TEST_F(CollectionSealingTest, WritesGoOnWhileASegmentIsMade) {
  StartSealed();
  Put(kEnough, kEnough + 10);
  ASSERT_OK(collection_->DeleteAndWait({"doc7"}));
  const absl::StatusOr<CompactResult> result =
      Compact([&](const CompactProgress& progress) {
        if (progress.phase == SealPhase::kWriting) {
          // In the segment, in the delta that is being sealed, and new.
          EXPECT_OK(collection_->DeleteAndWait({"doc8", "doc1105"}));
          EXPECT_OK(PutAndWait(*collection_, {.id = "late", .text = Text(9)}));
          EXPECT_OK(WaitSearchable(*collection_));
          EXPECT_THAT(Find(Text(9)), Contains("late"));
        }
      });
  ASSERT_OK(result);
  EXPECT_EQ(result->sealed_passages, 10);
  const auto check = [&] {
    EXPECT_THAT(Find(Text(7)), Not(Contains("doc7")));
    EXPECT_THAT(Find(Text(8)), Not(Contains("doc8")));
    EXPECT_THAT(Find(Text(1105)), Not(Contains("doc1105")));
    EXPECT_THAT(Find(Text(1106)), Contains("doc1106"));
    EXPECT_THAT(Find(Text(9)), Contains("late"));
    const CollectionStatus status = collection_->GetStatus();
    EXPECT_EQ(status.counts.passages, kEnough + 10 - 3 + 1);
    EXPECT_EQ(status.dead_passages, 2);
    EXPECT_EQ(status.delta_passages, 1);
  };
  check();
  ASSERT_OK(Open());
  check();
}

TEST_F(CollectionSealingTest, ACancelledCompactionChangesNothing) {
  StartSealed();
  Put(kEnough, kEnough + 5);
  std::atomic<bool> cancelled = false;
  const absl::StatusOr<CompactResult> result = collection_->Compact(
      {}, [&] { return cancelled.load(); },
      [&](const CompactProgress& progress) {
        cancelled = progress.phase == SealPhase::kWriting;
      });
  EXPECT_THAT(result, StatusIs(absl::StatusCode::kCancelled, "cancelled"));
  EXPECT_EQ(collection_->GetStatus().delta_passages, 5);
  EXPECT_EQ(collection_->GetStatus().segments, 1);
  EXPECT_OK(collection_->GetStatus().sealing_error);
  EXPECT_THAT(Files(), SizeIs(2));
  ASSERT_OK(Compact());
  EXPECT_EQ(collection_->GetStatus().delta_passages, 0);
}

TEST_F(CollectionSealingTest, ClosingEndsWhoeverWaits) {
  StartSealed();
  Put(kEnough, kEnough + 5);
  std::thread closing;
  std::thread waiting;
  absl::Status second;
  EXPECT_THAT(Compact([&](const CompactProgress& progress) {
                if (progress.phase != SealPhase::kWriting) {
                  return;
                }
                waiting = std::thread([&] { second = Compact().status(); });
                closing = std::thread([this] { collection_->Close(); });
                while (collection_->DeleteAndWait({"none"}).ok()) {
                }
              }),
              StatusIs(absl::StatusCode::kUnavailable, "closed"));
  closing.join();
  waiting.join();
  EXPECT_THAT(second, StatusIs(absl::StatusCode::kUnavailable, "closed"));
  EXPECT_OK(collection_->GetStatus().sealing_error);
  EXPECT_THAT(Compact(), StatusIs(absl::StatusCode::kUnavailable, "closed"));
  ASSERT_OK(Open());
  EXPECT_EQ(collection_->GetStatus().delta_passages, 5);
}

TEST_F(CollectionSealingTest, SealingPausesOnBatteryAndGoesOnWithPower) {
  Put(0, kEnough);
  const std::vector<std::string> before = Find(Text(3));
  AllowSealingOnBattery(kEnough);
  WaitUntilPaused();
  EXPECT_EQ(collection_->GetStatus().delta_passages, kEnough);
  EXPECT_EQ(Find(Text(3)), before);
  Put(kEnough, kEnough + 5);
  EXPECT_EQ(collection_->GetStatus().segments, 0);
  machine_.SetOnBattery(false);
  WaitUntil(
      [](const CollectionStatus& status) { return status.segments == 1; });
  EXPECT_EQ(collection_->GetStatus().sealing_pause, "");
  EXPECT_EQ(collection_->GetStatus().delta_passages, 0);
}

TEST_F(CollectionSealingTest, ClosingEndsAPause) {
  Put(0, kEnough);
  AllowSealingOnBattery(kEnough);
  WaitUntilPaused();
  collection_->Close();
  EXPECT_EQ(collection_->GetStatus().sealing_pause, "");
  EXPECT_EQ(collection_->GetStatus().delta_passages, kEnough);
}

TEST_F(CollectionSealingTest, WhatIsAskedForDoesNotPause) {
  Put(0, kEnough);
  AllowSealingOnBattery(kEnough);
  WaitUntilPaused();
  ASSERT_OK(Compact());
  EXPECT_EQ(collection_->GetStatus().segments, 1);
  EXPECT_EQ(collection_->GetStatus().sealing_pause, "");
}

TEST_F(CollectionSealingTest, ALargeDeltaDoesNotPause) {
  StartSealed();
  AllowSealingOnBattery(10);
  const int most = 10 * static_cast<int>(Collection::kMaxPausedDelta);
  Put(kEnough, kEnough + most - 1);
  WaitUntilPaused();
  EXPECT_EQ(collection_->GetStatus().delta_passages, most - 1);
  Put(kEnough + most, kEnough + most + 1);
  WaitUntil([](const CollectionStatus& status) {
    return status.delta_passages == 0 && status.sealing_pause.empty();
  });
}

TEST_F(CollectionSealingTest, OneThatIsThrottledEndsWhenCancelledOrClosed) {
  StartSealed();
  Put(kEnough, kEnough + 5);
  // What it has used by its first question takes years.
  throttle_.emplace(SealThrottle::Options{.cpu_share = 1e-9});
  options_.throttle = &*throttle_;
  ASSERT_OK(Open());
  std::atomic<bool> cancelled = false;
  const auto cancel = [&](const CompactProgress&) { cancelled = true; };
  EXPECT_THAT(collection_->Compact(
                  {}, [&] { return cancelled.load(); }, cancel),
              StatusIs(absl::StatusCode::kCancelled, "cancelled"));
  std::thread closing;
  EXPECT_THAT(Compact([&](const CompactProgress&) {
                if (!closing.joinable()) {
                  closing = std::thread([this] { collection_->Close(); });
                }
              }),
              StatusIs(absl::StatusCode::kUnavailable, "closed"));
  closing.join();
  EXPECT_EQ(collection_->GetStatus().delta_passages, 5);
}

TEST_F(CollectionSealingTest, SegmentsWithManyDeadAreReplaced) {
  StartSealed();
  std::vector<std::string> ids;
  for (int i = 0; i < kEnough / 5; ++i) {
    ids.push_back(absl::StrCat("doc", i));
  }
  ASSERT_OK(collection_->DeleteAndWait(ids));
  EXPECT_EQ(collection_->GetStatus().dead_passages, kEnough / 5);
  ASSERT_OK(collection_->DeleteAndWait({absl::StrCat("doc", kEnough / 5)}));
  const absl::Time limit = absl::Now() + absl::Seconds(60);
  while (collection_->GetStatus().dead_passages > 0 && absl::Now() < limit) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  const CollectionStatus status = collection_->GetStatus();
  EXPECT_EQ(status.dead_passages, 0);
  EXPECT_EQ(status.sealed_passages, kEnough - kEnough / 5 - 1);
  EXPECT_THAT(Find(Text(kEnough - 1)),
              Contains(absl::StrCat("doc", kEnough - 1)));
}

TEST_F(CollectionSealingTest, AfterAFailedCommitNoFileIsWrittenTwice) {
  StartSealed();
  Put(kEnough, kEnough + 5);
  commits_.manifests = 0;
  commits_.to_fail = 1;
  EXPECT_THAT(Compact(), StatusIs(absl::StatusCode::kInternal, "a test"));
  EXPECT_EQ(commits_.manifests, 1);
  EXPECT_THAT(Files(), SizeIs(3)) << "the manifest may name it";
  EXPECT_EQ(collection_->GetStatus().delta_passages, 5);
  // The next one settles first what the manifest is.
  commits_.to_fail = 1;
  EXPECT_THAT(Compact(), StatusIs(absl::StatusCode::kInternal, "a test"));
  EXPECT_EQ(commits_.manifests, 2);
  EXPECT_THAT(Files(), SizeIs(3));
  ASSERT_OK(Compact());
  EXPECT_EQ(commits_.manifests, 4);
  EXPECT_THAT(Files(), SizeIs(2));
  EXPECT_EQ(collection_->GetStatus().delta_passages, 0);
  ASSERT_OK(Open());
  EXPECT_EQ(collection_->GetStatus().sealed_passages, kEnough + 5);
}

TEST_F(CollectionSealingTest, PassagesOfAnotherKindGetACodebookOfTheirOwn) {
  StartSealed();
  // As many as it takes to compare codebooks, and more of those that there are.
  const int others = 1200;
  AllowSealing(others + 20);
  Put(0, others, "other", OtherText);
  absl::StatusOr<CompactResult> result = Compact();
  ASSERT_OK(result);
  EXPECT_EQ(result->delta_passages, others) << "too few to train a codebook";
  EXPECT_EQ(collection_->GetStatus().segments, 1);
  EXPECT_EQ(collection_->GetStatus().delta_passages, others);

  AllowSealing(others);
  result = Compact();
  ASSERT_OK(result);
  const auto check = [&](size_t passages) {
    const CollectionStatus status = collection_->GetStatus();
    EXPECT_EQ(status.segments, 2);
    EXPECT_EQ(status.codebooks, 2);
    EXPECT_EQ(status.sealed_passages, passages);
    EXPECT_EQ(status.delta_passages, 0);
    EXPECT_THAT(Find(Text(5)), Contains("doc5"));
    EXPECT_THAT(Find(OtherText(5)), Contains("other5"));
  };
  check(kEnough + others);
  ASSERT_OK(Open());
  check(kEnough + others);
  EXPECT_THAT(Files(), SizeIs(4));

  // Each kind goes to the codebook that fits it, also when it is too small to
  // train one.
  Put(others, others + 30, "other", OtherText);
  result = Compact();
  ASSERT_OK(result);
  EXPECT_EQ(result->segment_passages, others + 30);
  EXPECT_FALSE(result->trained_codebook);
  Put(kEnough, kEnough + 30);
  result = Compact();
  ASSERT_OK(result);
  EXPECT_EQ(result->segment_passages, kEnough + 30);
  check(kEnough + others + 60);

  // Of a codebook without new passages, what was deleted goes.
  ASSERT_OK(collection_->DeleteAndWait({"other7"}));
  Put(kEnough + 30, kEnough + 40);
  result = Compact();
  ASSERT_OK(result);
  EXPECT_EQ(result->segments, 2);
  EXPECT_EQ(result->replaced_segments, 2);
  EXPECT_EQ(collection_->GetStatus().dead_passages, 0);
  check(kEnough + others + 69);
  result = Compact();
  ASSERT_OK(result);
  EXPECT_EQ(result->segments, 0) << "there was nothing to do";
}

TEST_F(CollectionSealingTest, WhatIsRecomputedHasOneCodebook) {
  StartSealed();
  AllowSealing(1200);
  Put(0, 1200, "other", OtherText);
  ASSERT_OK(Compact());
  ASSERT_EQ(collection_->GetStatus().codebooks, 2);
  Put(kEnough, kEnough + 20);
  ASSERT_OK(collection_->DeleteAndWait({"doc3"}));
  const size_t embedded = embedder_.ingested();
  bool early = true;
  const absl::StatusOr<CompactResult> result = Compact(
      [&](const CompactProgress& progress) {
        // Of a segment and of the delta, before and after they are read.
        if (progress.phase == SealPhase::kRecomputing && early) {
          early = false;
          EXPECT_OK(collection_->DeleteAndWait({"doc4", "doc1105"}));
        } else if (progress.phase == SealPhase::kWriting) {
          EXPECT_EQ(progress.passages, kEnough + 1200 + 19);
          EXPECT_OK(collection_->DeleteAndWait({"doc6", "doc1106"}));
        }
      },
      {.recompute = true});
  ASSERT_OK(result);
  EXPECT_TRUE(result->trained_codebook);
  EXPECT_EQ(result->segment_passages, kEnough + 1200 + 17);
  EXPECT_EQ(embedder_.ingested(), embedded + kEnough + 1200 + 17);
  const auto check = [&] {
    const CollectionStatus status = collection_->GetStatus();
    EXPECT_EQ(status.segments, 1);
    EXPECT_EQ(status.codebooks, 1);
    EXPECT_EQ(status.sealed_passages, kEnough + 1200 + 17);
    EXPECT_EQ(status.dead_passages, 2);
    EXPECT_EQ(status.delta_passages, 0);
    for (const int gone : {3, 4, 6, 1105, 1106}) {
      EXPECT_THAT(Find(Text(gone)), Not(Contains(absl::StrCat("doc", gone))));
    }
    EXPECT_THAT(Find(Text(1107)), Contains("doc1107"));
    EXPECT_THAT(Find(Text(5)), Contains("doc5"));
    EXPECT_THAT(Find(OtherText(5)), Contains("other5"));
  };
  check();
  ASSERT_OK(Open());
  check();
  EXPECT_THAT(Files(), SizeIs(2));
}

TEST_F(CollectionSealingTest, RecomputingThatFailsChangesNothing) {
  StartSealed();
  Put(kEnough, kEnough + 5);
  const auto recompute = [this] {
    return Compact([](const CompactProgress&) {}, {.recompute = true});
  };
  embedder_.set_failure([](std::span<const std::string_view>) {
    return absl::UnavailableError("the model is gone");
  });
  EXPECT_THAT(recompute(), StatusIs(absl::StatusCode::kUnavailable, "gone"));
  EXPECT_EQ(collection_->GetStatus().segments, 1);
  EXPECT_EQ(collection_->GetStatus().delta_passages, 5);
  embedder_.set_failure(nullptr);
  AllowSealing(2 * kEnough);
  EXPECT_THAT(recompute(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       "trained on 2200 passages or more; it has 1105"));
  EXPECT_OK(collection_->GetStatus().sealing_error);
  EXPECT_EQ(collection_->GetStatus().delta_passages, 5);
}

TEST_F(CollectionSealingTest, AFailureToWriteLosesNothingAndIsReported) {
  Put(0, kEnough);
  AllowSealing(kEnough + 100);
  fs::remove_all(segments());
  std::ofstream(segments()) << "no directory";
  Put(kEnough, kEnough + 200);
  EXPECT_THAT(Compact(), Not(IsOk()));
  EXPECT_THAT(collection_->GetStatus().sealing_error, Not(IsOk()));
  EXPECT_EQ(collection_->GetStatus().delta_passages, kEnough + 200);
  EXPECT_THAT(Find(Text(5)), Contains("doc5"));
  fs::remove(segments());
  fs::create_directory(segments());
  ASSERT_OK(Compact());
  EXPECT_EQ(collection_->GetStatus().delta_passages, 0);
  EXPECT_OK(collection_->GetStatus().sealing_error);
}

TEST_F(CollectionSealingTest, FilesThatNoManifestNamesAreRemoved) {
  StartSealed();
  // As if the daemon had died between the file and the manifest.
  fs::copy_file(SegmentFile(), segments() / "segment-77.pith");
  ASSERT_OK(Open());
  EXPECT_THAT(Files(), SizeIs(2));
  EXPECT_THAT(Find(Text(5)), Contains("doc5"));
}

TEST_F(CollectionSealingTest, SealingWritesACodebookThatWasLost) {
  StartSealed();
  Put(kEnough, kEnough + 5);
  for (const std::string& name : Files()) {
    if (name.starts_with("codebook-")) {
      fs::remove(segments() / name);
    }
  }
  ASSERT_OK(Compact());
  EXPECT_OK(Open());
}

TEST_F(CollectionSealingTest, DamagedOrMissingFilesAreDataLoss) {
  StartSealed();
  collection_.reset();
  const fs::path file = SegmentFile();
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(fs::file_size(file) / 2));
  const int byte = stream.get();
  stream.seekp(static_cast<std::streamoff>(fs::file_size(file) / 2));
  stream.put(static_cast<char>(byte ^ 4));
  stream.close();
  EXPECT_THAT(Open(),
              StatusIs(absl::StatusCode::kDataLoss, file.filename().string()));
  fs::remove(file);
  EXPECT_THAT(Open(),
              StatusIs(absl::StatusCode::kDataLoss, file.filename().string()));
}

TEST_F(CollectionSealingTest, ASegmentWithAGraphIsWalked) {
  options_.min_graph_passages = 500;
  StartSealed();
  // So that there is something to compact.
  ASSERT_OK(PutAndWait(*collection_, {.id = "one", .text = "more"}));
  ASSERT_OK(WaitSearchable(*collection_));
  ASSERT_OK(Compact());
  ASSERT_OK(collection_->DeleteAndWait({"doc5"}));
  const SearchOptions few = {
      .recall_target = std::nullopt, .rerank = 60, .beam = 100};
  const absl::StatusOr<SearchResult> found =
      collection_->Search(Text(3), few, {});
  ASSERT_OK(found);
  EXPECT_LT(found->candidates_scored, kEnough) << "it was scanned";
  EXPECT_EQ(found->passages_reranked, 60);
  EXPECT_GT(Recall(few), 0.85);
  EXPECT_THAT(Find(Text(5)), Not(Contains("doc5")));

  SearchOptions two_level = few;
  two_level.mode = SearchMode::kTwoLevel;
  two_level.rerank = kMaxRerank;
  EXPECT_GT(Recall(two_level), 0.85);
  EXPECT_THAT(Find(Text(5), two_level), Not(Contains("doc5")));
  // The bound holds for walk and delta together.
  Put(kEnough, kEnough + 40);
  two_level.rerank = 30;
  const absl::StatusOr<SearchResult> bound =
      collection_->Search(Text(3), two_level, {});
  ASSERT_OK(bound);
  EXPECT_LE(bound->passages_reranked, 30);
  EXPECT_GT(bound->passages_reranked, 20);
}

TEST_F(CollectionSealingTest, AGraphIsExtendedUntilTooMuchHasChanged) {
  options_.min_graph_passages = 500;
  Put(0, kEnough);
  AllowSealing(kEnough);
  ASSERT_OK(Compact());
  const auto changed = [this] {
    const fs::path file = SegmentFile();
    const auto bytes = ReadFile(file);
    EXPECT_OK(bytes);
    const auto content = DecodeSegment(*bytes, file.filename().string());
    EXPECT_OK(content);
    EXPECT_TRUE(content->graph);
    EXPECT_TRUE(content->score_slope);
    return content->changed_nodes;
  };
  const auto replace = [this](int from, int to, int added) {
    std::vector<std::string> removed;
    for (int i = from; i < to; ++i) {
      removed.push_back(absl::StrCat("doc", i));
    }
    ASSERT_OK(collection_->DeleteAndWait(removed));
    const int end = kEnough + added;
    Put(end - (to - from), end);
    ASSERT_OK(Compact());
  };
  const SearchOptions few = {
      .recall_target = std::nullopt, .rerank = 60, .beam = 100};
  EXPECT_EQ(changed(), 0u);
  replace(0, 100, 100);
  EXPECT_EQ(changed(), 200u);
  // What was extended counts after a restart too.
  ASSERT_OK(Open());
  replace(100, 200, 200);
  EXPECT_EQ(changed(), 400u);
  EXPECT_EQ(collection_->GetStatus().sealed_passages, kEnough);
  EXPECT_THAT(Find(Text(5)), Not(Contains("doc5")));
  EXPECT_THAT(Find(Text(1000)), Contains("doc1000"));
  const absl::StatusOr<SearchResult> found =
      collection_->Search(Text(1150), few, {});
  ASSERT_OK(found);
  EXPECT_EQ(found->hits[0].document_id, "doc1150");
  EXPECT_LT(found->candidates_scored, kEnough) << "it was scanned";
  EXPECT_GT(Recall({.recall_target = std::nullopt, .rerank = 30, .beam = 30}),
            0.8);
  replace(200, 300, 300);
  EXPECT_EQ(changed(), 0u);
}

TEST_F(CollectionSealingTest, ARecallTargetDecidesHowMuchIsRecomputed) {
  StartSealed();
  const SearchOptions low = {.recall_target = 0.6};
  const SearchOptions high = {.recall_target = 0.99};
  EXPECT_GT(Recall(high), 0.97);
  const absl::StatusOr<SearchResult> few =
      collection_->Search(Text(3), low, {});
  const absl::StatusOr<SearchResult> many =
      collection_->Search(Text(3), high, {});
  ASSERT_OK(few);
  ASSERT_OK(many);
  EXPECT_LT(few->passages_reranked, many->passages_reranked);
  EXPECT_LT(many->passages_reranked, 500);
  // With a bound.
  const absl::StatusOr<SearchResult> bound = collection_->Search(
      Text(3), {.k = 5, .recall_target = 0.99, .rerank = 6}, {});
  ASSERT_OK(bound);
  EXPECT_LE(bound->passages_reranked, 6);
}

TEST_F(CollectionSealingTest, WhatIsRecomputedFollowsTheSegmentsSlope) {
  StartSealed();
  const fs::path file = SegmentFile();
  const auto reranked = [&](float slope) -> size_t {
    const auto bytes = ReadFile(file);
    EXPECT_OK(bytes);
    auto content = DecodeSegment(*bytes, "segment");
    EXPECT_OK(content);
    EXPECT_GT(content->score_slope.value_or(0), 0);
    content->score_slope = slope;
    EXPECT_OK(WriteFileAtomically(file, EncodeSegment(*content)));
    EXPECT_OK(Open());
    const absl::StatusOr<SearchResult> found =
        collection_->Search(Text(3), {.recall_target = 0.9}, {});
    EXPECT_OK(found);
    return found->passages_reranked;
  };
  EXPECT_LT(reranked(1), reranked(100));
}

TEST_F(CollectionSealingTest, OptionsOutOfRangeAreRefused) {
  const auto search = [&](const SearchOptions& options) {
    return collection_->Search("x", options, {});
  };
  EXPECT_THAT(search({.recall_target = 0.49}),
              StatusIs(absl::StatusCode::kInvalidArgument, "0.49"));
  EXPECT_THAT(search({.recall_target = 1.0}),
              StatusIs(absl::StatusCode::kInvalidArgument, "0.999"));
  EXPECT_THAT(search({.recall_target = std::nan("")}),
              StatusIs(absl::StatusCode::kInvalidArgument, "nan"));
  EXPECT_THAT(search({.beam = 0}),
              StatusIs(absl::StatusCode::kInvalidArgument, "beam of 0"));
}

}  // namespace
}  // namespace pith
