#include "core/index/collection.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/base/reason.h"
#include "tests/collection_calls.h"
#include "tests/fakes/forwarding_passage_store.h"
#include "tests/fakes/hash_embedder.h"
#include "tests/fakes/in_memory_passage_store.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class CollectionTest : public testing::Test {
 protected:
  CollectionTest() {
    config_.name = "test";
    config_.model = embedder_.identity();
    config_.chunking = Chunking::kNone;
    options_.min_retry_delay = absl::Milliseconds(1);
    options_.max_retry_delay = absl::Milliseconds(2);
    Open();
  }

  void Open() {
    collection_.reset();
    absl::StatusOr<std::unique_ptr<Collection>> collection =
        Collection::Open(config_, temp_.path() / "segments",
                         std::make_unique<ForwardingPassageStore>(store_),
                         embedder_, cache_, options_);
    ASSERT_OK(collection);
    collection_ = *std::move(collection);
  }

  std::vector<std::string> Find(const std::string& text, size_t k = 10) {
    absl::StatusOr<SearchResult> result =
        collection_->Search(text,
                            {.k = k,
                             .recall_target = std::nullopt,
                             .rerank = std::max<size_t>(k, 30)},
                            {});
    EXPECT_OK(result);
    std::vector<std::string> ids;
    for (const SearchHit& hit : result->hits) {
      ids.push_back(hit.document_id);
    }
    return ids;
  }

  TempDirectory temp_;
  std::shared_ptr<InMemoryPassageStore> store_ =
      std::make_shared<InMemoryPassageStore>();
  HashEmbedder embedder_;
  VectorCache cache_{size_t{1} << 20};
  CollectionConfig config_;
  Collection::Options options_;
  std::unique_ptr<Collection> collection_;
};

// A search that needs `count` exact vectors, and where those came from.
VectorCounts CountVectors(Collection& collection, size_t count) {
  const absl::StatusOr<SearchResult> result = collection.Search(
      std::string("word7"),
      {.k = count, .recall_target = std::nullopt, .rerank = count}, {});
  EXPECT_OK(result);
  EXPECT_EQ(result->passages_reranked, count);
  return result->vectors;
}

TEST_F(CollectionTest, FindsTheNearestDocumentsInOrder) {
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "red green blue"}));
  ASSERT_OK(PutAndWait(*collection_, {.id = "b", .text = "red green cyan"}));
  ASSERT_OK(PutAndWait(*collection_, {.id = "c", .text = "one two three"}));
  ASSERT_OK(WaitSearchable(*collection_));
  EXPECT_THAT(Find("red green blue", 2), ElementsAre("a", "b"));
}

// Counts what is asked of the store.
class SettledStore : public ForwardingPassageStore {
 public:
  SettledStore(std::shared_ptr<PassageStore> store, std::atomic<int>& settled)
      : ForwardingPassageStore(std::move(store)), settled_(settled) {}
  absl::Status Settle(std::atomic<bool>& cancelled) override {
    ++settled_;
    return ForwardingPassageStore::Settle(cancelled);
  }

 private:
  std::atomic<int>& settled_;
};

TEST_F(CollectionTest, TheStoreIsSettledForLessWhenWritesPause) {
  std::atomic<int> settled = 0;
  const auto open = [&](absl::Duration pause) {
    collection_.reset();
    options_.settle_pause = pause;
    collection_ =
        *Collection::Open(config_, temp_.path() / "segments",
                          std::make_unique<SettledStore>(store_, settled),
                          embedder_, cache_, options_);
  };
  const auto put = [&](const std::string& id, size_t bytes) {
    std::string text;
    while (text.size() < bytes) {
      absl::StrAppend(&text, "word", text.size(), " ");
    }
    ASSERT_OK(PutAndWait(*collection_, {.id = id, .text = text}));
    ASSERT_OK(WaitSearchable(*collection_));
  };
  const auto wait_for = [&](int count) {
    const absl::Time limit = absl::Now() + absl::Seconds(60);
    while (settled < count && absl::Now() < limit) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    EXPECT_EQ(settled, count);
  };
  open(absl::Hours(1));
  put("large", 1'000'000);
  wait_for(1);
  // A tenth.
  put("small", 100'000);
  absl::SleepFor(absl::Milliseconds(20));
  EXPECT_EQ(settled, 1);

  open(absl::Milliseconds(1));
  put("another", 100'000);
  wait_for(2);
  // Less than is worth it.
  put("tiny", 1'000);
  absl::SleepFor(absl::Milliseconds(20));
  EXPECT_EQ(settled, 2);
  collection_.reset();
}

// In which passages cannot be read from now on.
class UnreadableStore : public ForwardingPassageStore {
 public:
  using ForwardingPassageStore::ForwardingPassageStore;
  absl::StatusOr<std::vector<std::optional<Passage>>> GetPassages(
      std::span<const PassageId>) const override {
    return absl::DataLossError("a block's checksum");
  }
};

TEST_F(CollectionTest, StatusTellsWhatIsWrongWithTheStore) {
  EXPECT_OK(collection_->GetStatus().storage_error);
  store_->set_commit_status(absl::ResourceExhaustedError("disk full"));
  EXPECT_THAT(PutAndWait(*collection_, {.id = "a", .text = "red"}),
              StatusIs(absl::StatusCode::kResourceExhausted, "disk full"));
  EXPECT_THAT(collection_->GetStatus().storage_error,
              StatusIs(absl::StatusCode::kResourceExhausted, "disk full"));
  store_->set_commit_status(absl::OkStatus());
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "red"}));
  ASSERT_OK(WaitSearchable(*collection_));
  EXPECT_OK(collection_->GetStatus().storage_error);

  collection_.reset();
  collection_ = *Collection::Open(config_, temp_.path() / "segments",
                                  std::make_unique<UnreadableStore>(store_),
                                  embedder_, cache_, options_);
  EXPECT_OK(collection_->GetStatus().storage_error);
  EXPECT_THAT(collection_->Get("a"),
              StatusIs(absl::StatusCode::kDataLoss, "a block's checksum"));
  // Writes that succeed mend nothing.
  ASSERT_OK(PutAndWait(*collection_, {.id = "b", .text = "blue"}));
  EXPECT_THAT(collection_->GetStatus().storage_error,
              StatusIs(absl::StatusCode::kDataLoss, "a block's checksum"));
}

