#include "embedder/torch/torch_engine.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

#include "tests/encoder_reference.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

using ::testing::Each;
using ::testing::FloatNear;
using ::testing::Ge;
using ::testing::Pointwise;

const std::filesystem::path kModel =
    std::filesystem::path(PITH_TEST_DATA) / "tiny-bert";

std::vector<ReferenceText> Reference(
    const std::filesystem::path& model = kModel) {
  return ReadReference(model);
}

ModelSpec Spec(const std::filesystem::path& model = kModel) {
  absl::StatusOr<ModelSpec> spec = LoadModelSpec(model);
  EXPECT_OK(spec);
  return *std::move(spec);
}

// Where the tests run: "cpu", or what PITH_TEST_DEVICE says.
std::string Device() {
  const char* device = std::getenv("PITH_TEST_DEVICE");
  return device == nullptr ? "cpu" : device;
}

std::unique_ptr<TorchEngine> Load(TorchEngine::Options options,
                                  const std::filesystem::path& model = kModel) {
  options.device = Device();
  absl::StatusOr<std::unique_ptr<TorchEngine>> engine =
      TorchEngine::Load(Spec(model), options);
  EXPECT_OK(engine);
  return *std::move(engine);
}

std::unique_ptr<TorchEngine> Load(std::optional<Precision> precision,
                                  int threads = 1) {
  return Load({.precision = precision, .threads = threads});
}

// The values of all texts' vectors.
std::vector<float> Values(TorchEngine& engine) {
  const absl::StatusOr<Matrix> vectors = engine.Embed(Pack(Reference()));
  EXPECT_OK(vectors);
  return {vectors->values().begin(), vectors->values().end()};
}

TEST(TorchEngine, AgreesWithSentenceTransformersInF32) {
  EXPECT_THAT(CosinesToReference(*Load(Precision::kF32), Reference()),
              Each(Ge(0.99999)));
}

TEST(TorchEngine, AgreesWithSentenceTransformersInBf16) {
  EXPECT_THAT(CosinesToReference(*Load(Precision::kBf16), Reference()),
              Each(Ge(0.999)));
}

TEST(TorchEngine, AgreesWithSentenceTransformersOnOtherArchitectures) {
  for (const char* name : {"tiny-roberta", "tiny-xlm-roberta"}) {
    SCOPED_TRACE(name);
    const auto model = std::filesystem::path(PITH_TEST_DATA) / name;
    for (const auto& [precision, least] :
         {std::pair(Precision::kF32, 0.99999),
          std::pair(Precision::kBf16, 0.999)}) {
      EXPECT_THAT(CosinesToReference(*Load({.precision = precision}, model),
                                     Reference(model)),
                  Each(Ge(least)));
    }
  }
}

TEST(TorchEngine, ComputesInThePrecisionThatItReports) {
  const std::unique_ptr<TorchEngine> engine = Load(std::nullopt);
  const Precision reported = engine->precision();
  EXPECT_EQ(reported,
            engine->device() == "cpu" ? Precision::kF32 : Precision::kBf16);
  for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
    const std::unique_ptr<TorchEngine> other = Load(precision);
    EXPECT_EQ(other->precision(), precision);
    EXPECT_EQ(Values(*other) == Values(*engine), precision == reported);
  }
}

// As on a GPU, and in units that a shortage of memory has made smaller: of a
// few texts, and of one each.
TEST(TorchEngine, PackedAttentionAgreesWithSentenceTransformers) {
  if (!TorchEngine::HasPackedAttention()) {
    GTEST_SKIP() << "this LibTorch has no packed attention";
  }
  for (const char* name : {"tiny-bert", "tiny-roberta", "tiny-xlm-roberta"}) {
    const auto model = std::filesystem::path(PITH_TEST_DATA) / name;
    for (const auto& [precision, least] :
         {std::pair(Precision::kF32, 0.99999),
          std::pair(Precision::kBf16, 0.999)}) {
      for (const TextPacking& packing :
           {TorchEngine::kCudaPacking, TextPacking{.unit_rows = 100},
            TextPacking{.unit_rows = 1},
            TextPacking{.unit_rows = 100, .row_multiple = 16}}) {
        SCOPED_TRACE(testing::Message() << name << ", " << packing.unit_rows);
        const auto engine =
            Load({.precision = precision,
                  .threads = 2,
                  .packing = packing,
                  .attention = TorchEngine::TextAttention::kPacked},
                 model);
        EXPECT_THAT(CosinesToReference(*engine, Reference(model)),
                    Each(Ge(least)));
      }
    }
  }
}

