#include "core/index/delta.h"

#include <set>
#include <string>

#include "gtest/gtest.h"

namespace pith {
namespace {

constexpr size_t kCodeBytes = 4;

std::string CodeOf(uint64_t id) {
  return std::string(kCodeBytes, static_cast<char>(id % 251));
}

// Live passages of a snapshot; each must carry its own code.
std::set<uint64_t> Live(const DeltaSnapshot& snapshot) {
  std::set<uint64_t> live;
  snapshot.ForEachBlock([&](std::span<const uint8_t> codes,
                            std::span<const PassageId> passages, size_t first) {
    EXPECT_EQ(codes.size(), passages.size() * kCodeBytes);
    for (size_t i = 0; i < passages.size(); ++i) {
      if (!snapshot.IsDead(first + i)) {
        const uint64_t id = static_cast<uint64_t>(passages[i]);
        EXPECT_TRUE(live.insert(id).second) << id;
        EXPECT_EQ(codes[i * kCodeBytes], static_cast<uint8_t>(id % 251));
      }
    }
  });
  EXPECT_EQ(live.size(), snapshot.live());
  return live;
}

TEST(Delta, SnapshotsKeepWhatTheySawWhateverFollows) {
  Delta delta(kCodeBytes);
  delta.Append(PassageId{1}, CodeOf(1));
  delta.Append(PassageId{2}, CodeOf(2));
  const auto before = delta.Snapshot();
  delta.Erase(PassageId{1});
  delta.Append(PassageId{3}, CodeOf(3));
  const auto after = delta.Snapshot();
  EXPECT_EQ(Live(*before), (std::set<uint64_t>{1, 2}));
  EXPECT_EQ(Live(*after), (std::set<uint64_t>{2, 3}));
  EXPECT_FALSE(delta.Contains(PassageId{1}));
}

TEST(Delta, ErasingWhatIsNotThereChangesNothing) {
  Delta delta(kCodeBytes);
  delta.Append(PassageId{1}, CodeOf(1));
  delta.Erase(PassageId{7});
  EXPECT_EQ(Live(*delta.Snapshot()), (std::set<uint64_t>{1}));
}

TEST(Delta, AnEmptySnapshotHasNoBlocks) {
  Delta delta(kCodeBytes);
  const auto snapshot = delta.Snapshot();
  EXPECT_EQ(snapshot->slots(), 0u);
  EXPECT_TRUE(Live(*snapshot).empty());
}

TEST(Delta, SpansBlocksAndGivesBackTheMemoryOfDeadSlots) {
  Delta delta(kCodeBytes);
  std::set<uint64_t> expected;
  for (uint64_t id = 0; id < 5 * DeltaBlock::kSlots + 3; ++id) {
    delta.Append(PassageId{id}, CodeOf(id));
  }
  const auto full = delta.Snapshot();
  EXPECT_EQ(full->slots(), 5 * DeltaBlock::kSlots + 3);
  const size_t full_bytes = delta.Snapshot()->memory_bytes();
  for (uint64_t id = 0; id < 5 * DeltaBlock::kSlots + 3; ++id) {
    if (id % 5 == 0) {
      expected.insert(id);
    } else {
      delta.Erase(PassageId{id});
    }
  }
  const auto thinned = delta.Snapshot();
  EXPECT_EQ(Live(*thinned), expected);
  EXPECT_EQ(thinned->slots(), expected.size());
  EXPECT_LT(delta.Snapshot()->memory_bytes(), full_bytes * 2 / 3);
  // What was rewritten can be erased again.
  delta.Erase(PassageId{5});
  expected.erase(5);
  EXPECT_EQ(Live(*delta.Snapshot()), expected);
  EXPECT_EQ(full->live(), 5 * DeltaBlock::kSlots + 3);
}

}  // namespace
}  // namespace pith
