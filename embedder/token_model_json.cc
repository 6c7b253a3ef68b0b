#include "embedder/token_model_json.h"

#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "nlohmann/json.hpp"

#include "core/base/status_macros.h"
#include "core/base/string_view.h"
#include "core/text/utf8.h"
#include "embedder/byte_level_bpe.h"
#include "embedder/token_trie.h"
#include "embedder/unigram.h"
#include "embedder/wordpiece.h"

namespace pith {
namespace {

using nlohmann::json;

constexpr int kMaxWordCharacters = 10'000;

absl::StatusOr<Vocabulary> ParseVocabulary(const JsonFields& model) {
  PITH_ASSIGN_OR_RETURN(const JsonFields vocab, model.Object("vocab"));
  Vocabulary vocabulary;
  for (const auto& [token, id] : model.Find("vocab")->items()) {
    PITH_ASSIGN_OR_RETURN(vocabulary[token],
                          vocab.Integer(token, 0, kMaxTokenId));
  }
  return vocabulary;
}

absl::Status CheckBytes(std::string_view where, size_t bytes) {
  if (bytes > TokenTrie::kMaxBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(AbslView(where), ": the vocabulary has ", bytes,
                     " bytes; supported: up to ", TokenTrie::kMaxBytes));
  }
  return absl::OkStatus();
}

absl::StatusOr<int32_t> FindUnknown(std::string_view where,
                                    const Vocabulary& vocabulary,
                                    std::string_view unknown_token) {
  const auto unknown = vocabulary.find(unknown_token);
  if (unknown == vocabulary.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat(AbslView(where), ": the vocabulary of ", vocabulary.size(),
                     " tokens has no \"", AbslView(unknown_token),
                     "\", the token for unknown words"));
  }
  return unknown->second;
}

// The pre-tokenizers, whose types are `types` in this order.
absl::StatusOr<std::vector<JsonFields>> ParsePreTokenizers(
    const JsonFields& file, const std::vector<std::string>& types) {
  PITH_ASSIGN_OR_RETURN(
      std::vector<JsonFields> components,
      TokenizerComponents(file, "pre_tokenizer", "pretokenizers"));
  for (size_t i = 0; i < types.size(); ++i) {
    if (i == components.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat(file.where(), ": pre_tokenizer has ", i,
                       " components; supported: ", types[i], " next"));
    }
    PITH_ASSIGN_OR_RETURN(const std::string type,
                          components[i].StringOr("type", ""));
    if (type != types[i]) {
      return components[i].Unsupported("type", types[i]);
    }
  }
  if (components.size() > types.size()) {
    return components[types.size()].Unsupported("type", "nothing");
  }
  return components;
}

absl::StatusOr<NamedModel> ParseWordPiece(const JsonFields& file,
                                          const JsonFields& model) {
  PITH_RETURN_IF_ERROR(ParsePreTokenizers(file, {"BertPreTokenizer"}).status());
  PITH_ASSIGN_OR_RETURN(const std::string prefix,
                        model.String("continuing_subword_prefix"));
  PITH_ASSIGN_OR_RETURN(
      const int max_characters,
      model.Integer("max_input_chars_per_word", 1, kMaxWordCharacters));
  PITH_ASSIGN_OR_RETURN(const std::string unknown, model.String("unk_token"));
  PITH_ASSIGN_OR_RETURN(Vocabulary vocabulary, ParseVocabulary(model));
  return MakeWordPieceModel(file.where(), std::move(vocabulary), unknown,
                            prefix, max_characters);
}

