// The read path of Collection: candidates by code, exact vectors of the best,
// hits with their place in the document.

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"

#include "core/base/reason.h"
#include "core/base/status_macros.h"
#include "core/base/vector_math.h"
#include "core/codes/codec.h"
#include "core/index/collection.h"

namespace pith {
namespace {

// How far from 1 the norm of a query vector may be.
constexpr float kUnitNormTolerance = 1e-3F;

// Candidates found beyond those that will surely be recomputed: correction
// reorders them, and a recall target may want more.
constexpr size_t kMinCandidates = 256;
constexpr size_t kCandidatesPerHit = 20;

// Candidates that a walk keeps, at least. Walking costs a hundredth of
// recomputing, so what a walk misses is to be little beside what the target
// allows (docs/decisions/0008-recompute.md).
constexpr size_t kMinBeam = 1024;
constexpr size_t kBeamPerHit = 4;

// How many times as many candidates a target wants as kMinCandidates and
// kMinBeam, which are for 0.95.
double Widening(const SearchOptions& options) {
  constexpr double kMostWidening = 8;
  return options.recall_target ? std::clamp(0.05 / (1 - *options.recall_target),
                                            1.0, kMostWidening)
                               : 1.0;
}

// Exact scores that a two-level walk keeps.
constexpr size_t kTwoLevelBeam = 50;

void ScanDelta(const DeltaSnapshot& delta, const CodeQuery& query,
               CandidateHeap& candidates) {
  std::vector<float> estimates(DeltaBlock::kSlots);
  delta.ForEachBlock([&](std::span<const uint8_t> codes,
                         std::span<const PassageId> passages, size_t first) {
    query.Scan(codes, std::span(estimates).first(passages.size()));
    for (size_t i = 0; i < passages.size(); ++i) {
      if (estimates[i] >= candidates.threshold() && !delta.IsDead(first + i)) {
        candidates.Offer({.estimate = estimates[i],
                          .passage = passages[i],
                          .part = 0,
                          .node = static_cast<uint32_t>(first + i)});
      }
    }
  });
}

absl::Status CheckOptions(const SearchOptions& options) {
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
  // Written so that a NaN is refused, too.
  if (options.recall_target &&
      !(*options.recall_target >= RecomputePolicy::kMinTarget &&
        *options.recall_target <= RecomputePolicy::kMaxTarget)) {
    return WithReason(
        absl::InvalidArgumentError(absl::StrCat(
            "recall_target of ", *options.recall_target, " is not between ",
            RecomputePolicy::kMinTarget, " and ", RecomputePolicy::kMaxTarget)),
        "RECALL_TARGET_OUT_OF_RANGE");
  }
  if (options.beam && (*options.beam < 1 || *options.beam > kMaxBeam)) {
    return WithReason(
        absl::InvalidArgumentError(absl::StrCat(
            "beam of ", *options.beam, " is not between 1 and ", kMaxBeam)),
        "BEAM_OUT_OF_RANGE");
  }
  return absl::OkStatus();
}

}  // namespace

// Exact scores for one query, each passage's once.
class Collection::Reranker {
 public:
  struct Scored {
    float score = 0;
    Passage passage;
  };

  Reranker(Collection& collection, std::span<const float> query,
           const RequestContext& context, SearchResult& result)
      : collection_(collection),
        query_(query),
        context_(context),
        result_(result) {}

  // Scores `passages`, none of which was scored before. One that was deleted
  // since the generation was published has no text, and is left out.
  absl::StatusOr<std::span<const Scored>> Score(
      std::span<const PassageId> passages) {
    PITH_RETURN_IF_ERROR(CheckAlive(context_));
    PITH_ASSIGN_OR_RETURN(std::vector<Passage> found,
                          collection_.ReadExisting(passages));
    PITH_ASSIGN_OR_RETURN(
        const Matrix exact,
        collection_.exact_vectors_.Get(found, context_, result_.vectors));
    tried_ += passages.size();
    const size_t first = scored_.size();
    for (size_t i = 0; i < found.size(); ++i) {
      scored_.push_back(
          {.score = Dot(query_, exact.row(i)), .passage = std::move(found[i])});
    }
    result_.passages_reranked += found.size();
    return std::span<const Scored>(scored_).subspan(first);
  }

