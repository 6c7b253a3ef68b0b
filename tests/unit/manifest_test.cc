#include "core/index/manifest.h"

#include <filesystem>
#include <random>
#include <string>

#include "gtest/gtest.h"

#include "core/base/coding.h"
#include "core/base/file.h"
#include "tests/status_matchers.h"

namespace pith {
namespace {

Manifest TwoSegments() {
  const ContentHash codebook = {{0x35, 0x7d, 0xf5, 0xf3, 0x7a, 0x75, 0x8f, 0xda,
                                 0x83, 0xd2, 0xd1, 0xc5, 0x1a, 0xc5, 0xfe,
                                 0xe7}};
  return {
      .next_segment = 300,
      .segments = {
          {.number = 1, .passages = 4, .file_bytes = 124, .codebook = codebook},
          {.number = 4,
           .passages = 4,
           .file_bytes = 142,
           .codebook = codebook}}};
}

// An encoded manifest with a segment, of which nothing is checked.
std::string Encoded(uint64_t next, uint64_t first, uint64_t second,
                    uint64_t passages) {
  std::string bytes;
  PutVarint(1, bytes);
  PutVarint(next, bytes);
  PutVarint(2, bytes);
  for (const uint64_t number : {first, second}) {
    PutVarint(number, bytes);
    PutVarint(passages, bytes);
    PutVarint(UINT64_MAX, bytes);
    bytes.append(16, 'h');
  }
  return bytes;
}

TEST(Manifest, GoldenFileIsReadAndWrittenByteForByte) {
  const auto golden =
      ReadFile(std::filesystem::path(PITH_TEST_DATA) / "index-v1" / "manifest");
  ASSERT_OK(golden);
  const auto decoded = DecodeManifest(*golden);
  ASSERT_OK(decoded);
  EXPECT_TRUE(*decoded == TwoSegments());
  EXPECT_EQ(EncodeManifest(TwoSegments()), *golden);
}

TEST(Manifest, ExtremesComeBack) {
  for (const Manifest& manifest : {Manifest(), Manifest{.next_segment = 0},
                                   Manifest{.next_segment = UINT64_MAX,
                                   .segments = {{.number = 0},
                                                {.number = UINT64_MAX - 1,
                                                .passages = UINT32_MAX,
                                                .file_bytes = UINT64_MAX}}}}) {
    const auto decoded = DecodeManifest(EncodeManifest(manifest));
    ASSERT_OK(decoded);
    EXPECT_TRUE(*decoded == manifest);
  }
}

TEST(Manifest, TruncationAtEveryByteAndAnythingBehindIsDataLoss) {
  const std::string bytes = EncodeManifest(TwoSegments());
  for (size_t size = 0; size < bytes.size(); ++size) {
    SCOPED_TRACE(size);
    EXPECT_THAT(DecodeManifest(bytes.substr(0, size)),
                StatusIs(absl::StatusCode::kDataLoss, "decode manifest"));
  }
  EXPECT_THAT(DecodeManifest(bytes + "x"),
              StatusIs(absl::StatusCode::kDataLoss, "1 bytes follow"));
}

TEST(Manifest, BytesThatNoEncoderWritesAreDataLoss) {
  ASSERT_OK(DecodeManifest(Encoded(3, 1, 2, UINT32_MAX)));
  EXPECT_THAT(DecodeManifest(Encoded(2, 1, 2, 1)),
              StatusIs(absl::StatusCode::kDataLoss,
                       "segment number 2, the next one is 2"));
  EXPECT_THAT(
      DecodeManifest(Encoded(3, 2, 2, 1)),
      StatusIs(absl::StatusCode::kDataLoss, "segment number 2 after 2"));
  EXPECT_THAT(
      DecodeManifest(Encoded(3, 2, 1, 1)),
      StatusIs(absl::StatusCode::kDataLoss, "segment number 1 after 2"));
  EXPECT_THAT(
      DecodeManifest(Encoded(3, 1, 2, uint64_t{1} << 32)),
      StatusIs(absl::StatusCode::kDataLoss, "4294967296 passages, at most"));
  EXPECT_THAT(DecodeManifest(std::string("\0\1\0", 3)),
              StatusIs(absl::StatusCode::kDataLoss, "no version"));
}

TEST(Manifest, NewerVersionIsRefusedWithBothVersions) {
  EXPECT_THAT(DecodeManifest("\x02 whatever"),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       "version 2 is newer than this build, which reads up to "
                       "1"));
}

// Counts that no manifest of this size could hold.
TEST(Manifest, HugeCountsAreRefusedBeforeMemoryIsTaken) {
  std::string bytes;
  PutVarint(1, bytes);
  PutVarint(1, bytes);
  PutVarint(UINT64_MAX, bytes);
  bytes.append(100, '\0');
  EXPECT_THAT(DecodeManifest(bytes),
              StatusIs(absl::StatusCode::kDataLoss,
                       "18446744073709551615 segments in 100 bytes"));
}

TEST(Manifest, WhateverDecodesIsWrittenTheSame) {
  std::mt19937 random(1);
  const std::string golden = EncodeManifest(TwoSegments());
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = golden;
    for (int change = 0; change < 2; ++change) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    const auto decoded = DecodeManifest(bytes);
    if (decoded.ok()) {
      EXPECT_EQ(EncodeManifest(*decoded), bytes);
    }
  }
}

}  // namespace
}  // namespace pith