// "a b" or ["a", "b"]. Nothing for a first line "#version: 0.2".
absl::StatusOr<std::optional<ByteLevelBpe::Merge>> ParseMerge(
    const JsonFields& model, const json& entry, const Vocabulary& vocabulary) {
  std::string left;
  std::string right;
  if (entry.is_string()) {
    const auto& text = entry.get_ref<const std::string&>();
    if (text.starts_with("#version")) {
      return std::nullopt;
    }
    const size_t space = text.find(' ');
    if (space != std::string::npos) {
      left = text.substr(0, space);
      right = text.substr(space + 1);
    }
  } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() &&
             entry[1].is_string()) {
    left = entry[0].get<std::string>();
    right = entry[1].get<std::string>();
  }
  const auto left_id = vocabulary.find(left);
  const auto right_id = vocabulary.find(right);
  const auto result = vocabulary.find(left + right);
  if (left_id == vocabulary.end() || right_id == vocabulary.end() ||
      result == vocabulary.end()) {
    return absl::InvalidArgumentError(absl::StrCat(
        model.where(), ": merges has ",
        entry.dump(-1, ' ', false, json::error_handler_t::replace),
        "; supported: two tokens of the vocabulary that together are one"));
  }
  return ByteLevelBpe::Merge{.left = left_id->second,
                             .right = right_id->second,
                             .result = result->second};
}

absl::StatusOr<NamedModel> ParseByteLevelBpe(const JsonFields& file,
                                             const JsonFields& model) {
  PITH_ASSIGN_OR_RETURN(const std::vector<JsonFields> pre_tokenizers,
                        ParsePreTokenizers(file, {"ByteLevel"}));
  const JsonFields& byte_level = pre_tokenizers.front();
  PITH_ASSIGN_OR_RETURN(const bool use_regex,
                        byte_level.BoolOr("use_regex", true));
  if (!use_regex) {
    return byte_level.Unsupported("use_regex", "true");
  }
  if (const json* dropout = model.Find("dropout");
      dropout != nullptr && *dropout != 0) {
    return model.Unsupported("dropout", "null");
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    PITH_ASSIGN_OR_RETURN(const std::string affix, model.StringOr(key, ""));
    if (!affix.empty()) {
      return model.Unsupported(key, "null");
    }
  }
  for (const char* key : {"byte_fallback", "ignore_merges"}) {
    PITH_ASSIGN_OR_RETURN(const bool set, model.BoolOr(key, false));
    if (set) {
      return model.Unsupported(key, "false");
    }
  }

  ByteLevelBpe::Options options;
  PITH_ASSIGN_OR_RETURN(options.add_prefix_space,
                        byte_level.Bool("add_prefix_space"));
  PITH_ASSIGN_OR_RETURN(options.fuse_unknown, model.BoolOr("fuse_unk", false));
  PITH_ASSIGN_OR_RETURN(Vocabulary vocabulary, ParseVocabulary(model));
  if (model.Find("unk_token") != nullptr) {
    PITH_ASSIGN_OR_RETURN(const std::string unknown, model.String("unk_token"));
    PITH_ASSIGN_OR_RETURN(options.unknown_id,
                          FindUnknown(model.where(), vocabulary, unknown));
  }
  for (size_t byte = 0; byte < options.byte_ids.size(); ++byte) {
    const auto entry =
        vocabulary.find(ByteLevelBpe::ByteName(static_cast<uint8_t>(byte)));
    if (entry != vocabulary.end()) {
      options.byte_ids[byte] = entry->second;
    }
  }
  const json* merges = model.Find("merges");
  if (merges == nullptr || !merges->is_array()) {
    return model.Unsupported("merges", "an array");
  }
  for (const json& entry : *merges) {
    PITH_ASSIGN_OR_RETURN(const std::optional<ByteLevelBpe::Merge> merge,
                          ParseMerge(model, entry, vocabulary));
    if (merge.has_value()) {
      options.merges.push_back(*merge);
    }
  }
  const auto next_id = static_cast<int32_t>(vocabulary.size());
  return NamedModel{.model = std::make_unique<ByteLevelBpe>(options),
                    .vocabulary = std::move(vocabulary),
                    .next_id = next_id};
}

