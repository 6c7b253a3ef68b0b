#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "glog/logging.h"

#include "core/base/status_macros.h"
#include "embedder/embedder_service.h"
#include "embedder/model_directory.h"
#include "embedder/onednn/onednn_engine.h"
#include "embedder/onednn/precision_choice.h"

// The CPU worker, one core's work: started by the daemon, serves
// EmbedderService on an inherited socket.
int main(int argc, char** argv) {
  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = true;

  std::string model;
  int fd = -1;
  std::string precision = "auto";
  std::string cache;
  CLI::App app("Runs a model for pithd, on the CPU.");
  app.add_option("--model", model, "Model directory")->required();
  app.add_option("--fd", fd, "Connected socket to serve on")->required();
  app.add_option("--precision", precision, "Of weights and matrix products")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "int8"}));
  app.add_option("--cache", cache, "File that keeps what auto chose");
  CLI11_PARSE(app, argc, argv);

  return pith::ServeModel(fd, [&]() -> absl::StatusOr<pith::LoadedEngine> {
    PITH_ASSIGN_OR_RETURN(const pith::ModelSpec spec,
                          pith::LoadModelSpec(model));
    std::optional<pith::Precision> chosen = pith::PrecisionNamed(precision);
    if (!chosen.has_value()) {
      PITH_ASSIGN_OR_RETURN(chosen, pith::ChoosePrecision(spec, cache));
    }
    PITH_ASSIGN_OR_RETURN(std::unique_ptr<pith::OnednnEngine> engine,
                          pith::OnednnEngine::Load(spec, *chosen));
    return pith::LoadedEngine{std::move(engine), "cpu", *chosen};
  });
}
