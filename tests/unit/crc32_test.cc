#include "core/base/crc32.h"

#include <string>

#include "gtest/gtest.h"

namespace pith {
namespace {

// The check value of the CRC catalogues, and one that Python's zlib gives.
TEST(Crc32, HasKnownValues) {
  EXPECT_EQ(Crc32(""), 0u);
  EXPECT_EQ(Crc32("123456789"), 0xcbf43926u);
  EXPECT_EQ(Crc32(std::string(3, '\0')), 0xff41d912u);
}

}  // namespace
}  // namespace pith
