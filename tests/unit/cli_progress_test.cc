#include <locale.h>

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "clients/cli/progress.h"

namespace pith::cli {
namespace {

using v1::AddSourceProgress;

AddSourceProgress Reading(int64_t files_read, int64_t files_found,
                          int64_t embedded, int64_t to_embed) {
  AddSourceProgress progress;
  progress.set_phase(AddSourceProgress::PHASE_READING);
  progress.set_files_read(files_read);
  progress.set_files_found(files_found);
  progress.set_passages_embedded(embedded);
  progress.set_passages_to_embed(to_embed);
  return progress;
}

AddSourceProgress Embedding(int64_t embedded, int64_t to_embed) {
  AddSourceProgress progress = Reading(10, 10, embedded, to_embed);
  progress.set_phase(AddSourceProgress::PHASE_EMBEDDING);
  return progress;
}

absl::Time At(double seconds) {
  return absl::UnixEpoch() + absl::Seconds(seconds);
}

TEST(ProgressMeter, FilesToComeAreTakenToNeedAsMuchAsThoseRead) {
  ProgressMeter meter;
  meter.Update(Reading(5, 20, 50, 100), At(0));
  EXPECT_DOUBLE_EQ(meter.Fraction(), 0.125);
}

TEST(ProgressMeter, UnchangedFilesCountByFile) {
  ProgressMeter meter;
  meter.Update(Reading(5, 20, 0, 0), At(0));
  EXPECT_DOUBLE_EQ(meter.Fraction(), 0.25);
}

TEST(ProgressMeter, ShareStaysBetweenNoneAndAll) {
  ProgressMeter meter;
  meter.Update(AddSourceProgress(), At(0));
  EXPECT_DOUBLE_EQ(meter.Fraction(), 0);
  meter.Update(Reading(0, 0, 0, 0), At(1));
  EXPECT_DOUBLE_EQ(meter.Fraction(), 0);
  // More files than were counted at first.
  meter.Update(Reading(30, 20, 100, 100), At(2));
  EXPECT_DOUBLE_EQ(meter.Fraction(), 1);
}

TEST(ProgressMeter, RateIsThatOfTheLastFifteenSeconds) {
  ProgressMeter meter;
  for (int second = 0; second <= 100; ++second) {
    // 1,000 a second at first, 10 a second from 50 on.
    const int embedded =
        second <= 50 ? 1000 * second : 50000 + 10 * (second - 50);
    meter.Update(Embedding(embedded, 50700), At(second));
  }
  ASSERT_TRUE(meter.PassagesPerSecond().has_value());
  EXPECT_NEAR(*meter.PassagesPerSecond(), 10, 1e-9);
  ASSERT_TRUE(meter.Remaining().has_value());
  EXPECT_EQ(*meter.Remaining(), absl::Seconds(20));
}

TEST(ProgressMeter, RateNeedsTwoSeconds) {
  ProgressMeter meter;
  EXPECT_FALSE(meter.PassagesPerSecond().has_value());
  meter.Update(Embedding(0, 100), At(0));
  meter.Update(Embedding(50, 100), At(1.9));
  EXPECT_FALSE(meter.PassagesPerSecond().has_value());
  EXPECT_FALSE(meter.Remaining().has_value());
  meter.Update(Embedding(60, 100), At(2));
  EXPECT_DOUBLE_EQ(*meter.PassagesPerSecond(), 30);
}

TEST(ProgressMeter, RemainingTimeIsUnknownWhileNothingMoves) {
  ProgressMeter meter;
  meter.Update(Embedding(5, 100), At(0));
  meter.Update(Embedding(5, 100), At(30));
  EXPECT_FALSE(meter.Remaining().has_value());
}

TEST(ProgressMeter, RateFallsWhileNothingIsReported) {
  ProgressMeter meter;
  meter.Update(Embedding(0, 100), At(0));
  meter.Update(Embedding(50, 100), At(5));
  meter.Advance(At(10));
  EXPECT_DOUBLE_EQ(*meter.PassagesPerSecond(), 5);
  EXPECT_EQ(*meter.Remaining(), absl::Seconds(10));
}

TEST(ProgressMeter, BarShowsShareWorkRateAndRemainingTime) {
  ::setlocale(LC_CTYPE, "C.UTF-8");
  ProgressMeter meter;
  meter.Update(Embedding(0, 2000), At(0));
  meter.Update(Embedding(1000, 2000), At(10));
  EXPECT_EQ(meter.Bar(200),
            "[##########----------]  50 %  embedding 1,000/2,000 passages  "
            "100 passages/s  0:10 left");
  EXPECT_EQ(meter.Bar(12), "[##########\u2026");
  EXPECT_EQ(meter.Line(),
            "50 %  embedding 1,000/2,000 passages  100 passages/s  0:10 left");
  meter.Update(Reading(1, 4, 0, 0), At(11));
  EXPECT_THAT(meter.Line(), testing::StartsWith("25 %  reading 1/4 files"));
}

TEST(CompactText, SaysWhatIsDoneToHowManyPassages) {
  v1::CompactProgress progress;
  EXPECT_EQ(CompactText(progress), "waiting");
  progress.set_passages(12'000);
  progress.set_phase(v1::CompactProgress::PHASE_TRAINING);
  EXPECT_EQ(CompactText(progress), "training a codebook for 12,000 passages");
  progress.set_phase(v1::CompactProgress::PHASE_WRITING);
  EXPECT_EQ(CompactText(progress), "writing 12,000 passages");
}

}  // namespace
}  // namespace pith::cli
