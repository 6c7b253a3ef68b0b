#include "server/convert.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>
#include <variant>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "google/rpc/error_details.pb.h"

#include "core/base/coding.h"
#include "core/base/file.h"
#include "core/base/reason.h"
#include "core/base/string_view.h"
#include "core/text/text_check.h"

namespace pith {
namespace {

// gRPC puts the message and the details in headers, which are limited to 8 KiB
// by default.
constexpr size_t kMaxErrorMessageBytes = 1024;

constexpr absl::Duration kRetryDelay = absl::Milliseconds(500);

std::string CutUtf8(absl::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) {
    return std::string(text);
  }
  // Not inside a character: back over its continuation bytes.
  while (max_bytes > 0 && (text[max_bytes] & 0xC0) == 0x80) {
    --max_bytes;
  }
  return absl::StrCat(text.substr(0, max_bytes), "...");
}

v1::MetadataValue ToProto(const MetadataValue& value) {
  v1::MetadataValue proto;
  if (const auto* text = std::get_if<std::string>(&value)) {
    proto.set_string_value(*text);
  } else if (const auto* integer = std::get_if<int64_t>(&value)) {
    proto.set_int_value(*integer);
  } else if (const auto* number = std::get_if<double>(&value)) {
    proto.set_double_value(*number);
  } else {
    proto.set_bool_value(std::get<bool>(value));
  }
  return proto;
}

absl::StatusOr<TextFormat> FormatFromProto(v1::TextFormat format,
                                           std::string_view id) {
  switch (format) {
    case v1::TEXT_FORMAT_UNSPECIFIED:
      return FormatFromPath(id);
    case v1::TEXT_FORMAT_PLAIN:
      return TextFormat::kPlain;
    case v1::TEXT_FORMAT_MARKDOWN:
      return TextFormat::kMarkdown;
    case v1::TEXT_FORMAT_RESTRUCTURED_TEXT:
      return TextFormat::kRestructuredText;
    case v1::TEXT_FORMAT_CODE:
      return TextFormat::kCode;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("document format ", static_cast<int>(format),
                       " is not one of this version"));
  }
}

absl::StatusOr<CodeProfile> ProfileFromProto(v1::CodeProfile profile) {
  switch (profile) {
    case v1::CODE_PROFILE_UNSPECIFIED:
    case v1::CODE_PROFILE_BALANCED:
      return CodeProfile::kBalanced;
    case v1::CODE_PROFILE_MINIMAL:
      return CodeProfile::kMinimal;
    case v1::CODE_PROFILE_FAST:
      return CodeProfile::kFast;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("code profile ", static_cast<int>(profile),
                       " is not one of this version"));
  }
}

v1::CodeProfile ToProto(CodeProfile profile) {
  switch (profile) {
    case CodeProfile::kMinimal:
      return v1::CODE_PROFILE_MINIMAL;
    case CodeProfile::kBalanced:
      return v1::CODE_PROFILE_BALANCED;
    case CodeProfile::kFast:
      return v1::CODE_PROFILE_FAST;
  }
  return v1::CODE_PROFILE_UNSPECIFIED;
}

// nullopt: the default.
absl::StatusOr<std::optional<VectorSource>> VectorSourceFromProto(
    v1::VectorSource source) {
  switch (source) {
    case v1::VECTOR_SOURCE_UNSPECIFIED:
      return std::nullopt;
    case v1::VECTOR_SOURCE_RECOMPUTE:
      return VectorSource::kRecompute;
    case v1::VECTOR_SOURCE_STORED_F16:
      return VectorSource::kStoredF16;
    case v1::VECTOR_SOURCE_STORED_I8:
      return VectorSource::kStoredI8;
    case v1::VECTOR_SOURCE_STORED_HUBS:
      return VectorSource::kStoredHubs;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("vector source ", static_cast<int>(source),
                       " is not one of this version"));
  }
}

v1::VectorSource ToProto(VectorSource source) {
  switch (source) {
    case VectorSource::kRecompute:
      return v1::VECTOR_SOURCE_RECOMPUTE;
    case VectorSource::kStoredF16:
      return v1::VECTOR_SOURCE_STORED_F16;
    case VectorSource::kStoredI8:
      return v1::VECTOR_SOURCE_STORED_I8;
    case VectorSource::kStoredHubs:
      return v1::VECTOR_SOURCE_STORED_HUBS;
  }
  return v1::VECTOR_SOURCE_UNSPECIFIED;
}