TEST_F(CollectionTest, SourcesStayUntilOthersAreSet) {
  EXPECT_EQ(*collection_->GetSources(), "");
  ASSERT_OK(collection_->SetSources("first"));
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "red"}));
  Open();
  EXPECT_EQ(*collection_->GetSources(), "first");
  EXPECT_EQ(collection_->GetStatus().counts.documents, 1u);
  store_->set_commit_status(absl::ResourceExhaustedError("disk full"));
  EXPECT_THAT(collection_->SetSources("second"),
              StatusIs(absl::StatusCode::kResourceExhausted, "disk full"));
  store_->set_commit_status(absl::OkStatus());
  EXPECT_EQ(*collection_->GetSources(), "first");
  collection_->Close();
  EXPECT_THAT(collection_->SetSources("third"),
              StatusIs(absl::StatusCode::kUnavailable, ""));
}

TEST_F(CollectionTest, AStampIsKeptAndChangesWithoutTheText) {
  const FileStamp stamp = {.inode = 1, .bytes = 3, .settled = true};
  const auto listed = [this] {
    return (*collection_->List("", std::nullopt, 1)).at(0).stamp;
  };
  ASSERT_OK(
      PutAndWait(*collection_, {.id = "a", .text = "red", .stamp = stamp}));
  EXPECT_EQ(listed(), stamp);
  const FileStamp later = {.inode = 2, .bytes = 3, .settled = true};
  const auto put =
      PutAndWait(*collection_, {.id = "a", .text = "red", .stamp = later});
  ASSERT_OK(put);
  EXPECT_EQ(put->outcome, PutOutcome::kUnchanged);
  EXPECT_EQ(listed(), later);
  // The same text from elsewhere: the file holds it still.
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "red"}));
  EXPECT_EQ(listed(), later);
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "blue"}));
  EXPECT_EQ(listed(), std::nullopt);
  ASSERT_OK(WaitSearchable(*collection_));
  EXPECT_THAT(Find("blue"), ElementsAre("a"));
}

TEST_F(CollectionTest, WaitingDocumentsAreNamedWithTheirFailure) {
  embedder_.set_failure([](std::span<const std::string_view> texts) {
    return absl::StrContains(AbslView(texts[0]), "poison")
               ? absl::InternalError("poison")
               : absl::UnavailableError("no worker");
  });
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "poison"}));
  ASSERT_TRUE(WaitSearchable(*collection_).ok());
  ASSERT_OK(PutAndWait(*collection_, {.id = "b", .text = "water"}));
  const auto waiting = collection_->ListWaiting(10);
  ASSERT_OK(waiting);
  ASSERT_THAT(*waiting, SizeIs(2));
  EXPECT_EQ((*waiting)[0].id, "a");
  EXPECT_THAT((*waiting)[0].failure,
              StatusIs(absl::StatusCode::kInternal, "poison"));
  EXPECT_EQ((*waiting)[1].id, "b");
  EXPECT_OK((*waiting)[1].failure);
  EXPECT_THAT(*collection_->ListWaiting(1), SizeIs(1));
  embedder_.set_failure(nullptr);
  ASSERT_OK(WaitSearchable(*collection_));
  EXPECT_THAT(*collection_->ListWaiting(10), SizeIs(1));
}

TEST_F(CollectionTest, AHitSaysWhereItLiesAndHowItWasFound) {
  config_.chunking = Chunking::kStructure;
  config_.target_tokens = 16;
  store_ = std::make_shared<InMemoryPassageStore>();
  Open();
  std::string text = "# Zoo\n\n";
  for (int i = 0; i < 6; ++i) {
    absl::StrAppend(&text, "Animal", i, " eats food", i,
                    " and drinks some water every single day of the year "
                    "without a pause.\n\n");
  }
  ASSERT_OK(PutAndWait(*collection_, {.id = "zoo.md",
                                      .text = text,
                                      .metadata = {{"year", int64_t{2026}}},
                                      .format = TextFormat::kMarkdown}));
  ASSERT_OK(WaitSearchable(*collection_));
  absl::StatusOr<SearchResult> result =
      collection_->Search(std::string("animal4 eats food4"), {.k = 1}, {});
  ASSERT_OK(result);
  ASSERT_THAT(result->hits, SizeIs(1));
  const SearchHit& hit = result->hits[0];
  EXPECT_EQ(hit.document_id, "zoo.md");
  EXPECT_EQ(hit.title, "Zoo");
  EXPECT_EQ(hit.heading_path, "Zoo");
  EXPECT_TRUE(absl::StrContains(hit.text, "Animal4"));
  EXPECT_EQ(text.substr(hit.offset, hit.text.size()), hit.text);
  EXPECT_EQ(std::get<int64_t>(hit.metadata.at("year")), 2026);
  // Lines are counted from 1, up to the line of the passage's last newline.
  const auto line_at = [&](size_t offset) {
    return 1 + std::count(text.begin(),
                          text.begin() + static_cast<std::ptrdiff_t>(offset),
                          '\n');
  };
  EXPECT_EQ(hit.first_line, static_cast<uint64_t>(line_at(hit.offset)));
  EXPECT_EQ(hit.last_line,
            static_cast<uint64_t>(line_at(hit.offset + hit.text.size() - 1)));
  EXPECT_EQ(result->candidates_scored,
            collection_->GetStatus().counts.passages);
  EXPECT_EQ(result->vectors.recomputed, result->passages_reranked);
  EXPECT_EQ(result->segments, 0);
}

