#include "core/base/coding.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "gtest/gtest.h"

namespace pith {
namespace {

using namespace std::string_view_literals;

TEST(Coding, ValuesComeBackAndNothingIsLeft) {
  std::string bytes;
  PutFixed32(0x01020304u, bytes);
  PutFixed64(UINT64_MAX - 1, bytes);
  PutBigEndian64(0x0102030405060708u, bytes);
  for (const uint64_t value :
       {uint64_t{0}, uint64_t{127}, uint64_t{128}, UINT64_MAX}) {
    PutVarint(value, bytes);
  }
  PutString("text", bytes);

  Decoder decoder(bytes);
  EXPECT_EQ(decoder.Fixed32(), 0x01020304u);
  EXPECT_EQ(decoder.Fixed64(), UINT64_MAX - 1);
  EXPECT_EQ(decoder.BigEndian64(), 0x0102030405060708u);
  EXPECT_EQ(decoder.Varint(), 0u);
  EXPECT_EQ(decoder.Varint(), 127u);
  EXPECT_EQ(decoder.Varint(), 128u);
  EXPECT_EQ(decoder.Varint(), UINT64_MAX);
  EXPECT_EQ(decoder.String(), "text");
  EXPECT_TRUE(decoder.done());
}

TEST(Coding, FixedIntegersAreLittleEndianAndKeysBigEndian) {
  std::string bytes;
  PutFixed32(1, bytes);
  PutBigEndian64(1, bytes);
  EXPECT_EQ(bytes, std::string("\1\0\0\0\0\0\0\0\0\0\0\1", 12));
}

TEST(Decoder, EveryTruncationIsNoticed) {
  std::string bytes;
  PutFixed64(7, bytes);
  PutVarint(uint64_t{1} << 40, bytes);
  PutString("abc", bytes);
  for (size_t size = 0; size < bytes.size(); ++size) {
    SCOPED_TRACE(size);
    Decoder decoder(std::string_view(bytes).substr(0, size));
    decoder.Fixed64();
    decoder.Varint();
    decoder.String();
    EXPECT_FALSE(decoder.ok());
    EXPECT_FALSE(decoder.done());
  }
}

TEST(Decoder, OverlongVarintsAndValuesAboveTheBoundAreRefused) {
  Decoder overlong(
      std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10));
  EXPECT_EQ(overlong.Varint(), 0u);
  EXPECT_FALSE(overlong.ok());

  std::string bytes;
  PutVarint(11, bytes);
  Decoder bounded(bytes);
  EXPECT_EQ(bounded.Varint(10), 0u);
  EXPECT_FALSE(bounded.ok());
}

TEST(Decoder, VarintsOfMoreBytesThanNeededAreRefused) {
  for (const std::string_view bytes :
       {"\x80\0"sv, "\xff\0"sv, "\x80\x80\0"sv,
        "\x80\x80\x80\x80\x80\x80\x80\x80\x80\0"sv}) {
    SCOPED_TRACE(bytes.size());
    Decoder decoder(bytes);
    EXPECT_EQ(decoder.Varint(), 0u);
    EXPECT_FALSE(decoder.ok());
  }
}

TEST(Decoder, ALengthBeyondTheEndReadsNothing) {
  std::string bytes;
  PutVarint(UINT64_MAX, bytes);
  bytes += "abc";
  Decoder decoder(bytes);
  EXPECT_EQ(decoder.String(), "");
  EXPECT_FALSE(decoder.ok());
}

}  // namespace
}  // namespace pith