absl::StatusOr<SearchMode> ModeFromProto(v1::SearchMode mode) {
  switch (mode) {
    case v1::SEARCH_MODE_UNSPECIFIED:
    case v1::SEARCH_MODE_CODES:
      return SearchMode::kCodes;
    case v1::SEARCH_MODE_TWO_LEVEL:
      return SearchMode::kTwoLevel;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("search mode ", static_cast<int>(mode),
                       " is not one of this version"));
  }
}

v1::CompactProgress::Phase ToProto(SealPhase phase) {
  switch (phase) {
    case SealPhase::kRecomputing:
      return v1::CompactProgress::PHASE_RECOMPUTING;
    case SealPhase::kTraining:
      return v1::CompactProgress::PHASE_TRAINING;
    case SealPhase::kEncoding:
      return v1::CompactProgress::PHASE_ENCODING;
    case SealPhase::kBuilding:
      return v1::CompactProgress::PHASE_BUILDING;
    case SealPhase::kWriting:
      return v1::CompactProgress::PHASE_WRITING;
  }
  return v1::CompactProgress::PHASE_UNSPECIFIED;
}

v1::SourceFiles ToProto(const SkippedFiles::Group& group) {
  v1::SourceFiles proto;
  proto.set_reason(group.reason);
  proto.set_count(static_cast<int64_t>(group.count));
  proto.set_example(PrintableToProto(group.example));
  proto.set_detail(PrintableToProto(group.detail));
  return proto;
}

}  // namespace

google::rpc::Status ToProtoStatus(const absl::Status& status) {
  google::rpc::Status proto;
  if (status.ok()) {
    return proto;
  }
  proto.set_code(static_cast<int>(status.code()));
  proto.set_message(CutUtf8(status.message(), kMaxErrorMessageBytes));
  google::rpc::ErrorInfo info;
  info.set_reason(ReasonOf(status));
  info.set_domain("pith");
  proto.add_details()->PackFrom(info);
  if (status.code() == absl::StatusCode::kResourceExhausted ||
      status.code() == absl::StatusCode::kUnavailable) {
    google::rpc::RetryInfo retry;
    *retry.mutable_retry_delay() = ToProto(kRetryDelay);
    proto.add_details()->PackFrom(retry);
  }
  return proto;
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) {
    return grpc::Status::OK;
  }
  const google::rpc::Status proto = ToProtoStatus(status);
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      proto.message(), proto.SerializeAsString());
}

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration proto;
  proto.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &duration));
  proto.set_nanos(static_cast<int32_t>(
      absl::IDivDuration(duration, absl::Nanoseconds(1), &duration)));
  return proto;
}

google::protobuf::Timestamp ToProto(absl::Time time) {
  google::protobuf::Timestamp proto;
  const int64_t micros = absl::ToUnixMicros(time);
  proto.set_seconds(micros / 1'000'000);
  proto.set_nanos(static_cast<int32_t>(micros % 1'000'000) * 1000);
  return proto;
}

absl::StatusOr<std::filesystem::path> PathFromProto(const std::string& text) {
  const std::filesystem::path path = text;
  if (!path.is_absolute()) {
    return absl::InvalidArgumentError(
        absl::StrCat("path \"", text, "\" is not absolute"));
  }
  std::filesystem::path normal = path.lexically_normal();
  if (!normal.has_filename() && normal.has_parent_path()) {
    normal = normal.parent_path();
  }
  return normal;
}

std::string PrintableToProto(std::string_view text) {
  return CheckUtf8Text(text).ok() ? std::string(text)
                                  : absl::CEscape(AbslView(text));
}

std::string ToProto(const Matrix& vectors) {
  std::string bytes;
  bytes.reserve(vectors.values().size() * sizeof(float));
  for (const float value : vectors.values()) {
    PutFixed32(std::bit_cast<uint32_t>(value), bytes);
  }
  return bytes;
}

absl::StatusOr<std::vector<float>> VectorFromProto(std::string_view bytes) {
  if (bytes.empty() || bytes.size() % sizeof(float) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("vector of ", bytes.size(),
                     " bytes is no whole number of 4-byte elements"));
  }
  std::vector<float> vector(bytes.size() / sizeof(float));
  Decoder decoder(bytes);
  for (float& value : vector) {
    value = std::bit_cast<float>(decoder.Fixed32());
  }
  return vector;
}

