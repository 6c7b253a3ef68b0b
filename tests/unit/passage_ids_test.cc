#include "core/index/passage_ids.h"

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/base/coding.h"
#include "core/base/hash.h"
#include "tests/status_matchers.h"

namespace pith {
namespace {

PassageId Id(uint64_t document, uint32_t serial) {
  return MakePassageId(DocumentNumber{document}, serial);
}

std::vector<PassageId> All(const PassageIds& ids) {
  std::vector<PassageId> all;
  for (size_t i = 0; i < ids.size(); ++i) {
    all.push_back(ids[NodeId{static_cast<uint32_t>(i)}]);
  }
  return all;
}

// What Encode writes, bit by bit; nothing is checked.
std::string Encoded(uint64_t base, int document_bits, int serial_bits,
                    const std::vector<uint64_t>& values) {
  std::string bytes;
  PutFixed32(static_cast<uint32_t>(values.size()), bytes);
  PutFixed64(base, bytes);
  bytes.push_back(static_cast<char>(document_bits));
  bytes.push_back(static_cast<char>(serial_bits));
  const size_t header = bytes.size();
  size_t bit = 0;
  for (const uint64_t value : values) {
    for (int i = 0; i < document_bits + serial_bits; ++i, ++bit) {
      if (bit % 8 == 0) {
        bytes.push_back('\0');
      }
      const uint64_t set = (value >> i & 1) << (bit % 8);
      bytes[header + bit / 8] = static_cast<char>(
          static_cast<uint8_t>(bytes[header + bit / 8]) | set);
    }
  }
  return bytes;
}

void ExpectDamaged(const std::string& bytes, const char* message) {
  EXPECT_THAT(PassageIds::Decode(bytes),
              StatusIs(absl::StatusCode::kDataLoss, message));
}

TEST(PassageIds, BytesStayAsTheyAre) {
  const std::vector<PassageId> ids = {Id(1000, 1), Id(1002, 0), Id(1005, 2)};
  const std::string bytes = PassageIds(ids).Encode();
  EXPECT_EQ(bytes, Encoded(1000, 3, 2, {0 << 2 | 1, 2 << 2 | 0, 5 << 2 | 2}));
  EXPECT_EQ(
      ToHex({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}),
      "03000000e8030000000000000302"
      "0159");
}

TEST(PassageIds, ComeBackAtEveryWidth) {
  std::mt19937_64 random(1);
  for (int document_bits = 0; document_bits <= 64 - kSerialBits;
       ++document_bits) {
    for (int serial_bits = 0; serial_bits <= kSerialBits; ++serial_bits) {
      const uint64_t documents = (uint64_t{1} << document_bits) - 1;
      const uint32_t serials = (uint32_t{1} << serial_bits) - 1;
      const uint64_t base = kMaxDocumentNumber - documents;
      std::vector<PassageId> ids = {Id(base + documents, serials)};
      for (int i = 0; i < 9; ++i) {
        const PassageId id = Id(base + (random() & documents),
                                static_cast<uint32_t>(random()) & serials);
        if (!testing::Value(ids, testing::Contains(id))) {
          ids.push_back(id);
        }
      }
      if (!testing::Value(ids, testing::Contains(Id(base, 0)))) {
        ids.push_back(Id(base, 0));
      }
      SCOPED_TRACE(testing::Message() << document_bits << " " << serial_bits);
      const PassageIds packed(ids);
      ASSERT_EQ(All(packed), ids);
      const std::string bytes = packed.Encode();
      EXPECT_EQ(
          bytes.size(),
          14 + (ids.size() * static_cast<size_t>(document_bits + serial_bits) +
                7) /
                   8);
      const auto decoded = PassageIds::Decode(bytes);
      ASSERT_OK(decoded);
      EXPECT_TRUE(*decoded == packed);
      EXPECT_EQ(decoded->Encode(), bytes);
    }
  }
}

TEST(PassageIds, NoneIsAListToo) {
  EXPECT_EQ(PassageIds().size(), 0u);
  EXPECT_EQ(PassageIds().Encode(), Encoded(0, 0, 0, {}));
  const auto decoded = PassageIds::Decode(PassageIds().Encode());
  ASSERT_OK(decoded);
  EXPECT_TRUE(*decoded == PassageIds());
}

TEST(PassageIds, TakeFiveBytesOrFewerForAMillion) {
  std::vector<PassageId> ids;
  for (uint64_t document = 1; ids.size() < 1'000'000; ++document) {
    // One document in a thousand is a book.
    const uint32_t passages = document % 1000 == 0 ? 10'000 : 3;
    for (uint32_t serial = 0; serial < passages; ++serial) {
      ids.push_back(Id(document, serial));
    }
  }
  const PassageIds packed(ids);
  EXPECT_LT(packed.memory_bytes(), 5 * ids.size());
  EXPECT_LT(packed.Encode().size(), 5 * ids.size());
  EXPECT_EQ(All(packed), ids);
}

TEST(PassageIds, TruncationAtEveryByteAndAnythingBehindIsDataLoss) {
  const std::string bytes =
      PassageIds(std::vector{Id(7, 3), Id(9, 1), Id(8, 70'000)}).Encode();
  for (size_t size = 0; size < bytes.size(); ++size) {
    SCOPED_TRACE(size);
    ExpectDamaged(bytes.substr(0, size), "bytes");
  }
  ExpectDamaged(bytes + '\0', "bytes of bits");
}

TEST(PassageIds, BytesThatNoEncoderWritesAreDataLoss) {
  ASSERT_OK(PassageIds::Decode(Encoded(5, 1, 1, {0, 1, 2, 3})));
  ExpectDamaged(Encoded(5, 1, 1, {0, 1, 2, 1}), "more than one node");
  // A width more than is needed, of documents and of serials.
  ExpectDamaged(Encoded(5, 2, 1, {0, 1, 2, 3}), "not as they are written");
  ExpectDamaged(Encoded(5, 1, 2, {0, 1, 4, 5}), "not as they are written");
  // A base that no passage has.
  ExpectDamaged(Encoded(5, 1, 1, {2, 3}), "not as they are written");
  ExpectDamaged(Encoded(5, 0, 0, {}), "not as they are written");
  // Bits behind the last passage.
  std::string padded = Encoded(5, 1, 1, {0, 2, 3});
  padded.back() = static_cast<char>(padded.back() | 0x40);
  ExpectDamaged(padded, "not as they are written");
  // Document numbers that are too large.
  ASSERT_OK(PassageIds::Decode(Encoded(kMaxDocumentNumber - 1, 1, 0, {0, 1})));
  ExpectDamaged(Encoded(kMaxDocumentNumber, 1, 0, {0, 1}),
                "not as they are written");
  ExpectDamaged(Encoded(kMaxDocumentNumber + 1, 0, 0, {0}), "at most");
  ExpectDamaged(Encoded(5, 41, 0, {0, uint64_t{1} << 40}), "at most");
  ExpectDamaged(Encoded(5, 0, 25, {0, 1 << 24}), "at most");
}

// Counts that no file of this size could hold.
TEST(PassageIds, HugeCountsAreRefusedBeforeMemoryIsTaken) {
  std::string bytes = Encoded(0, 0, 0, {});
  bytes.replace(0, 4, "\xff\xff\xff\xff");
  ExpectDamaged(bytes, "4294967295 passages of 0 bits are not distinct");
  bytes[13] = 1;
  ExpectDamaged(bytes, "0 bytes of bits, 4294967295 passages of 1 bits");
  ExpectDamaged(Encoded(0, 0, 1, {0, 1, 0}),
                "3 passages of 1 bits are not distinct");
}

TEST(PassageIdsDeathTest, RepeatedPassagesAreABug) {
  EXPECT_DEATH(PassageIds(std::vector{Id(1, 1), Id(2, 1), Id(1, 1)}),
               "Check failed");
}

}  // namespace
}  // namespace pith
