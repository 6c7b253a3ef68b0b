#include <memory>
#include <optional>
#include <string>

#include "CLI/CLI.hpp"

#include "core/base/status_macros.h"
#include "embedder/onednn/onednn_engine.h"
#include "embedder/onednn/precision_choice.h"
#include "embedder/worker_main.h"

// The CPU worker, one core's work.
int main(int argc, char** argv) {
  std::string cache;
  return pith::WorkerMain(
      argc, argv, "Runs a model for pithd, on the CPU.",
      [&](CLI::App& app) {
        app.add_option("--cache", cache, "File that keeps what auto chose");
      },
      [&](const pith::ModelSpec& spec, std::optional<pith::Precision> precision)
          -> absl::StatusOr<pith::LoadedEngine> {
        if (!precision) {
          PITH_ASSIGN_OR_RETURN(precision, pith::ChoosePrecision(spec, cache));
        }
        PITH_ASSIGN_OR_RETURN(std::unique_ptr<pith::OnednnEngine> engine,
                              pith::OnednnEngine::Load(spec, *precision));
        return pith::LoadedEngine{std::move(engine), "cpu", *precision};
      });
}
