#include "core/index/probed_embedder.h"

#include <cmath>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/base/reason.h"
#include "core/base/vector_math.h"
#include "tests/fakes/hash_embedder.h"
#include "tests/status_matchers.h"

namespace pith {
namespace {

// Turns each vector towards the first axis, further the larger `amount` is.
class DriftingEmbedder : public HashEmbedder {
 public:
  float amount = 0;
  int calls = 0;
  absl::Status failure;

  absl::StatusOr<Matrix> Embed(std::span<const std::string_view> texts,
                               TextRole role,
                               const RequestContext& context) override {
    ++calls;
    if (!failure.ok()) {
      return failure;
    }
    absl::StatusOr<Matrix> vectors = HashEmbedder::Embed(texts, role, context);
    for (size_t i = 0; i < vectors->rows(); ++i) {
      vectors->row(i)[0] += amount;
      const float norm = Norm(vectors->row(i));
      for (float& value : vectors->row(i)) {
        value /= norm;
      }
    }
    return vectors;
  }
};

absl::Status EmbedOne(Embedder& embedder) {
  const std::string_view text = "one text";
  return embedder.Embed(std::span(&text, 1), TextRole::kQuery, {}).status();
}

TEST(ProbedEmbedderTest, ProbesAreDistinctTextsOfAllSizes) {
  std::set<std::string_view> texts(ProbeTexts().begin(), ProbeTexts().end());
  EXPECT_EQ(texts.size(), ProbeTexts().size());
  EXPECT_GE(texts.size(), 12);
  size_t most = 0;
  for (const std::string_view text : texts) {
    most = std::max(most, text.size());
  }
  EXPECT_GT(most, 400);
}

TEST(ProbedEmbedderTest, ComparesRowByRow) {
  Matrix a(3, 2);
  Matrix b(4, 2);
  for (size_t i = 0; i < 3; ++i) {
    a.row(i)[0] = 1;
    b.row(i)[i == 1 ? 1 : 0] = 1;
  }
  const ProbeAgreement agreement = CompareProbes(a, b);
  EXPECT_NEAR(agreement.mean, 2.0 / 3, 1e-12);
  EXPECT_EQ(agreement.min, 0);
  EXPECT_EQ(agreement.worst, 1);
  EXPECT_FALSE(agreement.same_model());
}

TEST(ProbedEmbedderTest, Thresholds) {
  struct Case {
    double mean;
    double min;
    bool same;
  };
  for (const Case& c :
       {Case{1, 1, true}, Case{0.999, 0.99, true}, Case{0.9989, 0.998, false},
        Case{0.9995, 0.9899, false}, Case{NAN, NAN, false}}) {
    EXPECT_EQ((ProbeAgreement{.mean = c.mean, .min = c.min}).same_model(),
              c.same)
        << c.mean << " " << c.min;
  }
}

TEST(ProbedEmbedderTest, ChecksBeforeTheFirstTextsAndNeverAgain) {
  DriftingEmbedder embedder;
  const auto probes = EmbedProbes(embedder, {});
  ASSERT_OK(probes);
  EXPECT_EQ(probes->rows(), ProbeTexts().size());
  ProbedEmbedder probed(embedder, *probes);
  embedder.calls = 0;
  ASSERT_OK(EmbedOne(probed));
  EXPECT_EQ(embedder.calls, 2);
  embedder.amount = 5;
  ASSERT_OK(EmbedOne(probed));
  EXPECT_EQ(embedder.calls, 3);
}

TEST(ProbedEmbedderTest, ALittleDriftIsTheSameModel) {
  DriftingEmbedder embedder;
  const auto probes = EmbedProbes(embedder, {});
  ProbedEmbedder probed(embedder, *probes);
  embedder.amount = 0.02F;
  EXPECT_OK(EmbedOne(probed));
}

TEST(ProbedEmbedderTest, AnotherModelIsRefusedAndNotAskedAgainAtOnce) {
  DriftingEmbedder embedder;
  const auto probes = EmbedProbes(embedder, {});
  ProbedEmbedder probed(embedder, *probes);
  embedder.amount = 0.5F;
  embedder.calls = 0;
  for (int i = 0; i < 3; ++i) {
    const absl::Status mismatch = EmbedOne(probed);
    EXPECT_THAT(mismatch, StatusIs(absl::StatusCode::kFailedPrecondition,
                                   "12 probe texts"));
    EXPECT_EQ(ReasonOf(mismatch), "MODEL_MISMATCH");
  }
  EXPECT_EQ(embedder.calls, 1);
}

TEST(ProbedEmbedderTest, AnUnreachableServerIsAskedAgain) {
  DriftingEmbedder embedder;
  const auto probes = EmbedProbes(embedder, {});
  ProbedEmbedder probed(embedder, *probes);
  embedder.failure = absl::UnavailableError("no server");
  EXPECT_EQ(EmbedOne(probed), embedder.failure);
  embedder.failure = absl::OkStatus();
  EXPECT_OK(EmbedOne(probed));
}

TEST(ProbedEmbedderTest, FewerProbesOfAnEarlierVersionAreEnough) {
  DriftingEmbedder embedder;
  const auto all = EmbedProbes(embedder, {});
  Matrix some(2, all->columns());
  for (size_t i = 0; i < 2; ++i) {
    std::ranges::copy(all->row(i), some.row(i).begin());
  }
  ProbedEmbedder probed(embedder, some);
  EXPECT_OK(EmbedOne(probed));
}

TEST(ProbedEmbedderTest, IsOtherwiseTheEmbedder) {
  HashEmbedder embedder;
  ProbedEmbedder probed(embedder, Matrix(1, 96));
  EXPECT_EQ(&probed.identity(), &embedder.identity());
  EXPECT_EQ(probed.max_tokens(), embedder.max_tokens());
  EXPECT_EQ(probed.CountTokens("two words"), 2);
  EXPECT_TRUE(probed.needs_probes());
  EXPECT_EQ(probed.recompute_is_costly(), embedder.recompute_is_costly());
}

}  // namespace
}  // namespace pith
