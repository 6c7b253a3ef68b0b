#include "benchmarks/dataset.h"

#include <zstd.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/base/file.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::SizeIs;

std::string Compressed(std::string_view text) {
  std::string bytes(ZSTD_compressBound(text.size()), '\0');
  const size_t size =
      ZSTD_compress(bytes.data(), bytes.size(), text.data(), text.size(), 1);
  EXPECT_EQ(ZSTD_isError(size), 0U);
  bytes.resize(size);
  return bytes;
}

class DatasetTest : public testing::Test {
 protected:
  DatasetTest() {
    Write("corpus.jsonl.zst",
          "{\"id\": \"a\", \"title\": \"A\", \"text\": \"first\"}\n"
          "{\"id\": \"b\", \"text\": \"second\"}\n"
          "{\"id\": \"c\", \"text\": \"third\"}\n");
    Write("queries.jsonl.zst",
          "{\"id\": \"1\", \"text\": \"one\"}\n"
          "{\"id\": \"2\", \"text\": \"two\"}\n"
          "{\"id\": \"3\", \"text\": \"three\"}\n");
    Write("qrels.tsv.zst",
          "query-id\tcorpus-id\tscore\n3\tc\t2\n3\ta\t1\n1\tb\t1\n2\ta\t0\n");
  }

  void Write(const std::string& name, std::string_view text) {
    WriteBytes(name, Compressed(text));
  }
  void WriteBytes(const std::string& name, std::string_view bytes) {
    ASSERT_OK(WriteFileAtomically(directory_.path() / name, bytes));
  }
  absl::StatusOr<Dataset> Read() { return ReadDataset(directory_.path()); }

  TempDirectory directory_;
};

TEST_F(DatasetTest, ReadsTextsInFileOrder) {
  const auto dataset = Read();
  ASSERT_OK(dataset);
  EXPECT_THAT(dataset->corpus, ElementsAre(Field(&Dataset::Text::id, "a"),
                                           Field(&Dataset::Text::id, "b"),
                                           Field(&Dataset::Text::id, "c")));
  EXPECT_EQ(dataset->corpus[0].title, "A");
  EXPECT_EQ(dataset->corpus[0].text, "first");
  EXPECT_EQ(dataset->corpus[1].title, "");
}

TEST_F(DatasetTest, KeepsQueriesWithAPositiveLabelInFileOrder) {
  const auto dataset = Read();
  ASSERT_OK(dataset);
  ASSERT_THAT(dataset->queries, SizeIs(2));
  EXPECT_EQ(dataset->queries[0].text, "one");
  EXPECT_THAT(dataset->queries[0].relevant, ElementsAre(1));
  EXPECT_EQ(dataset->queries[1].text, "three");
  EXPECT_THAT(dataset->queries[1].relevant, ElementsAre(0, 2));
}

TEST_F(DatasetTest, ReadsMoreThanOneBufferOfText) {
  std::string corpus;
  for (int i = 0; i < 20000; ++i) {
    corpus += "{\"id\": \"" + std::to_string(i) + "\", \"text\": \"" +
              std::string(20, 'x') + "\"}\n";
  }
  Write("corpus.jsonl.zst", corpus);
  Write("qrels.tsv.zst", "query-id\tcorpus-id\tscore\n1\t19999\t1\n");
  const auto dataset = Read();
  ASSERT_OK(dataset);
  EXPECT_THAT(dataset->corpus, SizeIs(20000));
  EXPECT_THAT(dataset->queries.at(0).relevant, ElementsAre(19999));
}

TEST_F(DatasetTest, ReadsTextThatEndsWithABuffer) {
  std::string corpus =
      "{\"id\": \"a\", \"text\": \"first\"}\n"
      "{\"id\": \"b\", \"text\": \"second\"}\n"
      "{\"id\": \"c\", \"text\": \"third\"}\n";
  corpus.resize(2 * ZSTD_DStreamOutSize(), '\n');
  Write("corpus.jsonl.zst", corpus);
  const auto dataset = Read();
  ASSERT_OK(dataset);
  EXPECT_THAT(dataset->corpus, SizeIs(3));
}

TEST_F(DatasetTest, NamesTheMissingFile) {
  std::filesystem::remove(directory_.path() / "qrels.tsv.zst");
  EXPECT_THAT(Read(), StatusIs(absl::StatusCode::kNotFound, "qrels.tsv.zst"));
}

TEST_F(DatasetTest, NamesTheLineThatIsNotUnderstood) {
  Write("queries.jsonl.zst", "{\"id\": \"1\", \"text\": \"one\"}\n{\"id\": 2}");
  EXPECT_THAT(Read(), StatusIs(absl::StatusCode::kInvalidArgument,
                               "queries.jsonl.zst:2: no string"));
}

TEST_F(DatasetTest, RefusesALabelOfAnUnknownText) {
  Write("qrels.tsv.zst", "query-id\tcorpus-id\tscore\n1\tz\t1\n");
  EXPECT_THAT(Read(), StatusIs(absl::StatusCode::kInvalidArgument,
                               "qrels.tsv.zst:2: unknown text \"z\""));
}

TEST_F(DatasetTest, RefusesTruncatedData) {
  const std::string bytes = Compressed("{\"id\": \"a\", \"text\": \"first\"}");
  WriteBytes("corpus.jsonl.zst",
             std::string_view(bytes).substr(0, bytes.size() - 3));
  EXPECT_THAT(Read(),
              StatusIs(absl::StatusCode::kInvalidArgument, "corpus.jsonl.zst"));
}

TEST_F(DatasetTest, RefusesDataThatIsNotCompressed) {
  WriteBytes("corpus.jsonl.zst", "{\"id\": \"a\", \"text\": \"first\"}");
  EXPECT_THAT(Read(),
              StatusIs(absl::StatusCode::kInvalidArgument, "corpus.jsonl.zst"));
}

}  // namespace
}  // namespace pith
