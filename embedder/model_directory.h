#ifndef PITH_EMBEDDER_MODEL_DIRECTORY_H_
#define PITH_EMBEDDER_MODEL_DIRECTORY_H_

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace pith {

enum class Pooling { kMean, kCls };
enum class Activation { kGelu, kGeluTanh, kRelu };

// config.json of a BERT, RoBERTa or XLM-RoBERTa encoder.
struct EncoderConfig {
  int vocab_size = 0;
  int hidden_size = 0;
  int layers = 0;
  int heads = 0;
  int intermediate_size = 0;
  // Tokens of a text that have a position.
  int max_positions = 0;
  // The row of the first token's in the table of positions, which has
  // position_offset + max_positions rows. Not 0 for RoBERTa, which keeps rows
  // for padding.
  int position_offset = 0;
  int token_types = 0;
  double layer_norm_epsilon = 1e-12;
  Activation activation = Activation::kGelu;
};

// A model: a directory in Hugging Face layout, read and checked.
struct ModelSpec {
  // The directory's name, or org/name from a Hugging Face cache.
  std::string name;
  std::filesystem::path directory;
  EncoderConfig encoder;
  Pooling pooling = Pooling::kMean;
  // Whether the model itself normalises; pith makes unit vectors all the same.
  bool normalizes = false;
  // Tokens of one input, special tokens included.
  int max_tokens = 0;
  std::string query_prompt;
  std::string passage_prompt;
};

// Reads config.json, and modules.json, 1_Pooling/config.json,
// sentence_bert_config.json and config_sentence_transformers.json where
// present. pith.json, which a user may add, has the last word on what those
// leave out: {"query_prompt": "query: ", "passage_prompt": "passage: ",
// "pooling": "cls"}, each optional. kNotFound or kInvalidArgument naming the
// file, the field, its value and what is supported.
absl::StatusOr<ModelSpec> LoadModelSpec(const std::filesystem::path& directory);

struct ModelSearchPaths {
  // $XDG_DATA_HOME/pith/models
  std::filesystem::path models;
  // Hugging Face's hub cache ($HF_HUB_CACHE, $HF_HOME/hub or
  // ~/.cache/huggingface/hub)
  std::filesystem::path hub_cache;
};

// The directory of the model called `name`: a path (if it contains a directory
// separator and exists, or starts with / or .), a name under paths.models, or
// org/name in the hub cache (snapshots/<refs/main>). kNotFound that lists every
// place looked in.
absl::StatusOr<std::filesystem::path> FindModel(std::string_view name,
                                                const ModelSearchPaths& paths);

// Directories of the models in both places, those with a config.json or a
// remote.json (embedder/remote/), sorted.
std::vector<std::filesystem::path> ListModels(const ModelSearchPaths& paths);

// Hex SHA-256 over what changes the meaning of a vector: weights, tokenizer,
// pooling, prompts, maximum tokens; not the name or place. Reading the weights
// takes time, so the result is cached in `cache_file` (JSON) by path, size and
// mtime of each file; a cache that cannot be read or written is only slower, an
// empty path is none.
absl::StatusOr<std::string> ModelFingerprint(
    const ModelSpec& spec, const std::filesystem::path& cache_file);

}  // namespace pith

#endif  // PITH_EMBEDDER_MODEL_DIRECTORY_H_
