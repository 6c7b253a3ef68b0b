#include "benchmarks/update/edits.h"

#include <algorithm>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "benchmarks/ranking_metrics.h"
#include "benchmarks/update/live_collection.h"
#include "core/base/random.h"
#include "core/base/status_macros.h"

namespace pith {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kSmallDocumentParagraphs = 10;

// New paragraphs, each once.
class Paragraphs {
 public:
  Paragraphs(const std::vector<std::string>& sentences, size_t first,
             size_t per_paragraph)
      : sentences_(sentences), next_(first), per_paragraph_(per_paragraph) {}

  std::string Next() {
    std::string paragraph;
    for (size_t i = 0; i < per_paragraph_; ++i) {
      absl::StrAppend(&paragraph, i == 0 ? "" : " ",
                      sentences_[next_++ % sentences_.size()]);
    }
    return paragraph;
  }
  std::vector<std::string> Next(size_t count) {
    std::vector<std::string> paragraphs;
    for (size_t i = 0; i < count; ++i) {
      paragraphs.push_back(Next());
    }
    return paragraphs;
  }

 private:
  const std::vector<std::string>& sentences_;
  size_t next_;
  const size_t per_paragraph_;
};

DocumentInput Document(std::string id,
                       const std::vector<std::string>& paragraphs) {
  return {.id = std::move(id), .text = absl::StrJoin(paragraphs, "\n\n")};
}

struct Change {
  size_t passages = 0;
  size_t embedded = 0;
  double acknowledged_ms = 0;
  double searchable_ms = 0;
};

absl::StatusOr<Change> Apply(const LiveCollection& live,
                             DocumentInput document) {
  std::promise<std::pair<absl::StatusOr<PutResult>, absl::Time>> acknowledged;
  const absl::Time start = absl::Now();
  live->Put(std::move(document), [&](absl::StatusOr<PutResult> result) {
    acknowledged.set_value({std::move(result), absl::Now()});
  });
  const auto [result, time] = acknowledged.get_future().get();
  PITH_RETURN_IF_ERROR(result.status());
  std::promise<std::pair<absl::Status, absl::Time>> searchable;
  live->WhenSearchable([&](const absl::StatusOr<uint64_t>& failed) {
    searchable.set_value({failed.status(), absl::Now()});
  });
  const auto [status, searchable_time] = searchable.get_future().get();
  PITH_RETURN_IF_ERROR(status);
  return Change{
      .passages = result->passages,
      .embedded = result->passages_to_embed,
      .acknowledged_ms = absl::ToDoubleMilliseconds(time - start),
      .searchable_ms = absl::ToDoubleMilliseconds(searchable_time - time)};
}

// Changes of one kind, each after a pause.
class Changes {
 public:
  Changes(const LiveCollection& live, std::string kind)
      : live_(live), kind_(std::move(kind)) {}

  absl::Status Add(DocumentInput document) {
    constexpr absl::Duration kPause = absl::Milliseconds(20);
    absl::SleepFor(kPause);
    PITH_ASSIGN_OR_RETURN(const Change change,
                          Apply(live_, std::move(document)));
    passages_ = change.passages;
    embedded_.push_back(static_cast<double>(change.embedded));
    acknowledged_.push_back(change.acknowledged_ms);
    searchable_.push_back(change.searchable_ms);
    return absl::OkStatus();
  }

  Json Row() {
    double sum = 0;
    for (const double embedded : embedded_) {
      sum += embedded;
    }
    Json row = {{"row", "edits"},
                {"embedder", "model"},
                {"change", kind_},
                {"changes", embedded_.size()},
                {"document_passages", passages_},
                {"embedded_mean", sum / static_cast<double>(embedded_.size())},
                {"embedded_most", Percentile(embedded_, 100)},
                {"acknowledged_ms_p50", Percentile(acknowledged_, 50)},
                {"searchable_ms_p50", Percentile(searchable_, 50)},
                {"searchable_ms_p90", Percentile(searchable_, 90)},
                {"searchable_ms_p99", Percentile(searchable_, 99)}};
    absl::FPrintF(stderr, "%s\n", row.dump());
    return row;
  }

