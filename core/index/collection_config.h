#ifndef PITH_CORE_INDEX_COLLECTION_CONFIG_H_
#define PITH_CORE_INDEX_COLLECTION_CONFIG_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "core/base/matrix.h"
#include "core/codes/codebook.h"
#include "core/index/embedder.h"

namespace pith {

enum class Chunking {
  kStructure,  // cut at headings, paragraphs, blocks and sentences
  kNone,       // each document is one passage
};

// What a sealed passage costs on disk and in recomputed passages a query.
enum class CodeProfile {
  kMinimal,   // 33 bytes a code
  kBalanced,  // 49
  kFast,      // 97: about half the passages to recompute
};

// Where exact vectors come from, beside the cache.
enum class VectorSource {
  kRecompute,  // the model, from the passages' texts
  kStoredF16,  // the store, two bytes an element
  kStoredI8,   // the store, one byte an element
  // The store, two bytes an element, for the hubs of segments' graphs, which
  // searches ask for most; else the model. A hub's vector is stored when the
  // segment is there and nothing else waits to be embedded.
  kStoredHubs,
};

// The codes of a profile for vectors of `dimension`: fewer bytes if it is less
// than a profile's number of sub-quantisers.
CodeShape ShapeOf(CodeProfile profile, int dimension);

// What is chosen when a collection is created and never changes.
struct CollectionConfig {
  std::string name;
  // The model that every vector of the collection comes from.
  ModelIdentity model;
  Chunking chunking = Chunking::kStructure;
  int target_tokens = 200;
  // Whether a passage's title or heading path is embedded in front of its text;
  // docs/decisions/0003-context.md has the measurement behind the default.
  bool embed_context = true;
  absl::Time create_time;
  CodeProfile profile = CodeProfile::kBalanced;
  VectorSource vector_source = VectorSource::kRecompute;
  // Vectors of the first ProbeTexts(), if the model needs probes; else no rows.
  Matrix probes;
};

// OK if `name` is 1 to 64 letters, digits, '.', '_' or '-' and starts with a
// letter or digit; else kInvalidArgument. Such a name is a safe file name.
absl::Status CheckCollectionName(std::string_view name);

// kFailedPrecondition with both names if `model` is not the one that the
// collection was made with.
absl::Status CheckModel(const CollectionConfig& config,
                        const ModelIdentity& model);

// Bytes for the store's configuration value (docs/index_format.md) and back.
// kDataLoss if they are malformed.
std::string EncodeCollectionConfig(const CollectionConfig& config);
absl::StatusOr<CollectionConfig> DecodeCollectionConfig(std::string_view bytes);

}  // namespace pith

#endif  // PITH_CORE_INDEX_COLLECTION_CONFIG_H_