TEST_F(CollectionTest, RecomputesNoMoreThanAskedForAndNothingTwice) {
  for (int i = 0; i < 100; ++i) {
    ASSERT_OK(PutAndWait(*collection_, {.id = absl::StrCat(i),
                                        .text = absl::StrCat("word", i)}));
  }
  ASSERT_OK(WaitSearchable(*collection_));
  EXPECT_EQ(embedder_.ingested(), 100u);
  absl::StatusOr<SearchResult> first = collection_->Search(
      std::string("word7"),
      {.k = 5, .recall_target = std::nullopt, .rerank = 20}, {});
  ASSERT_OK(first);
  EXPECT_EQ(first->vectors.recomputed, 20u);
  EXPECT_EQ(embedder_.searched(), 21u);
  absl::StatusOr<SearchResult> second = collection_->Search(
      std::string("word7"),
      {.k = 5, .recall_target = std::nullopt, .rerank = 20}, {});
  ASSERT_OK(second);
  EXPECT_EQ(second->vectors.recomputed, 0u);
  EXPECT_EQ(second->vectors.cached, 20u);
  ASSERT_THAT(second->hits, SizeIs(5));
  EXPECT_EQ(second->hits[0].document_id, "7");
  EXPECT_EQ(second->hits[0].score, first->hits[0].score);
}

class StoredVectors : public CollectionTest,
                      public testing::WithParamInterface<VectorSource> {
 protected:
  StoredVectors() {
    config_.vector_source = GetParam();
    Open();
  }

  // Opens the collection again, with nothing in the cache.
  void Reopen() {
    collection_.reset();
    no_cache_ = std::make_unique<VectorCache>(0);
    absl::StatusOr<std::unique_ptr<Collection>> collection =
        Collection::Open(config_, temp_.path() / "segments",
                         std::make_unique<ForwardingPassageStore>(store_),
                         embedder_, *no_cache_, options_);
    ASSERT_OK(collection);
    collection_ = *std::move(collection);
  }

  std::unique_ptr<VectorCache> no_cache_;
};

INSTANTIATE_TEST_SUITE_P(Formats, StoredVectors,
                         testing::Values(VectorSource::kStoredF16,
                                         VectorSource::kStoredI8),
                         [](const auto& test) {
                           return test.param == VectorSource::kStoredI8 ? "I8"
                                                                        : "F16";
                         });

TEST_P(StoredVectors, ASearchEmbedsTheQueryAlone) {
  for (int i = 0; i < 40; ++i) {
    ASSERT_OK(PutAndWait(*collection_, {.id = absl::StrCat(i),
                                        .text = absl::StrCat("word", i)}));
  }
  ASSERT_OK(WaitSearchable(*collection_));
  const VectorCounts first = CountVectors(*collection_, 20);
  EXPECT_EQ(first.stored, 20u);
  EXPECT_EQ(first.recomputed, 0u);
  const VectorCounts second = CountVectors(*collection_, 20);
  EXPECT_EQ(second.cached, 20u);
  EXPECT_EQ(embedder_.searched(), 2u);
  Reopen();
  EXPECT_EQ(CountVectors(*collection_, 40).stored, 40u);
  EXPECT_EQ(Find("word7", 1), std::vector<std::string>{"7"});
  EXPECT_EQ(embedder_.searched(), 4u);
  // A passage as the query is read, too.
  const auto by_passage =
      collection_->Search(MakePassageId(DocumentNumber{8}, 0), {.k = 1}, {});
  ASSERT_OK(by_passage);
  EXPECT_EQ(by_passage->hits[0].document_id, "7");
  EXPECT_EQ(embedder_.searched(), 4u);
  EXPECT_EQ(embedder_.ingested(), 40u);
}

TEST_P(StoredVectors, ChangingADocumentKeepsTheVectorsOfWhatStays) {
  config_.chunking = Chunking::kStructure;
  config_.target_tokens = 16;
  store_ = std::make_shared<InMemoryPassageStore>();
  Reopen();
  const auto zoo = [](const std::string& changed) {
    std::string text;
    for (int i = 0; i < 6; ++i) {
      absl::StrAppend(&text, "Animal", i, " eats food", i,
                      " and drinks water every day of the whole year without a",
                      " pause", i == 3 ? changed : "", ".\n\n");
    }
    return text;
  };
  ASSERT_OK(PutAndWait(*collection_, {.id = "zoo", .text = zoo("")}));
  ASSERT_OK(WaitSearchable(*collection_));
  const size_t passages = collection_->GetStatus().counts.passages;
  ASSERT_GT(passages, 3u);
  EXPECT_EQ(embedder_.ingested(), passages);
  ASSERT_OK(PutAndWait(*collection_, {.id = "zoo", .text = zoo(" at all")}));
  ASSERT_OK(WaitSearchable(*collection_));
  EXPECT_EQ(embedder_.ingested(), passages + 1);
  const VectorCounts counts = CountVectors(*collection_, passages);
  EXPECT_EQ(counts.stored, passages);
}

