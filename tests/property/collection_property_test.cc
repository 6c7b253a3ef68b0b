// The collection against a map and brute force, under random adds, changes,
// deletions, searches and restarts.

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "core/base/vector_math.h"
#include "core/index/collection.h"
#include "core/storage/rocksdb_store.h"
#include "tests/collection_calls.h"
#include "tests/fakes/hash_embedder.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

class CollectionProperty
    : public testing::TestWithParam<std::pair<Chunking, VectorSource>> {};

TEST_P(CollectionProperty, AgreesWithAMapAndBruteForceAcrossRestarts) {
  const uint32_t seed =
      static_cast<uint32_t>(testing::UnitTest::GetInstance()->random_seed());
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937 random(seed);
  const auto pick = [&](size_t below) { return random() % below; };

  TempDirectory temp;
  RocksDbShared shared({});
  HashEmbedder embedder;
  // Small enough that vectors come and go.
  VectorCache cache(50'000);
  CollectionConfig config;
  config.name = "test";
  config.model = embedder.identity();
  config.chunking = GetParam().first;
  config.vector_source = GetParam().second;
  config.target_tokens = 24;
  ASSERT_OK(RocksDbStore::Create(temp.path() / "store",
                                 EncodeCollectionConfig(config), shared));

  std::unique_ptr<Collection> collection;
  const auto reopen = [&] {
    collection.reset();
    absl::StatusOr<std::unique_ptr<RocksDbStore>> store =
        RocksDbStore::Open(temp.path() / "store", shared);
    ASSERT_OK(store);
    const absl::StatusOr<CollectionConfig> read =
        DecodeCollectionConfig((*store)->configuration());
    ASSERT_OK(read);
    absl::StatusOr<std::unique_ptr<Collection>> opened =
        Collection::Open(*read, temp.path() / "segments", *std::move(store),
                         embedder, cache, {});
    ASSERT_OK(opened);
    collection = *std::move(opened);
  };
  reopen();

  std::map<std::string, std::string> model;
  const auto random_text = [&] {
    std::string text;
    const size_t paragraphs = 1 + pick(6);
    for (size_t p = 0; p < paragraphs; ++p) {
      const size_t words = 5 + pick(20);
      for (size_t w = 0; w < words; ++w) {
        absl::StrAppend(&text, "w", pick(300), " ");
      }
      text += "\n\n";
    }
    return text;
  };

  for (int step = 0; step < 300; ++step) {
    SCOPED_TRACE(absl::StrCat("step ", step));
    const std::string id = absl::StrCat("doc", pick(40));
    switch (pick(10)) {
      case 0:
        ASSERT_OK(collection->DeleteAndWait({id}));
        model.erase(id);
        break;
      case 1:
        reopen();
        break;
      case 2: {
        // An edit in the middle.
        if (model.contains(id)) {
          std::string text = model[id];
          text.insert(text.size() / 2, absl::StrCat(" w", pick(300), " "));
          ASSERT_OK(PutAndWait(*collection, {.id = id, .text = text}));
          model[id] = text;
        }
        break;
      }
      case 3: {
        ASSERT_OK(WaitSearchable(*collection));
        const std::string query = absl::StrCat("w", pick(300), " w", pick(300));
        absl::StatusOr<SearchResult> result = collection->Search(
            query, {.k = 5, .recall_target = std::nullopt, .rerank = 1000}, {});
        ASSERT_OK(result);
        // Everything is recomputed, so the order must be exact: no passage of
        // the model's may beat the last hit, and every hit must be real.
        float last = 2;
        for (const SearchHit& hit : result->hits) {
          ASSERT_TRUE(model.contains(hit.document_id));
          EXPECT_EQ(model[hit.document_id].substr(hit.offset, hit.text.size()),
                    hit.text);
          EXPECT_LE(hit.score, last);
          last = hit.score;
        }
        EXPECT_EQ(result->pending_passages, 0u);
        EXPECT_EQ(result->vectors.cached + result->vectors.stored +
                      result->vectors.recomputed,
                  result->passages_reranked);
        EXPECT_EQ(config.vector_source == VectorSource::kRecompute
                      ? result->vectors.stored
                      : result->vectors.recomputed,
                  0u);
        EXPECT_EQ(result->candidates_scored,
                  collection->GetStatus().counts.passages);
        break;
      }
      default: {
        const std::string text = random_text();
        ASSERT_OK(PutAndWait(*collection, {.id = id, .text = text}));
        model[id] = text;
      }
    }
  }
  ASSERT_OK(WaitSearchable(*collection));
  reopen();

  const CollectionStatus status = collection->GetStatus();
  EXPECT_EQ(status.counts.documents, model.size());
  EXPECT_EQ(status.counts.pending, 0u);
  uint64_t text_bytes = 0;
  for (const auto& [id, text] : model) {
    const auto stored = collection->Get(id);
    ASSERT_OK(stored);
    ASSERT_TRUE(*stored);
    EXPECT_EQ((*stored)->text, text);
    text_bytes += text.size();
  }
  EXPECT_EQ(status.counts.text_bytes, text_bytes);
  const auto listed = collection->List("", std::nullopt, 1000);
  ASSERT_OK(listed);
  ASSERT_EQ(listed->size(), model.size());
  uint64_t passages = 0;
  auto expected = model.begin();
  for (const DocumentListing& listing : *listed) {
    EXPECT_EQ(listing.id, (expected++)->first);
    passages += listing.passages;
  }
  EXPECT_EQ(status.counts.passages, passages);

  // Every passage is found by its own text, with the score of brute force.
  for (const auto& [id, text] : model) {
    const std::string query = text.substr(0, text.find('\n'));
    if (embedder.CountTokens(query) > embedder.max_tokens()) {
      continue;
    }
    absl::StatusOr<SearchResult> result = collection->Search(
        query, {.k = 1000, .recall_target = std::nullopt, .rerank = 1000}, {});
    ASSERT_OK(result);
    EXPECT_EQ(result->hits.size(), passages);
    const std::vector<std::string_view> texts = {query, result->hits[0].text};
    const absl::StatusOr<Matrix> vectors =
        embedder.Embed(texts, TextRole::kPassage, {});
    ASSERT_OK(vectors);
    EXPECT_NEAR(result->hits[0].score, Dot(vectors->row(0), vectors->row(1)),
                config.vector_source == VectorSource::kStoredI8 ? 1e-2 : 1e-4);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Configurations, CollectionProperty,
    testing::Values(std::pair(Chunking::kStructure, VectorSource::kRecompute),
                    std::pair(Chunking::kNone, VectorSource::kRecompute),
                    std::pair(Chunking::kStructure, VectorSource::kStoredF16),
                    std::pair(Chunking::kStructure, VectorSource::kStoredI8)),
    [](const auto& param_info) {
      const VectorSource source = param_info.param.second;
      return absl::StrCat(
          param_info.param.first == Chunking::kNone ? "None" : "Structure",
          source == VectorSource::kStoredF16  ? "F16"
          : source == VectorSource::kStoredI8 ? "I8"
                                              : "");
    });

}  // namespace
}  // namespace pith
