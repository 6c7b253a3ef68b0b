#include "core/index/collection_config.h"

#include <algorithm>
#include <bit>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

#include "core/base/coding.h"
#include "core/base/reason.h"
#include "core/base/string_view.h"
#include "core/index/probed_embedder.h"

namespace pith {
namespace {

constexpr size_t kMaxNameBytes = 64;
constexpr uint64_t kMaxDimension = 65536;
constexpr uint64_t kMaxTargetTokens = 1 << 20;

}  // namespace

absl::Status CheckCollectionName(std::string_view name) {
  const bool sound =
      !name.empty() && name.size() <= kMaxNameBytes &&
      absl::ascii_isalnum(static_cast<unsigned char>(name[0])) &&
      std::all_of(name.begin(), name.end(), [](char c) {
        return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' ||
               c == '_' || c == '-';
      });
  if (!sound) {
    return absl::InvalidArgumentError(absl::StrCat(
        "collection name \"", AbslView(name.substr(0, 2 * kMaxNameBytes)),
        "\" is not 1 to ", kMaxNameBytes,
        " letters, digits, '.', '_' or '-' that start with a letter or digit"));
  }
  return absl::OkStatus();
}

CodeShape ShapeOf(CodeProfile profile, int dimension) {
  int subquantizers = 0;
  switch (profile) {
    case CodeProfile::kMinimal:
      subquantizers = 32;
      break;
    case CodeProfile::kBalanced:
      subquantizers = 48;
      break;
    case CodeProfile::kFast:
      subquantizers = 96;
      break;
  }
  return {.subquantizers = std::min(subquantizers, dimension), .bits = 8};
}

absl::Status CheckModel(const CollectionConfig& config,
                        const ModelIdentity& model) {
  if (model.fingerprint != config.model.fingerprint) {
    return WithReason(
        absl::FailedPreconditionError(absl::StrCat(
            "collection \"", config.name, "\" was made with model \"",
            config.model.name, "\" (fingerprint ",
            config.model.fingerprint.substr(0, 16), "), not with \"",
            model.name, "\" (", model.fingerprint.substr(0, 16), ")")),
        "MODEL_MISMATCH");
  }
  return absl::OkStatus();
}

std::string EncodeCollectionConfig(const CollectionConfig& config) {
  std::string bytes;
  PutString(config.name, bytes);
  PutString(config.model.name, bytes);
  PutString(config.model.fingerprint, bytes);
  PutVarint(static_cast<uint64_t>(config.model.dimension), bytes);
  PutVarint(config.chunking == Chunking::kNone ? 1 : 0, bytes);
  PutVarint(static_cast<uint64_t>(config.target_tokens), bytes);
  PutVarint(config.embed_context ? 1 : 0, bytes);
  PutFixed64(static_cast<uint64_t>(absl::ToUnixMicros(config.create_time)),
             bytes);
  PutVarint(static_cast<uint64_t>(config.profile), bytes);
  PutVarint(static_cast<uint64_t>(config.vector_source), bytes);
  if (config.probes.rows() > 0) {
    PutVarint(config.probes.rows(), bytes);
    for (const float value : config.probes.values()) {
      PutFixed32(std::bit_cast<uint32_t>(value), bytes);
    }
  }
  return bytes;
}

absl::StatusOr<CollectionConfig> DecodeCollectionConfig(
    std::string_view bytes) {
  Decoder decoder(bytes);
  CollectionConfig config;
  config.name = decoder.String();
  config.model.name = decoder.String();
  config.model.fingerprint = decoder.String();
  config.model.dimension = static_cast<int>(decoder.Varint(kMaxDimension));
  config.chunking =
      decoder.Varint(1) == 1 ? Chunking::kNone : Chunking::kStructure;
  config.target_tokens = static_cast<int>(decoder.Varint(kMaxTargetTokens));
  config.embed_context = decoder.Varint(1) == 1;
  config.create_time =
      absl::FromUnixMicros(static_cast<int64_t>(decoder.Fixed64()));
  // Collections of the first version end here: they had no sealed passages.
  if (!decoder.done()) {
    config.profile = static_cast<CodeProfile>(
        decoder.Varint(static_cast<uint64_t>(CodeProfile::kFast)));
  }
  // Those of the second end here: they could not store vectors.
  if (!decoder.done()) {
    config.vector_source = static_cast<VectorSource>(
        decoder.Varint(static_cast<uint64_t>(VectorSource::kStoredHubs)));
  }
  bool probes_sound = true;
  if (!decoder.done()) {
    const uint64_t rows = decoder.Varint(ProbeTexts().size());
    const auto columns = static_cast<size_t>(config.model.dimension);
    probes_sound =
        rows > 0 && rows * columns * sizeof(float) == decoder.remaining();
    if (probes_sound) {
      config.probes = Matrix(rows, columns);
      for (float& value : config.probes.values()) {
        value = std::bit_cast<float>(decoder.Fixed32());
      }
    }
  }
  if (!probes_sound || !decoder.done() || config.model.dimension == 0 ||
      !CheckCollectionName(config.name).ok()) {
    return absl::DataLossError(absl::StrCat(
        "collection configuration of ", bytes.size(), " bytes is malformed"));
  }
  return config;
}

}  // namespace pith
