#include "server/admin_service.h"

#include <unistd.h>

#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"

#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "server/convert.h"
#include "server/unary_call.h"

namespace pith {
namespace {

// Of a collection: reading more takes long while many files are new.
constexpr size_t kMaxWaitingPassages = 1000;

absl::StatusOr<int64_t> ResidentBytes() {
  // Pages: in all, resident, ... (proc(5)).
  PITH_ASSIGN_OR_RETURN(const std::string text, ReadFile("/proc/self/statm"));
  const std::vector<std::string> fields = absl::StrSplit(text, ' ');
  int64_t pages = 0;
  if (fields.size() < 2 || !absl::SimpleAtoi(fields[1], &pages)) {
    return absl::InternalError(absl::StrCat("read /proc/self/statm: \"", text,
                                            "\" has no second number"));
  }
  return pages * sysconf(_SC_PAGESIZE);
}

}  // namespace

AdminServiceImpl::AdminServiceImpl(const std::string& data_directory,
                                   const std::string& socket,
                                   CollectionRegistry& collections,
                                   SourceRegistry& sources,
                                   OperationRegistry& operations,
                                   ModelProvider& models,
                                   const VectorCache& cache, Executor& executor)
    : data_directory_(data_directory),
      socket_(socket),
      start_time_(absl::Now()),
      collections_(collections),
      sources_(sources),
      operations_(operations),
      models_(models),
      cache_(cache),
      executor_(executor) {}

grpc::ServerUnaryReactor* AdminServiceImpl::GetStatus(
    grpc::CallbackServerContext* context,
    const v1::GetStatusRequest* /*request*/, v1::GetStatusResponse* response) {
  return RunUnary(
      context, executor_, [=, this](const CallContext&) -> absl::Status {
        response->set_version(PITH_VERSION);
        response->set_pid(getpid());
        *response->mutable_start_time() = ToProto(start_time_);
        response->set_data_directory(data_directory_);
        response->set_socket(socket_);
        PITH_ASSIGN_OR_RETURN(const int64_t resident, ResidentBytes());
        response->set_resident_bytes(resident);
        for (const auto& listing : collections_.List()) {
          *response->add_collections() = ToProto(listing);
        }
        PITH_ASSIGN_OR_RETURN(const std::vector<SourceStatus> sources,
                              sources_.List("", kMaxWaitingPassages));
        for (const SourceStatus& source : sources) {
          *response->add_sources() = ToProto(source);
        }
        *response->mutable_vector_cache() = ToProto(cache_.status());
        for (const WorkerDescription& worker : models_.Workers()) {
          *response->add_workers() = ToProto(worker);
        }
        for (const QueueDescription& queue : models_.Queues()) {
          *response->add_embedding_queues() = ToProto(queue);
        }
        for (const auto& operation : operations_.List()) {
          if (!operation->ended()) {
            *response->add_operations() = operation->Describe();
          }
        }
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* AdminServiceImpl::ListModels(
    grpc::CallbackServerContext* context,
    const v1::ListModelsRequest* /*request*/,
    v1::ListModelsResponse* response) {
  return RunUnary(context, executor_, [=, this](const CallContext&) {
    for (const ModelDescription& model : models_.List()) {
      *response->add_models() = ToProto(model);
    }
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdminServiceImpl::GetModelInfo(
    grpc::CallbackServerContext* context,
    const v1::GetModelInfoRequest* request,
    v1::GetModelInfoResponse* response) {
  return RunUnary(context, executor_,
                  [=, this](const CallContext&) -> absl::Status {
                    PITH_ASSIGN_OR_RETURN(const ModelDescription model,
                                          models_.Describe(request->model()));
                    *response->mutable_model() = ToProto(model);
                    return absl::OkStatus();
                  });
}

}  // namespace pith
