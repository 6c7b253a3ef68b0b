#include "core/index/document_change.h"

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/fakes/hash_embedder.h"
#include "tests/status_matchers.h"

namespace pith {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr DocumentNumber kNumber{7};

// A document as it would be stored.
struct Stored {
  DocumentRecord record;
  std::vector<Passage> passages;
};

std::string Paragraphs(int count, int changed = -1) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    for (int word = 0; word < 20; ++word) {
      absl::StrAppend(&text, i == changed ? "new" : "p", i, "w", word, " ");
    }
    text += "\n\n";
  }
  return text;
}

class DocumentChangeTest : public testing::Test {
 protected:
  DocumentChangeTest() { config_.target_tokens = 30; }

  absl::StatusOr<DocumentChange> Plan(const DocumentInput& input,
                                      const Stored* stored = nullptr) {
    return PlanDocumentChange(
        input, HashDocument(input), kNumber,
        stored == nullptr ? nullptr : &stored->record,
        stored == nullptr ? std::span<const Passage>() : stored->passages,
        config_, counter_);
  }

  // What is stored after `change` was applied to `stored`.
  static Stored Apply(const DocumentChange& change, const Stored& stored) {
    Stored next{.record = change.record, .passages = {}};
    for (const PassageEntry& entry : change.record.passages) {
      const PassageId id = MakePassageId(kNumber, entry.serial);
      std::optional<Passage> found;
      for (const auto* passages : {&stored.passages, &change.put_passages}) {
        for (const Passage& passage : *passages) {
          if (passage.id == id) {
            EXPECT_FALSE(found) << "two passages with one id";
            found = passage;
          }
        }
      }
      EXPECT_TRUE(found);
      next.passages.push_back(*found);
    }
    return next;
  }

  static std::string TextOf(const Stored& stored) {
    std::string text;
    for (const Passage& passage : stored.passages) {
      text += passage.text;
    }
    return text;
  }

  HashEmbedder counter_;
  CollectionConfig config_;
};

TEST_F(DocumentChangeTest, PassagesOfANewDocumentTileItsText) {
  const DocumentInput input{.id = "a", .text = Paragraphs(9)};
  const absl::StatusOr<DocumentChange> change = Plan(input);
  ASSERT_OK(change);
  EXPECT_THAT(change->erase_passages, IsEmpty());
  EXPECT_GT(change->put_passages.size(), 3u);
  const Stored stored = Apply(*change, {});
  EXPECT_EQ(TextOf(stored), input.text);
  for (size_t i = 0; i < stored.passages.size(); ++i) {
    EXPECT_EQ(change->record.passages[i].bytes, stored.passages[i].text.size());
    EXPECT_LE(counter_.CountTokens(EmbeddedText(stored.passages[i], config_)),
              counter_.max_tokens());
  }
  EXPECT_EQ(change->record.next_serial, change->put_passages.size());
}

TEST_F(DocumentChangeTest, AnEditEmbedsOnlyWhatItTouched) {
  const Stored stored = Apply(*Plan({.id = "a", .text = Paragraphs(100)}), {});
  const absl::StatusOr<DocumentChange> change =
      Plan({.id = "a", .text = Paragraphs(100, 50)}, &stored);
  ASSERT_OK(change);
  EXPECT_GE(change->put_passages.size(), 1u);
  EXPECT_LE(change->put_passages.size(), 3u);
  EXPECT_EQ(TextOf(Apply(*change, stored)), Paragraphs(100, 50));
}

TEST_F(DocumentChangeTest, PassagesThatMovedKeepTheirIds) {
  config_.chunking = Chunking::kStructure;
  const std::string first = Paragraphs(40);
  const Stored stored = Apply(*Plan({.id = "a", .text = first}), {});
  const std::string moved = absl::StrCat("One paragraph in front.\n\n", first);
  const absl::StatusOr<DocumentChange> change =
      Plan({.id = "a", .text = moved}, &stored);
  ASSERT_OK(change);
  EXPECT_LE(change->put_passages.size(), 3u);
  EXPECT_EQ(TextOf(Apply(*change, stored)), moved);
}

