// The read path of Collection: candidates by code, exact vectors of the best,
// hits with their place in the document.

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"

#include "core/base/reason.h"
#include "core/base/status_macros.h"
#include "core/base/vector_math.h"
#include "core/index/collection.h"

namespace pith {
namespace {

// How far from 1 the norm of a query vector may be.
constexpr float kUnitNormTolerance = 1e-3F;

constexpr size_t kPassagesPerCall = 256;

}  // namespace

absl::StatusOr<SearchResult> Collection::Search(const SearchQuery& query,
                                                const SearchOptions& options,
                                                const RequestContext& context) {
  if (options.k < 1 || options.k > kMaxHits) {
    return WithReason(
        absl::InvalidArgumentError(absl::StrCat(
            "k of ", options.k, " is not between 1 and ", kMaxHits)),
        "K_OUT_OF_RANGE");
  }
  if (options.rerank < options.k || options.rerank > kMaxRerank) {
    return WithReason(
        absl::InvalidArgumentError(absl::StrCat(
            "rerank_count of ", options.rerank,
            " is not between k = ", options.k, " and ", kMaxRerank)),
        "RERANK_COUNT_OUT_OF_RANGE");
  }
  PITH_RETURN_IF_ERROR(CheckAlive(context));

  SearchResult result;
  absl::Time start = absl::Now();
  PITH_ASSIGN_OR_RETURN(const std::vector<float> vector,
                        QueryVector(query, context));
  result.embed_time = absl::Now() - start;

  start = absl::Now();
  std::shared_ptr<const Generation> generation;
  {
    MutexLock lock(mutex_);
    generation = generation_;
    result.pending_passages = counts_.pending;
  }
  result.generation = generation->number;
  result.candidates_scored = generation->delta->live();
  const std::vector<Candidate> candidates =
      FindCandidates(*generation->delta, vector, options.rerank);
  result.scan_time = absl::Now() - start;

  start = absl::Now();
  PITH_RETURN_IF_ERROR(CheckAlive(context));
  std::vector<PassageId> ids;
  for (const Candidate& candidate : candidates) {
    ids.push_back(candidate.passage);
  }
  // A candidate deleted since the generation was published has no text.
  PITH_ASSIGN_OR_RETURN(std::vector<Passage> passages, ReadExisting(ids));
  PITH_ASSIGN_OR_RETURN(const Matrix exact,
                        ExactVectors(passages, context, result));

  std::vector<std::pair<float, size_t>> order;
  for (size_t i = 0; i < passages.size(); ++i) {
    order.emplace_back(Dot(vector, exact.row(i)), i);
  }
  std::sort(order.begin(), order.end(), [&](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first
                              : passages[a.second].id < passages[b.second].id;
  });
  absl::flat_hash_map<DocumentNumber, std::optional<DocumentRecord>> records;
  for (const auto& [score, index] : order) {
    if (result.hits.size() == options.k) {
      break;
    }
    Passage& passage = passages[index];
    const DocumentNumber number = DocumentOf(passage.id);
    auto record = records.find(number);
    if (record == records.end()) {
      PITH_ASSIGN_OR_RETURN(std::optional<DocumentRecord> read,
                            store_->GetDocument(number));
      record = records.emplace(number, std::move(read)).first;
    }
    std::optional<SearchHit> hit = MakeHit(score, passage, record->second);
    if (hit) {
      result.hits.push_back(*std::move(hit));
    }
  }
  result.rerank_time = absl::Now() - start;
  return result;
}

absl::StatusOr<std::vector<float>> Collection::QueryVector(
    const SearchQuery& query, const RequestContext& context) {
  if (const auto* text = std::get_if<std::string>(&query)) {
    const std::string_view view = *text;
    PITH_ASSIGN_OR_RETURN(
        const Matrix vectors,
        embedder_.Embed(std::span(&view, 1), TextRole::kQuery, context));
    return std::vector<float>(vectors.row(0).begin(), vectors.row(0).end());
  }
  if (const auto* vector = std::get_if<std::vector<float>>(&query)) {
    const size_t dimension = static_cast<size_t>(config_.model.dimension);
    if (vector->size() != dimension) {
      return WithReason(
          absl::InvalidArgumentError(absl::StrCat(
              "query vector has ", vector->size(), " elements, collection \"",
              config_.name, "\" has ", dimension)),
          "DIMENSION_MISMATCH");
    }
    const float norm = Norm(*vector);
    // Written so that a NaN is refused, too.
    if (!(std::abs(norm - 1.0F) <= kUnitNormTolerance)) {
      return WithReason(absl::InvalidArgumentError(absl::StrCat(
                            "query vector has norm ", norm, ", not 1")),
                        "NOT_UNIT_NORM");
    }
    return *vector;
  }
  const PassageId id = std::get<PassageId>(query);
  PITH_ASSIGN_OR_RETURN(std::vector<std::optional<Passage>> found,
                        store_->GetPassages(std::span(&id, 1)));
  if (!found[0]) {
    return WithReason(
        absl::NotFoundError(absl::StrCat("passage ", static_cast<uint64_t>(id),
                                         " does not exist")),
        "PASSAGE_NOT_FOUND");
  }
  PITH_ASSIGN_OR_RETURN(const Matrix vectors,
                        EmbedPassages(std::span(&*found[0], 1), context));
  return std::vector<float>(vectors.row(0).begin(), vectors.row(0).end());
}

std::vector<Collection::Candidate> Collection::FindCandidates(
    const DeltaSnapshot& delta, std::span<const float> query,
    size_t count) const {
  const std::unique_ptr<CodeQuery> prepared = codec_.Prepare(query);
  // Orders better candidates first; the heap's front is then the worst kept.
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.estimate != b.estimate ? a.estimate > b.estimate
                                    : a.passage < b.passage;
  };
  std::vector<Candidate> heap;
  heap.reserve(count + 1);
  std::vector<float> estimates(DeltaBlock::kSlots);
  delta.ForEachBlock([&](std::span<const uint8_t> codes,
                         std::span<const PassageId> passages,
                         size_t first_slot) {
    const std::span<float> block = std::span(estimates).first(passages.size());
    prepared->Scan(codes, block);
    for (size_t i = 0; i < passages.size(); ++i) {
      const Candidate candidate{.estimate = block[i], .passage = passages[i]};
      if (heap.size() == count && !better(candidate, heap.front())) {
        continue;
      }
      if (delta.IsDead(first_slot + i)) {
        continue;
      }
      if (heap.size() == count) {
        std::pop_heap(heap.begin(), heap.end(), better);
        heap.pop_back();
      }
      heap.push_back(candidate);
      std::push_heap(heap.begin(), heap.end(), better);
    }
  });
  std::sort_heap(heap.begin(), heap.end(), better);
  return heap;
}