 private:
  const LiveCollection& live_;
  const std::string kind_;
  size_t passages_ = 0;
  std::vector<double> embedded_;
  std::vector<double> acknowledged_;
  std::vector<double> searchable_;
};

absl::StatusOr<std::vector<Json>> MeasureChanges(const EditsOptions& options,
                                                 const LiveCollection& live,
                                                 Paragraphs& paragraphs) {
  std::vector<Json> rows;
  Changes added(live, "document of one passage added");
  for (size_t i = 0; i < options.edits; ++i) {
    PITH_RETURN_IF_ERROR(
        added.Add(Document(absl::StrCat("added/", i), {paragraphs.Next()})));
  }
  rows.push_back(added.Row());

  uint64_t random = 1;
  const auto position = [&random](const std::vector<std::string>& document) {
    return static_cast<ptrdiff_t>(NextRandom(random) % document.size());
  };
  for (const size_t count :
       {kSmallDocumentParagraphs, options.large_document_paragraphs}) {
    const std::string id = absl::StrCat("paragraphs/", count);
    std::vector<std::string> document = paragraphs.Next(count);
    Changes put(live, "document added");
    PITH_RETURN_IF_ERROR(put.Add(Document(id, document)));
    rows.push_back(put.Row());
    struct Kind {
      std::string name;
      std::function<void()> change;
    };
    const std::vector<Kind> kinds = {
        {"one word of a paragraph",
         [&] {
           std::string& paragraph = document[position(document)];
           paragraph.insert(paragraph.find(' ') + 1,
                            absl::StrCat("edit", random % 1000, " "));
         }},
        {"a paragraph replaced",
         [&] { document[position(document)] = paragraphs.Next(); }},
        {"a paragraph inserted",
         [&] {
           document.insert(document.begin() + position(document),
                           paragraphs.Next());
         }},
        {"a paragraph deleted",
         [&] { document.erase(document.begin() + position(document)); }},
        {"a paragraph moved", [&] {
           const auto from = document.begin() + position(document);
           std::string paragraph = std::move(*from);
           document.erase(from);
           document.insert(document.begin() + position(document),
                           std::move(paragraph));
         }}};
    for (const Kind& kind : kinds) {
      Changes changes(live, kind.name);
      const size_t times = std::min(options.edits, count / 2);
      for (size_t i = 0; i < times; ++i) {
        kind.change();
        PITH_RETURN_IF_ERROR(changes.Add(Document(id, document)));
      }
      rows.push_back(changes.Row());
    }
    Changes renamed(live, "renamed");
    DocumentInput input = Document(absl::StrCat("renamed/", count), document);
    input.renamed_from = id;
    PITH_RETURN_IF_ERROR(renamed.Add(std::move(input)));
    rows.push_back(renamed.Row());
  }
  return rows;
}

}  // namespace

absl::StatusOr<std::vector<Json>> MeasureEdits(const EditsOptions& options,
                                               const VectorTexts& sentences,
                                               Embedder& model) {
  const VectorTable table(sentences);
  PrefilledEmbedder embedder(table, model);
  PITH_ASSIGN_OR_RETURN(const std::unique_ptr<LiveCollection> live,
                        LiveCollection::Create(options.directory / "edits",
                                               embedder, options.live));
  std::vector<DocumentInput> inputs;
  for (size_t i = 0; i < options.passages; ++i) {
    inputs.push_back(
        {.id = absl::StrCat("sentence/", i), .text = sentences.texts[i]});
  }
  PITH_RETURN_IF_ERROR(live->PutAndEmbed(std::move(inputs)).status());
  Paragraphs paragraphs(sentences.texts, options.passages,
                        options.paragraph_sentences);
  live->WaitQuiet();
  PITH_ASSIGN_OR_RETURN(std::vector<Json> rows,
                        MeasureChanges(options, *live, paragraphs));

  live->WaitQuiet();
  size_t added = 0;
  const auto add = [&] {
    return live
        ->PutAndEmbed(
            {Document(absl::StrCat("beside/", added++), {paragraphs.Next()})})
        .status();
  };
  const std::vector<BackgroundLoad> loads = {
      {.name = "nothing", .step = nullptr},
      {.name = "adding", .step = add},
      MergingLoad(**live, add)};
  PITH_ASSIGN_OR_RETURN(
      const std::vector<Json> searches,
      MeasureSearches(options.searches, **live, sentences.queries, loads));
  rows.insert(rows.end(), searches.begin(), searches.end());
  return rows;
}

}  // namespace pith