TEST(TorchEngine, PackedAttentionAgreesWithAttentionByLength) {
  if (!TorchEngine::HasPackedAttention()) {
    GTEST_SKIP() << "this LibTorch has no packed attention";
  }
  const auto packed = Load({.precision = Precision::kF32,
                            .attention = TorchEngine::TextAttention::kPacked});
  const auto by_length =
      Load({.precision = Precision::kF32,
            .attention = TorchEngine::TextAttention::kByLength});
  for (const std::vector<int32_t>& lengths : std::vector<std::vector<int32_t>>{
           {1},
           {64},
           {7, 7, 7},
           {1, 1},
           {5, 1, 64, 2, 5},
       }) {
    PackedTokens tokens;
    for (const int32_t length : lengths) {
      for (int32_t i = 0; i < length; ++i) {
        tokens.ids.push_back(static_cast<int32_t>(tokens.ids.size()) * 7 + 3);
      }
      tokens.offsets.push_back(static_cast<int32_t>(tokens.ids.size()));
    }
    const absl::StatusOr<Matrix> actual = packed->Embed(tokens);
    const absl::StatusOr<Matrix> expected = by_length->Embed(tokens);
    ASSERT_OK(actual);
    ASSERT_OK(expected);
    EXPECT_THAT(actual->values(),
                Pointwise(FloatNear(1e-5f), expected->values()))
        << testing::PrintToString(lengths);
  }
}

TEST(TorchEngine, ThreadsShareTheTextsOfABatch) {
  // Enough texts for several units of work, so that threads really take turns.
  std::vector<ReferenceText> texts;
  for (int repeat = 0; repeat < 10; ++repeat) {
    const std::vector<ReferenceText> once = Reference();
    texts.insert(texts.end(), once.begin(), once.end());
  }
  EXPECT_THAT(CosinesToReference(*Load(Precision::kF32, 3), texts),
              Each(Ge(0.99999)));
}

TEST(TorchEngine, AVectorDoesNotDependOnTheRestOfTheBatch) {
  for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
    SCOPED_TRACE(precision == Precision::kF32 ? "f32" : "bf16");
    const std::unique_ptr<TorchEngine> engine = Load(precision);
    EXPECT_GE(LeastCosineAloneToTogether(*engine, Reference()),
              precision == Precision::kF32 ? 0.99999 : 0.9995);
  }
}

TEST(TorchEngine, VectorsHaveUnitNorm) {
  const absl::StatusOr<Matrix> vectors =
      Load(Precision::kBf16)->Embed(Pack(Reference()));
  ASSERT_OK(vectors);
  for (size_t i = 0; i < vectors->rows(); ++i) {
    const std::span<const float> row = vectors->row(i);
    EXPECT_NEAR(std::inner_product(row.begin(), row.end(), row.begin(), 0.0), 1,
                1e-5);
  }
}

TEST(TorchEngine, NoTextsGiveNoVectors) {
  const absl::StatusOr<Matrix> vectors = Load(Precision::kF32)->Embed({});
  ASSERT_OK(vectors);
  EXPECT_EQ(vectors->rows(), 0);
}

