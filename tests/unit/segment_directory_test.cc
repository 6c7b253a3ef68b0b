#include "core/index/segment_directory.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/base/file.h"
#include "core/codes/codebook.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

ContentHash HashOf(std::string_view bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.FinishContent();
}

SegmentContent OnePassage(uint64_t document) {
  const std::vector<PassageId> ids = {
      MakePassageId(DocumentNumber{document}, 0)};
  return {.codebook = HashOf("codebook"),
          .code_bytes = 2,
          .passages = PassageIds(ids),
          .codes = {1, 2}};
}

class SegmentDirectoryTest : public testing::Test {
 protected:
  std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(temp_.path())) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  void Touch(const std::string& name) {
    std::ofstream(temp_.path() / name) << "x";
  }

  const TempDirectory temp_;
  const SegmentDirectory directory_{temp_.path()};
};

TEST_F(SegmentDirectoryTest, SegmentComesBack) {
  const auto segment = directory_.WriteSegment(7, OnePassage(1));
  ASSERT_OK(segment);
  EXPECT_EQ(segment->number, 7u);
  EXPECT_EQ(segment->passages, 1u);
  EXPECT_TRUE(segment->codebook == HashOf("codebook"));
  EXPECT_THAT(Names(), testing::ElementsAre("segment-7.pith"));
  EXPECT_EQ(segment->file_bytes, fs::file_size(temp_.path() / Names()[0]));
  const auto read = directory_.ReadSegment(*segment);
  ASSERT_OK(read);
  EXPECT_TRUE(*read == OnePassage(1));
}

TEST_F(SegmentDirectoryTest, CodebookComesBackUnderItsHash) {
  const std::string bytes("a\0codebook", 10);
  ASSERT_OK(directory_.WriteCodebook(HashOf(bytes), bytes));
  EXPECT_THAT(Names(), testing::ElementsAre(
                           "codebook-" + ToHex(HashOf(bytes).bytes) + ".pith"));
  const auto read = directory_.ReadCodebook(HashOf(bytes));
  ASSERT_OK(read);
  EXPECT_EQ(*read, bytes);
}

TEST_F(SegmentDirectoryTest, GoldenDirectoryIsRead) {
  const fs::path path = fs::path(PITH_TEST_DATA) / "index-v1";
  const SegmentDirectory golden(path);
  const auto bytes = ReadFile(path / "manifest");
  ASSERT_OK(bytes);
  const auto manifest = DecodeManifest(*bytes);
  ASSERT_OK(manifest);
  ASSERT_EQ(manifest->segments.size(), 2u);
  for (const SegmentRef& segment : manifest->segments) {
    const auto content = golden.ReadSegment(segment);
    ASSERT_OK(content);
    const auto codebook_bytes = golden.ReadCodebook(segment.codebook);
    ASSERT_OK(codebook_bytes);
    const auto codebook = Codebook::Parse(*codebook_bytes);
    ASSERT_OK(codebook);
    EXPECT_TRUE((*codebook)->hash() == segment.codebook);
    EXPECT_EQ((*codebook)->code_bytes(), content->code_bytes);
    EXPECT_EQ((*codebook)->Serialize(), *codebook_bytes);
    // The rotation is none, the centroids are tenths.
    std::vector<float> vector(4);
    (*codebook)->Decode(std::vector<uint8_t>{0xf0, 0x87, 0}, vector);
    EXPECT_THAT(vector, testing::Pointwise(testing::FloatNear(1e-6f),
                                           {-0.7055407f, 0.7055407f,
                                            -0.0470360f, 0.0470360f}));
  }
}

TEST_F(SegmentDirectoryTest, WhatTheManifestNamesAndIsMissingIsDataLoss) {
  EXPECT_THAT(
      directory_.ReadSegment({.number = 3}),
      StatusIs(absl::StatusCode::kDataLoss,
               (temp_.path() / "segment-3.pith").string() +
                   ": No such file or directory, but the manifest names it"));
  EXPECT_THAT(directory_.ReadCodebook(HashOf("x")),
              StatusIs(absl::StatusCode::kDataLoss,
                       ToHex(HashOf("x").bytes) +
                           ".pith: No such file or directory, but the "
                           "manifest names it"));
}