TEST_F(DocumentChangeTest, SerialsOfErasedPassagesAreNotUsedAgain) {
  const Stored stored = Apply(*Plan({.id = "a", .text = Paragraphs(10)}), {});
  const absl::StatusOr<DocumentChange> change =
      Plan({.id = "a", .text = "something else"}, &stored);
  ASSERT_OK(change);
  EXPECT_THAT(change->erase_passages, SizeIs(stored.passages.size()));
  ASSERT_THAT(change->put_passages, SizeIs(1));
  EXPECT_EQ(SerialOf(change->put_passages[0].id), stored.record.next_serial);
}

TEST_F(DocumentChangeTest, EqualPassagesOfOneDocumentHaveIdsOfTheirOwn) {
  config_.target_tokens = 16;
  std::string text;
  for (int i = 0; i < 20; ++i) {
    text += "# Same\n\nthe same words again and again and again in it\n\n";
  }
  const Stored stored = Apply(
      *Plan({.id = "a", .text = text, .format = TextFormat::kMarkdown}), {});
  const absl::StatusOr<DocumentChange> change = Plan(
      {.id = "a", .text = text + "tail\n", .format = TextFormat::kMarkdown},
      &stored);
  ASSERT_OK(change);
  EXPECT_EQ(TextOf(Apply(*change, stored)), text + "tail\n");
}

TEST_F(DocumentChangeTest, SerialsThatAreUsedUpAreAnError) {
  Stored stored = Apply(*Plan({.id = "a", .text = "old text"}), {});
  stored.record.next_serial = kMaxSerial + 1;
  EXPECT_THAT(Plan({.id = "a", .text = "new text"}, &stored),
              StatusIs(absl::StatusCode::kResourceExhausted, "serials"));
}

TEST_F(DocumentChangeTest, HeadingsAreContextUpToTheirLimit) {
  const DocumentInput input{.id = "a",
                            .text = "# Guide\n\n## Disk\n\nwhere bytes go\n",
                            .format = TextFormat::kMarkdown};
  const absl::StatusOr<DocumentChange> change = Plan(input);
  ASSERT_OK(change);
  EXPECT_EQ(change->record.title, "Guide");
  for (const Passage& passage : change->put_passages) {
    EXPECT_LE(counter_.CountTokens(passage.context), 16);
  }
  std::string heading = "# ";
  for (int i = 0; i < 40; ++i) {
    absl::StrAppend(&heading, "h", i, " ");
  }
  const absl::StatusOr<DocumentChange> long_heading =
      Plan({.id = "b",
            .text = heading + "\n\ntext below\n",
            .format = TextFormat::kMarkdown});
  ASSERT_OK(long_heading);
  for (const Passage& passage : long_heading->put_passages) {
    EXPECT_EQ(passage.context, "");
  }
}

TEST_F(DocumentChangeTest, OuterHeadingsGoFirst) {
  std::string text;
  for (int depth = 1; depth <= 6; ++depth) {
    absl::StrAppend(&text, std::string(static_cast<size_t>(depth), '#'),
                    " heading", depth, " a b\n\n", Paragraphs(1), "\n\n");
  }
  const absl::StatusOr<DocumentChange> change =
      Plan({.id = "a", .text = text, .format = TextFormat::kMarkdown});
  ASSERT_OK(change);
  // 16 tokens: four headings of three words and the separators between them.
  EXPECT_EQ(change->put_passages.back().context,
            "heading3 a b > heading4 a b > heading5 a b > heading6 a b")
      << change->put_passages.size();
}

TEST_F(DocumentChangeTest, ATextWithoutATokenIsRefused) {
  config_.chunking = Chunking::kNone;
  EXPECT_THAT(Plan({.id = "a", .text = " \n"}),
              StatusIs(absl::StatusCode::kInvalidArgument, "no token"));
}

TEST_F(DocumentChangeTest, ContextIsEmbeddedOnlyIfTheCollectionSaysSo) {
  const Passage passage{.context = "Title", .text = "\n the text \n"};
  config_.embed_context = true;
  EXPECT_EQ(EmbeddedText(passage, config_), "Title\nthe text");
  config_.embed_context = false;
  EXPECT_EQ(EmbeddedText(passage, config_), "the text");
}