TEST_P(StoredVectors, DeletingAPassageDeletesItsVector) {
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "red"}));
  ASSERT_OK(PutAndWait(*collection_, {.id = "b", .text = "blue"}));
  ASSERT_OK(WaitSearchable(*collection_));
  const std::vector<PassageId> ids = {MakePassageId(DocumentNumber{1}, 0),
                                      MakePassageId(DocumentNumber{2}, 0)};
  EXPECT_TRUE((*store_->GetVectors(ids))[0]);
  ASSERT_OK(collection_->DeleteAndWait({"a"}));
  EXPECT_FALSE((*store_->GetVectors(ids))[0]);
  EXPECT_TRUE((*store_->GetVectors(ids))[1]);
}

TEST_F(CollectionTest, OneThatRecomputesStoresNoVector) {
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "red"}));
  ASSERT_OK(WaitSearchable(*collection_));
  EXPECT_FALSE((*store_->GetVectors(
      std::vector{MakePassageId(DocumentNumber{1}, 0)}))[0]);
}

// What an f16 source finds is what recomputing finds, to the bit.
TEST_F(CollectionTest, ScoresDoNotDependOnTheSource) {
  const auto search = [this] {
    for (int i = 0; i < 30; ++i) {
      EXPECT_OK(PutAndWait(
          *collection_,
          {.id = absl::StrCat(i), .text = absl::StrCat("word", i, " thing")}));
    }
    EXPECT_OK(WaitSearchable(*collection_));
    const auto result =
        collection_->Search(std::string("word7 thing"), {.k = 30}, {});
    EXPECT_OK(result);
    std::vector<std::pair<PassageId, float>> scores;
    for (const SearchHit& hit : result->hits) {
      scores.emplace_back(hit.passage, hit.score);
    }
    return scores;
  };
  const auto recomputed = search();
  store_ = std::make_shared<InMemoryPassageStore>();
  config_.vector_source = VectorSource::kStoredF16;
  Open();
  EXPECT_EQ(search(), recomputed);
}

// Ingest must not flush what searches need.
TEST_F(CollectionTest, IngestLeavesTheCacheAlone) {
  for (int i = 0; i < 100; ++i) {
    ASSERT_OK(PutAndWait(*collection_, {.id = absl::StrCat(i),
                                        .text = absl::StrCat("word", i)}));
  }
  ASSERT_OK(WaitSearchable(*collection_));
  EXPECT_EQ(cache_.status().lookups, 0u);
  EXPECT_EQ(cache_.status().entries, 0u);
}

TEST_F(CollectionTest, AddingTheSameAgainChangesAndEmbedsNothing) {
  const DocumentInput input{.id = "a", .text = "some words"};
  EXPECT_EQ(PutAndWait(*collection_, input)->outcome, PutOutcome::kAdded);
  ASSERT_OK(WaitSearchable(*collection_));
  const absl::StatusOr<PutResult> again = PutAndWait(*collection_, input);
  ASSERT_OK(again);
  EXPECT_EQ(again->outcome, PutOutcome::kUnchanged);
  EXPECT_EQ(again->passages, 1u);
  ASSERT_OK(WaitSearchable(*collection_));
  EXPECT_EQ(embedder_.ingested(), 1u);
  EXPECT_EQ(collection_->GetStatus().counts.documents, 1u);
}

TEST_F(CollectionTest, AChangedDocumentIsFoundByItsNewTextAlone) {
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "old words"}));
  ASSERT_OK(WaitSearchable(*collection_));
  EXPECT_EQ(
      PutAndWait(*collection_, {.id = "a", .text = "new things"})->outcome,
      PutOutcome::kUpdated);
  ASSERT_OK(WaitSearchable(*collection_));
  absl::StatusOr<SearchResult> result =
      collection_->Search(std::string("old words"), {.k = 5}, {});
  ASSERT_OK(result);
  ASSERT_THAT(result->hits, SizeIs(1));
  EXPECT_EQ(result->hits[0].text, "new things");
  EXPECT_EQ(collection_->GetStatus().counts.passages, 1u);
  EXPECT_EQ(collection_->GetStatus().counts.text_bytes, 10u);
}

TEST_F(CollectionTest, WritesToOneDocumentApplyInOrderWithinAGroup) {
  embedder_.Hold();
  std::vector<std::promise<absl::StatusOr<PutResult>>> results(20);
  for (size_t i = 0; i < results.size(); ++i) {
    collection_->Put({.id = "same", .text = absl::StrCat("version ", i)},
                     [&results, i](absl::StatusOr<PutResult> result) {
                       results[i].set_value(std::move(result));
                     });
  }
  for (size_t i = 0; i < results.size(); ++i) {
    const absl::StatusOr<PutResult> result = results[i].get_future().get();
    ASSERT_OK(result);
    EXPECT_EQ(result->outcome,
              i == 0 ? PutOutcome::kAdded : PutOutcome::kUpdated);
  }
  EXPECT_EQ((*collection_->Get("same"))->text, "version 19");
  EXPECT_EQ(collection_->GetStatus().counts.pending, 1u);
  embedder_.Release();
  ASSERT_OK(WaitSearchable(*collection_));
  EXPECT_EQ(collection_->GetStatus().counts.pending, 0u);
}