absl::StatusOr<DocumentInput> DocumentFromProto(v1::Document&& document) {
  DocumentInput input;
  absl::StatusOr<TextFormat> format =
      FormatFromProto(document.format(), document.id());
  if (!format.ok()) {
    return format.status();
  }
  input.format = *format;
  for (const auto& [key, value] : document.metadata()) {
    MetadataValue& stored = input.metadata[key];
    switch (value.kind_case()) {
      case v1::MetadataValue::kStringValue:
        stored = value.string_value();
        break;
      case v1::MetadataValue::kIntValue:
        stored = int64_t{value.int_value()};
        break;
      case v1::MetadataValue::kDoubleValue:
        stored = value.double_value();
        break;
      case v1::MetadataValue::kBoolValue:
        stored = value.bool_value();
        break;
      case v1::MetadataValue::KIND_NOT_SET:
        return absl::InvalidArgumentError(
            absl::StrCat("document \"", document.id(), "\": metadata \"", key,
                         "\" has no value"));
    }
  }
  input.id = std::move(*document.mutable_id());
  input.title = std::move(*document.mutable_title());
  input.text = std::move(*document.mutable_text());
  return input;
}

v1::Document ToProto(const StoredDocument& document) {
  v1::Document proto;
  proto.set_id(document.record.id);
  proto.set_title(document.record.title);
  proto.set_text(document.text);
  for (const auto& [key, value] : document.record.metadata) {
    (*proto.mutable_metadata())[key] = ToProto(value);
  }
  return proto;
}

absl::StatusOr<NewCollection> CollectionFromProto(
    const v1::CreateCollectionRequest& request) {
  NewCollection collection{.name = request.name(), .model = request.model()};
  switch (request.chunking()) {
    case v1::CHUNKING_UNSPECIFIED:
    case v1::CHUNKING_STRUCTURE:
      break;
    case v1::CHUNKING_NONE:
      collection.chunking = Chunking::kNone;
      break;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("chunking ", static_cast<int>(request.chunking()),
                       " is not one of this version"));
  }
  if (request.has_target_tokens()) {
    if (request.target_tokens() < kMinTargetTokens) {
      return absl::InvalidArgumentError(
          absl::StrCat("target_tokens of ", request.target_tokens(),
                       " is below ", kMinTargetTokens));
    }
    collection.target_tokens = request.target_tokens();
  }
  if (request.has_embed_context()) {
    collection.embed_context = request.embed_context();
  }
  absl::StatusOr<CodeProfile> profile =
      ProfileFromProto(request.code_profile());
  if (!profile.ok()) {
    return profile.status();
  }
  collection.profile = *profile;
  absl::StatusOr<std::optional<VectorSource>> source =
      VectorSourceFromProto(request.vector_source());
  if (!source.ok()) {
    return source.status();
  }
  collection.vector_source = *source;
  return collection;
}

absl::StatusOr<SearchQuery> QueryFromProto(const v1::SearchRequest& request) {
  switch (request.query_case()) {
    case v1::SearchRequest::kText:
      return request.text();
    case v1::SearchRequest::kVector:
      return VectorFromProto(request.vector().vector());
    case v1::SearchRequest::kPassageId:
      return PassageId{request.passage_id()};
    case v1::SearchRequest::QUERY_NOT_SET:
      break;
  }
  return WithReason(
      absl::InvalidArgumentError("the request has no text, vector or passage"),
      "NO_QUERY");
}

