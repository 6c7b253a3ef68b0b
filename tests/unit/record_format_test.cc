#include "core/storage/record_format.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/base/hash.h"
#include "tests/status_matchers.h"

namespace pith {
namespace {

std::string Hex(std::string_view bytes) {
  return ToHex({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

DocumentRecord SampleRecord() {
  DocumentRecord record;
  record.id = "notes/a.md";
  record.title = "A";
  record.metadata = {{"bool", true},
                     {"double", 1.5},
                     {"int", int64_t{-2}},
                     {"string", std::string("x")}};
  for (size_t i = 0; i < record.content_hash.bytes.size(); ++i) {
    record.content_hash.bytes[i] = static_cast<uint8_t>(i);
  }
  record.next_serial = 200;
  record.passages = {{.serial = 0, .bytes = 300, .newlines = 2},
                     {.serial = 199, .bytes = 1, .newlines = 1}};
  return record;
}

constexpr FileStamp kStamp = {
    .device = 1, .inode = 300, .bytes = 2, .mtime_ns = -2, .settled = true};

// These bytes are on disk in every collection: a change needs a new format
// version.
TEST(RecordFormat, BytesStayAsTheyAre) {
  EXPECT_EQ(Hex(EncodeDocumentKey(DocumentNumber{0x0102})), "0000000000000102");
  EXPECT_EQ(Hex(EncodePassageKey(MakePassageId(DocumentNumber{0x0102}, 3))),
            "0000000102000003");
  EXPECT_EQ(EncodeTombstoneKey(PassageId{0x6162636465666768}),
            "tombstone:abcdefgh");
  EXPECT_EQ(Hex(EncodeDocumentNumber(DocumentNumber{300})), "ac02");
  EXPECT_EQ(Hex(EncodePassageValue({PassageId{1}, "ctx", "text"})),
            "0363747874657874");
  EXPECT_EQ(Hex(EncodeCounts({.documents = 1,
                              .passages = 300,
                              .pending = 2,
                              .text_bytes = 4,
                              .next_document = DocumentNumber{5}})),
            "01ac02020405");
  const std::string id = "0a6e6f7465732f612e6d64";
  const std::string title = "0141";
  const std::string metadata =
      "04"
      "04626f6f6c0301"
      "06646f75626c6502000000000000f83f"
      "03696e7401feffffffffffffff"
      "06737472696e67000178";
  const std::string hash = "000102030405060708090a0b0c0d0e0f";
  const std::string next_serial = "c801";
  const std::string passages =
      "02"
      "00ac0202"
      "c7010101";
  EXPECT_EQ(Hex(EncodeDocumentRecord(SampleRecord())),
            id + title + metadata + hash + next_serial + passages);
  DocumentRecord stamped = SampleRecord();
  stamped.stamp = kStamp;
  EXPECT_EQ(Hex(EncodeDocumentRecord(stamped)),
            id + title + metadata + hash + next_serial + passages +
                "01ac0202feffffffffffffff01");
}

// Without its stamp a record is one of an older version.
TEST(RecordFormat, StampsComeBackWholeOrNotAtAll) {
  DocumentRecord record = SampleRecord();
  const size_t plain = EncodeDocumentRecord(record).size();
  for (const bool settled : {false, true}) {
    record.stamp = kStamp;
    record.stamp->settled = settled;
    const std::string bytes = EncodeDocumentRecord(record);
    ASSERT_OK(DecodeDocumentRecord(bytes));
    EXPECT_EQ(*DecodeDocumentRecord(bytes), record);
    for (size_t size = plain + 1; size < bytes.size(); ++size) {
      EXPECT_THAT(DecodeDocumentRecord(bytes.substr(0, size)),
                  StatusIs(absl::StatusCode::kDataLoss, "document record"))
          << size;
    }
    EXPECT_THAT(DecodeDocumentRecord(bytes + '\0'),
                StatusIs(absl::StatusCode::kDataLoss, ""));
    EXPECT_THAT(DecodeDocumentRecord(bytes.substr(0, bytes.size() - 1) + '\2'),
                StatusIs(absl::StatusCode::kDataLoss, ""));
  }
}

TEST(RecordFormat, ExtremesComeBack) {
  DocumentRecord record;
  record.next_serial = kMaxSerial + 1;
  record.passages = {
      {.serial = kMaxSerial, .bytes = UINT64_MAX, .newlines = UINT64_MAX}};
  record.metadata = {{"max", std::numeric_limits<int64_t>::max()},
                     {"min", std::numeric_limits<int64_t>::min()},
                     {"inf", -std::numeric_limits<double>::infinity()},
                     {std::string("\0", 1), false}};
  const auto decoded = DecodeDocumentRecord(EncodeDocumentRecord(record));
  ASSERT_OK(decoded);
  EXPECT_EQ(*decoded, record);

  const DocumentNumber last{kMaxDocumentNumber};
  EXPECT_EQ(*DecodeDocumentNumber(EncodeDocumentNumber(last)), last);
  EXPECT_EQ(*DecodePassageKey(EncodePassageKey(PassageId{UINT64_MAX})),
            PassageId{UINT64_MAX});
  const StoreCounts counts = {
      .documents = UINT64_MAX,
      .passages = UINT64_MAX,
      .pending = UINT64_MAX,
      .text_bytes = UINT64_MAX,
      .next_document = DocumentNumber{kMaxDocumentNumber + 1}};
  EXPECT_EQ(*DecodeCounts(EncodeCounts(counts)), counts);
}

TEST(RecordFormat, TruncationAtEveryByteIsDataLoss) {
  const std::string record = EncodeDocumentRecord(SampleRecord());
  for (size_t size = 0; size < record.size(); ++size) {
    EXPECT_THAT(DecodeDocumentRecord(record.substr(0, size)),
                StatusIs(absl::StatusCode::kDataLoss, "document record"))
        << size;
  }
  const std::string counts = EncodeCounts({.documents = 1000});
  for (size_t size = 0; size < counts.size(); ++size) {
    EXPECT_THAT(DecodeCounts(counts.substr(0, size)),
                StatusIs(absl::StatusCode::kDataLoss, "counts"));
  }
  for (size_t size = 0; size < 8; ++size) {
    EXPECT_THAT(DecodePassageKey(std::string(size, '\0')),
                StatusIs(absl::StatusCode::kDataLoss, "passage key"));
    EXPECT_THAT(DecodeTombstoneKey("tombstone:" + std::string(size, '\0')),
                StatusIs(absl::StatusCode::kDataLoss, "tombstone key"));
  }
  EXPECT_THAT(DecodeDocumentNumber("\x80"),
              StatusIs(absl::StatusCode::kDataLoss, "document number"));
  EXPECT_THAT(DecodePassageValue(PassageId{1},
                                 "\x03"
                                 "ct"),
              StatusIs(absl::StatusCode::kDataLoss, "passage"));
  EXPECT_THAT(DecodePassageValue(PassageId{1}, ""),
              StatusIs(absl::StatusCode::kDataLoss, "passage"));
}

TEST(RecordFormat, BytesAfterTheEndAreDataLoss) {
  EXPECT_THAT(DecodeDocumentRecord(EncodeDocumentRecord(SampleRecord()) + "x"),
              StatusIs(absl::StatusCode::kDataLoss, ""));
  EXPECT_THAT(DecodeCounts(EncodeCounts({}) + "x"),
              StatusIs(absl::StatusCode::kDataLoss, ""));
  EXPECT_THAT(DecodePassageKey(std::string(9, '\0')),
              StatusIs(absl::StatusCode::kDataLoss, ""));
  EXPECT_THAT(DecodeDocumentNumber(std::string(2, '\0')),
              StatusIs(absl::StatusCode::kDataLoss, ""));
}

// Whatever still decodes after a flip is a record like any other.
TEST(RecordFormat, FlippedBitsDecodeToARecordOrNotAtAll) {
  const std::string record = EncodeDocumentRecord(SampleRecord());
  for (size_t bit = 0; bit < 8 * record.size(); ++bit) {
    std::string flipped = record;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    const auto decoded = DecodeDocumentRecord(flipped);
    if (decoded.ok()) {
      const std::string encoded = EncodeDocumentRecord(*decoded);
      EXPECT_NE(encoded, record) << bit;
      const auto again = DecodeDocumentRecord(encoded);
      ASSERT_OK(again);
      EXPECT_EQ(EncodeDocumentRecord(*again), encoded) << bit;
    }
  }
}

TEST(RecordFormat, RandomBytesNeverCrash) {
  std::mt19937 random(1);
  const std::string record = EncodeDocumentRecord(SampleRecord());
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = record;
    for (int change = 0; change < 4; ++change) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    (void)DecodeDocumentRecord(bytes);
    const std::string tail = bytes.substr(random() % bytes.size());
    (void)DecodeDocumentRecord(tail);
    (void)DecodeCounts(tail);
    (void)DecodePassageValue(PassageId{1}, tail);
  }
}

// Lengths and counts that no file of this size could hold.
TEST(RecordFormat, HugeLengthsAreRefusedBeforeMemoryIsTaken) {
  const std::string huge = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
  const std::string hash(16, '\0');
  const std::string empty_strings(2, '\0');
  EXPECT_THAT(DecodeDocumentRecord(huge),
              StatusIs(absl::StatusCode::kDataLoss, ""));
  EXPECT_THAT(DecodeDocumentRecord(empty_strings + huge),
              StatusIs(absl::StatusCode::kDataLoss, ""));
  EXPECT_THAT(DecodeDocumentRecord(empty_strings + '\0' + hash + "\x01" + huge),
              StatusIs(absl::StatusCode::kDataLoss, ""));
}

}  // namespace
}  // namespace pith
