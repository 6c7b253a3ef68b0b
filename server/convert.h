#ifndef PITH_SERVER_CONVERT_H_
#define PITH_SERVER_CONVERT_H_

#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"

#include "core/base/matrix.h"
#include "core/index/collection.h"
#include "core/index/collection_check.h"
#include "core/index/vector_cache.h"
#include "proto/pith/v1/admin.pb.h"
#include "proto/pith/v1/collections.pb.h"
#include "proto/pith/v1/documents.pb.h"
#include "proto/pith/v1/operations.pb.h"
#include "proto/pith/v1/search.pb.h"
#include "proto/pith/v1/sources.pb.h"
#include "server/backends.h"
#include "server/collection_registry.h"
#include "server/source_registry.h"

namespace pith {

// Between the wire and core: the only place that knows both.

// With google.rpc.ErrorInfo (reason; domain "pith") and, where trying again may
// help, RetryInfo. The message is cut to what fits in headers.
grpc::Status ToGrpcStatus(const absl::Status& status);
google::rpc::Status ToProtoStatus(const absl::Status& status);

google::protobuf::Duration ToProto(absl::Duration duration);
google::protobuf::Timestamp ToProto(absl::Time time);

// A path, or words with one in them, as a message can carry it: file names may
// be any bytes, messages are UTF-8.
std::string PrintableToProto(std::string_view text);

// Without ".", ".." and a slash at the end, which would make an empty last
// part. kInvalidArgument if `text` is no absolute path.
absl::StatusOr<std::filesystem::path> PathFromProto(const std::string& text);

// Little-endian f32, rows one after another.
std::string ToProto(const Matrix& vectors);
// kInvalidArgument if `bytes` is no whole number of floats.
absl::StatusOr<std::vector<float>> VectorFromProto(std::string_view bytes);

// kInvalidArgument naming the field that is out of range.
absl::StatusOr<DocumentInput> DocumentFromProto(v1::Document&& document);
v1::Document ToProto(const StoredDocument& document);
absl::StatusOr<NewCollection> CollectionFromProto(
    const v1::CreateCollectionRequest& request);
// What Collection::Search refuses may pass.
absl::StatusOr<SearchQuery> QueryFromProto(const v1::SearchRequest& request);
absl::StatusOr<SearchOptions> SearchOptionsFromProto(
    const v1::SearchRequest& request);

v1::IngestResponse ToProto(const std::string& id,
                           const absl::StatusOr<PutResult>& result);
v1::SearchHit ToProto(SearchHit&& hit);
v1::CompactProgress ToProto(const CompactProgress& progress);
// What is to be known at the end.
v1::CompactProgress ToProto(const CompactResult& result);
v1::CheckProgress ToProto(const CheckReport& report);
v1::Collection ToProto(const CollectionRegistry::Listing& listing);
v1::ModelInfo ToProto(const ModelDescription& model);
v1::VectorCache ToProto(const VectorCache::Status& cache);
v1::Worker ToProto(const WorkerDescription& worker);
v1::EmbeddingQueue ToProto(const QueueDescription& queue);
v1::Source ToProto(const SourceStatus& source);

}  // namespace pith

#endif  // PITH_SERVER_CONVERT_H_
