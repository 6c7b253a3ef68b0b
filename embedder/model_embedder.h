#ifndef PITH_EMBEDDER_MODEL_EMBEDDER_H_
#define PITH_EMBEDDER_MODEL_EMBEDDER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "core/base/matrix.h"
#include "core/index/embedder.h"
#include "embedder/model_directory.h"
#include "embedder/tokenizer.h"
#include "embedder/worker_pool.h"

namespace pith {

// One model in workers. Texts are tokenised on the caller's thread,
// while workers embed what came before.
class ModelEmbedder : public Embedder {
 public:
  // Name, fingerprint and dimension in `options` are filled in.
  // kInvalidArgument if an option is out of range or the tokenizer has ids that
  // the model lacks. Starts no worker.
  static absl::StatusOr<std::unique_ptr<ModelEmbedder>> Create(
      const ModelSpec& spec, std::string fingerprint,
      std::unique_ptr<const Tokenizer> tokenizer, WorkerPool::Options options);

  // As the interface and WorkerPool say, and: kInvalidArgument if one call has
  // more tokens than the queue holds. Tokens are those of the call's texts with
  // prompts and special tokens.
  absl::StatusOr<Matrix> Embed(std::span<const std::string_view> texts,
                               TextRole role,
                               const RequestContext& context) override;

  const ModelIdentity& identity() const override { return identity_; }
  std::string precision() const override;
  int CountTokens(std::string_view text) const override;
  int max_tokens() const override;

  WorkerPool::Status status() const { return pool_.status(); }

 private:
  ModelEmbedder(const ModelSpec& spec, std::string fingerprint,
                std::unique_ptr<const Tokenizer> tokenizer,
                WorkerPool::Options options);

  absl::StatusOr<std::vector<std::vector<int32_t>>> Tokenize(
      std::span<const std::string_view> texts, TextRole role,
      const RequestContext& context) const;

  const ModelSpec spec_;
  const ModelIdentity identity_;
  const std::unique_ptr<const Tokenizer> tokenizer_;
  const int64_t max_call_tokens_;
  WorkerPool pool_;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_MODEL_EMBEDDER_H_
