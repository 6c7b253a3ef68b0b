#include "server/server.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "glog/logging.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"

#include "core/base/reason.h"
#include "core/base/status_macros.h"
#include "server/admin_service.h"
#include "server/collections_service.h"
#include "server/documents_service.h"
#include "server/operations_service.h"
#include "server/search_service.h"
#include "server/sources_service.h"

namespace pith {

namespace fs = std::filesystem;

namespace {

// Of one connection.
constexpr int kMaxConcurrentStreams = 1024;

// For answers that are on their way.
constexpr std::chrono::milliseconds kGoodbye(200);

}  // namespace

struct Server::Services {
  SearchServiceImpl search;
  DocumentsServiceImpl documents;
  CollectionsServiceImpl collections;
  OperationsServiceImpl operations;
  SourcesServiceImpl sources;
  AdminServiceImpl admin;
};

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    const ServerConfig& config, StoreBackend stores, ModelProvider& models,
    std::optional<UniqueFd> inherited_socket) {
  std::unique_ptr<Server> server(new Server(config));
  PITH_RETURN_IF_ERROR(server->Open(std::move(stores), models));
  PITH_RETURN_IF_ERROR(server->Listen(std::move(inherited_socket)));
  return server;
}

Server::Server(const ServerConfig& config)
    : config_(config), cache_(config.vector_cache_bytes) {}

Server::~Server() {
  Shutdown();
}

absl::Status Server::Open(StoreBackend stores, ModelProvider& models) {
  const fs::path collections = config_.data_directory / "collections";
  PITH_RETURN_IF_ERROR(CreatePrivateDirectories(collections));
  absl::StatusOr<FileLock> lock =
      FileLock::Acquire(config_.data_directory / "pithd.lock");
  if (absl::IsFailedPrecondition(lock.status())) {
    return WithReason(lock.status(), kAlreadyRunningReason);
  }
  PITH_RETURN_IF_ERROR(lock.status());
  lock_ = *std::move(lock);
  PITH_ASSIGN_OR_RETURN(collections_, CollectionRegistry::Open(
                                          collections, std::move(stores),
                                          models, cache_, config_.collection));
  sources_ = std::make_unique<SourceRegistry>(*collections_, config_.sources);
  operations_ = std::make_unique<OperationRegistry>();
  executor_ = std::make_unique<Executor>(
      "requests", static_cast<size_t>(config_.request_threads),
      static_cast<size_t>(config_.max_queued_requests));
  services_.reset(new Services{
      .search = SearchServiceImpl(*collections_, *executor_),
      .documents = DocumentsServiceImpl(*collections_, *executor_),
      .collections =
          CollectionsServiceImpl(*collections_, *operations_, *executor_),
      .operations = OperationsServiceImpl(*operations_, *executor_),
      .sources = SourcesServiceImpl(*collections_, *sources_, *operations_,
                                    *executor_),
      .admin = AdminServiceImpl(
          config_.data_directory.string(), config_.socket.string(),
          *collections_, *sources_, *operations_, models, cache_, *executor_)});
  return absl::OkStatus();
}

absl::Status Server::Listen(std::optional<UniqueFd> inherited_socket) {
  if (inherited_socket) {
    PITH_ASSIGN_OR_RETURN(listener_,
                          Listener::Adopt(*std::move(inherited_socket)));
  } else {
    PITH_ASSIGN_OR_RETURN(listener_, Listener::Bind(config_.socket));
  }
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetMaxSendMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                             kMaxConcurrentStreams);
  auto acceptor = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      grpc::InsecureServerCredentials());
  builder.RegisterService(&services_->search);
  builder.RegisterService(&services_->documents);
  builder.RegisterService(&services_->collections);
  builder.RegisterService(&services_->operations);
  builder.RegisterService(&services_->sources);
  builder.RegisterService(&services_->admin);
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) {
    return absl::InternalError("the gRPC server did not start");
  }
  listener_->Serve(std::move(acceptor));
  server_->GetHealthCheckService()->SetServingStatus(true);
  return absl::OkStatus();
}

void Server::Shutdown() {
  if (server_ != nullptr) {
    server_->GetHealthCheckService()->Shutdown();
    listener_.reset();
    // Operations may run for hours; what they have stored stays.
    for (const auto& operation : operations_->List()) {
      operation->Cancel();
    }
    sources_->Stop();
    executor_->CloseAndDrain(config_.drain_timeout);
    // gRPC would wait for idle connections, too, whose clients may never answer
    // its goodbye: what matters has ended by now.
    server_->Shutdown(std::chrono::system_clock::now() + kGoodbye);
    server_->Wait();
  }
  server_.reset();
  listener_.reset();
  services_.reset();
  executor_.reset();
  operations_.reset();
  sources_.reset();
  collections_.reset();
}

}  // namespace pith
