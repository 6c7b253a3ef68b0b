#include "embedder/model_directory.h"

#include <algorithm>
#include <array>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"

#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"
#include "embedder/json_file.h"

namespace pith {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Beyond every known model, and products of two of them fit an int64_t.
constexpr int kMaxSize = 100'000'000;
// [CLS], one token of text, [SEP].
constexpr int kMinTokens = 3;

constexpr std::string_view kHubPrefix = "models--";

bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

bool IsDirectory(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

// What stands in `directory`, as far as it can be read.
std::vector<fs::path> EntriesOf(const fs::path& directory) {
  std::vector<fs::path> entries;
  std::error_code error;
  fs::directory_iterator entry(directory, error);
  // A range-based for would throw if reading fails on the way.
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    entries.push_back(entry->path());
  }
  return entries;
}

absl::StatusOr<EncoderConfig> ReadEncoderConfig(const fs::path& path) {
  PITH_ASSIGN_OR_RETURN(const json document, ReadJsonFile(path));
  PITH_ASSIGN_OR_RETURN(const JsonFields fields,
                        JsonFields::Of(document, path.string()));
  PITH_ASSIGN_OR_RETURN(const std::string model_type,
                        fields.StringOr("model_type", ""));
  const bool is_roberta =
      model_type == "roberta" || model_type == "xlm-roberta";
  if (model_type != "bert" && !is_roberta) {
    return fields.Unsupported("model_type", "bert, roberta, xlm-roberta");
  }
  PITH_ASSIGN_OR_RETURN(const std::string positions,
                        fields.StringOr("position_embedding_type", "absolute"));
  if (positions != "absolute") {
    return fields.Unsupported("position_embedding_type", "absolute");
  }
  PITH_ASSIGN_OR_RETURN(const bool is_decoder,
                        fields.BoolOr("is_decoder", false));
  if (is_decoder) {
    return fields.Unsupported("is_decoder", "false");
  }

  EncoderConfig encoder;
  PITH_ASSIGN_OR_RETURN(const std::string activation,
                        fields.String("hidden_act"));
  if (activation == "gelu") {
    encoder.activation = Activation::kGelu;
  } else if (activation == "gelu_new" || activation == "gelu_pytorch_tanh") {
    encoder.activation = Activation::kGeluTanh;
  } else if (activation == "relu") {
    encoder.activation = Activation::kRelu;
  } else {
    return fields.Unsupported("hidden_act",
                              "gelu, gelu_new, gelu_pytorch_tanh, relu");
  }
  PITH_ASSIGN_OR_RETURN(encoder.vocab_size,
                        fields.Integer("vocab_size", 1, kMaxSize));
  PITH_ASSIGN_OR_RETURN(encoder.hidden_size,
                        fields.Integer("hidden_size", 1, 65'536));
  PITH_ASSIGN_OR_RETURN(encoder.layers,
                        fields.Integer("num_hidden_layers", 1, 1'000));
  PITH_ASSIGN_OR_RETURN(encoder.heads,
                        fields.Integer("num_attention_heads", 1, 65'536));
  if (encoder.hidden_size % encoder.heads != 0) {
    return fields.Unsupported(
        "num_attention_heads",
        absl::StrCat("a divisor of hidden_size, which is ",
                     encoder.hidden_size));
  }
  PITH_ASSIGN_OR_RETURN(encoder.intermediate_size,
                        fields.Integer("intermediate_size", 1, kMaxSize));
  if (is_roberta) {
    // Positions are counted from the one after that of padding.
    encoder.position_offset = 2;
    if (fields.Find("pad_token_id") != nullptr) {
      PITH_ASSIGN_OR_RETURN(const int pad_token,
                            fields.Integer("pad_token_id", 0, kMaxSize));
      encoder.position_offset = pad_token + 1;
    }
  }
  PITH_ASSIGN_OR_RETURN(const int position_rows,
                        fields.Integer("max_position_embeddings",
                                       encoder.position_offset + kMinTokens,
                                       encoder.position_offset + kMaxSize));
  encoder.max_positions = position_rows - encoder.position_offset;
  PITH_ASSIGN_OR_RETURN(encoder.token_types,
                        fields.Integer("type_vocab_size", 1, 65'536));
  if (fields.Find("layer_norm_eps") != nullptr) {
    PITH_ASSIGN_OR_RETURN(encoder.layer_norm_epsilon,
                          fields.Number("layer_norm_eps"));
  }
  if (!(encoder.layer_norm_epsilon > 0 && encoder.layer_norm_epsilon < 1)) {
    return fields.Unsupported("layer_norm_eps", "a number between 0 and 1");
  }
  return encoder;
}

absl::StatusOr<Pooling> ParsePooling(const std::string& where,
                                     const std::string& mode) {
  if (mode == "mean") {
    return Pooling::kMean;
  }
  if (mode == "cls") {
    return Pooling::kCls;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      where, ": the pooling is \"", mode, "\"; supported: mean, cls"));
}

absl::StatusOr<Pooling> ReadPooling(const fs::path& path, int hidden_size) {
  PITH_ASSIGN_OR_RETURN(const json document, ReadJsonFile(path));
  PITH_ASSIGN_OR_RETURN(const JsonFields fields,
                        JsonFields::Of(document, path.string()));
  // sentence-transformers from version 6 on writes one name, earlier ones a
  // flag for each way to pool.
  std::vector<std::string> modes;
  if (fields.Find("pooling_mode") != nullptr) {
    PITH_ASSIGN_OR_RETURN(modes.emplace_back(), fields.String("pooling_mode"));
  } else {
    static constexpr std::pair<const char*, const char*> kFlags[] = {
        {"pooling_mode_mean_tokens", "mean"},
        {"pooling_mode_cls_token", "cls"},
        {"pooling_mode_max_tokens", "max"},
        {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"},
        {"pooling_mode_weightedmean_tokens", "weightedmean"},
        {"pooling_mode_lasttoken", "lasttoken"}};
    for (const auto& [flag, mode] : kFlags) {
      PITH_ASSIGN_OR_RETURN(const bool set, fields.BoolOr(flag, false));
      if (set) {
        modes.emplace_back(mode);
      }
    }
  }
  PITH_ASSIGN_OR_RETURN(const Pooling pooling,
                        ParsePooling(path.string(), absl::StrJoin(modes, "+")));
  for (const char* key : {"word_embedding_dimension", "embedding_dimension"}) {
    if (fields.Find(key) != nullptr) {
      PITH_RETURN_IF_ERROR(
          fields.Integer(key, hidden_size, hidden_size).status());
    }
  }
  PITH_ASSIGN_OR_RETURN(const bool include_prompt,
                        fields.BoolOr("include_prompt", true));
  if (!include_prompt) {
    return fields.Unsupported("include_prompt", "true");
  }
  return pooling;
}

// modules.json lists what a text goes through. Without it,
// sentence-transformers takes the mean and does not normalise.
absl::Status ReadModules(const fs::path& directory, ModelSpec& spec) {
  const fs::path path = directory / "modules.json";
  if (!Exists(path)) {
    return absl::OkStatus();
  }
  PITH_ASSIGN_OR_RETURN(const json modules, ReadJsonFile(path));
  const auto refuse = [&](const std::string& found) {
    return absl::InvalidArgumentError(absl::StrCat(
        path.string(), ": ", found,
        "; supported: Transformer, then Pooling, then Normalize or nothing"));
  };
  if (!modules.is_array()) {
    return refuse("not an array of modules");
  }
  static constexpr std::array kOrder = {"Transformer", "Pooling", "Normalize"};
  for (size_t i = 0; i < modules.size(); ++i) {
    PITH_ASSIGN_OR_RETURN(const JsonFields fields,
                          JsonFields::Of(modules[i], path.string()));
    PITH_ASSIGN_OR_RETURN(const std::string type, fields.String("type"));
    PITH_ASSIGN_OR_RETURN(const std::string module_path,
                          fields.StringOr("path", ""));
    const std::string kind = type.substr(type.rfind('.') + 1);
    if (i >= kOrder.size() || kind != kOrder[i]) {
      return refuse(absl::StrCat("module ", i, " is ", type));
    }
    if (kind == "Transformer" && !module_path.empty()) {
      return fields.Unsupported("path", "\"\" for the Transformer");
    }
    if (kind == "Pooling") {
      const fs::path relative = fs::path(module_path).lexically_normal();
      if (relative.is_absolute() || relative.empty() ||
          *relative.begin() == "..") {
        return fields.Unsupported("path", "a folder of the model's");
      }
      PITH_ASSIGN_OR_RETURN(spec.pooling,
                            ReadPooling(directory / relative / "config.json",
                                        spec.encoder.hidden_size));
    }
  }
  if (modules.size() < 2) {
    return refuse(absl::StrCat(modules.size(), " modules"));
  }
  spec.normalizes = modules.size() == kOrder.size();
  return absl::OkStatus();
}

// sentence_bert_config.json's max_seq_length, or what both positions and
// tokenizer allow.
absl::StatusOr<int> ReadMaxTokens(const fs::path& directory,
                                  int max_positions) {
  const fs::path path = directory / "sentence_bert_config.json";
  PITH_ASSIGN_OR_RETURN(const json document, ReadOptionalJsonFile(path));
  PITH_ASSIGN_OR_RETURN(const JsonFields fields,
                        JsonFields::Of(document, path.string()));
  PITH_ASSIGN_OR_RETURN(const bool lower_case,
                        fields.BoolOr("do_lower_case", false));
  if (lower_case) {
    return fields.Unsupported("do_lower_case",
                              "false, the tokenizer has its own");
  }
  if (fields.Find("max_seq_length") != nullptr) {
    return fields.Integer("max_seq_length", kMinTokens, max_positions);
  }
  const fs::path tokenizer_path = directory / "tokenizer_config.json";
  PITH_ASSIGN_OR_RETURN(const json tokenizer,
                        ReadOptionalJsonFile(tokenizer_path));
  PITH_ASSIGN_OR_RETURN(const JsonFields tokenizer_fields,
                        JsonFields::Of(tokenizer, tokenizer_path.string()));
  if (tokenizer_fields.Find("model_max_length") == nullptr) {
    return max_positions;
  }
  // transformers writes 1e30 for "no limit", so not every value is an int.
  PITH_ASSIGN_OR_RETURN(const double max_length,
                        tokenizer_fields.Number("model_max_length"));
  if (max_length < kMinTokens) {
    return tokenizer_fields.Unsupported("model_max_length",
                                        absl::StrCat(kMinTokens, " or more"));
  }
  return static_cast<int>(
      std::min(max_length, static_cast<double>(max_positions)));
}

// A prompt by the first of `names` that is there, or the default one.
absl::StatusOr<std::string> FindPrompt(const JsonFields& prompts,
                                       std::initializer_list<const char*> names,
                                       const std::string& default_name) {
  for (const char* name : names) {
    if (prompts.Find(name) != nullptr) {
      return prompts.String(name);
    }
  }
  return default_name.empty() ? std::string() : prompts.String(default_name);
}

absl::Status ReadPrompts(const fs::path& directory, ModelSpec& spec) {
  const fs::path path = directory / "config_sentence_transformers.json";
  PITH_ASSIGN_OR_RETURN(const json document, ReadOptionalJsonFile(path));
  PITH_ASSIGN_OR_RETURN(const JsonFields fields,
                        JsonFields::Of(document, path.string()));
  PITH_ASSIGN_OR_RETURN(const std::string default_name,
                        fields.StringOr("default_prompt_name", ""));
  if (fields.Find("prompts") == nullptr && default_name.empty()) {
    return absl::OkStatus();
  }
  PITH_ASSIGN_OR_RETURN(const JsonFields prompts, fields.Object("prompts"));
  PITH_ASSIGN_OR_RETURN(spec.query_prompt,
                        FindPrompt(prompts, {"query"}, default_name));
  PITH_ASSIGN_OR_RETURN(
      spec.passage_prompt,
      FindPrompt(prompts, {"document", "passage", "corpus"}, default_name));
  return absl::OkStatus();
}

// pith.json: what a model needs and its other files do not say.
absl::Status ReadOverrides(const fs::path& directory, ModelSpec& spec) {
  const fs::path path = directory / "pith.json";
  PITH_ASSIGN_OR_RETURN(const json document, ReadOptionalJsonFile(path));
  PITH_ASSIGN_OR_RETURN(const JsonFields fields,
                        JsonFields::Of(document, path.string()));
  for (const auto& [key, value] : document.items()) {
    if (key != "query_prompt" && key != "passage_prompt" && key != "pooling") {
      return absl::InvalidArgumentError(
          absl::StrCat(path.string(), ": unknown field \"", key,
                       "\"; supported: query_prompt, passage_prompt, pooling"));
    }
  }
  PITH_ASSIGN_OR_RETURN(spec.query_prompt,
                        fields.StringOr("query_prompt", spec.query_prompt));
  PITH_ASSIGN_OR_RETURN(spec.passage_prompt,
                        fields.StringOr("passage_prompt", spec.passage_prompt));
  if (fields.Find("pooling") != nullptr) {
    PITH_ASSIGN_OR_RETURN(const std::string mode, fields.String("pooling"));
    PITH_ASSIGN_OR_RETURN(spec.pooling, ParsePooling(path.string(), mode));
  }
  return absl::OkStatus();
}

// "org/name" of HUB/models--org--name/snapshots/REVISION.
std::optional<std::string> HubName(const fs::path& directory) {
  const fs::path snapshots = directory.parent_path();
  const std::string folder = snapshots.parent_path().filename().string();
  if (snapshots.filename() != "snapshots" || !folder.starts_with(kHubPrefix)) {
    return std::nullopt;
  }
  const std::string name = folder.substr(kHubPrefix.size());
  const size_t separator = name.find("--");
  if (separator == std::string::npos) {
    return name;
  }
  return absl::StrCat(name.substr(0, separator), "/",
                      name.substr(separator + 2));
}

// The snapshot that refs/main of a repository in the hub cache names.
std::optional<fs::path> MainSnapshot(const fs::path& repository) {
  constexpr uint64_t kMaxRefBytes = 256;
  const absl::StatusOr<std::string> ref =
      ReadFile(repository / "refs" / "main", kMaxRefBytes);
  if (!ref.ok()) {
    return std::nullopt;
  }
  const fs::path revision(std::string(absl::StripAsciiWhitespace(*ref)));
  const fs::path snapshot = repository / "snapshots" / revision;
  if (revision.empty() || revision != revision.filename() || revision == ".." ||
      !IsDirectory(snapshot)) {
    return std::nullopt;
  }
  return snapshot;
}

}  // namespace

absl::StatusOr<ModelSpec> LoadModelSpec(const fs::path& directory) {
  if (!IsDirectory(directory)) {
    return absl::NotFoundError(
        absl::StrCat("model ", directory.string(), " is not a directory"));
  }
  ModelSpec spec;
  spec.directory = directory;
  // "models/minilm/" has an empty last component.
  const fs::path named = directory.has_filename() ? directory.lexically_normal()
                                                  : directory.parent_path();
  spec.name = HubName(named).value_or(named.filename().string());
  PITH_ASSIGN_OR_RETURN(spec.encoder,
                        ReadEncoderConfig(directory / "config.json"));
  PITH_RETURN_IF_ERROR(ReadModules(directory, spec));
  PITH_ASSIGN_OR_RETURN(spec.max_tokens,
                        ReadMaxTokens(directory, spec.encoder.max_positions));
  PITH_RETURN_IF_ERROR(ReadPrompts(directory, spec));
  PITH_RETURN_IF_ERROR(ReadOverrides(directory, spec));
  if (!Exists(directory / "model.safetensors")) {
    return absl::NotFoundError(absl::StrCat(
        "model ", directory.string(),
        " has no weights; supported: model.safetensors, in one file"));
  }
  if (!Exists(directory / "tokenizer.json") &&
      !Exists(directory / "vocab.txt")) {
    return absl::NotFoundError(absl::StrCat(
        "model ", directory.string(),
        " has no tokenizer; supported: tokenizer.json, vocab.txt"));
  }
  return spec;
}

absl::StatusOr<fs::path> FindModel(std::string_view name,
                                   const ModelSearchPaths& paths) {
  if (name.empty()) {
    return absl::InvalidArgumentError("find a model: its name is empty");
  }
  const auto not_found = [&](const std::vector<std::string>& places) {
    return absl::NotFoundError(absl::StrCat("no model \"", AbslView(name),
                                            "\"; looked in ",
                                            absl::StrJoin(places, ", ")));
  };
  const fs::path path(name);
  const size_t slash = name.find('/');
  if (slash != std::string_view::npos || name.starts_with('.')) {
    if (IsDirectory(path)) {
      return path;
    }
    if (name.starts_with('/') || name.starts_with('.')) {
      return not_found({path.string()});
    }
  }
  if (slash == std::string_view::npos) {
    const fs::path directory = paths.models / path;
    if (IsDirectory(directory)) {
      return directory;
    }
    return not_found({directory.string()});
  }
  std::vector<std::string> places = {path.string()};
  // A hub name has one slash; more of them would lead elsewhere.
  if (name.find('/', slash + 1) == std::string_view::npos) {
    const fs::path repository =
        paths.hub_cache / absl::StrCat(AbslView(kHubPrefix),
                                       AbslView(name.substr(0, slash)), "--",
                                       AbslView(name.substr(slash + 1)));
    if (std::optional<fs::path> snapshot = MainSnapshot(repository)) {
      return *std::move(snapshot);
    }
    places.push_back(repository.string());
  }
  return not_found(places);
}

std::vector<fs::path> ListModels(const ModelSearchPaths& paths) {
  std::vector<fs::path> models;
  const auto add_if_model = [&](const fs::path& directory) {
    if (Exists(directory / "config.json") ||
        Exists(directory / "remote.json")) {
      models.push_back(directory);
    }
  };
  for (const fs::path& path : EntriesOf(paths.models)) {
    add_if_model(path);
  }
  for (const fs::path& path : EntriesOf(paths.hub_cache)) {
    if (path.filename().string().starts_with(kHubPrefix)) {
      if (const std::optional<fs::path> snapshot = MainSnapshot(path)) {
        add_if_model(*snapshot);
      }
    }
  }
  std::ranges::sort(models);
  return models;
}

}  // namespace pith
