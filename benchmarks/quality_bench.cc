// How well the daemon ranks: nDCG@10 and recall@10 on labelled test
// collections, each text one passage, through the daemon's own API. Compares
//
//   delta       Search: candidates by the delta's codes, and as many recomputed
//               as the default recall target asks, or --rerank
//   compressed  the same once CompactCollection has sealed all passages
//   exact       every text and query embedded with EmbedTexts, all inner
//               products
//
// The dataset "pool" is several in one collection (corpus.h): compressed
// against exact, with a row for the queries of each. The others are too small
// to be compressed.
//
// Prints a table, or with --json one object (report.h) with a row per dataset
// and method. `recomputed_per_query` counts the passages that a query needs the
// exact vectors of; for exact search without stored vectors that is all of
// them. The daemon's memory cache, which spares some of that work and changes
// no result, is on unless --cold says otherwise; only with --cold are the
// milliseconds those of a query that recomputes everything. `overlap_at_10` is
// the share of the exact ten that a search finds.
//
// Exit status: 0, 2 after an error, 77 if data, model or daemon are missing.

#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "grpcpp/client_context.h"
#include "nlohmann/json.hpp"

#include "benchmarks/corpus.h"
#include "benchmarks/daemon_process.h"
#include "benchmarks/dataset.h"
#include "benchmarks/ranking_metrics.h"
#include "benchmarks/report.h"
#include "core/base/matrix.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"
#include "core/base/vector_math.h"
#include "proto/pith/v1/admin.grpc.pb.h"
#include "proto/pith/v1/collections.grpc.pb.h"
#include "proto/pith/v1/documents.grpc.pb.h"
#include "proto/pith/v1/operations.grpc.pb.h"
#include "proto/pith/v1/search.grpc.pb.h"

namespace pith {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kPool = "pool";
constexpr size_t kTop = 10;
constexpr size_t kMaxQueries = 1000;
constexpr absl::Duration kProgressInterval = absl::Seconds(10);
constexpr int kExitError = 2;
constexpr int kExitMissing = 77;

static_assert(std::endian::native == std::endian::little,
              "vectors are copied as they come");

// nDCG@10 of exact search by sentence-transformers with all-MiniLM-L6-v2 in
// f32: `text` alone cut at 256 tokens, the first 1,000 labelled queries.
std::optional<double> ReferenceNdcg(std::string_view dataset) {
  static const auto& reference =
      *new std::map<std::string_view, double>{{"squad_dev", 0.8034},
                                              {"cranfield", 0.3560},
                                              {"cosqa_code", 0.5979},
                                              {"til_notes", 0.8481}};
  const auto found = reference.find(dataset);
  return found == reference.end() ? std::nullopt : std::optional(found->second);
}

// Holds every vector of the largest dataset.
constexpr int kCacheMb = 64;

struct Config {
  std::vector<std::string> datasets = {"squad_dev", "cranfield", "cosqa_code",
                                       "til_notes"};
  std::filesystem::path data_directory;
  std::string model = "all-MiniLM-L6-v2";
  std::filesystem::path pithd;
  size_t queries = kMaxQueries;
  std::optional<int> rerank;
  std::string precision = "f32";
  bool cold = false;
  bool title_context = false;
  bool json = false;
};

absl::Status FromGrpc(std::string_view action, const grpc::Status& status) {
  return Annotate(
      absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                   status.error_message()),
      action);
}

// Says on standard error how far a stage is, every ten seconds and at its end.
class Progress {
 public:
  Progress(std::string stage, size_t total)
      : stage_(std::move(stage)), total_(total) {}

  void Update(size_t done) {
    if (done < total_ && absl::Now() < next_) {
      return;
    }
    next_ = absl::Now() + kProgressInterval;
    absl::FPrintF(stderr, "%s: %d of %d after %.0f s\n", stage_, done, total_,
                  absl::ToDoubleSeconds(absl::Now() - start_));
  }

