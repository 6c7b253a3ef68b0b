#include "core/index/exact_vectors.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "core/base/vector_math.h"
#include "core/index/stored_vector.h"
#include "tests/fakes/hash_embedder.h"
#include "tests/fakes/in_memory_passage_store.h"
#include "tests/status_matchers.h"

namespace pith {
namespace {

// A HashEmbedder that says that it computes at another precision.
class Bf16Embedder : public HashEmbedder {
 public:
  std::string precision() const override { return "bf16"; }
};

class ExactVectorsTest : public testing::Test {
 protected:
  ExactVectorsTest() { config_.model = embedder_.identity(); }

  static Passage MakePassage(uint64_t id, std::string text) {
    return {.id = PassageId{id}, .text = std::move(text)};
  }

  Matrix Get(const std::vector<Passage>& passages, VectorCounts& counts) {
    const absl::StatusOr<Matrix> vectors =
        ExactVectors(config_, store_, embedder_, cache_)
            .Get(passages, {}, counts);
    EXPECT_OK(vectors);
    return *vectors;
  }

  std::vector<float> Embedded(std::string_view text) {
    const auto vectors =
        embedder_.Embed(std::span(&text, 1), TextRole::kPassage, {});
    return {vectors->row(0).begin(), vectors->row(0).end()};
  }

  void Store(const Passage& passage, std::span<const float> vector,
             VectorFormat format, std::string_view precision) {
    ASSERT_OK(store_.Commit(
        {.put_passages = {passage},
         .put_vectors = {{passage.id,
                          EncodeStoredVector(vector, format, precision)}}},
        Durability::kSynced));
  }

  HashEmbedder embedder_;
  InMemoryPassageStore store_;
  VectorCache cache_{size_t{1} << 20};
  CollectionConfig config_;
};

TEST_F(ExactVectorsTest, RecomputesOnceWhatTheCacheHasFromThenOn) {
  const std::vector<Passage> passages = {MakePassage(1, "red green"),
                                         MakePassage(2, "blue")};
  VectorCounts counts;
  const Matrix first = Get(passages, counts);
  EXPECT_EQ(counts.recomputed, 2u);
  EXPECT_NEAR(Dot(first.row(0), Embedded("red green")), 1, 1e-6);
  EXPECT_NEAR(Dot(first.row(1), Embedded("blue")), 1, 1e-6);
  const Matrix second = Get(passages, counts);
  EXPECT_EQ(counts.recomputed, 2u);
  EXPECT_EQ(counts.cached, 2u);
  // Not a bit depends on the cache.
  EXPECT_TRUE(std::ranges::equal(first.values(), second.values()));
}

TEST_F(ExactVectorsTest, TheCacheGoesByWhatIsEmbeddedAndByModel) {
  VectorCounts counts;
  Get({MakePassage(1, "red")}, counts);
  // Another passage, another collection's perhaps.
  Get({MakePassage(2, "red")}, counts);
  EXPECT_EQ(counts.cached, 1u);
  Passage with_context = MakePassage(3, "red");
  with_context.context = "Colours";
  Get({with_context}, counts);
  EXPECT_EQ(counts.recomputed, 2u);
  config_.model.fingerprint = "another";
  Get({MakePassage(1, "red")}, counts);
  EXPECT_EQ(counts.recomputed, 3u);
  Bf16Embedder bf16;
  ASSERT_OK(ExactVectors(config_, store_, bf16, cache_)
                .Get(std::vector{MakePassage(1, "red")}, {}, counts));
  EXPECT_EQ(counts.recomputed, 4u);
  EXPECT_EQ(counts.cached, 1u);
}

TEST_F(ExactVectorsTest, StoredVectorsAreReadAndOnlyMissingOnesRecomputed) {
  config_.vector_source = VectorSource::kStoredF16;
  const Passage stored = MakePassage(1, "red");
  Store(stored, Embedded("red"), VectorFormat::kF16, "f32");
  const size_t searched = embedder_.searched();
  VectorCounts counts;
  const Matrix vectors = Get({MakePassage(2, "blue"), stored}, counts);
  EXPECT_EQ(counts.stored, 1u);
  EXPECT_EQ(counts.recomputed, 1u);
  EXPECT_EQ(embedder_.searched(), searched + 1);
  EXPECT_NEAR(Dot(vectors.row(0), Embedded("blue")), 1, 1e-6);
  EXPECT_NEAR(Dot(vectors.row(1), Embedded("red")), 1, 1e-6);
  Get({stored}, counts);
  EXPECT_EQ(counts.cached, 1u);
  EXPECT_EQ(counts.other_precision, 0u);

  // What is rounded to f16 is the same wherever it comes from.
  config_.vector_source = VectorSource::kRecompute;
  VectorCache empty(0);
  const auto recomputed = ExactVectors(config_, store_, embedder_, empty)
                              .Get(std::vector{stored}, {}, counts);
  ASSERT_OK(recomputed);
  EXPECT_TRUE(std::ranges::equal(recomputed->row(0), vectors.row(1)));
}

// The text says one thing and the store another, so that it shows which is
// asked.
TEST_F(ExactVectorsTest, ACollectionThatRecomputesDoesNotAskTheStore) {
  const Passage passage = MakePassage(1, "red");
  Store(passage, Embedded("blue"), VectorFormat::kF16, "f32");
  VectorCounts counts;
  EXPECT_NEAR(Dot(Get({passage}, counts).row(0), Embedded("red")), 1, 1e-6);
  EXPECT_EQ(counts.stored, 0u);
}

TEST_F(ExactVectorsTest, VectorsOfAnotherPrecisionAreUsedCountedAndNotCached) {
  config_.vector_source = VectorSource::kStoredF16;
  const Passage passage = MakePassage(1, "red");
  Store(passage, Embedded("red"), VectorFormat::kF16, "int8");
  VectorCounts counts;
  for (size_t time = 1; time <= 2; ++time) {
    EXPECT_NEAR(Dot(Get({passage}, counts).row(0), Embedded("red")), 1, 1e-6);
    EXPECT_EQ(counts.stored, time);
    EXPECT_EQ(counts.other_precision, time);
  }
  EXPECT_EQ(counts.cached, 0u);
}

// A vector from i8 must not stand for an exact one.
TEST_F(ExactVectorsTest, TheCacheKeepsVectorsFromI8Apart) {
  config_.vector_source = VectorSource::kStoredI8;
  const Passage passage = MakePassage(1, "red");
  Store(passage, Embedded("red"), VectorFormat::kI8, "f32");
  VectorCounts counts;
  const float coarse = Dot(Get({passage}, counts).row(0), Embedded("red"));
  EXPECT_NEAR(coarse, 1, 1e-3);
  EXPECT_LT(coarse, 1 - 1e-6);
  config_.vector_source = VectorSource::kRecompute;
  EXPECT_NEAR(Dot(Get({passage}, counts).row(0), Embedded("red")), 1, 1e-6);
  EXPECT_EQ(counts.recomputed, 1u);
}

TEST_F(ExactVectorsTest, AMalformedStoredVectorIsDataLossWithItsPassage) {
  config_.vector_source = VectorSource::kStoredF16;
  const Passage passage = MakePassage(77, "red");
  ASSERT_OK(store_.Commit(
      {.put_passages = {passage}, .put_vectors = {{passage.id, "nonsense"}}},
      Durability::kSynced));
  VectorCounts counts;
  EXPECT_THAT(ExactVectors(config_, store_, embedder_, cache_)
                  .Get(std::vector{passage}, {}, counts),
              StatusIs(absl::StatusCode::kDataLoss, "passage 77"));
}

}  // namespace
}  // namespace pith