  // All that was scored, best first; equal scores by passage id.
  std::vector<Scored>& Sorted() {
    std::sort(scored_.begin(), scored_.end(),
              [](const Scored& a, const Scored& b) {
                return a.score != b.score ? a.score > b.score
                                          : a.passage.id < b.passage.id;
              });
    return scored_;
  }
  std::span<const Scored> scored() const { return scored_; }
  // Passages given to Score.
  size_t tried() const { return tried_; }

 private:
  Collection& collection_;
  const std::span<const float> query_;
  const RequestContext& context_;
  SearchResult& result_;
  std::vector<Scored> scored_;
  size_t tried_ = 0;
};

absl::StatusOr<SearchResult> Collection::Search(const SearchQuery& query,
                                                const SearchOptions& options,
                                                const RequestContext& context) {
  PITH_RETURN_IF_ERROR(CheckOptions(options));
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
  result.segments = generation->segments.size();
  Reranker reranker(*this, vector, context, result);
  PITH_ASSIGN_OR_RETURN(
      const RankedCandidates ranked,
      FindCandidates(*generation, vector, options, context, reranker, result));
  result.scan_time = absl::Now() - start;

  start = absl::Now();
  PITH_RETURN_IF_ERROR(Rerank(ranked, options, reranker));
  absl::flat_hash_map<DocumentNumber, std::optional<DocumentRecord>> records;
  for (Reranker::Scored& scored : reranker.Sorted()) {
    if (result.hits.size() == options.k) {
      break;
    }
    const DocumentNumber number = DocumentOf(scored.passage.id);
    auto record = records.find(number);
    if (record == records.end()) {
      PITH_ASSIGN_OR_RETURN(std::optional<DocumentRecord> read,
                            store_->GetDocument(number));
      record = records.emplace(number, std::move(read)).first;
    }
    std::optional<SearchHit> hit =
        MakeHit(scored.score, scored.passage, record->second);
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
  // Not among what SearchResult counts, which is about candidates.
  VectorCounts counts;
  PITH_ASSIGN_OR_RETURN(
      const Matrix vectors,
      exact_vectors_.Get(std::span(&*found[0], 1), context, counts));
  return std::vector<float>(vectors.row(0).begin(), vectors.row(0).end());
}

absl::StatusOr<Collection::RankedCandidates> Collection::FindCandidates(
    const Generation& generation, std::span<const float> query,
    const SearchOptions& options, const RequestContext& context,
    Reranker& reranker, SearchResult& result) const {
  const double widening = Widening(options);
  const auto widened = [widening](size_t count) {
    return static_cast<size_t>(widening * static_cast<double>(count));
  };
  CandidateHeap heap(std::min(
      kMaxRerank,
      options.recall_target
          ? widened(std::max(kMinCandidates, kCandidatesPerHit * options.k))
          : std::max(kMinCandidates, options.rerank + options.rerank / 2)));
  const std::function<bool()> cancelled = [&context] {
    return !CheckAlive(context).ok();
  };
  ScanDelta(*generation.delta, *codec_->Prepare(query), heap);
  result.candidates_scored = generation.delta->live();

  // A walk yields no more candidates than its beam.
  const size_t beam = std::max(
      options.beam.value_or(std::min(kMaxBeam, widened(kMinBeam))),
      options.recall_target ? kBeamPerHit * options.k : options.rerank);
  // Most segments share a codebook, and with it the query's tables.
  const Codebook* prepared_for = nullptr;
  std::unique_ptr<CodeQuery> prepared;
  const auto is_two_level = [&options](const auto& segment) {
    return options.mode == SearchMode::kTwoLevel && segment->has_graph();
  };
  // Of what may be recomputed, each two-level walk gets an equal part, and all
  // that is found by code another.
  size_t parts = 1 + static_cast<size_t>(std::count_if(
                         generation.segments.begin(), generation.segments.end(),
                         is_two_level));
  for (size_t i = 0; i < generation.segments.size(); ++i) {
    const Segment& segment = *generation.segments[i];
    if (segment.codebook().get() != prepared_for) {
      prepared_for = segment.codebook().get();
      prepared = prepared_for->Prepare(query);
    }
    const Segment::Search search = {.query = *prepared,
                                    .dead = generation.dead,
                                    .beam = beam,
                                    .cancelled = cancelled};
    absl::StatusOr<size_t> scored;
    if (is_two_level(generation.segments[i])) {
      scored =
          FindTwoLevel(segment, search, options.k,
                       (options.rerank - reranker.tried()) / parts--, reranker);
    } else {
      scored = segment.Find(search, static_cast<uint32_t>(i + 1), heap);
    }
    // Says more than that the walk was cancelled.
    PITH_RETURN_IF_ERROR(CheckAlive(context));
    PITH_RETURN_IF_ERROR(scored.status());
    result.candidates_scored += *scored;
  }

  std::vector<Candidate> candidates = heap.TakeSorted();
  std::vector<std::pair<ScoreBelief, Candidate>> believed;
  believed.reserve(candidates.size());
  for (const Candidate& candidate : candidates) {
    EstimateError error;
    if (candidate.part == 0) {
      error = codec_->ErrorOf(generation.delta->Code(candidate.node));
    } else {
      const Segment& segment = *generation.segments[candidate.part - 1];
      std::vector<uint8_t> code(segment.codebook()->code_bytes());
      segment.CopyCode(candidate.node, code);
      error = segment.codebook()->ErrorOf(code);
    }
    believed.emplace_back(ScoreBelief{.mean = candidate.estimate + error.bias,
                                      .spread = error.spread},
                          candidate);
  }
  std::stable_sort(
      believed.begin(), believed.end(),
      [](const auto& a, const auto& b) { return a.first.mean > b.first.mean; });
  believed.resize(std::min(believed.size(), options.rerank - reranker.tried()));
  RankedCandidates ranked;
  double slopes = 0;
  size_t sealed = 0;
  for (const auto& [belief, candidate] : believed) {
    if (candidate.part > 0 &&
        ranked.beliefs.size() < RecomputePolicy::kTypical) {
      slopes += static_cast<double>(
          generation.segments[candidate.part - 1]->score_slope());
      ++sealed;
    }
    ranked.beliefs.push_back(belief);
    ranked.passages.push_back(candidate.passage);
  }
  if (sealed > 0) {
    ranked.score_slope = slopes / static_cast<double>(sealed);
  }
  return ranked;
}

absl::StatusOr<size_t> Collection::FindTwoLevel(const Segment& segment,
                                                const Segment::Search& search,
                                                size_t k, size_t max_recomputed,
                                                Reranker& reranker) {
  TwoLevelOptions two_level = {.beam = std::max(k, kTwoLevelBeam),
                               .max_recomputed = max_recomputed,
                               .cancelled = search.cancelled};
  PITH_ASSIGN_OR_RETURN(
      const TwoLevelResult found,
      segment.FindTwoLevel(
          search, two_level,
          [&reranker](std::span<const PassageId> passages,
                      std::span<float> out) -> absl::Status {
            PITH_ASSIGN_OR_RETURN(const auto scored, reranker.Score(passages));
            // A deleted passage is farther than any other.
            std::fill(out.begin(), out.end(), -1.0F);
            size_t next = 0;
            for (size_t i = 0; i < passages.size() && next < scored.size();
                 ++i) {
              if (scored[next].passage.id == passages[i]) {
                out[i] = scored[next++].score;
              }
            }
            return absl::OkStatus();
          }));
  return found.evaluations;
}

absl::Status Collection::Rerank(const RankedCandidates& ranked,
                                const SearchOptions& options,
                                Reranker& reranker) {
  const std::span<const PassageId> passages = ranked.passages;
  if (!options.recall_target) {
    return reranker.Score(passages).status();
  }
  RecomputePolicy policy(ranked.beliefs, options.k, *options.recall_target,
                         ranked.score_slope);
  for (const Reranker::Scored& scored : reranker.scored()) {
    policy.Add(scored.score);
  }
  size_t done = 0;
  while (const size_t batch = policy.NextBatch()) {
    PITH_ASSIGN_OR_RETURN(const auto scored,
                          reranker.Score(passages.subspan(done, batch)));
    for (const Reranker::Scored& one : scored) {
      policy.Add(one.score);
    }
    done += batch;
  }
  return absl::OkStatus();
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