// The double that `tokenizers` reads where a correct reader gets `value`.
// Its crate serde_json makes it of the decimal digits as an integer and a power
// of ten, each rounded; one in seven scores of 17 digits is off by a bit, and
// ways to cut a run of equal characters differ by no more.
double AsSerdeJson(double value) {
  constexpr size_t kMaxText = 32;
  char text[kMaxText];
  const auto [end, error] = std::to_chars(
      text, text + kMaxText, std::abs(value), std::chars_format::scientific);
  CHECK(error == std::errc());
  uint64_t digits = 0;
  int exponent = 0;
  const char* c = text;
  bool is_fraction = false;
  for (; *c != 'e'; ++c) {
    if (*c == '.') {
      is_fraction = true;
      continue;
    }
    digits = 10 * digits + static_cast<uint64_t>(*c - '0');
    exponent -= is_fraction ? 1 : 0;
  }
  // from_chars knows no plus sign.
  const char* exponent_begin = c[1] == '+' ? c + 2 : c + 1;
  int scale = 0;
  std::from_chars(exponent_begin, end, scale);
  exponent += scale;
  // One is enough for all but the smallest and largest doubles.
  const double power = std::pow(10.0, std::abs(exponent));
  const auto integer = static_cast<double>(digits);
  return std::copysign(exponent < 0 ? integer / power : integer * power, value);
}

absl::StatusOr<std::vector<std::pair<std::string, double>>> ParsePieces(
    const JsonFields& model) {
  const json* vocab = model.Find("vocab");
  if (vocab == nullptr || !vocab->is_array()) {
    return model.Unsupported("vocab", "an array");
  }
  std::vector<std::pair<std::string, double>> pieces;
  size_t bytes = 0;
  for (const json& entry : *vocab) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() ||
        !entry[1].is_number()) {
      return absl::InvalidArgumentError(absl::StrCat(
          model.where(), ": vocab has ",
          entry.dump(-1, ' ', false, json::error_handler_t::replace),
          " as its entry ", pieces.size(),
          "; supported: a piece and its score"));
    }
    const double score = entry[1].get<double>();
    pieces.emplace_back(entry[0].get<std::string>(), entry[1].is_number_float()
                                                         ? AsSerdeJson(score)
                                                         : score);
    bytes += pieces.back().first.size();
  }
  PITH_RETURN_IF_ERROR(CheckBytes(model.where(), bytes));
  return pieces;
}

absl::StatusOr<Unigram::Prepend> ParsePrepend(const JsonFields& metaspace) {
  PITH_ASSIGN_OR_RETURN(const std::string scheme,
                        metaspace.StringOr("prepend_scheme", "always"));
  PITH_ASSIGN_OR_RETURN(const bool add_prefix_space,
                        metaspace.BoolOr("add_prefix_space", true));
  if (!add_prefix_space && scheme != "never") {
    return metaspace.Unsupported("prepend_scheme",
                                 "never, as add_prefix_space is false");
  }
  if (scheme == "always") {
    return Unigram::Prepend::kAlways;
  }
  if (scheme == "first") {
    return Unigram::Prepend::kFirst;
  }
  if (scheme == "never") {
    return Unigram::Prepend::kNever;
  }
  return metaspace.Unsupported("prepend_scheme", "always, first, never");
}

