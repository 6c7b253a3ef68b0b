#ifndef PITH_TESTS_FAKES_FAKE_MODELS_H_
#define PITH_TESTS_FAKES_FAKE_MODELS_H_

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

#include "core/base/string_view.h"
#include "server/backends.h"
#include "tests/fakes/hash_embedder.h"

namespace pith {

// Models by name, all HashEmbedders; the empty name is "default".
class FakeModels : public ModelProvider {
 public:
  FakeModels() { models_["default"] = std::make_unique<HashEmbedder>(); }

  HashEmbedder& embedder() { return *models_["default"]; }
  // Replaces a model, as if its directory had changed. No collection may be
  // open.
  void Set(const std::string& name, std::unique_ptr<HashEmbedder> embedder) {
    models_[name] = std::move(embedder);
  }

  absl::StatusOr<Embedder*> Open(std::string_view name) override {
    // A collection names its model as the embedder does.
    if (name.empty() || name == "hash") {
      name = "default";
    }
    const auto found = models_.find(std::string(name));
    if (found == models_.end()) {
      return absl::NotFoundError(absl::StrCat("model \"", AbslView(name),
                                              "\" is not among the fakes"));
    }
    return found->second.get();
  }

  absl::StatusOr<ModelDescription> Describe(std::string_view name) override {
    absl::StatusOr<Embedder*> embedder = Open(name);
    if (!embedder.ok()) {
      return embedder.status();
    }
    return ModelDescription{.name = (*embedder)->identity().name,
                            .fingerprint = (*embedder)->identity().fingerprint,
                            .dimension = (*embedder)->identity().dimension,
                            .max_tokens = (*embedder)->max_tokens()};
  }
  std::vector<ModelDescription> List() override {
    std::vector<ModelDescription> list;
    for (const auto& [name, embedder] : models_) {
      list.push_back({.name = name});
    }
    return list;
  }
  std::vector<WorkerDescription> Workers() override { return {}; }
  std::vector<QueueDescription> Queues() override { return {}; }

 private:
  std::map<std::string, std::unique_ptr<HashEmbedder>> models_;
};

}  // namespace pith

#endif  // PITH_TESTS_FAKES_FAKE_MODELS_H_
