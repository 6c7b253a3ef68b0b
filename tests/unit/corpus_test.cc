#include "benchmarks/corpus.h"

#include <zstd.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/base/file.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(SplitSentences, EndsBeforeSpaceAndAnUpperCaseLetter) {
  EXPECT_THAT(
      SplitSentences("We study passages of text. Do they rank? They "
                     "really do! Hence we conclude."),
      ElementsAre("We study passages of text.", "Do they rank? They really do!",
                  "Hence we conclude."));
}

TEST(SplitSentences, KeepsAbbreviationsAndNumbersTogether) {
  EXPECT_THAT(SplitSentences("An error of 3.5 percent, i.e. a small one, is "
                             "what we find here."),
              SizeIs(1));
}

TEST(SplitSentences, JoinsAShortSentenceToTheNext) {
  EXPECT_THAT(SplitSentences("Yes. It is a sentence of its own. Good."),
              ElementsAre("Yes. It is a sentence of its own.", "Good."));
}

TEST(SplitSentences, DropsWhiteSpaceAround) {
  EXPECT_THAT(SplitSentences("  A sentence that is long enough.\nAnother.  "),
              ElementsAre("A sentence that is long enough.", "Another."));
  EXPECT_THAT(SplitSentences(" \n "), IsEmpty());
  EXPECT_THAT(SplitSentences(""), IsEmpty());
}

std::string Compressed(std::string_view text) {
  std::string bytes(ZSTD_compressBound(text.size()), '\0');
  const size_t size =
      ZSTD_compress(bytes.data(), bytes.size(), text.data(), text.size(), 1);
  EXPECT_EQ(ZSTD_isError(size), 0U);
  bytes.resize(size);
  return bytes;
}

class ReadCorpusTest : public testing::Test {
 protected:
  // A dataset of `texts` texts, each of two sentences, and as many queries.
  void Write(const std::string& name, size_t texts) {
    const std::filesystem::path path = directory_.path() / name;
    ASSERT_OK(CreatePrivateDirectories(path));
    std::string corpus;
    std::string queries;
    std::string labels = "query-id\tcorpus-id\tscore\n";
    for (size_t i = 0; i < texts; ++i) {
      absl::StrAppend(&corpus, "{\"id\": \"", i, "\", \"text\": \"", name, " ",
                      i, " has a first sentence. It has a second one.\"}\n");
      absl::StrAppend(&queries, "{\"id\": \"", i, "\", \"text\": \"", name,
                      " query ", i, "\"}\n");
      absl::StrAppend(&labels, i, "\t", i, "\t1\n");
    }
    ASSERT_OK(
        WriteFileAtomically(path / "corpus.jsonl.zst", Compressed(corpus)));
    ASSERT_OK(
        WriteFileAtomically(path / "queries.jsonl.zst", Compressed(queries)));
    ASSERT_OK(WriteFileAtomically(path / "qrels.tsv.zst", Compressed(labels)));
  }

  TempDirectory directory_;
};

TEST_F(ReadCorpusTest, TakesTheFirstTextsAndAllQueries) {
  Write("set", 3);
  const auto corpus = ReadCorpus(directory_.path(), "set", 2);
  ASSERT_OK(corpus);
  EXPECT_THAT(corpus->passages,
              ElementsAre("set 0 has a first sentence. It has a second one.",
                          "set 1 has a first sentence. It has a second one."));
  EXPECT_THAT(corpus->queries,
              ElementsAre("set query 0", "set query 1", "set query 2"));
}

TEST_F(ReadCorpusTest, TakesSentencesInOrder) {
  Write("set", 3);
  const auto corpus = ReadCorpus(directory_.path(), "set/sentences", 3);
  ASSERT_OK(corpus);
  EXPECT_THAT(corpus->passages,
              ElementsAre("set 0 has a first sentence.", "It has a second one.",
                          "set 1 has a first sentence."));
}

TEST_F(ReadCorpusTest, ZeroTakesAll) {
  Write("set", 3);
  const auto corpus = ReadCorpus(directory_.path(), "set", 0);
  ASSERT_OK(corpus);
  EXPECT_THAT(corpus->passages, SizeIs(3));
}

TEST_F(ReadCorpusTest, RefusesMoreThanThereAre) {
  Write("set", 3);
  EXPECT_THAT(ReadCorpus(directory_.path(), "set", 4),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "set has 3 passages, fewer than 4"));
}

TEST_F(ReadCorpusTest, MissingDatasetIsNotFound) {
  EXPECT_THAT(ReadCorpus(directory_.path(), "set", 1),
              StatusIs(absl::StatusCode::kNotFound, "set"));
}

TEST_F(ReadCorpusTest, PoolTakesAtMostFiveHundredQueriesOfEachSet) {
  for (const char* name :
       {"squad_dev", "cosqa_code", "til_notes", "cranfield"}) {
    Write(name, 2);
  }
  Write("arxiv_200k", 20'002);
  const auto corpus = ReadCorpus(directory_.path(), "pool", 0);
  ASSERT_OK(corpus);
  EXPECT_THAT(corpus->passages, SizeIs(4 * 2 + 20'000));
  EXPECT_THAT(corpus->queries, SizeIs(4 * 2 + 500));
}

}  // namespace
}  // namespace pith