absl::StatusOr<NamedModel> ParseUnigram(const JsonFields& file,
                                        const JsonFields& model) {
  PITH_ASSIGN_OR_RETURN(
      const std::vector<JsonFields> components,
      TokenizerComponents(file, "pre_tokenizer", "pretokenizers"));
  Unigram::Options options;
  options.split_at_white_space = components.size() > 1;
  PITH_ASSIGN_OR_RETURN(
      const std::vector<JsonFields> pre_tokenizers,
      ParsePreTokenizers(
          file, options.split_at_white_space
                    ? std::vector<std::string>{"WhitespaceSplit", "Metaspace"}
                    : std::vector<std::string>{"Metaspace"}));
  const JsonFields& metaspace = pre_tokenizers.back();
  PITH_ASSIGN_OR_RETURN(options.prepend, ParsePrepend(metaspace));
  if (options.split_at_white_space &&
      options.prepend == Unigram::Prepend::kFirst) {
    return metaspace.Unsupported("prepend_scheme",
                                 "always, never, after WhitespaceSplit");
  }
  PITH_ASSIGN_OR_RETURN(options.split_at_sign, metaspace.BoolOr("split", true));
  PITH_ASSIGN_OR_RETURN(options.sign, metaspace.String("replacement"));
  size_t sign_bytes = 0;
  if (!options.sign.empty()) {
    NextCodePoint(options.sign, &sign_bytes);
  }
  if (options.sign.empty() || sign_bytes != options.sign.size()) {
    return metaspace.Unsupported("replacement", "one character");
  }

  PITH_ASSIGN_OR_RETURN(const auto pieces, ParsePieces(model));
  options.pieces = pieces;
  PITH_ASSIGN_OR_RETURN(options.byte_fallback,
                        model.BoolOr("byte_fallback", false));
  PITH_ASSIGN_OR_RETURN(
      options.unknown_id,
      model.Integer("unk_id", 0, static_cast<int>(pieces.size()) - 1));
  NamedModel named = {.model = std::make_unique<Unigram>(options),
                      .next_id = static_cast<int32_t>(pieces.size())};
  for (size_t i = 0; i < pieces.size(); ++i) {
    named.vocabulary[pieces[i].first] = static_cast<int32_t>(i);
  }
  return named;
}

}  // namespace

absl::StatusOr<std::vector<JsonFields>> TokenizerComponents(
    const JsonFields& file, std::string_view key, std::string_view list_key) {
  if (file.Find(key) == nullptr) {
    return std::vector<JsonFields>();
  }
  PITH_ASSIGN_OR_RETURN(const JsonFields component, file.Object(key));
  PITH_ASSIGN_OR_RETURN(const std::string type, component.StringOr("type", ""));
  if (type == "Sequence") {
    return component.Objects(list_key);
  }
  return std::vector<JsonFields>{component};
}

absl::StatusOr<NamedModel> MakeWordPieceModel(
    std::string_view where, Vocabulary vocabulary,
    std::string_view unknown_token, std::string_view continuing_prefix,
    int max_word_characters) {
  size_t bytes = 0;
  for (const auto& [token, id] : vocabulary) {
    bytes += token.size();
  }
  PITH_RETURN_IF_ERROR(CheckBytes(where, bytes));
  PITH_ASSIGN_OR_RETURN(const int32_t unknown_id,
                        FindUnknown(where, vocabulary, unknown_token));
  const std::vector<std::pair<std::string_view, int32_t>> entries(
      vocabulary.begin(), vocabulary.end());
  const auto next_id = static_cast<int32_t>(vocabulary.size());
  return NamedModel{
      .model = std::make_unique<WordPiece>(
          entries,
          WordPiece::Options{.unknown_id = unknown_id,
                             .continuing_prefix = continuing_prefix,
                             .max_word_characters = max_word_characters}),
      .vocabulary = std::move(vocabulary),
      .next_id = next_id};
}

absl::StatusOr<NamedModel> ParseTokenModel(const JsonFields& file) {
  PITH_ASSIGN_OR_RETURN(const JsonFields model, file.Object("model"));
  // Files of the first versions of `tokenizers` do not name the type.
  const json* vocab = model.Find("vocab");
  PITH_ASSIGN_OR_RETURN(
      const std::string type,
      model.StringOr("type", model.Find("merges") != nullptr ? "BPE"
                             : vocab != nullptr && vocab->is_array()
                                 ? "Unigram"
                                 : "WordPiece"));
  if (type == "BPE") {
    return ParseByteLevelBpe(file, model);
  }
  if (type == "Unigram") {
    return ParseUnigram(file, model);
  }
  if (type == "WordPiece") {
    return ParseWordPiece(file, model);
  }
  return model.Unsupported("type", "BPE, Unigram, WordPiece");
}

}  // namespace pith
