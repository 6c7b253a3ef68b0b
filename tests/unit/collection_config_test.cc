#include "core/index/collection_config.h"

#include <algorithm>
#include <array>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/status_matchers.h"

namespace pith {
namespace {

CollectionConfig Example() {
  CollectionConfig config;
  config.name = "notes";
  config.model = {.name = "org/model", .fingerprint = "f00d", .dimension = 384};
  config.chunking = Chunking::kNone;
  config.target_tokens = 120;
  config.embed_context = false;
  config.create_time = absl::FromUnixMicros(1234567890123456);
  config.profile = CodeProfile::kFast;
  config.vector_source = VectorSource::kStoredI8;
  return config;
}

TEST(CollectionConfig, ComesBackAsItWas) {
  const CollectionConfig config = Example();
  const absl::StatusOr<CollectionConfig> read =
      DecodeCollectionConfig(EncodeCollectionConfig(config));
  ASSERT_OK(read);
  EXPECT_EQ(read->name, config.name);
  EXPECT_EQ(read->model.name, config.model.name);
  EXPECT_EQ(read->model.fingerprint, config.model.fingerprint);
  EXPECT_EQ(read->model.dimension, config.model.dimension);
  EXPECT_EQ(read->chunking, config.chunking);
  EXPECT_EQ(read->target_tokens, config.target_tokens);
  EXPECT_EQ(read->embed_context, config.embed_context);
  EXPECT_EQ(read->create_time, config.create_time);
  EXPECT_EQ(read->profile, config.profile);
  EXPECT_EQ(read->vector_source, config.vector_source);
}

TEST(CollectionConfig, OneWithoutAVectorSourceRecomputes) {
  std::string bytes = EncodeCollectionConfig(Example());
  bytes.pop_back();
  const absl::StatusOr<CollectionConfig> read = DecodeCollectionConfig(bytes);
  ASSERT_OK(read);
  EXPECT_EQ(read->profile, CodeProfile::kFast);
  EXPECT_EQ(read->vector_source, VectorSource::kRecompute);
}

TEST(CollectionConfig, OneOfTheFirstVersionHasTheBalancedProfile) {
  std::string bytes = EncodeCollectionConfig(Example());
  bytes.resize(bytes.size() - 2);
  const absl::StatusOr<CollectionConfig> read = DecodeCollectionConfig(bytes);
  ASSERT_OK(read);
  EXPECT_EQ(read->create_time, Example().create_time);
  EXPECT_EQ(read->profile, CodeProfile::kBalanced);
  EXPECT_EQ(read->vector_source, VectorSource::kRecompute);
}

TEST(CollectionConfig, EveryTruncationAndAnythingBehindIsDataLoss) {
  const std::string bytes = EncodeCollectionConfig(Example());
  // Without the last byte or two it is an older one.
  for (size_t size = 0; size + 2 < bytes.size(); ++size) {
    SCOPED_TRACE(size);
    EXPECT_THAT(DecodeCollectionConfig(bytes.substr(0, size)),
                StatusIs(absl::StatusCode::kDataLoss, "malformed"));
  }
  EXPECT_THAT(DecodeCollectionConfig(bytes + "x"),
              StatusIs(absl::StatusCode::kDataLoss, "malformed"));
}

TEST(CollectionConfig, ProbesComeBackAsTheyWere) {
  CollectionConfig config = Example();
  EXPECT_EQ(
      DecodeCollectionConfig(EncodeCollectionConfig(config))->probes.rows(), 0);
  config.model.dimension = 3;
  config.probes = Matrix(2, 3);
  std::ranges::copy(std::array{0.6F, 0.8F, 0.0F, -1e-30F, 0.0F, 1.0F},
                    config.probes.values().begin());
  const std::string bytes = EncodeCollectionConfig(config);
  const absl::StatusOr<CollectionConfig> read = DecodeCollectionConfig(bytes);
  ASSERT_OK(read);
  EXPECT_EQ(read->probes.rows(), 2);
  EXPECT_THAT(read->probes.values(),
              testing::ElementsAreArray(config.probes.values()));
  const size_t without = bytes.size() - 1 - 2 * 3 * 4;
  for (size_t size = without + 1; size < bytes.size(); ++size) {
    EXPECT_THAT(DecodeCollectionConfig(bytes.substr(0, size)),
                StatusIs(absl::StatusCode::kDataLoss, "malformed"))
        << size;
  }
  for (const char rows : {'\0', '\1', '\3', '\x7F'}) {
    std::string changed = bytes;
    changed[without] = rows;
    EXPECT_THAT(DecodeCollectionConfig(changed),
                StatusIs(absl::StatusCode::kDataLoss, "malformed"));
  }
  EXPECT_THAT(DecodeCollectionConfig(bytes.substr(0, without) + '\0'),
              StatusIs(absl::StatusCode::kDataLoss, "malformed"));
}

TEST(CheckCollectionName, RefusesWhatIsNoSafeFileName) {
  for (const std::string& name :
       {std::string("a"), std::string("Notes-2.x_y"), std::string(64, 'a')}) {
    EXPECT_OK(CheckCollectionName(name)) << name;
  }
  for (const std::string& name :
       {std::string(), std::string("."), std::string("-a"), std::string("a/b"),
        std::string("a b"), std::string("\xc3\xa4"), std::string(65, 'a'),
        std::string("a\0b", 3)}) {
    EXPECT_THAT(CheckCollectionName(name),
                StatusIs(absl::StatusCode::kInvalidArgument, "1 to 64"))
        << name;
  }
}

}  // namespace
}  // namespace pith