absl::StatusOr<SearchOptions> SearchOptionsFromProto(
    const v1::SearchRequest& request) {
  SearchOptions options;
  if (request.has_k()) {
    if (request.k() < 1) {
      return WithReason(
          absl::InvalidArgumentError(absl::StrCat(
              "k of ", request.k(), " is not between 1 and ", kMaxHits)),
          "K_OUT_OF_RANGE");
    }
    options.k = static_cast<size_t>(request.k());
  }
  if (request.has_rerank_count()) {
    if (request.rerank_count() < 1) {
      return WithReason(
          absl::InvalidArgumentError(absl::StrCat(
              "rerank_count of ", request.rerank_count(),
              " is not between k = ", options.k, " and ", kMaxRerank)),
          "RERANK_COUNT_OUT_OF_RANGE");
    }
    options.rerank = static_cast<size_t>(request.rerank_count());
    options.recall_target = std::nullopt;
  }
  if (request.has_recall_target()) {
    options.recall_target = request.recall_target();
  }
  absl::StatusOr<SearchMode> mode = ModeFromProto(request.mode());
  if (!mode.ok()) {
    return mode.status();
  }
  options.mode = *mode;
  if (request.has_beam()) {
    if (request.beam() < 1) {
      return WithReason(
          absl::InvalidArgumentError(absl::StrCat(
              "beam of ", request.beam(), " is not between 1 and ", kMaxBeam)),
          "BEAM_OUT_OF_RANGE");
    }
    options.beam = static_cast<size_t>(request.beam());
  }
  return options;
}

v1::IngestResponse ToProto(const std::string& id,
                           const absl::StatusOr<PutResult>& result) {
  v1::IngestResponse proto;
  proto.set_id(id);
  if (!result.ok()) {
    proto.set_outcome(v1::IngestResponse::OUTCOME_FAILED);
    *proto.mutable_error() = ToProtoStatus(result.status());
    return proto;
  }
  switch (result->outcome) {
    case PutOutcome::kAdded:
      proto.set_outcome(v1::IngestResponse::OUTCOME_ADDED);
      break;
    case PutOutcome::kUpdated:
    // Ingest renames nothing.
    case PutOutcome::kRenamed:
      proto.set_outcome(v1::IngestResponse::OUTCOME_UPDATED);
      break;
    case PutOutcome::kUnchanged:
      proto.set_outcome(v1::IngestResponse::OUTCOME_UNCHANGED);
      break;
  }
  proto.set_passages(static_cast<int64_t>(result->passages));
  proto.set_passages_to_embed(static_cast<int64_t>(result->passages_to_embed));
  proto.set_truncated(result->truncated);
  return proto;
}

v1::SearchHit ToProto(SearchHit&& hit) {
  v1::SearchHit proto;
  proto.set_document_id(std::move(hit.document_id));
  proto.set_title(std::move(hit.title));
  proto.set_passage_id(static_cast<uint64_t>(hit.passage));
  proto.set_score(hit.score);
  proto.set_text(std::move(hit.text));
  proto.set_offset(static_cast<int64_t>(hit.offset));
  proto.set_first_line(static_cast<int64_t>(hit.first_line));
  proto.set_last_line(static_cast<int64_t>(hit.last_line));
  proto.set_heading_path(std::move(hit.heading_path));
  for (const auto& [key, value] : hit.metadata) {
    (*proto.mutable_metadata())[key] = ToProto(value);
  }
  return proto;
}

v1::CompactProgress ToProto(const CompactProgress& progress) {
  v1::CompactProgress proto;
  proto.set_phase(ToProto(progress.phase));
  proto.set_passages(static_cast<int64_t>(progress.passages));
  proto.set_recomputed_passages(static_cast<int64_t>(progress.recomputed));
  return proto;
}

v1::CompactProgress ToProto(const CompactResult& result) {
  v1::CompactProgress proto;
  proto.set_phase(v1::CompactProgress::PHASE_DONE);
  proto.set_passages(static_cast<int64_t>(result.segment_passages));
  proto.set_sealed_passages(static_cast<int64_t>(result.sealed_passages));
  proto.set_segment_passages(static_cast<int64_t>(result.segment_passages));
  proto.set_segments(static_cast<int64_t>(result.segments));
  proto.set_replaced_segments(static_cast<int64_t>(result.replaced_segments));
  proto.set_trained_codebook(result.trained_codebook);
  if (result.delta_passages > 0) {
    proto.set_delta_passages(static_cast<int64_t>(result.delta_passages));
    proto.set_required_passages(static_cast<int64_t>(result.required_passages));
  }
  return proto;
}

