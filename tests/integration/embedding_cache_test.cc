#include "benchmarks/embedding_cache.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

class EmbeddingCacheTest : public testing::Test {
 protected:
  EmbeddingCache::Options Options() const {
    return {.directory = directory_.path() / "cache",
            .model = std::filesystem::path(PITH_TEST_DATA) / "tiny-bert",
            .worker = PITH_FAKE_WORKER,
            .threads = 1};
  }
  // With a cache of its own each time, as in runs one after another.
  absl::StatusOr<Matrix> Embed(const std::vector<std::string>& texts,
                               TextRole role = TextRole::kPassage,
                               int max_tokens = 0) const {
    PITH_ASSIGN_OR_RETURN(const std::unique_ptr<EmbeddingCache> cache,
                          EmbeddingCache::Open(Options()));
    return cache->Embed(texts, role, max_tokens);
  }
  std::vector<std::filesystem::path> ChunkFiles() const {
    std::vector<std::filesystem::path> files;
    for (const auto& entry :
         std::filesystem::directory_iterator(Options().directory)) {
      if (entry.path().extension() == ".f32") {
        files.push_back(entry.path());
      }
    }
    return files;
  }

  const TempDirectory directory_;
};

bool SameRow(const Matrix& a, size_t i, const Matrix& b, size_t j) {
  return std::ranges::equal(a.row(i), b.row(j));
}

TEST_F(EmbeddingCacheTest, TakesVectorsThatAreThere) {
  const std::vector<std::string> texts = {"one", "two", "three"};
  const auto first = Embed(texts);
  ASSERT_OK(first);
  ASSERT_EQ(ChunkFiles().size(), 1U);
  // Only what is on disk can say this.
  std::string bytes(first->values().size_bytes(), '\0');
  ASSERT_OK(WriteFileAtomically(ChunkFiles()[0], bytes));
  const auto second = Embed(texts);
  ASSERT_OK(second);
  EXPECT_EQ(second->rows(), 3U);
  EXPECT_EQ(second->row(0)[0], 0);
}

TEST_F(EmbeddingCacheTest, EmbedsAgainWhatIsCutShort) {
  const std::vector<std::string> texts = {"one", "two"};
  const auto first = Embed(texts);
  ASSERT_OK(first);
  ASSERT_OK(WriteFileAtomically(ChunkFiles()[0], "short"));
  const auto second = Embed(texts);
  ASSERT_OK(second);
  EXPECT_TRUE(SameRow(*first, 1, *second, 1));
}

TEST_F(EmbeddingCacheTest, RunsOverAPrefixShareWholeChunks) {
  std::vector<std::string> texts;
  for (int i = 0; i < 4100; ++i) {
    texts.push_back(absl::StrCat("text ", i));
  }
  const auto all = Embed(texts);
  ASSERT_OK(all);
  EXPECT_EQ(ChunkFiles().size(), 2U);
  texts.resize(4096);
  const auto some = Embed(texts);
  ASSERT_OK(some);
  EXPECT_EQ(ChunkFiles().size(), 2U);
  EXPECT_TRUE(SameRow(*all, 4095, *some, 4095));
}

TEST_F(EmbeddingCacheTest, RoleTextAndCutAreApart) {
  ASSERT_OK(Embed({"one two three"}));
  ASSERT_OK(Embed({"one two three"}, TextRole::kQuery));
  ASSERT_OK(Embed({"one two four"}));
  ASSERT_OK(Embed({"one two three"}, TextRole::kPassage, 1));
  EXPECT_EQ(ChunkFiles().size(), 4U);
}

TEST_F(EmbeddingCacheTest, CutsToTheFirstTokens) {
  const auto cut = Embed({"one two three"}, TextRole::kPassage, 1);
  const auto alone = Embed({"one"}, TextRole::kPassage, 1);
  ASSERT_OK(cut);
  ASSERT_OK(alone);
  EXPECT_TRUE(SameRow(*cut, 0, *alone, 0));
}

TEST_F(EmbeddingCacheTest, MissingWorkerIsNotFound) {
  EmbeddingCache::Options options = Options();
  options.worker = "/nowhere/worker";
  EXPECT_THAT(EmbeddingCache::Open(options),
              StatusIs(absl::StatusCode::kNotFound, "/nowhere/worker"));
}

}  // namespace
}  // namespace pith
