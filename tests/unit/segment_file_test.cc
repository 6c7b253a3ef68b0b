#include "core/index/segment_file.h"

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/base/coding.h"
#include "core/base/crc32.h"
#include "core/base/file.h"
#include "tests/status_matchers.h"

namespace pith {
namespace {

constexpr size_t kTableAt = 16;
constexpr size_t kEntryBytes = 16;

PassageId Id(uint64_t document, uint32_t serial) {
  return MakePassageId(DocumentNumber{document}, serial);
}

std::string Golden(std::string_view name,
                   std::string_view directory = "index-v1") {
  const auto bytes =
      ReadFile(std::filesystem::path(PITH_TEST_DATA) / directory / name);
  EXPECT_OK(bytes);
  return *bytes;
}

// The hash that the golden files name.
constexpr ContentHash kGoldenCodebook = {{0x35, 0x7d, 0xf5, 0xf3, 0x7a, 0x75,
                                          0x8f, 0xda, 0x83, 0xd2, 0xd1, 0xc5,
                                          0x1a, 0xc5, 0xfe, 0xe7}};

// Entry points 1 and 3, neighbours {1, 3}, {0, 2}, {1, 3}, {0, 2}.
constexpr std::string_view kGoldenGraph("\x12!\x10\1\1\0", 6);

std::vector<uint8_t> GoldenCodes(size_t passages) {
  std::vector<uint8_t> codes;
  for (size_t i = 0; i < 3 * passages; ++i) {
    codes.push_back(static_cast<uint8_t>(7 * i + 1));
  }
  return codes;
}

SegmentContent FlatSegment() {
  return {.codebook = kGoldenCodebook,
          .code_bytes = 3,
          .passages = PassageIds(
              std::vector{Id(1000, 0), Id(3, 5), Id(70'000, 2), Id(3, 0)}),
          .codes = GoldenCodes(4)};
}

SegmentContent GraphSegment() {
  return {.codebook = kGoldenCodebook,
          .code_bytes = 3,
          .passages = PassageIds(
              std::vector{Id(9, 1), Id(8, 0), Id(9, 0), Id(10, 300)}),
          .codes = GoldenCodes(4),
          .graph = std::string(kGoldenGraph)};
}

// `bytes` with their CRCs made right, for sections that lie within them.
std::string WithCrcs(std::string bytes) {
  const auto fixed32 = [&](size_t at) {
    return Decoder(std::string_view(bytes).substr(at, 4)).Fixed32();
  };
  const auto put_crc = [&](size_t at, std::string_view covered) {
    std::string crc;
    PutFixed32(Crc32(covered), crc);
    bytes.replace(at, 4, crc);
  };
  const size_t count = fixed32(12);
  const size_t table_end = kTableAt + count * kEntryBytes;
  size_t section = table_end + 4;
  for (size_t at = kTableAt; at < table_end; at += kEntryBytes) {
    const uint64_t length =
        Decoder(std::string_view(bytes).substr(at + 8, 8)).Fixed64();
    if (length > bytes.size() - section) {
      break;
    }
    put_crc(at + 4, std::string_view(bytes).substr(section, length));
    section += length;
  }
  put_crc(table_end, std::string_view(bytes).substr(0, table_end));
  return bytes;
}

// The golden file with a graph, `value` put at `offset`, CRCs made right.
std::string Changed(size_t offset, uint64_t value, size_t width) {
  std::string bytes = EncodeSegment(GraphSegment());
  std::string encoded;
  PutFixed64(value, encoded);
  bytes.replace(offset, width, encoded.substr(0, width));
  return WithCrcs(bytes);
}

void ExpectDamaged(std::string_view bytes, const std::string& message) {
  EXPECT_THAT(DecodeSegment(bytes, "file-name"),
              StatusIs(absl::StatusCode::kDataLoss, message));
  EXPECT_THAT(DecodeSegment(bytes, "file-name"),
              StatusIs(absl::StatusCode::kDataLoss, "segment file-name: "));
}

// These files are on disk: a change needs a new version.
TEST(SegmentFile, GoldenFilesAreReadAndWrittenByteForByte) {
  SegmentContent changed = GraphSegment();
  changed.changed_nodes = 3;
  SegmentContent sloping = GraphSegment();
  sloping.score_slope = 27.5f;
  for (const auto& [directory, name, content] :
       {std::tuple("index-v1", "segment-1.pith", FlatSegment()),
        std::tuple("index-v1", "segment-4.pith", GraphSegment()),
        std::tuple("index-v3", "segment-2.pith", changed),
        std::tuple("index-v3", "segment-3.pith", sloping)}) {
    SCOPED_TRACE(absl::StrCat(directory, " ", name));
    const std::string golden = Golden(name, directory);
    const auto decoded = DecodeSegment(golden, name);
    ASSERT_OK(decoded);
    EXPECT_TRUE(*decoded == content);
    EXPECT_EQ(EncodeSegment(content), golden);
  }
}

TEST(SegmentFile, EmptySegmentAndEmptyGraphComeBack) {
  SegmentContent content;
  content.code_bytes = kMaxCodeBytes;
  content.graph = "";
  auto decoded = DecodeSegment(EncodeSegment(content), "");
  ASSERT_OK(decoded);
  EXPECT_TRUE(*decoded == content);
  content.graph.reset();
  decoded = DecodeSegment(EncodeSegment(content), "");
  ASSERT_OK(decoded);
  EXPECT_TRUE(*decoded == content);
}

TEST(SegmentFile, ChangedNodesComeBackAndTakeAVersionOfTheirOwn) {
  SegmentContent content = GraphSegment();
  content.changed_nodes = 70'000;
  std::string bytes = EncodeSegment(content);
  EXPECT_EQ(bytes.size(), EncodeSegment(GraphSegment()).size() + 4);
  EXPECT_EQ(bytes[8], 2);
  const auto decoded = DecodeSegment(bytes, "");
  ASSERT_OK(decoded);
  EXPECT_TRUE(*decoded == content);

  bytes[8] = 1;
  ExpectDamaged(WithCrcs(bytes),
                "section \"properties\" has 24 bytes, it takes 20");
  for (const uint64_t version : {2, 3}) {
    ExpectDamaged(Changed(8, version, 4),
                  absl::StrCat("section \"properties\" has 20 bytes, it takes ",
                               16 + 4 * version));
  }
  bytes[8] = 2;
  bytes.replace(kTableAt + 4 * kEntryBytes + 4 + 20, 4, 4, '\0');
  ExpectDamaged(WithCrcs(bytes), "version 2 with no changed nodes");
}

TEST(SegmentFile, ASlopeIsFiniteAndPositive) {
  for (const float slope : {0.0F, -1.0F, std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()}) {
    SegmentContent content = GraphSegment();
    content.score_slope = slope;
    ExpectDamaged(EncodeSegment(content), "it is finite and positive");
  }
}

TEST(SegmentFile, OverheadDoesNotGrowWithPassages) {
  std::vector<PassageId> ids;
  for (uint64_t document = 0; document < 10'000; ++document) {
    ids.push_back(Id(document, 0));
  }
  SegmentContent content = {.code_bytes = 49, .passages = PassageIds(ids)};
  content.codes.resize(49 * ids.size());
  content.graph = std::string(8 * ids.size(), 'x');
  EXPECT_EQ(EncodeSegment(content).size(),
            104 + content.passages.Encode().size() + content.codes.size() +
                content.graph->size());
}

TEST(SegmentFile, TruncationAtEveryByteAndAnythingBehindIsDataLoss) {
  for (const char* const name : {"segment-1.pith", "segment-4.pith"}) {
    const std::string golden = Golden(name);
    for (size_t size = 0; size < golden.size(); ++size) {
      SCOPED_TRACE(size);
      ExpectDamaged(std::string_view(golden).substr(0, size), "bytes");
    }
    ExpectDamaged(golden + '\0', "sections end at");
  }
}

TEST(SegmentFile, EveryFlippedBitIsDataLossOfItsSection) {
  const std::string golden = Golden("segment-4.pith");
  struct Part {
    std::string name;
    size_t end;
  };
  size_t end = kTableAt + 4 * kEntryBytes + 4;
  std::vector<Part> parts = {{"header: ", end}};
  for (const auto& [name, bytes] :
       {std::pair("properties", size_t{20}),
        std::pair("ids", GraphSegment().passages.Encode().size()),
        std::pair("codes", size_t{12}),
        std::pair("graph", kGoldenGraph.size())}) {
    end += bytes;
    parts.push_back({absl::StrCat("section \"", name, "\": CRC-32"), end});
  }
  ASSERT_EQ(end, golden.size());
  size_t part = 0;
  for (size_t bit = 0; bit < 8 * golden.size(); ++bit) {
    SCOPED_TRACE(bit);
    part += bit / 8 == parts[part].end ? 1 : 0;
    std::string flipped = golden;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    ExpectDamaged(flipped, parts[part].name);
  }
}

TEST(SegmentFile, NewerVersionIsRefusedWithBothVersions) {
  EXPECT_THAT(DecodeSegment(Changed(8, 4, 4), "file-name"),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       "decode segment file-name: version 4 is newer than this "
                       "build, which reads up to 3"));
  ExpectDamaged(Changed(8, 0, 4), "version 0");
}

// Their CRCs hold, as those of a file that was made to deceive would.
TEST(SegmentFile, LengthsThatDoNotFitAreDataLoss) {
  const size_t kind_of_codes = kTableAt + 2 * kEntryBytes;
  ExpectDamaged(Changed(kind_of_codes, 4, 4), "section 3 is of kind 4");
  const size_t length_of_ids = kTableAt + kEntryBytes + 8;
  for (const uint64_t length : {uint64_t{1} << 20, UINT64_MAX}) {
    ExpectDamaged(Changed(length_of_ids, length, 8),
                  absl::StrCat("section \"ids\" has ", length, " bytes, "));
  }
  const size_t length_of_graph = length_of_ids + 2 * kEntryBytes;
  ExpectDamaged(Changed(length_of_graph, 5, 8),
                "file has 142 bytes, sections end at 141");
}

// `section` takes the first byte of the next, CRCs made right.
std::string WithByteOfNext(size_t section) {
  std::string bytes = EncodeSegment(GraphSegment());
  const size_t length_at = kTableAt + section * kEntryBytes + 8;
  // Lengths here are below 255.
  ++bytes[length_at];
  --bytes[length_at + kEntryBytes];
  return WithCrcs(bytes);
}

TEST(SegmentFile, SectionsThatEndElsewhereAreDataLoss) {
  ExpectDamaged(WithByteOfNext(0),
                "section \"properties\" has 21 bytes, it takes 20");
  ExpectDamaged(WithByteOfNext(1),
                "section \"ids\": 7 bytes of bits, 4 passages of 11 bits take "
                "6");
  ExpectDamaged(WithByteOfNext(2),
                "section \"codes\" has 13 bytes, 4 codes of 3 take 12");
}

TEST(SegmentFile, SectionCountsThatDoNotFitAreDataLoss) {
  std::string bytes = EncodeSegment(GraphSegment());
  bytes.replace(12, 4, "\xff\xff\xff\xff");
  ExpectDamaged(bytes, "4294967295 sections in a file of 142 bytes");
  ExpectDamaged(Changed(12, 2, 4), "with 2 sections");
  ExpectDamaged(Changed(12, 5, 4), "with 5 sections");
}

TEST(SegmentFile, PropertiesThatDoNotFitAreDataLoss) {
  const size_t code_bytes = kTableAt + 4 * kEntryBytes + 4 + 16;
  ExpectDamaged(Changed(code_bytes, 0, 4), "a code of 0 bytes");
  ExpectDamaged(Changed(code_bytes, kMaxCodeBytes + 1, 4),
                "a code of 65537 bytes, 1 to 65536");
  ExpectDamaged(Changed(code_bytes, 4, 4),
                "section \"codes\" has 12 bytes, 4 codes of 4 take 16");
}

TEST(SegmentFile, PassagesThatRepeatAreDataLoss) {
  // Documents 8 to 10 and serials up to 300: of 2 and 9 bits; node 2 gets the
  // bits of node 1.
  const size_t ids_at = kTableAt + 4 * kEntryBytes + 4 + 20;
  std::string bytes = EncodeSegment(GraphSegment());
  const size_t packed_at = ids_at + 14;
  const uint64_t packed =
      Decoder(std::string_view(bytes).substr(packed_at)).Fixed32();
  const uint64_t node_1 = packed >> 11 & 0x7ff;
  const uint64_t deceiving = (packed & ((1 << 22) - 1)) | node_1 << 22;
  std::string low;
  PutFixed32(static_cast<uint32_t>(deceiving), low);
  bytes.replace(packed_at, 4, low);
  // The eleventh bit of node 2 is in the next byte.
  bytes[packed_at + 4] = static_cast<char>((bytes[packed_at + 4] & ~1) |
                                           static_cast<int>(node_1 >> 10 & 1));
  ExpectDamaged(WithCrcs(bytes), "is more than one node");
}

}  // namespace
}  // namespace pith
