#ifndef PITH_SERVER_BACKENDS_H_
#define PITH_SERVER_BACKENDS_H_

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "core/index/embedder.h"
#include "core/storage/passage_store.h"

namespace pith {

struct ModelDescription {
  std::string name;
  std::filesystem::path directory;
  // Empty in lists where it would have to be computed.
  std::string fingerprint;
  int dimension = 0;
  int max_tokens = 0;
  std::string pooling;
  std::string query_prompt;
  std::string passage_prompt;
  int layers = 0;
  int vocabulary_size = 0;
  bool is_default = false;
  // Of a model that a server runs: its API as remote.json names it, and where
  // it is. pooling, layers and vocabulary_size are not known then.
  std::string api;
  std::string url;
  // Why it cannot be used, if so; then only name and directory are set.
  absl::Status error;
};

struct WorkerDescription {
  // kRemote: a server runs the model, of which no more is known.
  enum class State { kStopped, kStarting, kReady, kRemote };
  std::string model;
  State state = State::kStopped;
  // Where that server is.
  std::string url;
  // Of a worker of pith's that the daemon did not start; it has no pid.
  std::string address;
  pid_t pid = 0;
  // What the last one computed on, "cpu" or "cuda:0", and in: "int8".
  std::string device;
  std::string precision;
  // Workers that were lost, by crash or time-out, or requests that a server
  // failed.
  uint64_t lost = 0;
  uint64_t texts_embedded = 0;
  uint64_t tokens_embedded = 0;
  // Why a worker last died or could not start; empty if none did.
  std::string last_error;
};

// The queue before a model's workers, since the daemon began;
// v1::EmbeddingQueue has the words.
struct QueueDescription {
  std::string model;
  int64_t search_tokens = 0;
  int64_t ingest_tokens = 0;
  int64_t batches = 0;
  int64_t texts = 0;
  int64_t tokens = 0;
  int64_t room_tokens = 0;
  int64_t shared_texts = 0;
  int64_t refused_calls = 0;
  int64_t dropped_calls = 0;
};

// Where models come from and run. Thread-safe.
class ModelProvider {
 public:
  virtual ~ModelProvider() = default;

  // The embedder of the model called `name` (a path, a name, org/name; empty:
  // the default). The same for two names of one directory. It lives as long as
  // the provider. kNotFound listing where it was looked for, kInvalidArgument
  // if the model cannot be used.
  virtual absl::StatusOr<Embedder*> Open(std::string_view name) = 0;

  virtual absl::StatusOr<ModelDescription> Describe(std::string_view name) = 0;
  virtual std::vector<ModelDescription> List() = 0;
  virtual std::vector<WorkerDescription> Workers() = 0;
  virtual std::vector<QueueDescription> Queues() = 0;
};

// How a collection's store is made and opened.
struct StoreBackend {
  struct OpenStore {
    std::string configuration;
    std::unique_ptr<PassageStore> store;
  };
  std::function<absl::StatusOr<OpenStore>(
      const std::filesystem::path& directory, std::string_view configuration)>
      create;
  std::function<absl::StatusOr<OpenStore>(
      const std::filesystem::path& directory)>
      open;
  // Changes nothing in the directory.
  std::function<absl::StatusOr<OpenStore>(
      const std::filesystem::path& directory)>
      open_read_only;
};

}  // namespace pith

#endif  // PITH_SERVER_BACKENDS_H_