TEST_F(DocumentChangeTest, ASinglePassageLongerThanTheModelIsReported) {
  config_.chunking = Chunking::kNone;
  const absl::StatusOr<DocumentChange> short_one =
      Plan({.id = "a", .text = "a few words"});
  ASSERT_OK(short_one);
  EXPECT_FALSE(short_one->truncated);
  const absl::StatusOr<DocumentChange> long_one =
      Plan({.id = "a", .text = Paragraphs(10)});
  ASSERT_OK(long_one);
  EXPECT_TRUE(long_one->truncated);
  EXPECT_THAT(long_one->put_passages, SizeIs(1));
}

TEST(HashDocument, EveryPartCounts) {
  const DocumentInput base{
      .id = "a", .title = "t", .text = "x", .metadata = {{"k", int64_t{1}}}};
  const ContentHash hash = HashDocument(base);
  DocumentInput other = base;
  other.title = "tx";
  other.text = "";
  EXPECT_NE(HashDocument(other), hash);
  // Metadata of no document may read as the beginning of another's text.
  other = {.id = "a",
           .title = "t",
           .text = std::string("\x01\x01k\x01", 4) + "AAAAAAAA" + "x"};
  EXPECT_NE(HashDocument(other),
            HashDocument({.id = "a",
                          .title = "t",
                          .text = "x",
                          .metadata = {{"k", int64_t{0x4141414141414141}}}}));
  other = base;
  other.metadata["k"] = 1.0;
  EXPECT_NE(HashDocument(other), hash);
  other = base;
  other.metadata["k"] = true;
  EXPECT_NE(HashDocument(other), hash);
  other = base;
  other.format = TextFormat::kMarkdown;
  EXPECT_NE(HashDocument(other), hash);
  EXPECT_EQ(HashDocument(base), hash);
}

TEST(CheckDocument, NamesTheFieldAndTheBound) {
  EXPECT_OK(CheckDocument({.id = "a", .text = "x"}));
  EXPECT_THAT(CheckDocument({.id = "", .text = "x"}),
              StatusIs(absl::StatusCode::kInvalidArgument, "id of 0 bytes"));
  EXPECT_THAT(
      CheckDocument({.id = std::string(5000, 'a'), .text = "x"}),
      StatusIs(absl::StatusCode::kInvalidArgument, "between 1 and 4096"));
  EXPECT_THAT(CheckDocument({.id = "a", .text = " \n\t"}),
              StatusIs(absl::StatusCode::kInvalidArgument, "\"a\": text"));
  EXPECT_THAT(CheckDocument({.id = "a", .text = std::string("x\0y", 3)}),
              StatusIs(absl::StatusCode::kInvalidArgument, "\"a\""));
  EXPECT_THAT(
      CheckDocument({.id = "a",
                     .title = std::string(kMaxTitleBytes + 1, 't'),
                     .text = "x"}),
      StatusIs(absl::StatusCode::kInvalidArgument, "title of 1025 bytes"));
  EXPECT_THAT(
      CheckDocument({.id = "a", .title = "t\xff", .text = "x"}),
      StatusIs(absl::StatusCode::kInvalidArgument, "title: is not UTF-8"));
  EXPECT_OK(CheckDocument({.id = "a", .title = "GIF89a", .text = "x"}));
  EXPECT_THAT(
      CheckDocument({.id = "a",
                     .text = "x",
                     .metadata = {{"k", std::string(kMaxMetadataBytes, 'v')}}}),
      StatusIs(absl::StatusCode::kInvalidArgument, "metadata of 65537 bytes"));
  EXPECT_THAT(CheckDocument({.id = "a", .text = "x\xff"}),
              StatusIs(absl::StatusCode::kInvalidArgument, "\"a\""));
  EXPECT_THAT(CheckDocument(
                  {.id = "a", .text = std::string(kMaxDocumentBytes + 1, 'x')}),
              StatusIs(absl::StatusCode::kInvalidArgument, "67108864"));
}

}  // namespace
}  // namespace pith
