#include "embedder/suspect_texts.h"

#include "gtest/gtest.h"

namespace pith {
namespace {

constexpr absl::Time kNow = absl::UnixEpoch();

SuspectTexts::Ids Text(size_t name) {
  return {static_cast<int32_t>(name)};
}

TEST(SuspectTexts, WhatWasLostLongestAgoIsForgottenFirst) {
  SuspectTexts suspects;
  for (size_t name = 0; name < SuspectTexts::kMaxTexts; ++name) {
    suspects.Lost(Text(name), /*batch=*/0);
    suspects.Died(Text(name), /*batch=*/0, /*alone=*/false, kNow);
  }
  // Once more, so that it is the newest.
  suspects.Lost(Text(0), /*batch=*/1);
  EXPECT_TRUE(suspects.MustBeAlone(Text(1)));
  suspects.Lost(Text(SuspectTexts::kMaxTexts), /*batch=*/2);
  EXPECT_FALSE(suspects.MustBeAlone(Text(1)));
  // One that is embedded makes room.
  suspects.Embedded(Text(2));
  suspects.Lost(Text(SuspectTexts::kMaxTexts + 1), /*batch=*/3);
  EXPECT_TRUE(suspects.MustBeAlone(Text(3)));
  EXPECT_TRUE(suspects.MustBeAlone(Text(0)));
}

TEST(SuspectTexts, ADeathWithoutALossBeforeItIsNothing) {
  SuspectTexts suspects;
  suspects.Died(Text(1), /*batch=*/1, /*alone=*/true, kNow);
  suspects.Died(Text(1), /*batch=*/1, /*alone=*/true, kNow);
  EXPECT_FALSE(suspects.MustBeAlone(Text(1)));
  EXPECT_FALSE(suspects.IsRefused(Text(1), kNow));
}

// That is learnt of a loss late: the text was embedded, and lost again, since.
TEST(SuspectTexts, ADeathFromBeforeItWasEmbeddedIsNothing) {
  SuspectTexts suspects;
  suspects.Lost(Text(1), /*batch=*/1);
  suspects.Embedded(Text(1));
  suspects.Lost(Text(1), /*batch=*/2);
  suspects.Died(Text(1), /*batch=*/1, /*alone=*/true, kNow);
  EXPECT_FALSE(suspects.MustBeAlone(Text(1)));
  suspects.Lost(Text(1), /*batch=*/3);
  suspects.Died(Text(1), /*batch=*/2, /*alone=*/true, kNow);
  EXPECT_TRUE(suspects.MustBeAlone(Text(1)));
  EXPECT_FALSE(suspects.IsRefused(Text(1), kNow));
  suspects.Died(Text(1), /*batch=*/3, /*alone=*/true, kNow);
  EXPECT_TRUE(suspects.IsRefused(Text(1), kNow));
}

}  // namespace
}  // namespace pith