TEST_F(CollectionTest, DeletedDocumentsAreGoneAtOnce) {
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "red"}));
  ASSERT_OK(PutAndWait(*collection_, {.id = "b", .text = "red blue"}));
  ASSERT_OK(WaitSearchable(*collection_));
  const absl::StatusOr<DeleteResult> result =
      collection_->DeleteAndWait({"a", "a", "none"});
  ASSERT_OK(result);
  EXPECT_EQ(result->deleted, 1u);
  EXPECT_EQ(result->not_found, 1u);
  EXPECT_THAT(Find("red"), ElementsAre("b"));
  EXPECT_EQ(*collection_->Get("a"), std::nullopt);
  EXPECT_EQ(collection_->GetStatus().counts.documents, 1u);
}

TEST_F(CollectionTest, WhatIsDeletedBeforeItIsEmbeddedStaysGone) {
  embedder_.Hold();
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "red"}));
  ASSERT_OK(PutAndWait(*collection_, {.id = "b", .text = "blue"}));
  ASSERT_OK(collection_->DeleteAndWait({"a"}));
  embedder_.Release();
  ASSERT_OK(WaitSearchable(*collection_));
  EXPECT_THAT(Find("red"), ElementsAre("b"));
  EXPECT_EQ(collection_->GetStatus().counts.passages, 1u);
  EXPECT_EQ(collection_->GetStatus().counts.pending, 0u);
}

TEST_F(CollectionTest, PendingPassagesAreReportedNotFound) {
  embedder_.Hold();
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "red"}));
  absl::StatusOr<SearchResult> result =
      collection_->Search(std::string("red"), {}, {});
  ASSERT_OK(result);
  EXPECT_THAT(result->hits, IsEmpty());
  EXPECT_EQ(result->pending_passages, 1u);
  embedder_.Release();
  ASSERT_OK(WaitSearchable(*collection_));
  EXPECT_THAT(Find("red"), ElementsAre("a"));
}

TEST_F(CollectionTest, ReopeningGoesOnWhereItStopped) {
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "red"}));
  ASSERT_OK(WaitSearchable(*collection_));
  embedder_.Hold();
  ASSERT_OK(PutAndWait(*collection_, {.id = "b", .text = "blue"}));
  Open();
  EXPECT_EQ(collection_->GetStatus().counts.pending, 1u);
  EXPECT_THAT(Find("red blue"), ElementsAre("a"));
  embedder_.Release();
  ASSERT_OK(WaitSearchable(*collection_));
  EXPECT_THAT(Find("blue"), ElementsAre("b", "a"));
  EXPECT_EQ(embedder_.ingested(), 2u);
}

TEST_F(CollectionTest, ATransientFailureOfTheEmbedderIsRetried) {
  int failures = 3;
  embedder_.set_failure([&](std::span<const std::string_view>) {
    return failures-- > 0 ? absl::UnavailableError("no worker")
                          : absl::OkStatus();
  });
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "red"}));
  EXPECT_EQ(*WaitSearchable(*collection_), 0u);
  EXPECT_THAT(Find("red"), ElementsAre("a"));
  EXPECT_OK(collection_->GetStatus().embedding_error);
}

// Keeps a call waiting until `expected` are there at a time, or have been.
class CrowdedEmbedder : public HashEmbedder {
 public:
  explicit CrowdedEmbedder(int expected) : expected_(expected) {}
  absl::StatusOr<Matrix> Embed(std::span<const std::string_view> texts,
                               TextRole role,
                               const RequestContext& context) override {
    {
      MutexLock lock(mutex_);
      most_ = std::max(most_, ++inside_);
      changed_.SignalAll();
      const absl::Time limit = absl::Now() + absl::Seconds(30);
      while (most_ < expected_ && absl::Now() < limit) {
        changed_.WaitFor(mutex_, absl::Milliseconds(10));
      }
    }
    absl::StatusOr<Matrix> vectors = HashEmbedder::Embed(texts, role, context);
    MutexLock lock(mutex_);
    --inside_;
    return vectors;
  }
  int most() const {
    MutexLock lock(mutex_);
    return most_;
  }

 private:
  const int expected_;
  mutable Mutex mutex_;
  CondVar changed_;
  int inside_ = 0;
  int most_ = 0;
};

TEST_F(CollectionTest, SeveralBatchesAreEmbeddedAtATime) {
  embedder_.Hold();
  for (int i = 0; i < 200; ++i) {
    ASSERT_OK(PutAndWait(*collection_, {.id = absl::StrCat(i),
                                        .text = absl::StrCat("word", i)}));
  }
  collection_.reset();
  CrowdedEmbedder embedder(4);
  collection_ =
      *Collection::Open(config_, temp_.path() / "segments",
                        std::make_unique<ForwardingPassageStore>(store_),
                        embedder, cache_, options_);
  EXPECT_EQ(*WaitSearchable(*collection_), 0u);
  EXPECT_EQ(embedder.most(), 4);
  EXPECT_EQ(embedder.ingested(), 200u);
  EXPECT_THAT(Find("word177", 1), ElementsAre("177"));
  collection_.reset();
}

// One of several batches does, and which passage it is, is found out alone.
TEST_F(CollectionTest, APassageThatLosesTheModelStopsNoOtherBatch) {
  embedder_.Hold();
  int calls_with_poison = 0;
  embedder_.set_failure([&](std::span<const std::string_view> texts) {
    for (const std::string_view text : texts) {
      if (text.find("poison") != std::string_view::npos) {
        ++calls_with_poison;
        return absl::UnavailableError("the model's process is lost");
      }
    }
    return absl::OkStatus();
  });
  for (int i = 0; i < 150; ++i) {
    ASSERT_OK(PutAndWait(
        *collection_,
        {.id = absl::StrCat(i),
         .text = i == 70 ? std::string("poison") : absl::StrCat("word", i)}));
  }
  embedder_.Release();
  EXPECT_EQ(*WaitSearchable(*collection_), 1u);
  EXPECT_EQ(collection_->GetStatus().failed_passages, 1u);
  EXPECT_EQ(embedder_.ingested(), 149u);
  // Three batches, and alone.
  EXPECT_EQ(calls_with_poison, 4);
}

