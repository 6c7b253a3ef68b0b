#include <unistd.h>

#include <chrono>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "nlohmann/json.hpp"

#include "core/base/status_macros.h"
#include "embedder/model_directory.h"
#include "embedder/tokenizer.h"
#include "embedder/torch/torch_engine.h"

// Embeds texts, one JSON string a line of standard input, with TorchEngine and
// writes the vectors to standard output: f32 in native byte order, one after
// another. Tokens and seconds go to standard error.

namespace pith {
namespace {

absl::Status EmbedLines(const std::string& model,
                        const TorchEngine::Options& options,
                        size_t batch_tokens) {
  PITH_ASSIGN_OR_RETURN(const ModelSpec spec, LoadModelSpec(model));
  PITH_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                        Tokenizer::Load(model));
  PITH_ASSIGN_OR_RETURN(const std::unique_ptr<TorchEngine> engine,
                        TorchEngine::Load(spec, options));
  std::vector<PackedTokens> batches;
  size_t tokens = 0;
  for (std::string line; std::getline(std::cin, line);) {
    const nlohmann::json text = nlohmann::json::parse(line, nullptr, false);
    if (!text.is_string()) {
      return absl::InvalidArgumentError("not a JSON string: " + line);
    }
    const std::vector<int32_t> ids =
        tokenizer->Encode(text.get_ref<const std::string&>(), spec.max_tokens)
            .ids;
    if (batches.empty() ||
        batches.back().ids.size() + ids.size() > batch_tokens) {
      batches.emplace_back();
    }
    PackedTokens& batch = batches.back();
    batch.ids.insert(batch.ids.end(), ids.begin(), ids.end());
    batch.offsets.push_back(static_cast<int32_t>(batch.ids.size()));
    tokens += ids.size();
  }
  const auto begin = std::chrono::steady_clock::now();
  for (const PackedTokens& batch : batches) {
    PITH_ASSIGN_OR_RETURN(const Matrix vectors, engine->Embed(batch));
    std::cout.write(
        reinterpret_cast<const char*>(vectors.values().data()),
        static_cast<std::streamsize>(vectors.values().size_bytes()));
  }
  const std::chrono::duration<double> seconds =
      std::chrono::steady_clock::now() - begin;
  std::cerr << tokens << " tokens, " << seconds.count() << " s\n";
  return absl::OkStatus();
}

}  // namespace
}  // namespace pith

int main(int argc, char** argv) {
  std::string model;
  bool bf16 = false;
  bool packed = false;
  size_t batch_tokens = 4096;
  pith::TorchEngine::Options options;
  CLI::App app("Embeds lines.");
  app.add_option("--model", model)->required();
  app.add_flag("--bf16", bf16);
  app.add_flag("--packed", packed, "units and attention as on CUDA");
  app.add_option("--threads", options.threads);
  app.add_option("--device", options.device);
  app.add_option("--batch-tokens", batch_tokens);
  CLI11_PARSE(app, argc, argv);
  options.precision = bf16 ? pith::Precision::kBf16 : pith::Precision::kF32;
  if (packed) {
    options.packing = pith::TorchEngine::kCudaPacking;
    options.attention = pith::TorchEngine::TextAttention::kPacked;
  }
  const absl::Status status = pith::EmbedLines(model, options, batch_tokens);
  if (!status.ok()) {
    std::cerr << status << '\n';
    return 1;
  }
  return 0;
}