TEST_F(SegmentDirectoryTest, SegmentThatIsNotTheOnePublishedIsDataLoss) {
  auto segment = *directory_.WriteSegment(7, OnePassage(1));
  SegmentRef other = segment;
  other.file_bytes += 1;
  EXPECT_THAT(directory_.ReadSegment(other),
              StatusIs(absl::StatusCode::kDataLoss, "the manifest says"));
  other = segment;
  other.passages = 2;
  EXPECT_THAT(directory_.ReadSegment(other),
              StatusIs(absl::StatusCode::kDataLoss,
                       "segment-7.pith: 1 passages and codebook"));
  other = segment;
  other.codebook = HashOf("other");
  EXPECT_THAT(directory_.ReadSegment(other),
              StatusIs(absl::StatusCode::kDataLoss, "segment-7.pith: 1 pass"));

  const fs::path path = temp_.path() / "segment-7.pith";
  std::string bytes = *ReadFile(path);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  ASSERT_OK(WriteFileAtomically(path, bytes));
  EXPECT_THAT(directory_.ReadSegment(segment),
              StatusIs(absl::StatusCode::kDataLoss,
                       path.string() + ": section \"codes\": CRC-32"));
}

TEST_F(SegmentDirectoryTest, CodebookWithOtherContentIsDataLoss) {
  ASSERT_OK(directory_.WriteCodebook(HashOf("one"), "one"));
  ASSERT_OK(WriteFileAtomically(temp_.path() / Names()[0], "two"));
  EXPECT_THAT(directory_.ReadCodebook(HashOf("one")),
              StatusIs(absl::StatusCode::kDataLoss,
                       Names()[0] + ": the hash of its 3 bytes is " +
                           ToHex(HashOf("two").bytes)));
}

TEST_F(SegmentDirectoryTest, FailuresNameThePath) {
  const SegmentDirectory missing(temp_.path() / "missing");
  EXPECT_THAT(missing.WriteSegment(1, OnePassage(1)),
              StatusIs(absl::StatusCode::kNotFound, "missing/segment-1.pith"));
  EXPECT_THAT(missing.WriteCodebook(HashOf("x"), "x"),
              StatusIs(absl::StatusCode::kNotFound, "missing/codebook-"));
  EXPECT_THAT(missing.RemoveUnreferenced({}),
              StatusIs(absl::StatusCode::kNotFound, "missing: No such file"));
}

TEST_F(SegmentDirectoryTest, OnlyWhatNoManifestNamesGoes) {
  Manifest manifest;
  manifest.next_segment = 9;
  manifest.segments = {*directory_.WriteSegment(7, OnePassage(1))};
  ASSERT_OK(directory_.WriteCodebook(HashOf("codebook"), "codebook"));
  const std::string codebook = "codebook-" + ToHex(HashOf("codebook").bytes);

  // What earlier manifests named, a write that was not published, and writes
  // that a crash cut off.
  ASSERT_OK(directory_.WriteSegment(6, OnePassage(2)));
  ASSERT_OK(directory_.WriteSegment(18446744073709551615u, OnePassage(2)));
  ASSERT_OK(directory_.WriteCodebook(HashOf("old"), "old"));
  Touch("segment-7.pith.aB3dE6");
  Touch("segment-8.pith.000000");
  Touch(codebook + ".pith.zzzzzz");

  // What is not ours, or may be somebody's copy.
  std::vector<std::string> kept = {"CONFIG",
                                   "segment-07.pith",
                                   "segment-6.pith.bak",
                                   "segment-6.pith~",
                                   "segment-.pith",
                                   "segment-6.pithy",
                                   "segment-+6.pith",
                                   "segment-6",
                                   "segment-18446744073709551616.pith",
                                   "codebook-12.pith",
                                   "codebook-" + std::string(32, 'A') + ".pith",
                                   "a segment-6.pith",
                                   ".pith",
                                   "segment-6.pith.aB3dE!",
                                   "other.aB3dE6"};
  for (const std::string& name : kept) {
    Touch(name);
  }
  fs::create_directory(temp_.path() / "segment-5.pith");
  fs::create_directory(temp_.path() / "store");
  Touch("store/segment-1.pith");
  fs::create_symlink("CONFIG", temp_.path() / "segment-4.pith");
  for (const char* const name :
       {"segment-5.pith", "store", "segment-4.pith", "segment-7.pith"}) {
    kept.push_back(name);
  }
  kept.push_back(codebook + ".pith");

  ASSERT_OK(directory_.RemoveUnreferenced(manifest));
  EXPECT_THAT(Names(), testing::UnorderedElementsAreArray(kept));
  EXPECT_TRUE(fs::exists(temp_.path() / "store" / "segment-1.pith"));
  EXPECT_OK(directory_.ReadSegment(manifest.segments[0]));
  EXPECT_OK(directory_.ReadCodebook(HashOf("codebook")));

  ASSERT_OK(directory_.RemoveUnreferenced({}));
  EXPECT_FALSE(fs::exists(temp_.path() / "segment-7.pith"));
  EXPECT_FALSE(fs::exists(temp_.path() / (codebook + ".pith")));
}

}  // namespace
}  // namespace pith