absl::StatusOr<Matrix> Collection::ExactVectors(
    const std::vector<Passage>& passages, const RequestContext& context,
    SearchResult& result) {
  Matrix exact(passages.size(), static_cast<size_t>(config_.model.dimension));
  std::vector<Passage> missing;
  std::vector<size_t> rows;
  for (size_t i = 0; i < passages.size(); ++i) {
    if (cache_.Find(passages[i].id, exact.row(i))) {
      ++result.cache_hits;
    } else {
      missing.push_back(passages[i]);
      rows.push_back(i);
    }
  }
  result.passages_recomputed = missing.size();
  // A call to the embedder has a bounded number of tokens; all but unusually
  // large reranks fit one.
  for (size_t first = 0; first < missing.size(); first += kPassagesPerCall) {
    const std::span<const Passage> part = std::span(missing).subspan(
        first, std::min(kPassagesPerCall, missing.size() - first));
    PITH_ASSIGN_OR_RETURN(const Matrix vectors, EmbedPassages(part, context));
    for (size_t i = 0; i < part.size(); ++i) {
      std::copy(vectors.row(i).begin(), vectors.row(i).end(),
                exact.row(rows[first + i]).begin());
      cache_.Insert(part[i].id, vectors.row(i));
    }
  }
  return exact;
}

std::optional<SearchHit> Collection::MakeHit(
    float score, Passage& passage,
    const std::optional<DocumentRecord>& record) {
  if (!record) {
    return std::nullopt;
  }
  SearchHit hit{.passage = passage.id, .score = score, .first_line = 1};
  for (const PassageEntry& entry : record->passages) {
    if (entry.serial == SerialOf(passage.id)) {
      hit.document_id = record->id;
      hit.title = record->title;
      hit.metadata = record->metadata;
      // A newline at the very end ends the last line; it begins none.
      const bool ends_line = passage.text.ends_with('\n');
      hit.last_line = hit.first_line + entry.newlines -
                      (ends_line && entry.newlines > 0 ? 1 : 0);
      hit.text = std::move(passage.text);
      hit.heading_path = std::move(passage.context);
      return hit;
    }
    hit.offset += entry.bytes;
    hit.first_line += entry.newlines;
  }
  // The document changed since the generation was published.
  return std::nullopt;
}

}  // namespace pith
