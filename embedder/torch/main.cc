#include <memory>
#include <optional>
#include <string>

#include "CLI/CLI.hpp"

#include "core/base/status_macros.h"
#include "embedder/torch/torch_engine.h"
#include "embedder/worker_main.h"

// The LibTorch worker.
int main(int argc, char** argv) {
  pith::TorchEngine::Options options;
  return pith::WorkerMain(
      argc, argv, "Runs a model for pithd.",
      [&](CLI::App& app) {
        app.add_option("--threads", options.threads, "CPU threads");
        app.add_option("--device", options.device, "auto, cpu or cuda:N");
      },
      [&](const pith::ModelSpec& spec, std::optional<pith::Precision> precision)
          -> absl::StatusOr<pith::LoadedEngine> {
        options.precision = precision;
        PITH_ASSIGN_OR_RETURN(std::unique_ptr<pith::TorchEngine> engine,
                              pith::TorchEngine::Load(spec, options));
        std::string device = engine->device();
        const pith::Precision used = engine->precision();
        return pith::LoadedEngine{std::move(engine), std::move(device), used};
      });
}
