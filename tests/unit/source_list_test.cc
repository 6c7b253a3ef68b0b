#include "core/source/source_list.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/status_matchers.h"

namespace pith {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(SourceListTest, BytesStayAsTheyAre) {
  EXPECT_EQ(EncodeSourceList({"/a", "/b\xff"}), "\x01\x02\x02/a\x03/b\xff");
  EXPECT_THAT(*DecodeSourceList("\x01\x02\x02/a\x03/b\xff"),
              ElementsAre("/a", "/b\xff"));
  EXPECT_THAT(*DecodeSourceList(EncodeSourceList({})), IsEmpty());
  EXPECT_THAT(*DecodeSourceList(""), IsEmpty());
}

TEST(SourceListTest, WhatNoEncoderWritesIsRefused) {
  const std::string bytes = EncodeSourceList({"/a", "/b"});
  for (size_t size = 1; size < bytes.size(); ++size) {
    EXPECT_THAT(DecodeSourceList(bytes.substr(0, size)),
                StatusIs(absl::StatusCode::kDataLoss, "list of sources"))
        << size;
  }
  for (const std::string& damaged :
       {bytes + "x", EncodeSourceList({"/b", "/a"}),
        EncodeSourceList({"/a", "/a"}), EncodeSourceList({"a"}),
        std::string("\0\0", 2), std::string("\x01\xff\xff\xff\xff\x0f")}) {
    EXPECT_THAT(DecodeSourceList(damaged),
                StatusIs(absl::StatusCode::kDataLoss, "list of sources"));
  }
  EXPECT_THAT(DecodeSourceList(std::string("\2\0", 2)),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       "version 2 is newer than this build"));
}

}  // namespace
}  // namespace pith
