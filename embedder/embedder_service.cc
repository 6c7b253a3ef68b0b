#include "embedder/embedder_service.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>

#include <bit>
#include <cerrno>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "grpcpp/server_builder.h"
#include "grpcpp/server_posix.h"

#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace pith {
namespace {

// One running, one waiting behind it after its caller gave up on the first, and
// a GetModel.
constexpr int kMaxConcurrentCalls = 4;

// The codes of absl::Status and grpc::Status are the same numbers.
grpc::Status ToGrpc(const absl::Status& status) {
  constexpr size_t kMaxMessageBytes = 1024;
  return {static_cast<grpc::StatusCode>(status.code()),
          std::string(status.message().substr(0, kMaxMessageBytes))};
}

absl::StatusOr<PackedTokens> ToPackedTokens(
    const v1::EmbedTokensRequest& request) {
  PackedTokens tokens;
  int64_t total = 0;
  for (const int32_t length : request.text_lengths()) {
    total += length;
    if (length < 1 || total > request.token_ids_size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "text_lengths: text ", tokens.size(), " has ", length,
          " tokens, together ", total, " of ", request.token_ids_size()));
    }
    tokens.offsets.push_back(static_cast<int32_t>(total));
  }
  if (total != request.token_ids_size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("text_lengths add up to ", total, ", there are ",
                     request.token_ids_size(), " token_ids"));
  }
  tokens.ids.assign(request.token_ids().begin(), request.token_ids().end());
  return tokens;
}

}  // namespace

EmbedderServiceImpl::EmbedderServiceImpl(absl::StatusOr<LoadedEngine> model)
    : model_(std::move(model)) {}

grpc::Status EmbedderServiceImpl::GetModel(grpc::ServerContext* /*context*/,
                                           const v1::GetModelRequest*,
                                           v1::GetModelResponse* response) {
  if (!model_.ok()) {
    return ToGrpc(model_.status());
  }
  response->set_dimension(model_->engine->dimension());
  response->set_device(model_->device);
  response->set_precision(std::string(PrecisionName(model_->precision)));
  return grpc::Status::OK;
}

grpc::Status EmbedderServiceImpl::EmbedTokens(
    grpc::ServerContext* context, const v1::EmbedTokensRequest* request,
    v1::EmbedTokensResponse* response) {
  if (!model_.ok()) {
    return ToGrpc(model_.status());
  }
  absl::StatusOr<PackedTokens> tokens = ToPackedTokens(*request);
  if (!tokens.ok()) {
    return ToGrpc(tokens.status());
  }

  {
    MutexLock lock(mutex_);
    while (busy_) {
      turn_ended_.Wait(mutex_);
    }
    busy_ = true;
  }
  absl::StatusOr<Matrix> vectors = absl::CancelledError("the caller has gone");
  if (!context->IsCancelled()) {
    vectors = model_->engine->Embed(*tokens);
  }
  {
    MutexLock lock(mutex_);
    busy_ = false;
    turn_ended_.Signal();
  }

  if (!vectors.ok()) {
    return ToGrpc(vectors.status());
  }
  static_assert(std::endian::native == std::endian::little);
  const std::span<const std::byte> bytes = std::as_bytes(vectors->values());
  response->set_vectors(bytes.data(), bytes.size());
  return grpc::Status::OK;
}

int ServeModel(int fd,
               const std::function<absl::StatusOr<LoadedEngine>()>& load) {
  // Also covers a parent that dies while the model is being loaded. What it
  // missed before this line, poll() below sees.
  prctl(PR_SET_PDEATHSIG, SIGKILL);

  const auto load_and_warm = [&load]() -> absl::StatusOr<LoadedEngine> {
    PITH_ASSIGN_OR_RETURN(LoadedEngine model, load());
    PITH_RETURN_IF_ERROR(
        model.engine->Embed({.ids = {0, 0}, .offsets = {0, 2}}).status());
    return model;
  };
  EmbedderServiceImpl service(load_and_warm());

  // gRPC owns `fd` from here on and closes it when the connection ends.
  const UniqueFd watched(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!watched.valid() || fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
    PLOG(ERROR) << "use descriptor " << fd << " as a socket";
    return 1;
  }
  grpc::ServerBuilder builder;
  builder.RegisterService(&service);
  builder.SetMaxReceiveMessageSize(kMaxWorkerMessageBytes);
  builder.SetMaxSendMessageSize(kMaxWorkerMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                             kMaxConcurrentCalls);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) {
    LOG(ERROR) << "start gRPC server on descriptor " << fd;
    return 1;
  }
  grpc::AddInsecureChannelFromFd(server.get(), fd);

  pollfd closed = {.fd = watched.get(), .events = POLLRDHUP, .revents = 0};
  while (poll(&closed, 1, -1) < 0 && errno == EINTR) {
  }
  server->Shutdown();
  return 0;
}

}  // namespace pith