TEST_F(CollectionTest, APassageThatCannotBeEmbeddedStopsNoOther) {
  embedder_.Hold();
  embedder_.set_failure([](std::span<const std::string_view> texts) {
    for (const std::string_view text : texts) {
      if (text.find("poison") != std::string_view::npos) {
        return absl::InternalError("the model fails on poison");
      }
    }
    return absl::OkStatus();
  });
  for (int i = 0; i < 10; ++i) {
    ASSERT_OK(PutAndWait(
        *collection_,
        {.id = absl::StrCat(i),
         .text = i == 6 ? std::string("poison") : absl::StrCat("word", i)}));
  }
  embedder_.Release();
  EXPECT_EQ(*WaitSearchable(*collection_), 1u);
  CollectionStatus status = collection_->GetStatus();
  EXPECT_EQ(status.failed_passages, 1u);
  EXPECT_EQ(status.counts.pending, 1u);
  EXPECT_THAT(status.embedding_error,
              StatusIs(absl::StatusCode::kInternal, "poison"));
  EXPECT_THAT(Find("word3", 1), ElementsAre("3"));
  // Its document's change heals it.
  ASSERT_OK(PutAndWait(*collection_, {.id = "6", .text = "word6"}));
  EXPECT_EQ(*WaitSearchable(*collection_), 0u);
  EXPECT_THAT(Find("word6", 1), ElementsAre("6"));
}

TEST_F(CollectionTest, APassageThatKillsTheModelIsFoundAndStopsNoOther) {
  embedder_.Hold();
  embedder_.set_failure([](std::span<const std::string_view> texts) {
    for (const std::string_view text : texts) {
      if (text.find("poison") != std::string_view::npos) {
        return absl::UnavailableError("the model's process is lost");
      }
    }
    return absl::OkStatus();
  });
  for (int i = 0; i < 50; ++i) {
    ASSERT_OK(PutAndWait(
        *collection_,
        {.id = absl::StrCat(i),
         .text = i == 6 ? std::string("poison") : absl::StrCat("word", i)}));
  }
  embedder_.Release();
  EXPECT_EQ(*WaitSearchable(*collection_), 1u);
  EXPECT_EQ(collection_->GetStatus().counts.pending, 1u);
  EXPECT_THAT(Find("word49", 1), ElementsAre("49"));
}

TEST_F(CollectionTest, AServerThatIsAwayIsNoPassagesFault) {
  embedder_.Hold();
  // Of the calls for one of the passages, more than a model may be lost by.
  embedder_.set_failure(
      [failures = 5](std::span<const std::string_view> texts) mutable {
        for (const std::string_view text : texts) {
          if (text.find("word6") != std::string_view::npos && failures > 0) {
            --failures;
            return WithReason(absl::UnavailableError("no server"),
                              kModelUnreachableReason);
          }
        }
        return absl::OkStatus();
      });
  for (int i = 0; i < 8; ++i) {
    ASSERT_OK(PutAndWait(*collection_, {.id = absl::StrCat(i),
                                        .text = absl::StrCat("word", i)}));
  }
  embedder_.Release();
  EXPECT_EQ(*WaitSearchable(*collection_), 0u);
  EXPECT_THAT(Find("word6", 1), ElementsAre("6"));
}

TEST_F(CollectionTest, AClosedCollectionRefusesWritesAndAnswersSearches) {
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "red"}));
  ASSERT_OK(WaitSearchable(*collection_));
  collection_->Close();
  EXPECT_THAT(PutAndWait(*collection_, {.id = "b", .text = "blue"}),
              StatusIs(absl::StatusCode::kUnavailable, "closed"));
  EXPECT_THAT(collection_->DeleteAndWait({"a"}),
              StatusIs(absl::StatusCode::kUnavailable, "closed"));
  EXPECT_THAT(WaitSearchable(*collection_),
              StatusIs(absl::StatusCode::kUnavailable, "closed"));
  EXPECT_THAT(Find("red"), ElementsAre("a"));
}

TEST_F(CollectionTest, AForgottenWaiterIsNotCalled) {
  embedder_.Hold();
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "red"}));
  bool called = false;
  const uint64_t waiter = collection_->WhenSearchable(
      [&](const absl::StatusOr<uint64_t>&) { called = true; });
  collection_->ForgetWaiter(waiter);
  embedder_.Release();
  ASSERT_OK(WaitSearchable(*collection_));
  EXPECT_FALSE(called);
}

TEST_F(CollectionTest, ATextWithoutATokenReplacesNothing) {
  config_.chunking = Chunking::kStructure;
  store_ = std::make_shared<InMemoryPassageStore>();
  Open();
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "red"}));
  // A space that CheckDocument does not know and the counter skips.
  EXPECT_THAT(PutAndWait(*collection_, {.id = "a", .text = " \x0b \n"}),
              StatusIs(absl::StatusCode::kInvalidArgument, ""));
  EXPECT_EQ((*collection_->Get("a"))->text, "red");
}

