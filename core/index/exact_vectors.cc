#include "core/index/exact_vectors.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

#include "core/base/coding.h"
#include "core/base/float16.h"
#include "core/base/status_macros.h"
#include "core/base/vector_math.h"
#include "core/index/document_change.h"
#include "core/index/stored_vector.h"

namespace pith {
namespace {

// A call to the embedder has a bounded number of tokens; all but unusually
// large reranks fit one.
constexpr size_t kPassagesPerCall = 256;

// What it costs to have a stored vector again, in bytes of text to be embedded:
// so little that it takes no recomputed one's place in the cache.
constexpr double kReadCost = 1;

// As the cache does; then its norm is a little off.
void RoundToF16(std::span<float> vector) {
  for (float& value : vector) {
    value = F16ToFloat(F16FromFloat(value));
  }
  const float norm = Norm(vector);
  for (float& value : vector) {
    value /= norm;
  }
}

}  // namespace

ExactVectors::ExactVectors(const CollectionConfig& config,
                           const PassageStore& store, Embedder& embedder,
                           VectorCache& cache)
    : config_(config), store_(store), embedder_(embedder), cache_(cache) {}

absl::StatusOr<Matrix> ExactVectors::Get(std::span<const Passage> passages,
                                         const RequestContext& context,
                                         VectorCounts& counts) const {
  Matrix vectors(passages.size(), static_cast<size_t>(config_.model.dimension));
  std::vector<Wanted> wanted;
  wanted.reserve(passages.size());
  const std::string precision = embedder_.precision();
  for (size_t i = 0; i < passages.size(); ++i) {
    std::string text = EmbeddedText(passages[i], config_);
    const ContentHash key = Key(text, precision);
    wanted.push_back({.passage = passages[i].id,
                      .text = std::move(text),
                      .key = key,
                      .vector = vectors.row(i)});
  }
  FromCache(wanted, counts);
  if (config_.vector_source != VectorSource::kRecompute) {
    PITH_RETURN_IF_ERROR(FromStore(wanted, precision, counts));
  }
  PITH_RETURN_IF_ERROR(FromModel(wanted, context, counts));
  for (size_t i = 0; i < vectors.rows(); ++i) {
    RoundToF16(vectors.row(i));
  }
  return vectors;
}

ContentHash ExactVectors::Key(std::string_view text,
                              std::string_view precision) const {
  std::string model;
  PutString(config_.model.fingerprint, model);
  PutVarint(static_cast<uint64_t>(config_.model.dimension), model);
  PutString(precision, model);
  // Elsewhere the same text has another vector; one from f16 is what it is
  // rounded to.
  PutVarint(config_.vector_source == VectorSource::kStoredI8 ? 1 : 0, model);
  Sha256 sha;
  sha.Update(model);
  sha.Update(text);
  return sha.FinishContent();
}

void ExactVectors::FromCache(std::vector<Wanted>& wanted,
                             VectorCounts& counts) const {
  counts.cached += std::erase_if(wanted, [this](const Wanted& one) {
    return cache_.Find(one.key, one.vector);
  });
}

absl::Status ExactVectors::FromStore(std::vector<Wanted>& wanted,
                                     std::string_view precision,
                                     VectorCounts& counts) const {
  std::vector<PassageId> ids;
  ids.reserve(wanted.size());
  for (const Wanted& one : wanted) {
    ids.push_back(one.passage);
  }
  PITH_ASSIGN_OR_RETURN(const std::vector<std::optional<std::string>> stored,
                        store_.GetVectors(ids));
  std::vector<Wanted> missing;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (!stored[i]) {
      // Its passage is no hub, if those alone are stored, or was deleted since
      // it was read.
      missing.push_back(std::move(wanted[i]));
      continue;
    }
    PITH_ASSIGN_OR_RETURN(
        const std::string_view stored_precision,
        Annotate(DecodeStoredVector(*stored[i], wanted[i].vector),
                 absl::StrCat("passage ", static_cast<uint64_t>(ids[i]))));
    ++counts.stored;
    if (stored_precision == precision) {
      cache_.Insert(wanted[i].key, wanted[i].vector, kReadCost);
    } else {
      // It must not stand for vectors of this precision.
      ++counts.other_precision;
    }
  }
  wanted = std::move(missing);
  return absl::OkStatus();
}

absl::Status ExactVectors::FromModel(std::span<const Wanted> wanted,
                                     const RequestContext& context,
                                     VectorCounts& counts) const {
  for (size_t first = 0; first < wanted.size(); first += kPassagesPerCall) {
    const std::span<const Wanted> part = wanted.subspan(
        first, std::min(kPassagesPerCall, wanted.size() - first));
    std::vector<std::string_view> texts;
    texts.reserve(part.size());
    for (const Wanted& one : part) {
      texts.push_back(one.text);
    }
    PITH_ASSIGN_OR_RETURN(const Matrix embedded,
                          embedder_.Embed(texts, TextRole::kPassage, context));
    counts.recomputed += part.size();
    for (size_t i = 0; i < part.size(); ++i) {
      std::copy(embedded.row(i).begin(), embedded.row(i).end(),
                part[i].vector.begin());
      cache_.Insert(part[i].key, part[i].vector,
                    static_cast<double>(part[i].text.size()));
    }
  }
  return absl::OkStatus();
}

}  // namespace pith