v1::CheckProgress ToProto(const CheckReport& report) {
  v1::CheckProgress proto;
  proto.set_documents_checked(static_cast<int64_t>(report.documents));
  proto.set_documents(static_cast<int64_t>(report.documents));
  proto.set_passages(static_cast<int64_t>(report.passages));
  proto.set_segments(static_cast<int64_t>(report.segments));
  proto.set_segment_passages(static_cast<int64_t>(report.segment_passages));
  proto.set_delta_passages(static_cast<int64_t>(report.delta_passages));
  proto.set_pending_passages(static_cast<int64_t>(report.pending_passages));
  proto.set_vectors(static_cast<int64_t>(report.vectors));
  for (const CheckProblem& problem : report.problems) {
    v1::CheckProgress::Problem& shown = *proto.add_problems();
    shown.set_text(PrintableToProto(problem.text));
    shown.set_repairable(problem.repairable);
  }
  proto.set_problem_count(static_cast<int64_t>(report.problem_count));
  proto.set_irreparable_count(static_cast<int64_t>(report.irreparable_count));
  proto.set_lost_codes(static_cast<int64_t>(report.lost_codes));
  return proto;
}

v1::Collection ToProto(const CollectionRegistry::Listing& listing) {
  v1::Collection proto;
  proto.set_name(listing.name);
  if (listing.handle == nullptr) {
    *proto.mutable_error() = ToProtoStatus(listing.error);
    return proto;
  }
  const Collection& collection = listing.handle->collection();
  const CollectionConfig& config = collection.config();
  proto.set_model(config.model.name);
  proto.set_model_fingerprint(config.model.fingerprint);
  proto.set_dimension(config.model.dimension);
  proto.set_chunking(config.chunking == Chunking::kNone
                         ? v1::CHUNKING_NONE
                         : v1::CHUNKING_STRUCTURE);
  proto.set_target_tokens(config.target_tokens);
  proto.set_embed_context(config.embed_context);
  proto.set_code_profile(ToProto(config.profile));
  proto.set_vector_source(ToProto(config.vector_source));
  *proto.mutable_create_time() = ToProto(config.create_time);
  const CollectionStatus status = collection.GetStatus();
  proto.set_documents(static_cast<int64_t>(status.counts.documents));
  proto.set_passages(static_cast<int64_t>(status.counts.passages));
  proto.set_pending_passages(static_cast<int64_t>(status.counts.pending));
  proto.set_failed_passages(static_cast<int64_t>(status.failed_passages));
  if (!status.embedding_error.ok()) {
    *proto.mutable_embedding_error() = ToProtoStatus(status.embedding_error);
  }
  proto.set_segments(static_cast<int64_t>(status.segments));
  proto.set_codebooks(static_cast<int64_t>(status.codebooks));
  proto.set_sealed_passages(static_cast<int64_t>(status.sealed_passages));
  proto.set_dead_passages(static_cast<int64_t>(status.dead_passages));
  proto.set_delta_passages(static_cast<int64_t>(status.delta_passages));
  if (!status.sealing_error.ok()) {
    *proto.mutable_sealing_error() = ToProtoStatus(status.sealing_error);
  }
  proto.set_sealing_pause(status.sealing_pause);
  if (!status.storage_error.ok()) {
    *proto.mutable_storage_error() = ToProtoStatus(status.storage_error);
  }
  proto.set_text_bytes(static_cast<int64_t>(status.counts.text_bytes));
  // A directory that cannot be listed is the collection's trouble, not the
  // listing's.
  if (const auto bytes = DirectoryBytes(listing.handle->directory());
      bytes.ok()) {
    proto.set_disk_bytes(static_cast<int64_t>(*bytes));
  } else {
    *proto.mutable_error() = ToProtoStatus(bytes.status());
  }
  proto.set_code_memory_bytes(static_cast<int64_t>(status.code_memory_bytes));
  return proto;
}

v1::ModelInfo ToProto(const ModelDescription& model) {
  v1::ModelInfo proto;
  proto.set_name(model.name);
  proto.set_directory(model.directory.string());
  proto.set_fingerprint(model.fingerprint);
  proto.set_dimension(model.dimension);
  proto.set_max_tokens(model.max_tokens);
  proto.set_pooling(model.pooling);
  proto.set_query_prompt(model.query_prompt);
  proto.set_passage_prompt(model.passage_prompt);
  proto.set_layers(model.layers);
  proto.set_vocabulary_size(model.vocabulary_size);
  proto.set_is_default(model.is_default);
  proto.set_api(model.api);
  proto.set_url(model.url);
  if (!model.error.ok()) {
    *proto.mutable_error() = ToProtoStatus(model.error);
  }
  return proto;
}

