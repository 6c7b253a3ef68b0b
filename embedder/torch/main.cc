#include <string>

#include "CLI/CLI.hpp"
#include "glog/logging.h"

#include "core/base/status_macros.h"
#include "embedder/embedder_service.h"
#include "embedder/model_directory.h"
#include "embedder/torch/torch_engine.h"

// The LibTorch worker: started by the daemon, serves EmbedderService on an
// inherited socket.
int main(int argc, char** argv) {
  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = true;

  std::string model;
  int fd = -1;
  std::string precision = "auto";
  pith::TorchEngine::Options options;
  CLI::App app("Runs a model for pithd.");
  app.add_option("--model", model, "Model directory")->required();
  app.add_option("--fd", fd, "Connected socket to serve on")->required();
  app.add_option("--precision", precision, "Of weights and matrix products")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "int8"}));
  app.add_option("--threads", options.threads, "CPU threads");
  app.add_option("--device", options.device, "auto, cpu or cuda:N");
  CLI11_PARSE(app, argc, argv);
  options.precision = pith::PrecisionNamed(precision);

  return pith::ServeModel(fd, [&]() -> absl::StatusOr<pith::LoadedEngine> {
    PITH_ASSIGN_OR_RETURN(const pith::ModelSpec spec,
                          pith::LoadModelSpec(model));
    PITH_ASSIGN_OR_RETURN(std::unique_ptr<pith::TorchEngine> engine,
                          pith::TorchEngine::Load(spec, options));
    std::string device = engine->device();
    const pith::Precision used = engine->precision();
    return pith::LoadedEngine{std::move(engine), std::move(device), used};
  });
}
