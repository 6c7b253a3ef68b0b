#include "core/codes/codebook_training.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include "gtest/gtest.h"

#include "core/base/vector_math.h"
#include "tests/status_matchers.h"

namespace pith {
namespace {

constexpr size_t kDimension = 64;
constexpr CodeShape kSmall{.subquantizers = 16, .bits = 4};

// Unit vectors of clusters within a few directions more than others, as
// embeddings are.
Matrix Clustered(size_t count, uint32_t seed, size_t dimension = kDimension) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  constexpr size_t kClusters = 40;
  Matrix mixing(dimension, dimension);
  for (size_t i = 0; i < dimension; ++i) {
    for (float& value : mixing.row(i)) {
      value = normal(random) / (1.0f + static_cast<float>(i) / 6.0f);
    }
  }
  Matrix centers(kClusters, dimension);
  for (float& value : centers.values()) {
    value = normal(random);
  }
  random.seed(seed);
  Matrix vectors(count, dimension);
  for (size_t i = 0; i < count; ++i) {
    const std::span<float> row = vectors.row(i);
    const size_t cluster = random() % kClusters;
    for (size_t j = 0; j < dimension; ++j) {
      const float factor = centers.row(cluster)[j] + 0.5f * normal(random);
      for (size_t k = 0; k < dimension; ++k) {
        row[k] += factor * mixing.row(j)[k];
      }
    }
    const float norm = Norm(row);
    for (float& value : row) {
      value /= norm;
    }
  }
  return vectors;
}

double MeanCosine(const Codebook& codebook, const Matrix& vectors) {
  double sum = 0;
  std::vector<uint8_t> code(codebook.code_bytes());
  std::vector<float> decoded(vectors.columns());
  for (size_t i = 0; i < vectors.rows(); ++i) {
    codebook.Encode(vectors.row(i), code);
    codebook.Decode(code, decoded);
    sum += static_cast<double>(Dot(vectors.row(i), decoded));
  }
  return sum / static_cast<double>(vectors.rows());
}

// The share of each query's ten nearest among its ten best estimates.
double Recall(const Codebook& codebook, const Matrix& vectors,
              const Matrix& queries) {
  const size_t bytes = codebook.code_bytes();
  std::vector<uint8_t> codes(vectors.rows() * bytes);
  for (size_t i = 0; i < vectors.rows(); ++i) {
    codebook.Encode(vectors.row(i), std::span(codes).subspan(i * bytes, bytes));
  }
  const std::vector<uint8_t> blocks = codebook.ToBlocks(codes);
  const auto best = [&](const std::vector<float>& scores) {
    std::vector<size_t> order(scores.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::partial_sort(
        order.begin(), order.begin() + 10, order.end(),
        [&](size_t a, size_t b) { return scores[a] > scores[b]; });
    order.resize(10);
    return order;
  };
  size_t found = 0;
  std::vector<float> estimates(vectors.rows());
  std::vector<float> exact(vectors.rows());
  for (size_t q = 0; q < queries.rows(); ++q) {
    codebook.Prepare(queries.row(q))->Scan(blocks, estimates);
    for (size_t i = 0; i < vectors.rows(); ++i) {
      exact[i] = Dot(queries.row(q), vectors.row(i));
    }
    const std::vector<size_t> wanted = best(exact);
    for (const size_t i : best(estimates)) {
      found += std::find(wanted.begin(), wanted.end(), i) != wanted.end();
    }
  }
  return static_cast<double>(found) / static_cast<double>(10 * queries.rows());
}

// On a circle of n random points the r-th nearest is at an angle of about pi r
// / n: the slope from the third to the 32nd follows.
TEST(CodebookTraining, MeasuresHowFastScoresGetRarer) {
  for (const size_t held_out : {250, 500}) {
    std::mt19937 random(4);
    std::normal_distribution<float> noise(0, 0.004f);
    Matrix vectors(8 * held_out, kDimension);
    for (size_t i = 0; i < vectors.rows(); ++i) {
      const std::span<float> row = vectors.row(i);
      std::generate(row.begin(), row.end(), [&] { return noise(random); });
      const double angle = static_cast<double>(random()) * M_PI / (1u << 31);
      row[0] = static_cast<float>(std::cos(angle));
      row[1] = static_cast<float>(std::sin(angle));
    }
    const auto codebook =
        TrainCodebook(vectors, {.shape = kSmall, .iterations = 2});
    ASSERT_TRUE(codebook.ok()) << codebook.status();
    const auto score = [&](double rank) {
      return std::cos(M_PI * rank / static_cast<double>(held_out));
    };
    const double expected = std::log(32.0 / 4) / (score(4) - score(32));
    EXPECT_NEAR((*codebook)->score_slope(), expected, 0.25 * expected);
  }
}

TEST(CodebookTraining, IsTheSameWhateverTheNumberOfThreads) {
  const Matrix vectors = Clustered(1500, 2);
  TrainingOptions options{.shape = kSmall, .iterations = 5};
  const auto one = TrainCodebook(vectors, options);
  ASSERT_TRUE(one.ok()) << one.status();
  for (const int threads : {2, 5}) {
    options.threads = threads;
    const auto other = TrainCodebook(vectors, options);
    ASSERT_TRUE(other.ok());
    EXPECT_EQ((*other)->hash(), (*one)->hash());
  }
  options.seed = 1;
  EXPECT_NE((*TrainCodebook(vectors, options))->hash(), (*one)->hash());
}

TEST(CodebookTraining, BeatsACodebookThatDidNotTrain) {
  const Matrix vectors = Clustered(3000, 3);
  const Matrix queries = Clustered(100, 4);
  const TrainingOptions options{.shape = kSmall};
  const auto trained = TrainCodebook(vectors, options);
  ASSERT_TRUE(trained.ok()) << trained.status();

  // The coordinate axes, and centroids that are as random as before training.
  CodebookParts parts{.dimension = kDimension, .shape = kSmall};
  parts.rotation.resize(kDimension * kDimension);
  for (size_t i = 0; i < kDimension; ++i) {
    parts.rotation[i * kDimension + i] = 1;
  }
  for (size_t j = 0; j < kDimension; ++j) {
    for (size_t k = 0; k < 16; ++k) {
      parts.centroids.push_back(vectors.row(k)[j]);
    }
  }
  for (size_t i = 0; i < 256; ++i) {
    parts.scales[i] = 0.5f * std::pow(1.01f, static_cast<float>(i));
  }
  parts.spread_factor = 1;
  const auto untrained = Codebook::FromParts(parts);

  EXPECT_GT(MeanCosine(**trained, queries),
            MeanCosine(*untrained, queries) + 0.1);
  EXPECT_GT(Recall(**trained, vectors, queries),
            Recall(*untrained, vectors, queries) + 0.2);
}

TEST(CodebookTraining, TheRotationKeepsInnerProducts) {
  // Padded from 50 to 56, and in fewer directions than that.
  Matrix vectors = Clustered(1500, 5, 50);
  for (size_t i = 0; i < vectors.rows(); ++i) {
    const std::span<float> row = vectors.row(i);
    std::fill(row.begin(), row.begin() + 10, 0.0f);
    const float norm = Norm(row);
    for (float& value : row) {
      value /= norm;
    }
  }
  const auto codebook = TrainCodebook(
      vectors, {.shape = {.subquantizers = 8, .bits = 4}, .iterations = 8});
  ASSERT_TRUE(codebook.ok()) << codebook.status();
  const std::string bytes = (*codebook)->Serialize();
  Matrix rotation(50, 56);
  std::copy_n(bytes.data() + 28, 4 * 50 * 56,
              reinterpret_cast<char*>(rotation.values().data()));
  for (size_t i = 0; i < 50; ++i) {
    for (size_t j = 0; j < 50; ++j) {
      EXPECT_NEAR(Dot(rotation.row(i), rotation.row(j)), i == j ? 1 : 0, 1e-5);
    }
  }
}

TEST(CodebookTraining, CalibrationHoldsForTheBestEstimatesOfOtherVectors) {
  const Matrix vectors = Clustered(4000, 6);
  const Matrix others = Clustered(1000, 7);
  const auto codebook = TrainCodebook(vectors, {.shape = kSmall});
  ASSERT_TRUE(codebook.ok()) << codebook.status();
  const size_t bytes = (*codebook)->code_bytes();
  std::vector<uint8_t> codes(others.rows() * bytes);
  for (size_t i = 0; i < others.rows(); ++i) {
    (*codebook)->Encode(others.row(i),
                        std::span(codes).subspan(i * bytes, bytes));
  }
  const std::vector<uint8_t> blocks = (*codebook)->ToBlocks(codes);
  double sum = 0;
  double squares = 0;
  size_t count = 0;
  for (size_t q = 0; q < 100; ++q) {
    std::vector<float> estimates(others.rows());
    (*codebook)->Prepare(others.row(q))->Scan(blocks, estimates);
    std::vector<size_t> order(others.rows());
    std::iota(order.begin(), order.end(), size_t{0});
    std::erase(order, q);
    std::partial_sort(
        order.begin(), order.begin() + 20, order.end(),
        [&](size_t a, size_t b) { return estimates[a] > estimates[b]; });
    for (size_t i = 0; i < 20; ++i) {
      const EstimateError error = (*codebook)->ErrorOf(
          std::span(codes).subspan(order[i] * bytes, bytes));
      const double deviation =
          static_cast<double>((Dot(others.row(q), others.row(order[i])) -
                               estimates[order[i]] - error.bias) /
                              error.spread);
      sum += deviation;
      squares += deviation * deviation;
      ++count;
    }
  }
  EXPECT_NEAR(sum / static_cast<double>(count), 0, 0.3);
  EXPECT_NEAR(std::sqrt(squares / static_cast<double>(count)), 1, 0.3);
}

TEST(CodebookTraining, DuplicatesLeaveNoCentroidUndefined) {
  Matrix vectors(1000, 32);
  for (size_t i = 0; i < vectors.rows(); ++i) {
    vectors.row(i)[i % 3] = 1;
  }
  const auto codebook =
      TrainCodebook(vectors, {.shape = {.subquantizers = 4, .bits = 4}});
  ASSERT_TRUE(codebook.ok()) << codebook.status();
  EXPECT_TRUE(Codebook::Parse((*codebook)->Serialize()).ok());
  EXPECT_GT(MeanCosine(**codebook, vectors), 0.999);
}

TEST(CodebookTraining, TooFewOrUnfitVectorsAreRefused) {
  const Matrix vectors = Clustered(MinTrainingVectors(kSmall), 8);
  EXPECT_TRUE(TrainCodebook(vectors, {.shape = kSmall}).ok());
  Matrix fewer(vectors.rows() - 1, kDimension);
  std::copy_n(vectors.values().begin(), fewer.values().size(),
              fewer.values().begin());
  EXPECT_EQ(TrainCodebook(fewer, {.shape = kSmall}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(
      TrainCodebook(vectors, {.shape = {.subquantizers = 65}}).status().code(),
      absl::StatusCode::kInvalidArgument);
  Matrix wrong = vectors;
  wrong.row(5)[0] = NAN;
  EXPECT_EQ(TrainCodebook(wrong, {.shape = kSmall}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(CodebookTraining, StopsWhenTold) {
  const Matrix vectors = Clustered(1500, 9);
  int asked = 0;
  ASSERT_OK(TrainCodebook(vectors, {.shape = kSmall, .cancelled = [&] {
                                      ++asked;
                                      return false;
                                    }}));
  const int all = asked;
  asked = 0;
  const auto codebook = TrainCodebook(
      vectors, {.shape = kSmall, .cancelled = [&] { return ++asked >= 5; }});
  EXPECT_EQ(codebook.status().code(), absl::StatusCode::kCancelled);
  // What is under way ends first.
  EXPECT_LT(asked, all / 4);
}

}  // namespace
}  // namespace pith