v1::VectorCache ToProto(const VectorCache::Status& cache) {
  v1::VectorCache proto;
  proto.set_lookups(static_cast<int64_t>(cache.lookups));
  proto.set_hits(static_cast<int64_t>(cache.hits));
  proto.set_entries(static_cast<int64_t>(cache.entries));
  proto.set_bytes(static_cast<int64_t>(cache.bytes));
  proto.set_max_bytes(static_cast<int64_t>(cache.max_bytes));
  proto.set_evictions(static_cast<int64_t>(cache.evictions));
  proto.set_rejections(static_cast<int64_t>(cache.rejections));
  return proto;
}

v1::Worker ToProto(const WorkerDescription& worker) {
  v1::Worker proto;
  proto.set_model(worker.model);
  proto.set_url(worker.url);
  proto.set_address(worker.address);
  switch (worker.state) {
    case WorkerDescription::State::kRemote:
      break;
    case WorkerDescription::State::kStopped:
      proto.set_state(v1::Worker::STATE_STOPPED);
      break;
    case WorkerDescription::State::kStarting:
      proto.set_state(v1::Worker::STATE_STARTING);
      break;
    case WorkerDescription::State::kReady:
      proto.set_state(v1::Worker::STATE_READY);
      break;
  }
  proto.set_pid(worker.pid);
  proto.set_lost(static_cast<int64_t>(worker.lost));
  proto.set_texts_embedded(static_cast<int64_t>(worker.texts_embedded));
  proto.set_tokens_embedded(static_cast<int64_t>(worker.tokens_embedded));
  proto.set_last_error(worker.last_error);
  proto.set_device(worker.device);
  proto.set_precision(worker.precision);
  return proto;
}

v1::EmbeddingQueue ToProto(const QueueDescription& queue) {
  v1::EmbeddingQueue proto;
  proto.set_model(queue.model);
  proto.set_search_tokens(queue.search_tokens);
  proto.set_ingest_tokens(queue.ingest_tokens);
  proto.set_batches(queue.batches);
  proto.set_texts(queue.texts);
  proto.set_tokens(queue.tokens);
  proto.set_room_tokens(queue.room_tokens);
  proto.set_shared_texts(queue.shared_texts);
  proto.set_refused_calls(queue.refused_calls);
  proto.set_dropped_calls(queue.dropped_calls);
  return proto;
}

v1::Source ToProto(const SourceStatus& source) {
  v1::Source proto;
  proto.set_collection(source.collection);
  proto.set_path(PrintableToProto(source.path));
  proto.set_watching(source.watching.ok() ? v1::Source::WATCHING_INOTIFY
                                          : v1::Source::WATCHING_TIME);
  proto.set_watching_reason(
      PrintableToProto(StdView(source.watching.message())));
  proto.set_seen(source.seen);
  proto.set_indexed(source.indexed);
  proto.set_pending_changes(source.pending_changes);
  proto.set_pending_documents(source.pending_documents);
  for (const SkippedFiles::Group& group : source.skipped) {
    *proto.add_skipped() = ToProto(group);
  }
  for (const SkippedFiles::Group& group : source.failed) {
    *proto.add_failed() = ToProto(group);
  }
  for (const SkippedFiles::Group& group : source.kept) {
    *proto.add_kept() = ToProto(group);
  }
  if (source.last_reconcile) {
    const SourceStatus::LastReconcile& last = *source.last_reconcile;
    v1::Reconcile* reconcile = proto.mutable_last_reconcile();
    *reconcile->mutable_start_time() = ToProto(last.start);
    *reconcile->mutable_duration() = ToProto(last.duration);
    if (!last.status.ok()) {
      *reconcile->mutable_error() = ToProtoStatus(last.status);
    }
    reconcile->set_added(last.progress.added());
    reconcile->set_updated(last.progress.updated());
    reconcile->set_unchanged(last.progress.unchanged());
    reconcile->set_removed(last.progress.removed());
    reconcile->set_renamed(last.progress.renamed());
  }
  *proto.mutable_next_reconcile_time() = ToProto(source.next_reconcile);
  if (source.scanning) {
    *proto.mutable_scanning() = *source.scanning;
  }
  return proto;
}

}  // namespace pith
