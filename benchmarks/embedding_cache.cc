#include "benchmarks/embedding_cache.h"

#include <stdlib.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "core/base/file.h"
#include "core/base/hash.h"
#include "core/base/status_macros.h"
#include "embedder/tokenizer.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

// Texts in one file of vectors.
constexpr size_t kChunk = 4096;
constexpr int kMaxQueueTokens = 1 << 22;
constexpr absl::Duration kProgressInterval = absl::Seconds(10);

static_assert(std::endian::native == std::endian::little,
              "vectors are copied as they come");

std::string ChunkName(const std::string& fingerprint, Precision precision,
                      TextRole role, int max_tokens,
                      std::span<const std::string> texts) {
  Sha256 hash;
  hash.Update(absl::StrCat(fingerprint, " ", static_cast<int>(precision), " ",
                           static_cast<int>(role), " ", max_tokens, "\n"));
  for (const std::string& text : texts) {
    hash.Update(absl::StrCat(text.size(), " "));
    hash.Update(text);
  }
  return absl::StrCat(ToHex(hash.Finish()).substr(0, 32), ".f32");
}

}  // namespace

EmbeddingCache::EmbeddingCache(const Options& options, ModelSpec spec,
                               std::string fingerprint)
    : options_(options),
      spec_(std::move(spec)),
      fingerprint_(std::move(fingerprint)) {}

fs::path EmbeddingCache::DefaultDirectory() {
  const char* cache = getenv("XDG_CACHE_HOME");
  if (cache != nullptr && fs::path(cache).is_absolute()) {
    return fs::path(cache) / "pith" / "bench";
  }
  const char* home = getenv("HOME");
  return fs::path(home == nullptr ? "" : home) / ".cache" / "pith" / "bench";
}

absl::StatusOr<std::unique_ptr<EmbeddingCache>> EmbeddingCache::Open(
    const Options& options) {
  if (!fs::exists(options.worker)) {
    return ErrnoStatus(ENOENT, "open", options.worker);
  }
  PITH_RETURN_IF_ERROR(CreatePrivateDirectories(options.directory));
  PITH_ASSIGN_OR_RETURN(ModelSpec spec, LoadModelSpec(options.model));
  PITH_ASSIGN_OR_RETURN(
      std::string fingerprint,
      ModelFingerprint(spec, options.directory / "fingerprints.json"));
  return std::unique_ptr<EmbeddingCache>(
      new EmbeddingCache(options, std::move(spec), std::move(fingerprint)));
}

absl::StatusOr<std::unique_ptr<ModelEmbedder>> EmbeddingCache::StartEmbedder(
    int max_tokens) const {
  PITH_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer,
                        Tokenizer::Load(options_.model));
  ModelSpec spec = spec_;
  if (max_tokens != 0) {
    spec.max_tokens =
        std::min(spec.max_tokens, max_tokens + tokenizer->special_tokens());
  }
  return ModelEmbedder::Create(
      spec, fingerprint_, std::move(tokenizer),
      {.workers = {{options_.worker,
                    {"--model", spec_.directory.string(), "--precision",
                     std::string(PrecisionName(options_.precision)),
                     "--threads", absl::StrCat(options_.threads)}}},
       .max_ingest_batch_tokens = 1024,
       .max_queue_tokens = kMaxQueueTokens});
}

absl::StatusOr<Matrix> EmbeddingCache::Embed(std::span<const std::string> texts,
                                             TextRole role, int max_tokens) {
  const auto dimension = static_cast<size_t>(spec_.encoder.hidden_size);
  Matrix vectors(texts.size(), dimension);
  std::unique_ptr<ModelEmbedder> embedder;
  const absl::Time start = absl::Now();
  absl::Time next_progress = start;
  size_t embedded = 0;
  for (size_t first = 0; first < texts.size(); first += kChunk) {
    const std::span<const std::string> chunk =
        texts.subspan(first, std::min(kChunk, texts.size() - first));
    const std::span<float> rows =
        vectors.values().subspan(first * dimension, chunk.size() * dimension);
    const fs::path path =
        options_.directory /
        ChunkName(fingerprint_, options_.precision, role, max_tokens, chunk);
    const absl::StatusOr<std::string> file = ReadFile(path);
    if (file.ok() && file->size() == rows.size_bytes()) {
      std::memcpy(rows.data(), file->data(), rows.size_bytes());
      continue;
    }
    if (!file.ok() && !absl::IsNotFound(file.status())) {
      return file.status();
    }
    if (embedder == nullptr) {
      PITH_ASSIGN_OR_RETURN(embedder, StartEmbedder(max_tokens));
    }
    const std::vector<std::string_view> views(chunk.begin(), chunk.end());
    PITH_ASSIGN_OR_RETURN(
        const Matrix matrix,
        embedder->Embed(views, role, {.priority = EmbedPriority::kIngest}));
    std::copy(matrix.values().begin(), matrix.values().end(), rows.begin());
    PITH_RETURN_IF_ERROR(WriteFileAtomically(
        path, std::string_view(
                  reinterpret_cast<const char*>(rows.data()),  // NOLINT(*-cast)
                  rows.size_bytes())));
    embedded += chunk.size();
    if (absl::Now() >= next_progress) {
      next_progress = absl::Now() + kProgressInterval;
      absl::FPrintF(stderr, "embed: %d of %d texts, %.0f texts/s\n",
                    first + chunk.size(), texts.size(),
                    static_cast<double>(embedded) /
                        absl::ToDoubleSeconds(absl::Now() - start));
    }
  }
  return vectors;
}

}  // namespace pith
