#ifndef PITH_BENCHMARKS_EMBED_ENGINE_GROUP_H_
#define PITH_BENCHMARKS_EMBED_ENGINE_GROUP_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "benchmarks/embed/texts.h"
#include "core/base/matrix.h"
#include "embedder/engine.h"
#include "embedder/model_directory.h"

namespace pith {

// Engines of one kind and precision that share texts out among them as the
// daemon does among its workers.
class EngineGroup {
 public:
  // "onednn", and "torch" where it is built.
  static std::vector<std::string> Kinds();

  // Whether `kind` runs in `precision`, onednn on this CPU.
  static bool Has(std::string_view kind, Precision precision);

  // Of onednn an engine a thread, each with texts of `batch_tokens` tokens or
  // little more at a time; of torch one with so many threads, which shares out
  // all texts itself, on `device`. Errors are those of the engine's Load.
  static absl::StatusOr<EngineGroup> Load(std::string_view kind,
                                          const ModelSpec& spec,
                                          Precision precision, int threads,
                                          size_t batch_tokens,
                                          const std::string& device);

  // Row i is the embedding of texts[i].
  absl::StatusOr<Matrix> Embed(const TokenizedTexts& texts);

 private:
  EngineGroup() = default;

  std::vector<std::unique_ptr<Engine>> engines_;
  size_t batch_tokens_ = 0;
};

}  // namespace pith

#endif  // PITH_BENCHMARKS_EMBED_ENGINE_GROUP_H_
