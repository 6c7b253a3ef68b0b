#ifndef PITH_SERVER_SERVER_H_
#define PITH_SERVER_SERVER_H_

#include <filesystem>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/server.h"

#include "core/base/file.h"
#include "core/index/collection.h"
#include "core/index/vector_cache.h"
#include "server/backends.h"
#include "server/collection_registry.h"
#include "server/executor.h"
#include "server/listener.h"
#include "server/operations.h"
#include "server/source_registry.h"

namespace pith {

struct ServerConfig {
  // Holds the lock, the collections and, unless given elsewhere, the socket.
  std::filesystem::path data_directory;
  // Empty: connections come over `inherited_socket`.
  std::filesystem::path socket;
  // Threads that run requests, and requests that may wait for one.
  int request_threads = 4;
  int max_queued_requests = 256;
  Collection::Options collection;
  SourceRegistry::Options sources;
  // Of the cache of exact vectors, for all collections.
  size_t vector_cache_bytes = size_t{16} << 20;
  // How long requests under way may go on after Shutdown.
  absl::Duration drain_timeout = absl::Seconds(10);
};

// Largest message in either direction: a document's text at its limit, and what
// surrounds it.
inline constexpr int kMaxMessageBytes = 80 << 20;

// The daemon: everything behind the socket. Members are declared in the order
// in which they are built, so that destruction runs it backwards.
class Server {
 public:
  // Opens the data directory and serves. kFailedPrecondition naming the other
  // process's pid if one owns the directory or the socket. `models` outlives
  // the server.
  static absl::StatusOr<std::unique_ptr<Server>> Start(
      const ServerConfig& config, StoreBackend stores, ModelProvider& models,
      std::optional<UniqueFd> inherited_socket = std::nullopt);

  // As Shutdown.
  ~Server();

  // Stops accepting, lets requests under way end, applies queued writes and
  // closes everything.
  void Shutdown();

 private:
  struct Services;

  explicit Server(const ServerConfig& config);
  absl::Status Open(StoreBackend stores, ModelProvider& models);
  absl::Status Listen(std::optional<UniqueFd> inherited_socket);

  const ServerConfig config_;
  std::optional<FileLock> lock_;
  VectorCache cache_;
  std::unique_ptr<CollectionRegistry> collections_;
  std::unique_ptr<SourceRegistry> sources_;
  std::unique_ptr<OperationRegistry> operations_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<Services> services_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Listener> listener_;
};

}  // namespace pith

#endif  // PITH_SERVER_SERVER_H_
