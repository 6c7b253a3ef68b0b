#include "embedder/precompiled_normalizer.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/base/coding.h"
#include "tests/status_matchers.h"

namespace pith {
namespace {

constexpr uint32_t kUnused = 0x800000FF;
constexpr uint32_t kHasValue = 1 << 8;
constexpr uint32_t kValue = uint32_t{1} << 31;
constexpr size_t kChildren = 256;
constexpr size_t kValueUnit = 128;

// A trie that has "a", with `value` as where its replacement begins.
std::vector<uint32_t> TrieOfA(uint32_t value) {
  std::vector<uint32_t> units(512, kUnused);
  units[0] = kChildren << 10;
  const size_t a = kChildren ^ 'a';
  units[a] = 'a' | kHasValue | static_cast<uint32_t>(a ^ kValueUnit) << 10;
  units[kValueUnit] = kValue | value;
  return units;
}

std::string Charsmap(const std::vector<uint32_t>& units,
                     const std::string& replacements) {
  std::string bytes;
  PutFixed32(static_cast<uint32_t>(4 * units.size()), bytes);
  for (const uint32_t unit : units) {
    PutFixed32(unit, bytes);
  }
  return bytes + replacements;
}

std::string Normalize(const PrecompiledNormalizer& normalizer,
                      std::string_view text) {
  std::string normalized = "left over";
  normalizer.Normalize(text, normalized);
  return normalized;
}

const std::string kReplacements("x\0yz\0", 5);

TEST(PrecompiledNormalizer, ReplacesWholeClustersOfUpToFiveBytes) {
  const auto normalizer =
      PrecompiledNormalizer::Parse(Charsmap(TrieOfA(2), kReplacements));
  ASSERT_OK(normalizer);
  EXPECT_EQ(Normalize(*normalizer, "banana"), "byznyznyz");
  EXPECT_EQ(Normalize(*normalizer, "a\u0301\u0301b"), "yzb");
  EXPECT_EQ(Normalize(*normalizer, "a\u0301\u0301\u0301b"),
            "yz\u0301\u0301\u0301b");
  EXPECT_EQ(Normalize(*normalizer, ""), "");
  EXPECT_EQ(Normalize(*normalizer, std::string("\0a\0", 3)),
            std::string("\0yz\0", 4));
}

TEST(PrecompiledNormalizer, ReplacesByNothing) {
  const auto normalizer =
      PrecompiledNormalizer::Parse(Charsmap(TrieOfA(4), kReplacements));
  ASSERT_OK(normalizer);
  EXPECT_EQ(Normalize(*normalizer, "banana"), "bnn");
}

TEST(PrecompiledNormalizer, RefusesATrieThatLeadsOutOfIt) {
  std::vector<uint32_t> units = TrieOfA(0);
  units[0] = 512 << 10;
  EXPECT_THAT(
      PrecompiledNormalizer::Parse(Charsmap(units, kReplacements)),
      StatusIs(absl::StatusCode::kInvalidArgument, "leads to unit 512 of 512"));
  units = TrieOfA(0);
  units[0] |= kValue;
  EXPECT_THAT(PrecompiledNormalizer::Parse(Charsmap(units, kReplacements)),
              StatusIs(absl::StatusCode::kInvalidArgument, "of 512"));
}

TEST(PrecompiledNormalizer, RefusesReplacementsThatAreNotThere) {
  for (const uint32_t value : {5u, 6u, 1u << 30}) {
    SCOPED_TRACE(value);
    EXPECT_THAT(
        PrecompiledNormalizer::Parse(Charsmap(TrieOfA(value), kReplacements)),
        StatusIs(absl::StatusCode::kInvalidArgument, "has its replacement at"));
  }
  EXPECT_THAT(PrecompiledNormalizer::Parse(Charsmap(TrieOfA(0), "no end")),
              StatusIs(absl::StatusCode::kInvalidArgument, "zero byte"));
  EXPECT_THAT(PrecompiledNormalizer::Parse(Charsmap(
                  TrieOfA(0), std::string(257, 'x') + std::string(1, '\0'))),
              StatusIs(absl::StatusCode::kInvalidArgument, "within 256"));
  EXPECT_THAT(PrecompiledNormalizer::Parse(
                  Charsmap(TrieOfA(1), std::string("\u00e9\0", 3))),
              StatusIs(absl::StatusCode::kInvalidArgument, "no character"));
  EXPECT_THAT(PrecompiledNormalizer::Parse(
                  Charsmap(TrieOfA(0), std::string("\xC3\0", 2))),
              StatusIs(absl::StatusCode::kInvalidArgument, "no UTF-8"));
}

TEST(PrecompiledNormalizer, RefusesSizesThatAreNotThere) {
  const std::string whole = Charsmap(TrieOfA(0), kReplacements);
  for (const size_t size : {0, 3, 4, 2000}) {
    SCOPED_TRACE(size);
    EXPECT_THAT(PrecompiledNormalizer::Parse(whole.substr(0, size)),
                StatusIs(absl::StatusCode::kInvalidArgument, "has a trie of"));
  }
  EXPECT_THAT(
      PrecompiledNormalizer::Parse(Charsmap(std::vector<uint32_t>(300), "")),
      StatusIs(absl::StatusCode::kInvalidArgument, "has a trie of 1200"));
}

}  // namespace
}  // namespace pith
