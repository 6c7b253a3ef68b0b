#include "core/text/text_check.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "core/base/reason.h"
#include "tests/status_matchers.h"

namespace pith {
namespace {

using namespace std::string_literals;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST(CheckText, AcceptsUtf8OfEveryLength) {
  EXPECT_OK(CheckText(""));
  EXPECT_OK(CheckText("plain"));
  EXPECT_OK(CheckText("\xEF\xBB\xBFwith a byte order mark"));
  EXPECT_OK(
      CheckText("\x7F \xC2\x80 \xDF\xBF \xE0\xA0\x80 \xED\x9F\xBF "
                "\xEE\x80\x80 \xEF\xBF\xBF \xF0\x90\x80\x80 "
                "\xF4\x8F\xBF\xBF"));
}

TEST(CheckText, NamesTheFirstByteThatIsNotUtf8) {
  const std::string bad[] = {
      "\x80",              // continuation without a start
      "\xC0\x80",          // overlong
      "\xC1\xBF",          // overlong
      "\xE0\x9F\xBF",      // overlong
      "\xF0\x8F\xBF\xBF"   // overlong
      "\xED\xA0\x80",      // surrogate
      "\xF4\x90\x80\x80",  // beyond U+10FFFF
      "\xF5\x80\x80\x80",
      "\xE9t\xE9",
      "\xE2\x82",
      "\xFF",
  };
  for (const std::string& bytes : bad) {
    // Behind and around what is looked at eight bytes at a time.
    for (const int offset : {0, 1, 7, 8, 9, 100}) {
      const std::string text = std::string(offset, 'a') + bytes;
      EXPECT_THAT(CheckText(text),
                  StatusIs(kInvalid, absl::StrCat("at byte ", offset)));
      EXPECT_THAT(CheckText(text + std::string(20, 'b')),
                  StatusIs(kInvalid, "is not UTF-8: 0x"));
    }
  }
}

TEST(CheckText, NamesBinaryFormats) {
  EXPECT_THAT(CheckText("%PDF-1.7\n"), StatusIs(kInvalid, "PDF"));
  EXPECT_THAT(CheckText("\x89PNG\r\n\x1A\n"), StatusIs(kInvalid, "PNG"));
  EXPECT_THAT(CheckText("PK\x03\x04"), StatusIs(kInvalid, "ZIP"));
  EXPECT_THAT(CheckText("\x7F"
                        "ELF\x02"),
              StatusIs(kInvalid, "ELF"));
  EXPECT_THAT(CheckText("\x1F\x8B\x08"), StatusIs(kInvalid, "gzip"));
  EXPECT_THAT(CheckText("ab\0c"s),
              StatusIs(kInvalid, "is a binary file: NUL at byte 2"));
}

TEST(CheckText, TellsBinaryFromOtherEncodingsByReason) {
  EXPECT_EQ(ReasonOf(CheckText("ab\0c"s)), kBinaryReason);
  EXPECT_EQ(ReasonOf(CheckText("%PDF-1.7\n")), kBinaryReason);
  EXPECT_EQ(ReasonOf(CheckText("\xE9t\xE9")), kNotUtf8Reason);
  EXPECT_EQ(ReasonOf(CheckText("\xFF\xFEh\0i\0"s)), kNotUtf8Reason);
}

TEST(CheckText, NamesUtf16AndUtf32) {
  EXPECT_THAT(CheckText("\xFF\xFEh\0i\0"s), StatusIs(kInvalid, "UTF-16"));
  EXPECT_THAT(CheckText("\xFE\xFF\0h\0i"s), StatusIs(kInvalid, "UTF-16"));
  EXPECT_THAT(CheckText("\xFF\xFE\0\0h\0\0\0"s), StatusIs(kInvalid, "UTF-32"));
}

TEST(CheckUtf8Text, AcceptsWhatWouldStartABinaryFile) {
  for (const char* text : {"", "%PDF-1.7 in 60 minutes", "GIF89a, a history",
                           "PK\x03\x04", "BZh9", "fox \xC3\xA9"}) {
    EXPECT_OK(CheckUtf8Text(text));
  }
}

TEST(CheckUtf8Text, RefusesNulAndWhatIsNotUtf8WithTheReasonsOfCheckText) {
  const absl::Status nul = CheckUtf8Text("ab\0c"s);
  EXPECT_THAT(nul, StatusIs(kInvalid, "NUL at byte 2"));
  EXPECT_EQ(ReasonOf(nul), kBinaryReason);
  const absl::Status latin1 = CheckUtf8Text("t\xE9t\xE9");
  EXPECT_THAT(latin1, StatusIs(kInvalid, "is not UTF-8: 0xE9 at byte 1"));
  EXPECT_EQ(ReasonOf(latin1), kNotUtf8Reason);
}

}  // namespace
}  // namespace pith
