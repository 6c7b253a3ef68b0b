#include "server/sources_service.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"

#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "server/convert.h"
#include "server/unary_call.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

// Of a collection, that a list of sources looks through.
constexpr size_t kMaxWaitingPassages = 100'000;

absl::StatusOr<fs::path> ReadablePath(const std::string& text) {
  PITH_ASSIGN_OR_RETURN(fs::path path, PathFromProto(text));
  if (::access(path.c_str(), R_OK) != 0) {
    return ErrnoStatus(errno, "read", path);
  }
  return path;
}

}  // namespace

absl::StatusOr<v1::Operation> SourcesServiceImpl::StartScan(
    const std::string& collection, const fs::path& path) {
  PITH_ASSIGN_OR_RETURN(auto handle, collections_.FindOrReopen(collection));
  PITH_ASSIGN_OR_RETURN(
      const auto operation,
      operations_.Start(
          DescribeAdd(collection, path.string()),
          [this, handle = std::move(handle), path](Operation& self) {
            return sources_.Scan(*handle, path, self);
          }));
  return operation->Describe();
}

grpc::ServerUnaryReactor* SourcesServiceImpl::AddSource(
    grpc::CallbackServerContext* context, const v1::AddSourceRequest* request,
    v1::AddSourceResponse* response) {
  return RunUnary(
      context, executor_, [=, this](const CallContext&) -> absl::Status {
        PITH_ASSIGN_OR_RETURN(const fs::path path,
                              ReadablePath(request->path()));
        PITH_ASSIGN_OR_RETURN(*response->mutable_operation(),
                              StartScan(request->collection(), path));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* SourcesServiceImpl::WatchSource(
    grpc::CallbackServerContext* context, const v1::WatchSourceRequest* request,
    v1::WatchSourceResponse* response) {
  return RunUnary(
      context, executor_, [=, this](const CallContext&) -> absl::Status {
        PITH_ASSIGN_OR_RETURN(const fs::path path,
                              ReadablePath(request->path()));
        PITH_RETURN_IF_ERROR(sources_.Watch(request->collection(), path));
        PITH_ASSIGN_OR_RETURN(*response->mutable_operation(),
                              StartScan(request->collection(), path));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* SourcesServiceImpl::UnwatchSource(
    grpc::CallbackServerContext* context,
    const v1::UnwatchSourceRequest* request,
    v1::UnwatchSourceResponse* /*response*/) {
  return RunUnary(context, executor_,
                  [=, this](const CallContext&) -> absl::Status {
                    PITH_ASSIGN_OR_RETURN(const fs::path path,
                                          PathFromProto(request->path()));
                    return sources_.Unwatch(request->collection(), path);
                  });
}

grpc::ServerUnaryReactor* SourcesServiceImpl::ListSources(
    grpc::CallbackServerContext* context, const v1::ListSourcesRequest* request,
    v1::ListSourcesResponse* response) {
  return RunUnary(
      context, executor_, [=, this](const CallContext&) -> absl::Status {
        PITH_ASSIGN_OR_RETURN(
            const std::vector<SourceStatus> sources,
            sources_.List(request->collection(), kMaxWaitingPassages));
        for (const SourceStatus& source : sources) {
          *response->add_sources() = ToProto(source);
        }
        return absl::OkStatus();
      });
}

}  // namespace pith
