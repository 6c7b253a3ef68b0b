#ifndef PITH_BENCHMARKS_UPDATE_TEXTS_H_
#define PITH_BENCHMARKS_UPDATE_TEXTS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"

#include "core/base/matrix.h"
#include "core/index/embedder.h"

namespace pith {

// Texts of one line each with their vectors, and queries.
struct VectorTexts {
  std::vector<std::string> texts;
  // Row i is the unit vector of texts[i].
  Matrix vectors;
  Matrix queries;
};

// Texts of made-up words, about `bytes` long, whose vectors are sums of their
// words' vectors; words are the rarer the later they stand in the vocabulary.
// Deterministic.
class MadeUpTexts {
 public:
  explicit MadeUpTexts(size_t dimension);

  size_t dimension() const { return word_vectors_.columns(); }
  // The same for the same number; others for other numbers.
  std::string Text(uint64_t number, size_t bytes) const;
  // Of a text that consists of such words.
  void FillVector(std::string_view text, std::span<float> vector) const;

 private:
  Matrix word_vectors_;
};

// `count` texts of about `bytes` and `queries` more.
VectorTexts MakeUpVectorTexts(size_t count, size_t bytes, size_t queries,
                              size_t dimension);

// An Embedder whose vectors a function knows. Each line of a text counts as
// kLineTokens, as many as a passage may have, so that a document in
// TextFormat::kCode is cut into its lines (of 32 times as many bytes at most).
class KnownEmbedder : public Embedder {
 public:
  static constexpr int kLineTokens = 1000;

  // Writes the vector of a text; false if it is unknown.
  using Fill = std::function<bool(std::string_view text, std::span<float>)>;

  KnownEmbedder(int dimension, Fill fill);

  const ModelIdentity& identity() const override { return identity_; }
  int max_tokens() const override { return kLineTokens; }
  int CountTokens(std::string_view text) const override;
  // kInvalidArgument if a text is unknown.
  absl::StatusOr<Matrix> Embed(std::span<const std::string_view> texts,
                               TextRole role,
                               const RequestContext& context) override;

 private:
  const ModelIdentity identity_;
  const Fill fill_;
};

// Finds the vectors of `texts`, which outlives it.
class VectorTable {
 public:
  explicit VectorTable(const VectorTexts& texts);

  bool Fill(std::string_view text, std::span<float> vector) const;

 private:
  const Matrix& vectors_;
  absl::flat_hash_map<std::string_view, size_t> rows_;
};

// A model that need not embed again what is ingested and in a table: to fill a
// collection quickly that is then measured with the model itself. Everything
// else, what searches ask for among it, is the model's.
class PrefilledEmbedder : public Embedder {
 public:
  // Both outlive it.
  PrefilledEmbedder(const VectorTable& table, Embedder& model)
      : table_(table), model_(model) {}

  const ModelIdentity& identity() const override { return model_.identity(); }
  std::string precision() const override { return model_.precision(); }
  int max_tokens() const override { return model_.max_tokens(); }
  int CountTokens(std::string_view text) const override {
    return model_.CountTokens(text);
  }
  absl::StatusOr<Matrix> Embed(std::span<const std::string_view> texts,
                               TextRole role,
                               const RequestContext& context) override;

 private:
  const VectorTable& table_;
  Embedder& model_;
};

}  // namespace pith

#endif  // PITH_BENCHMARKS_UPDATE_TEXTS_H_