TEST_F(CollectionTest, AFailedCommitIsTheCallersErrorAndChangesNothing) {
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "red"}));
  ASSERT_OK(WaitSearchable(*collection_));
  store_->set_commit_status(absl::ResourceExhaustedError("disk full"));
  EXPECT_THAT(PutAndWait(*collection_, {.id = "a", .text = "blue"}),
              StatusIs(absl::StatusCode::kResourceExhausted, "disk full"));
  EXPECT_THAT(collection_->DeleteAndWait({"a"}),
              StatusIs(absl::StatusCode::kResourceExhausted, "disk full"));
  EXPECT_THAT(Find("red"), ElementsAre("a"));
  EXPECT_EQ(collection_->GetStatus().counts.documents, 1u);
  store_->set_commit_status(absl::OkStatus());
  ASSERT_OK(PutAndWait(*collection_, {.id = "b", .text = "blue"}));
  ASSERT_OK(WaitSearchable(*collection_));
  EXPECT_THAT(Find("blue"), ElementsAre("b", "a"));
}

TEST_F(CollectionTest, CodesThatCannotBeStoredAreEmbeddedAgain) {
  embedder_.Hold();
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "red"}));
  store_->set_commit_status(absl::ResourceExhaustedError("disk full"));
  embedder_.Release();
  // Until the failure has been seen.
  while (collection_->GetStatus().embedding_error.ok()) {
    std::this_thread::yield();
  }
  EXPECT_EQ(collection_->GetStatus().counts.pending, 1u);
  store_->set_commit_status(absl::OkStatus());
  ASSERT_OK(WaitSearchable(*collection_));
  EXPECT_THAT(Find("red"), ElementsAre("a"));
}

TEST_F(CollectionTest, ABadDocumentIsRefusedAtTheDoor) {
  EXPECT_THAT(PutAndWait(*collection_, {.id = "", .text = "x"}),
              StatusIs(absl::StatusCode::kInvalidArgument, "id"));
  EXPECT_EQ(collection_->GetStatus().counts.documents, 0u);
}

TEST_F(CollectionTest, AFullQueueRefusesAndCountsWhatWaits) {
  options_.max_queued_bytes = 1000;
  Open();
  EXPECT_THAT(
      PutAndWait(*collection_, {.id = "a", .text = std::string(2000, 'x')}),
      StatusIs(absl::StatusCode::kResourceExhausted,
               "limits are 1024 and 1000"));
}

TEST_F(CollectionTest, SearchRefusesWhatIsOutOfRange) {
  const auto search = [&](const SearchQuery& query, SearchOptions options) {
    return collection_->Search(query, options, {});
  };
  EXPECT_THAT(search("x", {.k = 0}),
              StatusIs(absl::StatusCode::kInvalidArgument, "k of 0"));
  EXPECT_THAT(search("x", {.k = 1001, .rerank = 1001}),
              StatusIs(absl::StatusCode::kInvalidArgument, "k of 1001"));
  EXPECT_THAT(
      search("x", {.k = 10, .rerank = 9}),
      StatusIs(absl::StatusCode::kInvalidArgument, "rerank_count of 9"));
  EXPECT_THAT(search("x", {.k = 10, .rerank = 2001}),
              StatusIs(absl::StatusCode::kInvalidArgument, "2000"));
  EXPECT_THAT(search(" ", {}),
              StatusIs(absl::StatusCode::kInvalidArgument, "empty"));
  EXPECT_THAT(search(std::vector<float>(95, 0.1F), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, "95 elements"));
  EXPECT_THAT(search(std::vector<float>(96, 0.5F), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, "norm"));
  EXPECT_THAT(search(PassageId{12345}, {}),
              StatusIs(absl::StatusCode::kNotFound, "12345"));
  std::string words;
  for (int i = 0; i < 100'000; ++i) {
    words += "word ";
  }
  EXPECT_THAT(search(words, {}),
              StatusIs(absl::StatusCode::kInvalidArgument, "100000 tokens"));
}

TEST_F(CollectionTest, SearchStopsForACallerWhoHasGoneOrIsLate) {
  RequestContext context;
  context.cancelled = [] { return true; };
  EXPECT_THAT(collection_->Search(std::string("x"), {}, context),
              StatusIs(absl::StatusCode::kCancelled, ""));
  context = {};
  context.deadline = absl::InfinitePast();
  EXPECT_THAT(collection_->Search(std::string("x"), {}, context),
              StatusIs(absl::StatusCode::kDeadlineExceeded, ""));
}

TEST_F(CollectionTest, AVectorOrAPassageCanBeTheQuery) {
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "red green"}));
  ASSERT_OK(PutAndWait(*collection_, {.id = "b", .text = "blue black"}));
  ASSERT_OK(WaitSearchable(*collection_));
  const std::string_view text = "blue black";
  const absl::StatusOr<Matrix> vector =
      embedder_.Embed(std::span(&text, 1), TextRole::kQuery, {});
  ASSERT_OK(vector);
  absl::StatusOr<SearchResult> by_vector = collection_->Search(
      std::vector<float>(vector->row(0).begin(), vector->row(0).end()), {}, {});
  ASSERT_OK(by_vector);
  EXPECT_EQ(by_vector->hits[0].document_id, "b");
  EXPECT_NEAR(by_vector->hits[0].score, 1.0, 1e-5);
  absl::StatusOr<SearchResult> by_passage =
      collection_->Search(by_vector->hits[0].passage, {}, {});
  ASSERT_OK(by_passage);
  EXPECT_EQ(by_passage->hits[0].document_id, "b");
}