 private:
  const std::string stage_;
  const size_t total_;
  const absl::Time start_ = absl::Now();
  absl::Time next_ = start_ + kProgressInterval;
};

// The daemon's API as far as it is measured here.
class Client {
 public:
  explicit Client(const std::shared_ptr<grpc::Channel>& channel)
      : admin_(v1::AdminService::NewStub(channel)),
        collections_(v1::CollectionsService::NewStub(channel)),
        documents_(v1::DocumentsService::NewStub(channel)),
        operations_(v1::OperationsService::NewStub(channel)),
        search_(v1::SearchService::NewStub(channel)) {}

  absl::Status CheckModel(const std::string& model) {
    v1::GetModelInfoRequest request;
    request.set_model(model);
    v1::GetModelInfoResponse response;
    grpc::ClientContext context;
    return FromGrpc("look up the model",
                    admin_->GetModelInfo(&context, request, &response));
  }

  absl::Status CreateCollection(const std::string& name, bool embed_context) {
    v1::CreateCollectionRequest request;
    request.set_name(name);
    request.set_chunking(v1::CHUNKING_NONE);
    request.set_embed_context(embed_context);
    v1::CreateCollectionResponse response;
    grpc::ClientContext context;
    return FromGrpc("create the collection", collections_->CreateCollection(
                                                 &context, request, &response));
  }