TEST(TorchEngine, RefusesTokensThatTheModelDoesNotHave) {
  const std::unique_ptr<TorchEngine> engine = Load(Precision::kF32);
  EXPECT_THAT(engine->Embed({.ids = {2, 974, 3}, .offsets = {0, 3}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "token id 974, the vocabulary has 974"));
  EXPECT_THAT(engine->Embed({.ids = {2, -1, 3}, .offsets = {0, 3}}),
              StatusIs(absl::StatusCode::kInvalidArgument, "token id -1"));
}

TEST(TorchEngine, RefusesEmptyAndOverlongTexts) {
  const std::unique_ptr<TorchEngine> engine = Load(Precision::kF32);
  EXPECT_THAT(engine->Embed({.ids = {2, 3}, .offsets = {0, 2, 2}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "text 1 has 0 tokens, the model takes 1 to 64"));
  EXPECT_THAT(
      engine->Embed({.ids = std::vector<int32_t>(65, 5), .offsets = {0, 65}}),
      StatusIs(absl::StatusCode::kInvalidArgument, "text 0 has 65 tokens"));
  EXPECT_OK(
      engine->Embed({.ids = std::vector<int32_t>(64, 5), .offsets = {0, 64}}));
}

TEST(TorchEngine, RefusesOffsetsThatDoNotFitTheTokens) {
  EXPECT_THAT(
      Load(Precision::kF32)->Embed({.ids = {2, 3}, .offsets = {0, 3}}),
      StatusIs(absl::StatusCode::kInvalidArgument, "end at 3, there are 2"));
}

TEST(TorchEngine, RefusesOptionsThatCannotBeMet) {
  EXPECT_THAT(TorchEngine::Load(Spec(), {.precision = Precision::kInt8}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "precision int8: the torch engine has f32 and bf16"));
  EXPECT_THAT(TorchEngine::Load(Spec(), {.threads = 0}),
              StatusIs(absl::StatusCode::kInvalidArgument, "threads is 0"));
  EXPECT_THAT(TorchEngine::Load(Spec(), {.device = "cuda:99"}),
              StatusIs(absl::StatusCode::kInvalidArgument, "cuda:99"));
  EXPECT_THAT(TorchEngine::Load(Spec(), {.device = "tpu"}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "\"tpu\": supported are auto, cpu, cuda:N"));
  if (!TorchEngine::HasPackedAttention()) {
    EXPECT_THAT(TorchEngine::Load(
                    Spec(), {.attention = TorchEngine::TextAttention::kPacked}),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         "packed attention: LibTorch 1."));
  }
}

TEST(TorchEngine, RefusesWeightsThatDoNotFitTheConfiguration) {
  ModelSpec wider = Spec();
  wider.encoder.intermediate_size = 100;
  EXPECT_THAT(TorchEngine::Load(wider, {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "encoder.layer.0.intermediate.dense.weight"));
  ModelSpec deeper = Spec();
  deeper.encoder.layers = 3;
  EXPECT_THAT(TorchEngine::Load(deeper, {}),
              StatusIs(absl::StatusCode::kInvalidArgument, "encoder.layer.2"));
}

TEST(TorchEngine, NamesAWeightsFileThatIsMissing) {
  const TempDirectory directory;
  ModelSpec spec = Spec();
  spec.directory = directory.path();
  EXPECT_THAT(TorchEngine::Load(spec, {}),
              StatusIs(absl::StatusCode::kNotFound, "model.safetensors"));
}

TEST(TorchEngine, ReadsWeightNamesWithTheBertPrefix) {
  std::ostringstream original;
  original
      << std::ifstream(kModel / "model.safetensors", std::ios::binary).rdbuf();
  const std::string file = original.str();
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  const nlohmann::json header =
      nlohmann::json::parse(file.substr(sizeof(length), length));
  nlohmann::json prefixed;
  for (const auto& [name, tensor] : header.items()) {
    prefixed[name == "__metadata__" ? name : "bert." + name] = tensor;
  }
  const std::string tensors = file.substr(sizeof(length) + length);

  const TempDirectory directory;
  const std::string renamed = prefixed.dump();
  length = renamed.size();
  std::ofstream out(directory.path() / "model.safetensors", std::ios::binary);
  out.write(reinterpret_cast<const char*>(&length), sizeof(length));
  out << renamed << tensors;
  out.close();

  ModelSpec spec = Spec();
  spec.directory = directory.path();
  absl::StatusOr<std::unique_ptr<TorchEngine>> engine =
      TorchEngine::Load(spec, {});
  ASSERT_OK(engine);
  EXPECT_THAT(CosinesToReference(**engine, Reference()), Each(Ge(0.99999)));
}

}  // namespace
}  // namespace pith
