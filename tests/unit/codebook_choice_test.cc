#include "core/index/codebook_choice.h"

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "core/base/mutex.h"
#include "core/base/vector_math.h"
#include "core/codes/codebook_training.h"
#include "core/codes/rotated_code.h"
#include "tests/status_matchers.h"

namespace pith {
namespace {

constexpr int kDimension = 64;
constexpr CodeShape kShape{.subquantizers = 16, .bits = 4};
// The fewest of which enough are left to train on.
constexpr size_t kFewest = 73;

// Codes of unit vectors near a random subspace of a fifth of the dimensions,
// which `kind` chooses.
CodedPassages OfKind(uint32_t kind, size_t count, uint32_t seed) {
  std::mt19937 random(kind);
  std::normal_distribution<float> normal;
  constexpr size_t kDirections = kDimension / 5;
  std::vector<float> basis(kDirections * kDimension);
  for (float& value : basis) {
    value = normal(random);
  }
  random.seed(seed);
  CodedPassages result{.codec = std::make_shared<RotatedCodec>(kDimension)};
  const size_t bytes = result.codec->code_bytes();
  result.codes.resize(count * bytes);
  for (size_t i = 0; i < count; ++i) {
    std::vector<float> vector(kDimension);
    for (size_t j = 0; j < kDirections; ++j) {
      const float factor = normal(random);
      for (size_t k = 0; k < kDimension; ++k) {
        vector[k] += factor * basis[j * kDimension + k];
      }
    }
    for (float& value : vector) {
      value += 0.3f * normal(random);
    }
    const float norm = Norm(vector);
    for (float& value : vector) {
      value /= norm;
    }
    result.passages.push_back(PassageId{i});
    result.codec->Encode(vector,
                         std::span(result.codes).subspan(i * bytes, bytes));
  }
  return result;
}

std::shared_ptr<const Codebook> Trained(uint32_t kind) {
  const auto codebook = TrainFromCodes(OfKind(kind, 2000, 1), kShape, 1, {});
  EXPECT_OK(codebook);
  return *codebook;
}

CodebookChoice Choose(
    const CodedPassages& passages,
    const std::vector<std::shared_ptr<const Codebook>>& existing) {
  const auto choice = ChooseCodebook(passages, existing, kShape, 1, {});
  EXPECT_OK(choice);
  return *choice;
}

TEST(CodebookChoiceTest, KeepsTheCodebookThatFits) {
  const auto first = Trained(1);
  const auto second = Trained(2);
  for (const size_t count : {size_t{500}, size_t{5000}}) {
    const CodedPassages passages = OfKind(2, count, 7);
    const CodebookChoice choice = Choose(passages, {first, second});
    EXPECT_EQ(choice.existing, second);
    EXPECT_EQ(choice.own, nullptr);
    ASSERT_TRUE(choice.misfit.has_value());
    EXPECT_GT(*choice.misfit, 0.8);
    EXPECT_LT(*choice.misfit, kMaxMisfit);
  }
}

TEST(CodebookChoiceTest, TrainsOneWhereNoneFits) {
  const CodedPassages passages = OfKind(3, 5000, 7);
  const CodebookChoice choice = Choose(passages, {Trained(1), Trained(2)});
  ASSERT_NE(choice.own, nullptr);
  EXPECT_NE(choice.existing, nullptr);
  EXPECT_GT(choice.misfit, kMaxMisfit);
  // It fits others of the kind.
  EXPECT_EQ(Choose(OfKind(3, 5000, 8), {choice.own}).own, nullptr);
}

TEST(CodebookChoiceTest, TooFewToTrainGoToTheBest) {
  const auto first = Trained(1);
  const auto second = Trained(2);
  CodebookChoice choice = Choose(OfKind(1, kFewest - 1, 7), {second, first});
  EXPECT_EQ(choice.existing, first);
  EXPECT_EQ(choice.misfit, std::nullopt);
  choice = Choose(OfKind(3, 1, 7), {first});
  EXPECT_EQ(choice.existing, first);
  EXPECT_EQ(choice.own, nullptr);
  EXPECT_NE(Choose(OfKind(3, kFewest, 7), {first}).misfit, std::nullopt);
}

TEST(CodebookChoiceTest, CanBeCancelled) {
  const std::vector<std::shared_ptr<const Codebook>> existing = {Trained(1)};
  SealControl control;
  control.cancelled = [] { return true; };
  EXPECT_THAT(ChooseCodebook(OfKind(1, 500, 7), existing, kShape, 1, control),
              StatusIs(absl::StatusCode::kCancelled, ""));
}

TEST(CodebookChoiceTest, EveryThreadAsksAllTheTime) {
  std::atomic<SealPhase> phase = SealPhase::kRecomputing;
  Mutex mutex;
  std::map<SealPhase, size_t> asked;
  std::set<std::thread::id> threads;
  const SealControl control = {.threads = 2,
                               .pace =
                                   [&] {
                                     MutexLock lock(mutex);
                                     ++asked[phase];
                                     threads.insert(std::this_thread::get_id());
                                   },
                               .progress = [&](SealPhase now) { phase = now; }};
  CodedPassages passages = OfKind(3, 5000, 7);
  const auto codebook = TrainFromCodes(passages, kShape, 1, control);
  ASSERT_OK(codebook);
  std::vector<CodedPassages> parts;
  parts.push_back(std::move(passages));
  ASSERT_OK(BuildSegment(std::move(parts), *codebook,
                         /*min_graph_passages=*/1, 1, control));
  // Of tasks of a few hundred vectors, twenty iterations and more.
  EXPECT_GT(asked[SealPhase::kTraining], 200);
  EXPECT_GT(asked[SealPhase::kEncoding], 5000 / 256);
  EXPECT_GT(asked[SealPhase::kBuilding], 100);
  EXPECT_GE(threads.size(), 2);
}

TEST(CodebookChoiceTest, DoesNotDependOnTheNumberOfThreads) {
  const std::vector<std::shared_ptr<const Codebook>> existing = {Trained(1)};
  const CodedPassages passages = OfKind(3, 3000, 7);
  SealControl control;
  const auto one = ChooseCodebook(passages, existing, kShape, 1, control);
  control.threads = 3;
  const auto three = ChooseCodebook(passages, existing, kShape, 1, control);
  ASSERT_OK(one);
  ASSERT_OK(three);
  EXPECT_EQ(one->misfit, three->misfit);
  ASSERT_NE(one->own, nullptr);
  EXPECT_EQ(one->own->hash(), three->own->hash());
}

}  // namespace
}  // namespace pith