TEST_F(CollectionTest, AnotherModelIsRefusedWithBothNames) {
  HashEmbedder other("another-fingerprint");
  absl::StatusOr<std::unique_ptr<Collection>> opened =
      Collection::Open(config_, temp_.path() / "segments",
                       std::make_unique<ForwardingPassageStore>(store_), other,
                       cache_, options_);
  EXPECT_THAT(opened, StatusIs(absl::StatusCode::kFailedPrecondition,
                               "not with \"hash\" (another-finger"));
  EXPECT_EQ(ReasonOf(opened.status()), "MODEL_MISMATCH");
}

TEST_F(CollectionTest, ACodeOfTheWrongSizeIsDataLoss) {
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "red"}));
  ASSERT_OK(WaitSearchable(*collection_));
  collection_.reset();
  StoreBatch batch;
  batch.counts = *store_->GetCounts();
  batch.put_codes.push_back(
      {.id = MakePassageId(DocumentNumber{1}, 0), .bytes = "short"});
  ASSERT_OK(store_->Commit(batch, Durability::kSynced));
  EXPECT_THAT(Collection::Open(config_, temp_.path() / "segments",
                               std::make_unique<ForwardingPassageStore>(store_),
                               embedder_, cache_, options_),
              StatusIs(absl::StatusCode::kDataLoss, "5 bytes"));
}

// A code's scale, which an older build's has in other units, decides which of
// three passages is the one that is recomputed: read as today's, those of "b"
// and "c" would be thrice that of "a" and not 1.3 times.
TEST_F(CollectionTest, CodesOfOlderBuildsAreRead) {
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "red green blue"}));
  ASSERT_OK(PutAndWait(*collection_, {.id = "b", .text = "red one two"}));
  ASSERT_OK(PutAndWait(*collection_, {.id = "c", .text = "green one two"}));
  ASSERT_OK(WaitSearchable(*collection_));
  collection_.reset();
  StoreBatch batch;
  batch.counts = *store_->GetCounts();
  ASSERT_OK(store_->VisitCodes([&](PassageId id, std::string_view code) {
    // Whole steps of 17 from zero, for nibbles of today's levels.
    constexpr int kNibbles[] = {0, 2, 3, 4,  5,  6,  6,  7,
                                8, 9, 9, 10, 11, 12, 13, 15};
    std::string old(code.substr(0, code.size() - 2));
    float square = 0;
    for (char& byte : old) {
      const auto bits = static_cast<uint8_t>(byte);
      const int low = kNibbles[bits & 15];
      const int high = kNibbles[bits >> 4];
      byte = static_cast<char>(low | high << 4);
      square += std::pow(static_cast<float>(low) - 7.5f, 2.0f) +
                std::pow(static_cast<float>(high) - 7.5f, 2.0f);
    }
    const bool is_a = id == MakePassageId(DocumentNumber{1}, 0);
    const float scale = (is_a ? 1.0f : 1.3f) / std::sqrt(square);
    const uint32_t bits = std::bit_cast<uint32_t>(scale) - (114u << 23);
    old.push_back(static_cast<char>(bits >> 11));
    old.push_back(static_cast<char>(bits >> 19));
    batch.put_codes.push_back({.id = id, .bytes = std::move(old)});
    return absl::OkStatus();
  }));
  ASSERT_THAT(batch.put_codes, SizeIs(3));
  ASSERT_OK(store_->Commit(batch, Durability::kSynced));
  Open();
  const absl::StatusOr<SearchResult> result = collection_->Search(
      std::string("red green blue"),
      {.k = 1, .recall_target = std::nullopt, .rerank = 1}, {});
  ASSERT_OK(result);
  ASSERT_THAT(result->hits, SizeIs(1));
  EXPECT_EQ(result->hits[0].document_id, "a");
}

TEST_F(CollectionTest, CountsThatDoNotAddUpAreDataLoss) {
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "red"}));
  ASSERT_OK(WaitSearchable(*collection_));
  collection_.reset();
  StoreBatch batch;
  batch.counts = *store_->GetCounts();
  ++batch.counts.passages;
  ASSERT_OK(store_->Commit(batch, Durability::kSynced));
  EXPECT_THAT(Collection::Open(config_, temp_.path() / "segments",
                               std::make_unique<ForwardingPassageStore>(store_),
                               embedder_, cache_, options_),
              StatusIs(absl::StatusCode::kDataLoss, "add up"));
}

TEST_F(CollectionTest, ListsAPageAtATime) {
  for (const char* id : {"b", "a/2", "a/1", "c"}) {
    ASSERT_OK(PutAndWait(*collection_, {.id = id, .text = "x y"}));
  }
  absl::StatusOr<std::vector<DocumentListing>> page =
      collection_->List("a/", std::nullopt, 10);
  ASSERT_OK(page);
  ASSERT_THAT(*page, SizeIs(2));
  EXPECT_EQ((*page)[0].id, "a/1");
  EXPECT_EQ((*page)[0].text_bytes, 3u);
  page = collection_->List("", "a/2", 1);
  ASSERT_OK(page);
  ASSERT_THAT(*page, SizeIs(1));
  EXPECT_EQ((*page)[0].id, "b");
}

TEST_F(CollectionTest, ClosingTellsThoseWhoWait) {
  embedder_.Hold();
  ASSERT_OK(PutAndWait(*collection_, {.id = "a", .text = "red"}));
  absl::Status status;
  collection_->WhenSearchable(
      [&](absl::StatusOr<uint64_t> result) { status = result.status(); });
  collection_.reset();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable, "closed"));
}

}  // namespace
}  // namespace pith
