#include "benchmarks/update/line_documents.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

#include "core/base/random.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"
#include "core/base/vector_math.h"

namespace pith {

LineDocuments::LineDocuments(const VectorTexts& texts, size_t passages,
                             size_t per_document)
    : texts_(texts), next_text_(passages) {
  for (size_t first = 0; first < passages; first += per_document) {
    std::vector<size_t>& document = documents_.emplace_back();
    for (size_t i = first; i < std::min(first + per_document, passages); ++i) {
      document.push_back(i);
    }
  }
}

DocumentInput LineDocuments::Input(size_t document) const {
  DocumentInput input = {.id = absl::StrCat("document/", document),
                         .format = TextFormat::kCode};
  for (const size_t text : documents_[document]) {
    absl::StrAppend(&input.text, texts_.texts[text], "\n");
  }
  return input;
}

std::vector<DocumentInput> LineDocuments::AllInputs() const {
  std::vector<DocumentInput> inputs;
  for (size_t i = 0; i < documents_.size(); ++i) {
    inputs.push_back(Input(i));
  }
  return inputs;
}

LineDocuments::Replaced LineDocuments::Replace(size_t count, size_t at_once) {
  Replaced replaced;
  while (replaced.passages < count) {
    if (turn_ == order_.size()) {
      line_ = order_.empty() ? 0 : line_ + at_once;
      order_ = RandomPositions(documents_.size(), documents_.size(), random_);
      turn_ = 0;
    }
    const size_t number = order_[turn_++];
    std::vector<size_t>& document = documents_[number];
    for (size_t i = 0; i < std::min(at_once, document.size()); ++i) {
      document[(line_ + i) % document.size()] = next_text_;
      replaced.text_bytes += texts_.texts[next_text_].size();
      next_text_ = (next_text_ + 1) % texts_.texts.size();
      ++replaced.passages;
    }
    replaced.documents.insert(number);
  }
  return replaced;
}

Truth LineDocuments::FindTruth(const Matrix& queries, int threads) const {
  Matrix vectors(passages(), queries.columns());
  size_t row = 0;
  for (const std::vector<size_t>& document : documents_) {
    for (const size_t text : document) {
      const std::span<const float> vector = texts_.vectors.row(text);
      std::copy(vector.begin(), vector.end(), vectors.row(row++).begin());
    }
  }
  constexpr size_t kDepth = 10;
  return Truth::Find(vectors, queries, kDepth, threads);
}

size_t LineDocuments::passages() const {
  size_t passages = 0;
  for (const std::vector<size_t>& document : documents_) {
    passages += document.size();
  }
  return passages;
}

absl::StatusOr<LiveRecall> MeasureRecall(Collection& collection,
                                         const VectorTable& table,
                                         const Matrix& queries,
                                         const Truth& truth,
                                         const SearchOptions& options) {
  LiveRecall mean;
  std::vector<float> vector(queries.columns());
  for (size_t q = 0; q < queries.rows(); ++q) {
    const std::span<const float> query = queries.row(q);
    PITH_ASSIGN_OR_RETURN(
        const SearchResult result,
        collection.Search(std::vector<float>(query.begin(), query.end()),
                          options, {}));
    std::vector<float> scores;
    for (const SearchHit& hit : result.hits) {
      if (!table.Fill(StdView(absl::StripAsciiWhitespace(AbslView(hit.text))),
                      vector)) {
        return absl::InternalError("search found a text that was not added");
      }
      scores.push_back(Dot(query, vector));
    }
    mean.recall += truth.Recall(q, options.k, scores);
    mean.recomputed += static_cast<double>(result.passages_reranked);
  }
  mean.recall /= static_cast<double>(queries.rows());
  mean.recomputed /= static_cast<double>(queries.rows());
  return mean;
}

}  // namespace pith
