#include "server/search_service.h"

#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "core/base/status_macros.h"
#include "server/convert.h"
#include "server/unary_call.h"

namespace pith {
namespace {

constexpr int kMaxTexts = 256;

absl::Status Search(CollectionRegistry& collections,
                    const v1::SearchRequest& request,
                    const CallContext& context, v1::SearchResponse& response) {
  const absl::Time start = absl::Now();
  PITH_ASSIGN_OR_RETURN(const auto handle,
                        collections.FindOrReopen(request.collection()));
  PITH_ASSIGN_OR_RETURN(const SearchQuery query, QueryFromProto(request));
  PITH_ASSIGN_OR_RETURN(const SearchOptions options,
                        SearchOptionsFromProto(request));
  PITH_ASSIGN_OR_RETURN(
      SearchResult result,
      handle->collection().Search(query, options, context.request));
  for (SearchHit& hit : result.hits) {
    *response.add_hits() = ToProto(std::move(hit));
  }
  v1::SearchStats& stats = *response.mutable_stats();
  stats.set_generation(result.generation);
  stats.set_candidates_scored(static_cast<int64_t>(result.candidates_scored));
  stats.set_passages_recomputed(
      static_cast<int64_t>(result.vectors.recomputed));
  stats.set_cache_hits(static_cast<int64_t>(result.vectors.cached));
  stats.set_vectors_read(static_cast<int64_t>(result.vectors.stored));
  stats.set_vectors_of_other_precision(
      static_cast<int64_t>(result.vectors.other_precision));
  stats.set_pending_passages(static_cast<int64_t>(result.pending_passages));
  stats.set_segments(static_cast<int64_t>(result.segments));
  stats.set_passages_reranked(static_cast<int64_t>(result.passages_reranked));
  *stats.mutable_queue_time() = ToProto(context.queue_time);
  *stats.mutable_embed_time() = ToProto(result.embed_time);
  *stats.mutable_scan_time() = ToProto(result.scan_time);
  *stats.mutable_rerank_time() = ToProto(result.rerank_time);
  *stats.mutable_total_time() =
      ToProto(context.queue_time + (absl::Now() - start));
  return absl::OkStatus();
}

absl::Status EmbedTexts(CollectionRegistry& collections,
                        const v1::EmbedTextsRequest& request,
                        const CallContext& context,
                        v1::EmbedTextsResponse& response) {
  PITH_ASSIGN_OR_RETURN(const auto handle,
                        collections.FindOrReopen(request.collection()));
  if (request.texts_size() < 1 || request.texts_size() > kMaxTexts) {
    return absl::InvalidArgumentError(absl::StrCat(
        request.texts_size(), " texts are not between 1 and ", kMaxTexts));
  }
  TextRole role;
  switch (request.role()) {
    case v1::EmbedTextsRequest::ROLE_QUERY:
      role = TextRole::kQuery;
      break;
    case v1::EmbedTextsRequest::ROLE_PASSAGE:
      role = TextRole::kPassage;
      break;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("role ", static_cast<int>(request.role()),
                       " is not query or passage"));
  }
  const std::vector<std::string_view> texts(request.texts().begin(),
                                            request.texts().end());
  PITH_ASSIGN_OR_RETURN(
      const Matrix vectors,
      handle->collection().embedder().Embed(texts, role, context.request));
  response.set_vectors(ToProto(vectors));
  response.set_dimension(static_cast<int32_t>(vectors.columns()));
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* SearchServiceImpl::Search(
    grpc::CallbackServerContext* context, const v1::SearchRequest* request,
    v1::SearchResponse* response) {
  return RunUnary(context, executor_, [=, this](const CallContext& call) {
    return pith::Search(collections_, *request, call, *response);
  });
}

grpc::ServerUnaryReactor* SearchServiceImpl::EmbedTexts(
    grpc::CallbackServerContext* context, const v1::EmbedTextsRequest* request,
    v1::EmbedTextsResponse* response) {
  return RunUnary(context, executor_, [=, this](const CallContext& call) {
    return pith::EmbedTexts(collections_, *request, call, *response);
  });
}

}  // namespace pith
