#ifndef PITH_BENCHMARKS_EMBEDDING_CACHE_H_
#define PITH_BENCHMARKS_EMBEDDING_CACHE_H_

#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"

#include "core/base/matrix.h"
#include "core/index/embedder.h"
#include "embedder/engine.h"
#include "embedder/model_embedder.h"

namespace pith {

// Vectors of texts, kept on disk between runs so that the model sees each text
// once. Texts are embedded in chunks of a fixed size; a chunk's file is named
// by the hash of everything its vectors depend on, so that runs over a longer
// or shorter prefix of the same texts share files, and a run that was stopped
// goes on where it was.
class EmbeddingCache {
 public:
  struct Options {
    // Created if it does not exist.
    std::filesystem::path directory;
    // A model directory, and the worker that runs it.
    std::filesystem::path model;
    std::filesystem::path worker;
    Precision precision = Precision::kBf16;
    int threads = 2;
  };

  // $XDG_CACHE_HOME/pith/bench, or that below ~/.cache.
  static std::filesystem::path DefaultDirectory();

  // The model is only run for texts whose vectors are not there. kNotFound if
  // the model or the worker does not exist.
  static absl::StatusOr<std::unique_ptr<EmbeddingCache>> Open(
      const Options& options);

  // Row i is the embedding of texts[i], cut to its first `max_tokens` tokens
  // (without special tokens) if that is not 0. Progress of texts that have to
  // be embedded is printed to standard error.
  absl::StatusOr<Matrix> Embed(std::span<const std::string> texts,
                               TextRole role, int max_tokens);

 private:
  EmbeddingCache(const Options& options, ModelSpec spec,
                 std::string fingerprint);

  absl::StatusOr<std::unique_ptr<ModelEmbedder>> StartEmbedder(
      int max_tokens) const;

  const Options options_;
  const ModelSpec spec_;
  const std::string fingerprint_;
};

}  // namespace pith

#endif  // PITH_BENCHMARKS_EMBEDDING_CACHE_H_
