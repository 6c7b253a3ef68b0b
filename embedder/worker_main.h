#ifndef PITH_EMBEDDER_WORKER_MAIN_H_
#define PITH_EMBEDDER_WORKER_MAIN_H_

#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

#include "embedder/embedder_service.h"
#include "embedder/model_directory.h"

namespace CLI {
class App;
}  // namespace CLI

namespace pith {

// A worker's main(), and its exit code: the flags that all workers have and
// those that `add_flags` adds, then the model until nobody needs it any more.
// `load` gets the model and --precision, nullopt for auto.
int WorkerMain(int argc, char** argv, const std::string& description,
               absl::FunctionRef<void(CLI::App&)> add_flags,
               absl::FunctionRef<absl::StatusOr<LoadedEngine>(
                   const ModelSpec&, std::optional<Precision>)>
                   load);

}  // namespace pith

#endif  // PITH_EMBEDDER_WORKER_MAIN_H_
