#include "core/base/hash.h"

#include "gtest/gtest.h"

namespace pith {
namespace {

// FIPS 180-4, example "abc".
TEST(Sha256, MatchesThePublishedDigestWhateverThePieces) {
  Sha256 sha;
  sha.Update("a");
  sha.Update("");
  sha.Update("bc");
  EXPECT_EQ(ToHex(sha.Finish()),
            "ba7816bf8f01cfea414140de5dae2223"
            "b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256, OfContentIsTheFirstHalf) {
  Sha256 sha;
  sha.Update("abc");
  EXPECT_EQ(ToHex(sha.FinishContent().bytes),
            "ba7816bf8f01cfea414140de5dae2223");
}

}  // namespace
}  // namespace pith
