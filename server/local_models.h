#ifndef PITH_SERVER_LOCAL_MODELS_H_
#define PITH_SERVER_LOCAL_MODELS_H_

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"

#include "core/base/mutex.h"
#include "embedder/model_directory.h"
#include "embedder/model_embedder.h"
#include "embedder/remote/remote_embedder.h"
#include "server/backends.h"

namespace pith {

// Models in directories on this machine, each run by workers that are started,
// or connected to, when the first text comes, or by the server that its
// remote.json names.
class LocalModels : public ModelProvider {
 public:
  struct Options {
    ModelSearchPaths search;
    // What an empty name means.
    std::string default_model;
    // Where fingerprints are kept; see ModelFingerprint.
    std::filesystem::path fingerprint_cache;
    // The workers' commands lack the model, which is added.
    WorkerPool::Options pool;
  };
  explicit LocalModels(const Options& options) : options_(options) {}

  absl::StatusOr<Embedder*> Open(std::string_view name) override
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<ModelDescription> Describe(std::string_view name) override;
  std::vector<ModelDescription> List() override;
  std::vector<WorkerDescription> Workers() override ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<QueueDescription> Queues() override ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct OpenModel {
    // One of them.
    std::unique_ptr<ModelEmbedder> local;
    std::unique_ptr<RemoteEmbedder> remote;
    std::string url;

    Embedder& embedder() const {
      return local != nullptr ? static_cast<Embedder&>(*local) : *remote;
    }
  };

  absl::StatusOr<OpenModel> OpenLocal(
      const std::filesystem::path& directory) const;
  absl::StatusOr<OpenModel> OpenRemote(
      const std::filesystem::path& directory) const;
  absl::StatusOr<RemoteModelSpec> LoadRemoteSpec(
      const std::filesystem::path& directory) const;
  // The fingerprint of a model that runs here takes reading its weights.
  absl::StatusOr<ModelDescription> DescribeDirectory(
      const std::filesystem::path& directory, bool with_fingerprint) const;
  // What a collection may call the model in `directory`, whose name is `name`.
  std::string NameToFindBy(const std::string& name,
                           const std::filesystem::path& directory) const;
  // The name, or the default; kFailedPrecondition if there is neither.
  absl::StatusOr<std::string> Resolve(std::string_view name) const;

  const Options options_;
  Mutex mutex_;
  // By canonical directory. Entries are never removed.
  std::map<std::filesystem::path, OpenModel> open_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pith

#endif  // PITH_SERVER_LOCAL_MODELS_H_
