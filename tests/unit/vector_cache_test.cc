#include "core/index/vector_cache.h"

#include <algorithm>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

#include "core/base/float16.h"

namespace pith {
namespace {

constexpr size_t kDimension = 400;

ContentHash Key(int i) {
  Sha256 sha;
  sha.Update(std::to_string(i));
  return sha.FinishContent();
}

// Bytes with room for `entries` and the sketch.
size_t BytesFor(size_t entries) {
  return entries * VectorCache::EntryBytes(kDimension) +
         FrequencySketch(entries).memory_bytes();
}

// What a search does with one vector: looks for it, and offers it if it had to
// be found elsewhere. Whether it was there.
bool Use(VectorCache& cache, int key, double cost = 1,
         size_t dimension = kDimension) {
  std::vector<float> vector(dimension);
  if (cache.Find(Key(key), vector)) {
    EXPECT_EQ(vector, std::vector<float>(dimension, static_cast<float>(key)));
    return true;
  }
  std::fill(vector.begin(), vector.end(), static_cast<float>(key));
  cache.Insert(Key(key), vector, cost);
  EXPECT_LE(cache.status().bytes, cache.status().max_bytes);
  return false;
}

TEST(VectorCache, GivesBackWhatItHasAsF16) {
  VectorCache cache(BytesFor(10));
  std::vector<float> vector(kDimension, 0.1F);
  EXPECT_FALSE(cache.Find(Key(1), vector));
  cache.Insert(Key(1), vector, 1);
  std::vector<float> out(kDimension);
  ASSERT_TRUE(cache.Find(Key(1), out));
  EXPECT_EQ(out,
            std::vector<float>(kDimension, F16ToFloat(F16FromFloat(0.1F))));
  EXPECT_FALSE(cache.Find(Key(2), out));
  const VectorCache::Status status = cache.status();
  EXPECT_EQ(status.lookups, 3u);
  EXPECT_EQ(status.hits, 1u);
  EXPECT_EQ(status.entries, 1u);
}

TEST(VectorCache, HoldsNothingWithoutRoom) {
  for (const size_t bytes : {size_t{0}, size_t{100}, BytesFor(0)}) {
    VectorCache cache(bytes);
    EXPECT_FALSE(Use(cache, 1));
    EXPECT_FALSE(Use(cache, 1));
    EXPECT_EQ(cache.status().entries, 0u);
    EXPECT_EQ(cache.status().rejections, 2u);
  }
}

TEST(VectorCache, InsertingTwiceKeepsOneEntry) {
  VectorCache cache(BytesFor(10));
  const std::vector<float> vector(kDimension, 1);
  cache.Insert(Key(1), vector, 1);
  cache.Insert(Key(1), vector, 1);
  EXPECT_EQ(cache.status().entries, 1u);
}

TEST(VectorCache, IsFilledUpToItsBoundAndNoFurther) {
  VectorCache cache(BytesFor(50));
  for (int key = 0; key < 200; ++key) {
    Use(cache, key);
  }
  const VectorCache::Status status = cache.status();
  EXPECT_LE(status.bytes, status.max_bytes);
  EXPECT_GT(status.bytes + 2 * VectorCache::EntryBytes(kDimension),
            status.max_bytes);
  EXPECT_EQ(status.entries + status.evictions + status.rejections, 200u);
}

TEST(VectorCache, AScanDoesNotPushOutWhatIsAskedForOften) {
  VectorCache cache(BytesFor(100));
  for (int round = 0; round < 3; ++round) {
    for (int key = 0; key < 60; ++key) {
      Use(cache, key);
    }
  }
  for (int key = 1000; key < 1400; ++key) {
    Use(cache, key);
  }
  int hits = 0;
  for (int key = 0; key < 60; ++key) {
    hits += Use(cache, key) ? 1 : 0;
  }
  EXPECT_EQ(hits, 60);
}

TEST(VectorCache, WhatIsAskedForOftenNowReplacesWhatOnceWas) {
  VectorCache cache(BytesFor(50));
  for (int round = 0; round < 15; ++round) {
    for (int key = 0; key < 50; ++key) {
      Use(cache, key);
    }
  }
  int hits = 0;
  for (int round = 0; round < 40; ++round) {
    hits = 0;
    for (int key = 100; key < 140; ++key) {
      hits += Use(cache, key) ? 1 : 0;
    }
  }
  EXPECT_EQ(hits, 40);
}

TEST(VectorCache, OfEquallyFrequentOnesTheCostlyStay) {
  VectorCache cache(BytesFor(40));
  // Cheap ones first: they have the room, and lose it.
  for (int key = 0; key < 40; ++key) {
    Use(cache, key, 1);
  }
  for (int key = 100; key < 130; ++key) {
    Use(cache, key, 100);
  }
  for (int key = 0; key < 40; ++key) {
    Use(cache, key, 1);
  }
  int costly = 0;
  for (int key = 100; key < 130; ++key) {
    costly += Use(cache, key, 100) ? 1 : 0;
  }
  EXPECT_GE(costly, 29);
}

TEST(VectorCache, WorthIsByByte) {
  // A vector of sixteen times the size takes the room of several.
  constexpr size_t kLarge = 16 * kDimension;
  struct Case {
    double cost;
    bool is_kept;
  };
  const double ratio = static_cast<double>(VectorCache::EntryBytes(kLarge)) /
                       static_cast<double>(VectorCache::EntryBytes(kDimension));
  for (const Case& test : {Case{.cost = 0.5 * ratio, .is_kept = false},
                           Case{.cost = 2 * ratio, .is_kept = true}}) {
    SCOPED_TRACE(test.cost);
    VectorCache cache(BytesFor(60));
    for (int key = 0; key < 200; ++key) {
      Use(cache, key, 1);
    }
    Use(cache, 1000, test.cost, kLarge);
    // Out of the window.
    Use(cache, 2000, 1);
    EXPECT_EQ(Use(cache, 1000, test.cost, kLarge), test.is_kept);
  }
}

TEST(VectorCache, OneThatIsSmallReplacesOneThatIsWorthMoreButLessAByte) {
  constexpr size_t kLarge = 16 * kDimension;
  for (const bool is_dear : {false, true}) {
    // For large ones alone, and the window.
    const size_t room = 12 * VectorCache::EntryBytes(kLarge);
    VectorCache cache(room * 100 / 99 + 100 +
                      FrequencySketch(room / 1000).memory_bytes());
    for (int key = 0; key < 50; ++key) {
      Use(cache, key, 8, kLarge);
    }
    ASSERT_EQ(cache.status().entries, 12u);
    // As much as half a large one, or a fortieth.
    Use(cache, 1000, is_dear ? 4 : 0.2);
    for (int key = 2000; key < 2010; ++key) {
      Use(cache, key, 0.1);
    }
    EXPECT_EQ(Use(cache, 1000, 4), is_dear);
  }
}

TEST(VectorCache, OneThatIsLargerThanTheWholeIsNotKept) {
  VectorCache cache(BytesFor(10));
  for (int key = 0; key < 5; ++key) {
    Use(cache, key);
  }
  EXPECT_FALSE(Use(cache, 1000, 1e9, 100 * kDimension));
  EXPECT_FALSE(Use(cache, 1000, 1e9, 100 * kDimension));
  for (int key = 0; key < 5; ++key) {
    EXPECT_TRUE(Use(cache, key));
  }
}

// Searches that follow Zipf's law, as those of people do, with one-off scans
// between them: the cache keeps up with the best fixed choice.
TEST(VectorCache, HitsAsOftenAsTheMostFrequentKeysAllow) {
  constexpr int kKeys = 2000;
  constexpr size_t kRoom = 200;
  std::vector<double> weights;
  double all = 0;
  double best = 0;
  for (int i = 0; i < kKeys; ++i) {
    weights.push_back(1.0 / (i + 1));
    all += weights.back();
    best += static_cast<size_t>(i) < kRoom ? weights.back() : 0;
  }
  std::mt19937 random(1);
  std::discrete_distribution<int> pick(weights.begin(), weights.end());
  VectorCache cache(BytesFor(kRoom));
  int hits = 0;
  int uses = 0;
  for (int i = 0; i < 40'000; ++i) {
    const bool hit = Use(cache, pick(random));
    if (i % 10 == 0) {
      Use(cache, 10'000 + i);
    }
    if (i >= 20'000) {
      ++uses;
      hits += hit ? 1 : 0;
    }
  }
  EXPECT_GT(hits, 0.9 * best / all * uses);
}

TEST(VectorCache, MayBeUsedByManyThreads) {
  VectorCache cache(BytesFor(50));
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&cache, seed] {
      std::mt19937 random(seed);
      for (int i = 0; i < 2000; ++i) {
        Use(cache, static_cast<int>(random() % 100));
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  const VectorCache::Status status = cache.status();
  EXPECT_EQ(status.lookups, 8000u);
  EXPECT_GT(status.hits, 1000u);
}

}  // namespace
}  // namespace pith
