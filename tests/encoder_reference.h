#ifndef PITH_TESTS_ENCODER_REFERENCE_H_
#define PITH_TESTS_ENCODER_REFERENCE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <span>
#include <vector>

#include "nlohmann/json.hpp"

#include "embedder/engine.h"
#include "tests/status_matchers.h"

namespace pith {

struct ReferenceText {
  std::vector<int32_t> ids;
  // Computed by sentence-transformers.
  std::vector<float> embedding;
};

// The texts of a model directory's reference.json, which
// tests/scripts/make_tiny_model.py wrote.
inline std::vector<ReferenceText> ReadReference(
    const std::filesystem::path& model) {
  std::ifstream file(model / "reference.json");
  const nlohmann::json entries = nlohmann::json::parse(file);
  std::vector<ReferenceText> texts;
  for (const nlohmann::json& entry : entries) {
    texts.push_back({entry["ids"], entry["embedding"]});
  }
  return texts;
}

inline PackedTokens Pack(std::span<const ReferenceText> texts) {
  PackedTokens tokens;
  for (const ReferenceText& text : texts) {
    tokens.ids.insert(tokens.ids.end(), text.ids.begin(), text.ids.end());
    tokens.offsets.push_back(static_cast<int32_t>(tokens.ids.size()));
  }
  return tokens;
}

inline double Cosine(std::span<const float> a, std::span<const float> b) {
  const auto dot = [](std::span<const float> x, std::span<const float> y) {
    return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
  };
  return dot(a, b) / std::sqrt(dot(a, a) * dot(b, b));
}

inline std::vector<double> CosinesToReference(
    Engine& engine, std::span<const ReferenceText> texts) {
  const absl::StatusOr<Matrix> vectors = engine.Embed(Pack(texts));
  EXPECT_OK(vectors);
  std::vector<double> cosines;
  for (size_t i = 0; i < texts.size(); ++i) {
    cosines.push_back(Cosine(vectors->row(i), texts[i].embedding));
  }
  return cosines;
}

// The least cosine between a text's vector in one batch with all others and
// alone.
inline double LeastCosineAloneToTogether(Engine& engine,
                                         std::span<const ReferenceText> texts) {
  const absl::StatusOr<Matrix> together = engine.Embed(Pack(texts));
  EXPECT_OK(together);
  double least = 1;
  for (size_t i = 0; i < texts.size(); ++i) {
    const absl::StatusOr<Matrix> alone =
        engine.Embed(Pack(texts.subspan(i, 1)));
    EXPECT_OK(alone);
    least = std::min(least, Cosine(alone->row(0), together->row(i)));
  }
  return least;
}

}  // namespace pith

#endif  // PITH_TESTS_ENCODER_REFERENCE_H_
