#include "embedder/tokenizer_files.h"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "embedder/bert_normalizer.h"
#include "embedder/json_file.h"
#include "embedder/precompiled_normalizer.h"

namespace pith {
namespace {

using nlohmann::json;

// Of BERT's tokenizer without tokenizer.json.
constexpr int kMaxWordCharacters = 100;
constexpr size_t kMaxReplacementBytes = 256;

bool IsId(const json& value) {
  return value.is_number_unsigned() &&
         value.get<uint64_t>() <= static_cast<uint64_t>(kMaxTokenId);
}

absl::StatusOr<TextNormalizer::Step> ParseBertNormalizer(
    const JsonFields& fields) {
  BertNormalizer::Options options;
  PITH_ASSIGN_OR_RETURN(options.clean_text, fields.Bool("clean_text"));
  PITH_ASSIGN_OR_RETURN(options.handle_chinese_chars,
                        fields.Bool("handle_chinese_chars"));
  PITH_ASSIGN_OR_RETURN(options.lowercase, fields.Bool("lowercase"));
  PITH_ASSIGN_OR_RETURN(options.strip_accents,
                        fields.BoolOr("strip_accents", options.lowercase));
  return BertNormalizer(options);
}

// {"type": "Precompiled", "precompiled_charsmap": BASE64}
absl::StatusOr<TextNormalizer::Step> ParsePrecompiled(
    const JsonFields& fields) {
  PITH_ASSIGN_OR_RETURN(const std::string base64,
                        fields.String("precompiled_charsmap"));
  std::string charsmap;
  if (!absl::Base64Unescape(base64, &charsmap)) {
    return fields.Unsupported("precompiled_charsmap", "bytes in base64");
  }
  absl::StatusOr<PrecompiledNormalizer> normalizer =
      PrecompiledNormalizer::Parse(charsmap);
  if (!normalizer.ok()) {
    return Annotate(normalizer.status(), fields.where());
  }
  return *std::move(normalizer);
}

// {"type": "Replace", "pattern": {"String": "a"}, "content": "b"}
absl::StatusOr<TextNormalizer::Step> ParseReplace(const JsonFields& fields) {
  PITH_ASSIGN_OR_RETURN(std::string content, fields.String("content"));
  if (content.empty() || content.size() > kMaxReplacementBytes) {
    return fields.Unsupported(
        "content",
        absl::StrCat("a text of up to ", kMaxReplacementBytes, " bytes"));
  }
  PITH_ASSIGN_OR_RETURN(const JsonFields pattern, fields.Object("pattern"));
  if (pattern.Find("Regex") != nullptr) {
    PITH_ASSIGN_OR_RETURN(const std::string regex, pattern.String("Regex"));
    if (regex != " {2,}") {
      return pattern.Unsupported("Regex", "\" {2,}\"");
    }
    return SpacesNormalizer{std::move(content)};
  }
  PITH_ASSIGN_OR_RETURN(std::string text, pattern.String("String"));
  if (text.empty()) {
    return pattern.Unsupported("String", "a text");
  }
  return ReplaceNormalizer{std::move(text), std::move(content)};
}

// {"type": "Strip", "strip_left": false, "strip_right": true}
absl::StatusOr<TextNormalizer::Step> ParseStrip(const JsonFields& fields) {
  for (const auto& [key, supported] :
       {std::pair("strip_left", false), std::pair("strip_right", true)}) {
    PITH_ASSIGN_OR_RETURN(const bool strips, fields.Bool(key));
    if (strips != supported) {
      return fields.Unsupported(key, supported ? "true" : "false");
    }
  }
  return StripNormalizer();
}

absl::StatusOr<TextNormalizer> ParseNormalizer(const JsonFields& file) {
  PITH_ASSIGN_OR_RETURN(const std::vector<JsonFields> components,
                        TokenizerComponents(file, "normalizer", "normalizers"));
  static constexpr std::pair<std::string_view,
                             absl::StatusOr<TextNormalizer::Step> (*)(
                                 const JsonFields&)>
      kParsers[] = {{"BertNormalizer", ParseBertNormalizer},
                    {"Precompiled", ParsePrecompiled},
                    {"Replace", ParseReplace},
                    {"Strip", ParseStrip}};
  std::vector<TextNormalizer::Step> steps;
  for (const JsonFields& fields : components) {
    PITH_ASSIGN_OR_RETURN(const std::string type, fields.StringOr("type", ""));
    const auto* parser = std::ranges::find(
        kParsers, type, [](const auto& entry) { return entry.first; });
    if (parser == std::end(kParsers)) {
      return fields.Unsupported("type",
                                "BertNormalizer, Precompiled, Replace, Strip");
    }
    PITH_ASSIGN_OR_RETURN(TextNormalizer::Step step, parser->second(fields));
    steps.push_back(std::move(step));
  }
  return TextNormalizer(std::move(steps));
}

// An added token that the vocabulary lacks gets the next id after it, whatever
// the file says, so a file that says something else is refused.
absl::StatusOr<std::vector<AddedToken>> ParseAddedTokens(
    const JsonFields& file, const NamedModel& model) {
  std::vector<AddedToken> added_tokens;
  std::set<std::string> seen;
  int32_t next_id = model.next_id;
  PITH_ASSIGN_OR_RETURN(const std::vector<JsonFields> tokens,
                        file.Objects("added_tokens"));
  for (const JsonFields& fields : tokens) {
    AddedToken token;
    PITH_ASSIGN_OR_RETURN(token.id, fields.Integer("id", 0, kMaxTokenId));
    PITH_ASSIGN_OR_RETURN(token.content, fields.String("content"));
    PITH_ASSIGN_OR_RETURN(token.single_word, fields.Bool("single_word"));
    PITH_ASSIGN_OR_RETURN(token.lstrip, fields.Bool("lstrip"));
    PITH_ASSIGN_OR_RETURN(token.rstrip, fields.Bool("rstrip"));
    PITH_ASSIGN_OR_RETURN(token.normalized, fields.Bool("normalized"));
    PITH_ASSIGN_OR_RETURN(token.special, fields.Bool("special"));
    if (token.content.empty() || !seen.insert(token.content).second) {
      return fields.Unsupported("content", "a text, each once");
    }
    const auto known = model.vocabulary.find(token.content);
    const int32_t expected =
        known != model.vocabulary.end() ? known->second : next_id++;
    if (token.id != expected) {
      return fields.Unsupported(
          "id", absl::StrCat(expected, ", the id of \"", token.content,
                             "\" by the vocabulary"));
    }
    added_tokens.push_back(std::move(token));
  }
  return added_tokens;
}

// {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[CLS]"}},
// {"Sequence": {"id": "A"}}, ...], "special_tokens": {"[CLS]": {"ids": [101]}}}
absl::Status ParseTemplate(const JsonFields& fields, TokenizerSpec& spec) {
  const json* single = fields.Find("single");
  if (single == nullptr || !single->is_array()) {
    return fields.Unsupported("single", "an array");
  }
  PITH_ASSIGN_OR_RETURN(const JsonFields special_tokens,
                        fields.Object("special_tokens"));
  bool text_seen = false;
  for (const json& piece : *single) {
    if (piece.is_object() && piece.contains("Sequence") && !text_seen) {
      text_seen = true;
      continue;
    }
    PITH_ASSIGN_OR_RETURN(
        const JsonFields piece_fields,
        JsonFields::Of(piece, absl::StrCat(fields.where(), ": single")));
    PITH_ASSIGN_OR_RETURN(const JsonFields token,
                          piece_fields.Object("SpecialToken"));
    PITH_ASSIGN_OR_RETURN(const std::string name, token.String("id"));
    PITH_ASSIGN_OR_RETURN(const JsonFields special,
                          special_tokens.Object(name));
    const json* ids = special.Find("ids");
    if (ids == nullptr || !ids->is_array() ||
        !std::ranges::all_of(*ids, IsId)) {
      return special.Unsupported("ids", "an array of ids");
    }
    for (const json& id : *ids) {
      (text_seen ? spec.suffix : spec.prefix).push_back(id.get<int32_t>());
    }
  }
  if (!text_seen) {
    return fields.Unsupported("single", "a template with the text in it");
  }
  return absl::OkStatus();
}

// {"type": "BertProcessing" or "RobertaProcessing", "sep": ["[SEP]", 102],
// "cls": ["[CLS]", 101]}
absl::Status ParseBertProcessing(const JsonFields& fields,
                                 TokenizerSpec& spec) {
  for (const auto& [key, ids] :
       {std::pair("cls", &spec.prefix), std::pair("sep", &spec.suffix)}) {
    const json* token = fields.Find(key);
    if (token == nullptr || !token->is_array() || token->size() != 2 ||
        !IsId((*token)[1])) {
      return fields.Unsupported(key, "an array of a token and its id");
    }
    ids->push_back((*token)[1].get<int32_t>());
  }
  return absl::OkStatus();
}

// One component that adds tokens. ByteLevel, which may be beside it, only
// changes offsets.
absl::Status ParsePostProcessor(const JsonFields& file, TokenizerSpec& spec) {
  PITH_ASSIGN_OR_RETURN(
      const std::vector<JsonFields> components,
      TokenizerComponents(file, "post_processor", "processors"));
  bool found = false;
  for (const JsonFields& fields : components) {
    PITH_ASSIGN_OR_RETURN(const std::string type, fields.StringOr("type", ""));
    if (type == "ByteLevel") {
      continue;
    }
    if (type == "TemplateProcessing" && !found) {
      PITH_RETURN_IF_ERROR(ParseTemplate(fields, spec));
    } else if ((type == "BertProcessing" || type == "RobertaProcessing") &&
               !found) {
      PITH_RETURN_IF_ERROR(ParseBertProcessing(fields, spec));
    } else {
      return fields.Unsupported("type",
                                "TemplateProcessing, BertProcessing, "
                                "RobertaProcessing, one of them");
    }
    found = true;
  }
  if (!found) {
    return file.Unsupported("post_processor",
                            "TemplateProcessing, BertProcessing, "
                            "RobertaProcessing");
  }
  return absl::OkStatus();
}

// A special token in tokenizer_config.json: a string, or an object with it as
// its content.
absl::StatusOr<std::string> SpecialToken(const JsonFields& config,
                                         std::string_view key,
                                         std::string_view absent) {
  if (const json* token = config.Find(key);
      token != nullptr && token->is_object()) {
    PITH_ASSIGN_OR_RETURN(const JsonFields fields, config.Object(key));
    return fields.String("content");
  }
  return config.StringOr(key, absent);
}

}  // namespace

absl::StatusOr<TokenizerSpec> ReadTokenizerJson(
    const std::filesystem::path& path) {
  PITH_ASSIGN_OR_RETURN(const json document, ReadJsonFile(path));
  PITH_ASSIGN_OR_RETURN(const JsonFields file,
                        JsonFields::Of(document, path.string()));
  PITH_ASSIGN_OR_RETURN(NamedModel model, ParseTokenModel(file));
  PITH_ASSIGN_OR_RETURN(TextNormalizer normalizer, ParseNormalizer(file));
  TokenizerSpec spec = {.normalizer = std::move(normalizer),
                        .model = std::move(model)};
  PITH_ASSIGN_OR_RETURN(spec.added_tokens, ParseAddedTokens(file, spec.model));
  PITH_RETURN_IF_ERROR(ParsePostProcessor(file, spec));
  return spec;
}

absl::StatusOr<TokenizerSpec> ReadVocabText(
    const std::filesystem::path& path,
    const std::filesystem::path& config_path) {
  PITH_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  PITH_ASSIGN_OR_RETURN(const json config, ReadOptionalJsonFile(config_path));
  PITH_ASSIGN_OR_RETURN(const JsonFields fields,
                        JsonFields::Of(config, config_path.string()));
  BertNormalizer::Options normalizer;
  PITH_ASSIGN_OR_RETURN(normalizer.lowercase,
                        fields.BoolOr("do_lower_case", true));
  PITH_ASSIGN_OR_RETURN(normalizer.handle_chinese_chars,
                        fields.BoolOr("tokenize_chinese_chars", true));
  PITH_ASSIGN_OR_RETURN(normalizer.strip_accents,
                        fields.BoolOr("strip_accents", normalizer.lowercase));
  Vocabulary vocabulary;
  int32_t id = 0;
  for (size_t begin = 0; begin < text.size(); ++id) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string token = text.substr(begin, end - begin);
    if (token.ends_with('\r')) {
      token.pop_back();
    }
    vocabulary[std::move(token)] = id;
    begin = end + 1;
  }
  std::string unknown;
  std::vector<AddedToken> added_tokens;
  std::vector<int32_t> prefix;
  std::vector<int32_t> suffix;
  for (const auto& [key, absent] :
       {std::pair("unk_token", "[UNK]"), std::pair("sep_token", "[SEP]"),
        std::pair("pad_token", "[PAD]"), std::pair("cls_token", "[CLS]"),
        std::pair("mask_token", "[MASK]")}) {
    PITH_ASSIGN_OR_RETURN(const std::string token,
                          SpecialToken(fields, key, absent));
    const auto known = vocabulary.find(token);
    if (known == vocabulary.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path.string(), " has no \"", token, "\", which is the ",
                       key, " of the tokenizer"));
    }
    added_tokens.push_back({.id = known->second,
                            .content = token,
                            .normalized = false,
                            .special = true});
    if (std::string_view(key) == "unk_token") {
      unknown = token;
    } else if (std::string_view(key) == "cls_token") {
      prefix = {known->second};
    } else if (std::string_view(key) == "sep_token") {
      suffix = {known->second};
    }
  }
  PITH_ASSIGN_OR_RETURN(NamedModel model,
                        MakeWordPieceModel(path.string(), std::move(vocabulary),
                                           unknown, "##", kMaxWordCharacters));
  return TokenizerSpec{
      .normalizer = TextNormalizer({BertNormalizer(normalizer)}),
      .model = std::move(model),
      .added_tokens = std::move(added_tokens),
      .prefix = std::move(prefix),
      .suffix = std::move(suffix)};
}

}  // namespace pith
