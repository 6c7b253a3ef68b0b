#include "benchmarks/embed/engine_group.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <thread>
#include <utility>

#include "absl/status/status.h"

#include "core/base/status_macros.h"
#include "embedder/onednn/onednn_engine.h"
#include "embedder/onednn/packed_linear.h"
#ifdef PITH_WITH_TORCH
#include "embedder/torch/torch_engine.h"
#endif

namespace pith {
namespace {

constexpr char kOnednn[] = "onednn";
#ifdef PITH_WITH_TORCH
constexpr char kTorch[] = "torch";
#endif

struct Batch {
  size_t first_text;
  PackedTokens tokens;
};

std::vector<Batch> MakeBatches(const TokenizedTexts& texts, size_t tokens) {
  std::vector<Batch> batches;
  for (size_t i = 0; i < texts.size(); ++i) {
    if (batches.empty() || batches.back().tokens.ids.size() >= tokens) {
      batches.push_back({.first_text = i, .tokens = {}});
    }
    PackedTokens& batch = batches.back().tokens;
    batch.ids.insert(batch.ids.end(), texts[i].begin(), texts[i].end());
    batch.offsets.push_back(static_cast<int32_t>(batch.ids.size()));
  }
  return batches;
}

}  // namespace

std::vector<std::string> EngineGroup::Kinds() {
  return {
      kOnednn,
#ifdef PITH_WITH_TORCH
      kTorch,
#endif
  };
}

bool EngineGroup::Has(std::string_view kind, Precision precision) {
  return kind == kOnednn ? CpuHas(precision) : precision != Precision::kInt8;
}

absl::StatusOr<EngineGroup> EngineGroup::Load(std::string_view kind,
                                              const ModelSpec& spec,
                                              Precision precision, int threads,
                                              size_t batch_tokens,
                                              const std::string& device) {
  EngineGroup group;
  if (kind == kOnednn) {
    group.batch_tokens_ = batch_tokens;
    for (int i = 0; i < threads; ++i) {
      PITH_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine,
                            OnednnEngine::Load(spec, precision));
      group.engines_.push_back(std::move(engine));
    }
    return group;
  }
#ifdef PITH_WITH_TORCH
  group.batch_tokens_ = std::numeric_limits<size_t>::max();
  PITH_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine,
                        TorchEngine::Load(spec, {.precision = precision,
                                                 .threads = threads,
                                                 .device = device}));
  group.engines_.push_back(std::move(engine));
#endif
  return group;
}

absl::StatusOr<Matrix> EngineGroup::Embed(const TokenizedTexts& texts) {
  const std::vector<Batch> batches = MakeBatches(texts, batch_tokens_);
  Matrix result(texts.size(),
                static_cast<size_t>(engines_.front()->dimension()));
  std::vector<absl::Status> statuses(engines_.size());
  std::atomic<size_t> next = 0;
  std::vector<std::jthread> running;
  for (size_t e = 0; e < engines_.size(); ++e) {
    running.emplace_back([&, e] {
      for (size_t i = next++; i < batches.size() && statuses[e].ok();
           i = next++) {
        const absl::StatusOr<Matrix> vectors =
            engines_[e]->Embed(batches[i].tokens);
        if (!vectors.ok()) {
          statuses[e] = vectors.status();
          return;
        }
        std::ranges::copy(vectors->values(),
                          result.row(batches[i].first_text).data());
      }
    });
  }
  running.clear();
  for (const absl::Status& status : statuses) {
    PITH_RETURN_IF_ERROR(status);
  }
  return result;
}

}  // namespace pith