  // Stores all texts and waits until they can be found.
  absl::Status Ingest(const std::string& collection,
                      std::span<const Dataset::Text> corpus, bool with_titles) {
    PITH_RETURN_IF_ERROR(Store(collection, corpus, with_titles));
    Progress progress(absl::StrCat(collection, ": embed"), corpus.size());
    while (true) {
      v1::WaitUntilSearchableRequest request;
      request.set_collection(collection);
      v1::WaitUntilSearchableResponse response;
      grpc::ClientContext context;
      context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(2)));
      const grpc::Status status =
          documents_->WaitUntilSearchable(&context, request, &response);
      if (status.ok() && response.failed_passages() > 0) {
        return absl::InternalError(absl::StrCat(
            response.failed_passages(), " passages could not be embedded"));
      }
      if (!status.ok() &&
          status.error_code() != grpc::StatusCode::DEADLINE_EXCEEDED) {
        return FromGrpc("wait for the embeddings", status);
      }
      PITH_ASSIGN_OR_RETURN(const size_t pending, PendingPassages(collection));
      progress.Update(corpus.size() - std::min(pending, corpus.size()));
      if (status.ok()) {
        return absl::OkStatus();
      }
    }
  }

  // Seals all passages into one segment.
  absl::Status Compact(const std::string& collection) {
    v1::CompactCollectionRequest request;
    request.set_name(collection);
    v1::CompactCollectionResponse response;
    grpc::ClientContext context;
    PITH_RETURN_IF_ERROR(FromGrpc(
        "compact",
        collections_->CompactCollection(&context, request, &response)));
    v1::WatchOperationRequest watch;
    watch.set_id(response.operation().id());
    v1::WatchOperationResponse update;
    grpc::ClientContext watch_context;
    const auto stream = operations_->WatchOperation(&watch_context, watch);
    while (stream->Read(&update)) {
    }
    PITH_RETURN_IF_ERROR(FromGrpc("compact", stream->Finish()));
    const v1::Operation& operation = update.operation();
    if (operation.state() != v1::Operation::STATE_SUCCEEDED ||
        operation.compact().delta_passages() != 0) {
      return absl::InternalError(
          absl::StrCat("compact: ", operation.ShortDebugString()));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<v1::SearchResponse> Search(const std::string& collection,
                                            const std::string& text,
                                            std::optional<int> rerank) {
    v1::SearchRequest request;
    request.set_collection(collection);
    request.set_text(text);
    request.set_k(kTop);
    if (rerank) {
      request.set_rerank_count(*rerank);
    }
    v1::SearchResponse response;
    grpc::ClientContext context;
    PITH_RETURN_IF_ERROR(
        FromGrpc("search", search_->Search(&context, request, &response)));
    return response;
  }

  absl::StatusOr<Matrix> Embed(const std::string& collection,
                               v1::EmbedTextsRequest::Role role,
                               std::span<const std::string> texts) {
    // More than a few hundred tokens at once gain nothing.
    constexpr size_t kBatch = 32;
    Progress progress(absl::StrCat(collection, ": EmbedTexts"), texts.size());
    Matrix vectors;
    for (size_t begin = 0; begin < texts.size(); begin += kBatch) {
      const auto batch =
          texts.subspan(begin, std::min(kBatch, texts.size() - begin));
      v1::EmbedTextsRequest request;
      request.set_collection(collection);
      request.set_role(role);
      request.mutable_texts()->Assign(batch.begin(), batch.end());
      v1::EmbedTextsResponse response;
      grpc::ClientContext context;
      PITH_RETURN_IF_ERROR(
          FromGrpc("embed", search_->EmbedTexts(&context, request, &response)));
      const auto dimension = static_cast<size_t>(response.dimension());
      if (begin == 0) {
        vectors = Matrix(texts.size(), dimension);
      }
      const std::string& bytes = response.vectors();
      if (dimension != vectors.columns() ||
          bytes.size() != batch.size() * dimension * sizeof(float)) {
        return absl::InternalError(
            absl::StrCat("embed: ", bytes.size(), " bytes for ", batch.size(),
                         " vectors of ", dimension, " where the first had ",
                         vectors.columns()));
      }
      memcpy(vectors.row(begin).data(), bytes.data(), bytes.size());
      progress.Update(begin + batch.size());
    }
    return vectors;
  }

  // Tokens that the workers have embedded since the daemon started.
  absl::StatusOr<int64_t> TokensEmbedded() {
    v1::GetStatusResponse response;
    grpc::ClientContext context;
    PITH_RETURN_IF_ERROR(FromGrpc(
        "get the status",
        admin_->GetStatus(&context, v1::GetStatusRequest(), &response)));
    int64_t tokens = 0;
    for (const v1::Worker& worker : response.workers()) {
      tokens += worker.tokens_embedded();
    }
    return tokens;
  }

 private:
  absl::Status Store(const std::string& collection,
                     std::span<const Dataset::Text> corpus, bool with_titles) {
    // Acknowledgements are read this many documents behind, so that one thread
    // keeps the daemon busy.
    constexpr size_t kAhead = 64;
    Progress progress(absl::StrCat(collection, ": store"), corpus.size());
    grpc::ClientContext context;
    const auto stream = documents_->Ingest(&context);
    v1::IngestRequest start;
    start.mutable_start()->set_collection(collection);
    bool writing = stream->Write(start);
    size_t written = 0;
    size_t acknowledged = 0;
    v1::IngestResponse response;
    while (acknowledged < corpus.size()) {
      if (writing && written < corpus.size() &&
          written < acknowledged + kAhead) {
        v1::IngestRequest request;
        v1::Document& document = *request.mutable_document();
        document.set_id(corpus[written].id);
        document.set_text(corpus[written].text);
        document.set_format(v1::TEXT_FORMAT_PLAIN);
        if (with_titles) {
          document.set_title(corpus[written].title);
        }
        writing = stream->Write(request);
        ++written;
        continue;
      }
      if (!stream->Read(&response)) {
        break;
      }
      if (response.outcome() == v1::IngestResponse::OUTCOME_FAILED) {
        context.TryCancel();
        return absl::Status(
            static_cast<absl::StatusCode>(response.error().code()),
            absl::StrCat("store ", response.id(), ": ",
                         response.error().message()));
      }
      progress.Update(++acknowledged);
    }
    stream->WritesDone();
    PITH_RETURN_IF_ERROR(FromGrpc("store the texts", stream->Finish()));
    if (acknowledged < corpus.size()) {
      return absl::InternalError(absl::StrCat("store the texts: ", acknowledged,
                                              " of ", corpus.size(),
                                              " were acknowledged"));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<size_t> PendingPassages(const std::string& collection) {
    v1::GetCollectionRequest request;
    request.set_name(collection);
    v1::GetCollectionResponse response;
    grpc::ClientContext context;
    PITH_RETURN_IF_ERROR(
        FromGrpc("get the collection",
                 collections_->GetCollection(&context, request, &response)));
    return static_cast<size_t>(response.collection().pending_passages());
  }

  const std::unique_ptr<v1::AdminService::Stub> admin_;
  const std::unique_ptr<v1::CollectionsService::Stub> collections_;
  const std::unique_ptr<v1::DocumentsService::Stub> documents_;
  const std::unique_ptr<v1::OperationsService::Stub> operations_;
  const std::unique_ptr<v1::SearchService::Stub> search_;
};

// The texts ranked for each query, best first, and what that took.
struct Rankings {
  std::vector<std::vector<uint32_t>> by_query;
  // Per query.
  std::vector<double> recomputed;
  // Per query, of a search; otherwise empty.
  std::vector<double> milliseconds;
};

absl::StatusOr<Rankings> RankExactly(Client& client,
                                     const std::string& collection,
                                     std::span<const Dataset::Text> corpus,
                                     std::span<const Dataset::Query> queries,
                                     bool embed_context) {
  // What the daemon embeds: the context in a line of its own before the text.
  std::vector<std::string> texts;
  for (const Dataset::Text& text : corpus) {
    texts.push_back(embed_context ? absl::StrCat(text.title, "\n", text.text)
                                  : text.text);
  }
  std::vector<std::string> query_texts;
  for (const Dataset::Query& query : queries) {
    query_texts.push_back(query.text);
  }
  PITH_ASSIGN_OR_RETURN(
      const Matrix text_vectors,
      client.Embed(collection, v1::EmbedTextsRequest::ROLE_PASSAGE, texts));
  PITH_ASSIGN_OR_RETURN(
      const Matrix query_vectors,
      client.Embed(collection, v1::EmbedTextsRequest::ROLE_QUERY, query_texts));

  Rankings rankings;
  rankings.recomputed.assign(queries.size(),
                             static_cast<double>(corpus.size()));
  const size_t top = std::min(kTop, corpus.size());
  std::vector<float> scores(corpus.size());
  std::vector<uint32_t> order(corpus.size());
  for (size_t query = 0; query < queries.size(); ++query) {
    for (size_t text = 0; text < corpus.size(); ++text) {
      scores[text] = Dot(query_vectors.row(query), text_vectors.row(text));
    }
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(
        order.begin(), order.begin() + static_cast<ptrdiff_t>(top), order.end(),
        [&](uint32_t a, uint32_t b) {
          return std::pair(-scores[a], a) < std::pair(-scores[b], b);
        });
    rankings.by_query.emplace_back(order.begin(),
                                   order.begin() + static_cast<ptrdiff_t>(top));
  }
  return rankings;
}

absl::StatusOr<Rankings> RankBySearch(Client& client,
                                      const std::string& collection,
                                      std::span<const Dataset::Text> corpus,
                                      std::span<const Dataset::Query> queries,
                                      std::optional<int> rerank) {
  absl::flat_hash_map<std::string_view, uint32_t> text_by_id;
  for (size_t i = 0; i < corpus.size(); ++i) {
    text_by_id.emplace(corpus[i].id, static_cast<uint32_t>(i));
  }
  Progress progress(absl::StrCat(collection, ": search"), queries.size());
  Rankings rankings;
  for (const Dataset::Query& query : queries) {
    const absl::Time start = absl::Now();
    PITH_ASSIGN_OR_RETURN(const v1::SearchResponse response,
                          client.Search(collection, query.text, rerank));
    rankings.milliseconds.push_back(
        absl::ToDoubleMilliseconds(absl::Now() - start));
    std::vector<uint32_t>& ranking = rankings.by_query.emplace_back();
    for (const v1::SearchHit& hit : response.hits()) {
      const auto text = text_by_id.find(hit.document_id());
      if (text == text_by_id.end()) {
        return absl::InternalError(
            absl::StrCat("search found ", hit.document_id(),
                         ", which is not in the collection"));
      }
      ranking.push_back(text->second);
    }
    rankings.recomputed.push_back(
        static_cast<double>(response.stats().passages_recomputed() +
                            response.stats().cache_hits()));
    progress.Update(rankings.by_query.size());
  }
  return rankings;
}

double Mean(std::span<const size_t> queries,
            const std::function<double(size_t)>& value) {
  double sum = 0;
  for (const size_t query : queries) {
    sum += value(query);
  }
  return sum / static_cast<double>(queries.size());
}

// Four decimals are what a thousand queries can tell.
double Rounded(double value) {
  return std::round(value * 1e4) / 1e4;
}

// Means over the queries of `set` that have labels; null if none has. With
// `exact`, how far `rankings` agree with those.
ordered_json Row(const std::string& dataset, const Pool::QuerySet& set,
                 std::string_view method, const Dataset& labels,
                 const Rankings& rankings, const Rankings* exact) {
  std::vector<size_t> queries;
  for (size_t i = set.begin; i < set.end; ++i) {
    if (!labels.queries[i].relevant.empty()) {
      queries.push_back(i);
    }
  }
  if (queries.empty()) {
    return nullptr;
  }
  ordered_json row = {{"dataset", dataset}};
  if (!set.dataset.empty()) {
    row["query_set"] = set.dataset;
  }
  row["method"] = method;
  row["ndcg_at_10"] = Rounded(Mean(queries, [&](size_t i) {
    return NdcgAt(kTop, rankings.by_query[i], labels.queries[i].relevant);
  }));
  row["recall_at_10"] = Rounded(Mean(queries, [&](size_t i) {
    return RecallAt(kTop, rankings.by_query[i], labels.queries[i].relevant);
  }));
  row["recomputed_per_query"] =
      Rounded(Mean(queries, [&](size_t i) { return rankings.recomputed[i]; }));
  row["queries"] = queries.size();
  if (exact != nullptr) {
    row["overlap_at_10"] = Rounded(Mean(queries, [&](size_t i) {
      return OverlapAt(kTop, rankings.by_query[i], exact->by_query[i]);
    }));
    std::vector<double> milliseconds;
    for (const size_t i : queries) {
      milliseconds.push_back(rankings.milliseconds[i]);
    }
    row["milliseconds_p50"] = Rounded(Percentile(milliseconds, 50));
    row["milliseconds_p99"] = Rounded(Percentile(milliseconds, 99));
  }
  return row;
}

// The rows of one dataset with texts as they are, or with their titles taken
// out of the text and embedded as context or not.
absl::Status Measure(const Config& config, const std::string& name,
                     std::optional<bool> embed_context, const Pool& pool,
                     Client& client, std::vector<ordered_json>& rows) {
  const std::string collection =
      absl::StrCat(name, embed_context.value_or(false) ? "-context" : "");
  const Dataset& dataset = pool.dataset;
  const bool context = embed_context.value_or(false);
  const bool compress = name == kPool;

  PITH_RETURN_IF_ERROR(client.CreateCollection(collection, context));
  // Starts the worker, which would else count as the first text's time.
  PITH_RETURN_IF_ERROR(client
                           .Embed(collection, v1::EmbedTextsRequest::ROLE_QUERY,
                                  std::span(&dataset.queries[0].text, 1))
                           .status());
  const absl::Time start = absl::Now();
  PITH_ASSIGN_OR_RETURN(const int64_t tokens_before, client.TokensEmbedded());
  PITH_RETURN_IF_ERROR(
      client.Ingest(collection, dataset.corpus, embed_context.has_value()));
  const absl::Duration ingest_time = absl::Now() - start;
  PITH_ASSIGN_OR_RETURN(const int64_t tokens_after, client.TokensEmbedded());
  if (compress) {
    PITH_RETURN_IF_ERROR(client.Compact(collection));
  }

  PITH_ASSIGN_OR_RETURN(const Rankings found,
                        RankBySearch(client, collection, dataset.corpus,
                                     dataset.queries, config.rerank));
  PITH_ASSIGN_OR_RETURN(const Rankings exact,
                        RankExactly(client, collection, dataset.corpus,
                                    dataset.queries, context));

  std::optional<double> reference;
  if (config.queries == kMaxQueries && !embed_context) {
    reference = ReferenceNdcg(name);
  }
  for (const Pool::QuerySet& set : pool.query_sets) {
    ordered_json exact_row = Row(name, set, "exact", dataset, exact, nullptr);
    ordered_json found_row = Row(name, set, compress ? "compressed" : "delta",
                                 dataset, found, &exact);
    if (exact_row.is_null()) {
      continue;
    }
    found_row["ingest_tokens_per_second"] =
        std::round(static_cast<double>(tokens_after - tokens_before) /
                   absl::ToDoubleSeconds(ingest_time));
    for (ordered_json* row : {&exact_row, &found_row}) {
      if (embed_context) {
        (*row)["context"] = context;
      }
      if (reference) {
        (*row)["reference_ndcg_at_10"] = *reference;
        (*row)["difference"] =
            Rounded((*row)["ndcg_at_10"].get<double>() - *reference);
      }
      rows.push_back(std::move(*row));
    }
  }
  return absl::OkStatus();
}

void TakeTitlesOutOfTexts(Dataset& dataset) {
  for (Dataset::Text& text : dataset.corpus) {
    const absl::string_view rest = absl::StripLeadingAsciiWhitespace(
        absl::StripPrefix(text.text, text.title));
    // A text that is nothing but its title stays.
    if (!rest.empty()) {
      text.text = std::string(rest);
    }
  }
}

void PrintTable(std::span<const ordered_json> rows) {
  absl::PrintF("%-17s %-10s %-8s %8s %10s %10s %8s %8s %8s\n", "dataset",
               "method", "context", "nDCG@10", "reference", "recall@10",
               "overlap", "p50 ms", "p99 ms");
  for (const ordered_json& row : rows) {
    const auto number = [&](const char* field, int decimals) {
      const auto found = row.find(field);
      return found == row.end()
                 ? std::string("-")
                 : absl::StrFormat("%.*f", decimals, found->get<double>());
    };
    const auto context = row.find("context");
    absl::PrintF("%-17s %-10s %-8s %8s %10s %10s %8s %8s %8s\n",
                 row.contains("query_set")
                     ? absl::StrCat(row["dataset"].get<std::string>(), ": ",
                                    row["query_set"].get<std::string>())
                     : row["dataset"].get<std::string>(),
                 row["method"].get<std::string>(),
                 context == row.end()   ? "-"
                 : context->get<bool>() ? "yes"
                                        : "no",
                 number("ndcg_at_10", 4), number("reference_ndcg_at_10", 4),
                 number("recall_at_10", 4), number("overlap_at_10", 4),
                 number("milliseconds_p50", 1), number("milliseconds_p99", 1));
  }
}

// Everything that can be missing, found before work begins.
struct Bench {
  // As in Config::datasets.
  std::vector<Pool> datasets;
  std::unique_ptr<DaemonProcess> daemon;
};

// A dataset other than the pool is one of a single part without a name.
absl::StatusOr<Pool> ReadTexts(const Config& config, const std::string& name) {
  if (name == kPool) {
    return ReadPool(config.data_directory,
                    std::min(config.queries, kPoolQueries));
  }
  Pool pool;
  PITH_ASSIGN_OR_RETURN(pool.dataset,
                        ReadDataset(config.data_directory / name));
  const size_t queries = std::min(config.queries, pool.dataset.queries.size());
  pool.dataset.queries.resize(queries);
  pool.query_sets.push_back({.dataset = "", .begin = 0, .end = queries});
  return pool;
}

absl::StatusOr<Bench> Prepare(const Config& config) {
  Bench bench;
  for (const std::string& name : config.datasets) {
    PITH_ASSIGN_OR_RETURN(Pool pool, ReadTexts(config, name));
    if (pool.dataset.queries.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": no query has a positive label"));
    }
    if (config.title_context) {
      TakeTitlesOutOfTexts(pool.dataset);
    }
    bench.datasets.push_back(std::move(pool));
  }
  PITH_ASSIGN_OR_RETURN(
      bench.daemon,
      DaemonProcess::Start({.executable = config.pithd,
                            .model = config.model,
                            .precision = config.precision,
                            .vector_cache_mb = config.cold ? 0 : kCacheMb}));
  PITH_RETURN_IF_ERROR(
      Client(bench.daemon->channel()).CheckModel(config.model));
  return bench;
}

absl::StatusOr<std::vector<ordered_json>> Run(const Config& config,
                                              const Bench& bench) {
  Client client(bench.daemon->channel());
  std::vector<ordered_json> rows;
  for (size_t i = 0; i < bench.datasets.size(); ++i) {
    const std::string& name = config.datasets[i];
    std::vector<std::optional<bool>> contexts = {std::nullopt};
    if (config.title_context) {
      contexts = {false, true};
    }
    for (const std::optional<bool> context : contexts) {
      PITH_RETURN_IF_ERROR(Annotate(
          Measure(config, name, context, bench.datasets[i], client, rows),
          name));
    }
  }
  return rows;
}

int Fail(const absl::Status& status, int exit_code) {
  std::cerr << "quality_bench: " << StdView(status.message()) << "\n";
  return exit_code;
}

int Main(int argc, char** argv) {
  Config config{.data_directory = PITH_DEFAULT_DATA};
  std::error_code ignored;
  config.pithd =
      std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path() /
      "pithd";

  CLI::App app("Measures how well pith ranks on labelled test collections.");
  app.add_option("--data", config.datasets,
                 "datasets, separated by commas; \"pool\" is several in one")
      ->delimiter(',');
  app.add_option("--data-dir", config.data_directory, "folder of the datasets")
      ->envname("PITH_DATA");
  app.add_option("--model", config.model, "directory or name of the model")
      ->envname("PITH_MODEL");
  app.add_option("--pithd", config.pithd, "the daemon's executable");
  app.add_option("--queries", config.queries, "queries per dataset")
      ->check(CLI::PositiveNumber);
  app.add_option("--rerank", config.rerank,
                 "candidates recomputed per query, in place of a recall target")
      ->check(CLI::PositiveNumber);
  app.add_option("--precision", config.precision, "of the model: f32 or bf16");
  app.add_flag("--cold", config.cold,
               "recompute every candidate of every query: without the daemon's "
               "cache of vectors");
  app.add_flag("--title-context", config.title_context,
               "take the title out of each text and compare embedding it as "
               "context with leaving it out");
  app.add_flag("--json", config.json, "print one JSON object");
  CLI11_PARSE(app, argc, argv);

  // The daemon takes names and absolute paths.
  if (std::filesystem::is_directory(config.model, ignored)) {
    config.model = std::filesystem::absolute(config.model).string();
  }
  const auto bench = Prepare(config);
  if (!bench.ok()) {
    return Fail(bench.status(),
                absl::IsNotFound(bench.status()) ? kExitMissing : kExitError);
  }
  const auto rows = Run(config, *bench);
  if (!rows.ok()) {
    return Fail(rows.status(), kExitError);
  }
  if (config.json) {
    std::cout << Report("quality_bench", *rows).dump() << "\n";
  } else {
    PrintTable(*rows);
  }
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace pith

int main(int argc, char** argv) {
  return pith::Main(argc, argv);
}
