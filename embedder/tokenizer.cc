#include "embedder/tokenizer.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "nlohmann/json.hpp"

#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/text/utf8.h"
#include "embedder/added_tokens.h"
#include "embedder/bert_normalizer.h"
#include "embedder/json_file.h"
#include "embedder/wordpiece.h"

namespace pith {
namespace {

using nlohmann::json;

constexpr int kMaxId = 100'000'000;
constexpr int kMaxWordCharacters = 10'000;
// Normalising makes a text at most a few times longer, so this stays within
// TokenTrie::kMaxBytes.
constexpr size_t kMaxAddedBytes = 1 << 20;

using Vocabulary = std::map<std::string, int32_t, std::less<>>;

// What a tokenizer's files say.
struct TokenizerSpec {
  BertNormalizer::Options normalizer;
  Vocabulary vocabulary;
  std::string unknown_token;
  std::string continuing_prefix;
  int max_word_characters = 100;
  std::vector<AddedToken> added_tokens;
  // Ids before and after those of the text.
  std::vector<int32_t> prefix;
  std::vector<int32_t> suffix;
};

// Refuses a component whose type is none of `supported`.
absl::Status CheckType(const JsonFields& component,
                       std::string_view supported) {
  const json* type = component.Find("type");
  if (type == nullptr || !type->is_string() ||
      type->get_ref<const std::string&>() != supported) {
    return component.Unsupported("type", supported);
  }
  return absl::OkStatus();
}

bool IsId(const json& value) {
  return value.is_number_unsigned() &&
         value.get<uint64_t>() <= static_cast<uint64_t>(kMaxId);
}

absl::StatusOr<BertNormalizer::Options> ParseNormalizer(
    const JsonFields& file) {
  PITH_ASSIGN_OR_RETURN(const JsonFields fields, file.Object("normalizer"));
  PITH_RETURN_IF_ERROR(CheckType(fields, "BertNormalizer"));
  BertNormalizer::Options options;
  PITH_ASSIGN_OR_RETURN(options.clean_text, fields.Bool("clean_text"));
  PITH_ASSIGN_OR_RETURN(options.handle_chinese_chars,
                        fields.Bool("handle_chinese_chars"));
  PITH_ASSIGN_OR_RETURN(options.lowercase, fields.Bool("lowercase"));
  PITH_ASSIGN_OR_RETURN(options.strip_accents,
                        fields.BoolOr("strip_accents", options.lowercase));
  return options;
}

absl::Status ParseModel(const JsonFields& file, TokenizerSpec& spec) {
  PITH_ASSIGN_OR_RETURN(const JsonFields fields, file.Object("model"));
  // Files of the first versions of `tokenizers` do not name the type; only
  // WordPiece has the fields that follow.
  if (fields.Find("type") != nullptr) {
    PITH_RETURN_IF_ERROR(CheckType(fields, "WordPiece"));
  }
  PITH_ASSIGN_OR_RETURN(spec.continuing_prefix,
                        fields.String("continuing_subword_prefix"));
  PITH_ASSIGN_OR_RETURN(
      spec.max_word_characters,
      fields.Integer("max_input_chars_per_word", 1, kMaxWordCharacters));
  PITH_ASSIGN_OR_RETURN(spec.unknown_token, fields.String("unk_token"));
  PITH_ASSIGN_OR_RETURN(const JsonFields vocab, fields.Object("vocab"));
  for (const auto& [token, id] : fields.Find("vocab")->items()) {
    PITH_ASSIGN_OR_RETURN(spec.vocabulary[token],
                          vocab.Integer(token, 0, kMaxId));
  }
  return absl::OkStatus();
}

// An added token that the vocabulary lacks gets the next id after it, whatever
// the file says, so a file that says something else is refused.
absl::Status ParseAddedTokens(const JsonFields& file, TokenizerSpec& spec) {
  const json* tokens = file.Find("added_tokens");
  if (tokens == nullptr) {
    return absl::OkStatus();
  }
  if (!tokens->is_array()) {
    return file.Unsupported("added_tokens", "an array");
  }
  std::set<std::string> seen;
  auto next_id = static_cast<int32_t>(spec.vocabulary.size());
  for (const json& entry : *tokens) {
    PITH_ASSIGN_OR_RETURN(
        const JsonFields fields,
        JsonFields::Of(entry, absl::StrCat(file.where(), ": added_tokens")));
    AddedToken token;
    PITH_ASSIGN_OR_RETURN(token.id, fields.Integer("id", 0, kMaxId));
    PITH_ASSIGN_OR_RETURN(token.content, fields.String("content"));
    PITH_ASSIGN_OR_RETURN(token.single_word, fields.Bool("single_word"));
    PITH_ASSIGN_OR_RETURN(token.lstrip, fields.Bool("lstrip"));
    PITH_ASSIGN_OR_RETURN(token.rstrip, fields.Bool("rstrip"));
    PITH_ASSIGN_OR_RETURN(token.normalized, fields.Bool("normalized"));
    PITH_ASSIGN_OR_RETURN(token.special, fields.Bool("special"));
    if (token.content.empty() || !seen.insert(token.content).second) {
      return fields.Unsupported("content", "a text, each once");
    }
    const auto known = spec.vocabulary.find(token.content);
    const int32_t expected =
        known != spec.vocabulary.end() ? known->second : next_id++;
    if (token.id != expected) {
      return fields.Unsupported(
          "id", absl::StrCat(expected, ", the id of \"", token.content,
                             "\" by the vocabulary"));
    }
    spec.added_tokens.push_back(std::move(token));
  }
  return absl::OkStatus();
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

// {"type": "BertProcessing", "sep": ["[SEP]", 102], "cls": ["[CLS]", 101]}
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

absl::StatusOr<TokenizerSpec> ReadTokenizerJson(
    const std::filesystem::path& path) {
  PITH_ASSIGN_OR_RETURN(const json document, ReadJsonFile(path));
  PITH_ASSIGN_OR_RETURN(const JsonFields file,
                        JsonFields::Of(document, path.string()));
  TokenizerSpec spec;
  PITH_ASSIGN_OR_RETURN(spec.normalizer, ParseNormalizer(file));
  PITH_ASSIGN_OR_RETURN(const JsonFields pre_tokenizer,
                        file.Object("pre_tokenizer"));
  PITH_RETURN_IF_ERROR(CheckType(pre_tokenizer, "BertPreTokenizer"));
  PITH_RETURN_IF_ERROR(ParseModel(file, spec));
  PITH_RETURN_IF_ERROR(ParseAddedTokens(file, spec));
  PITH_ASSIGN_OR_RETURN(const JsonFields post_processor,
                        file.Object("post_processor"));
  if (CheckType(post_processor, "TemplateProcessing").ok()) {
    PITH_RETURN_IF_ERROR(ParseTemplate(post_processor, spec));
  } else if (CheckType(post_processor, "BertProcessing").ok()) {
    PITH_RETURN_IF_ERROR(ParseBertProcessing(post_processor, spec));
  } else {
    return post_processor.Unsupported("type",
                                      "TemplateProcessing, BertProcessing");
  }
  return spec;
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

absl::StatusOr<TokenizerSpec> ReadVocabText(
    const std::filesystem::path& path,
    const std::filesystem::path& config_path) {
  PITH_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  PITH_ASSIGN_OR_RETURN(const json config, ReadOptionalJsonFile(config_path));
  PITH_ASSIGN_OR_RETURN(const JsonFields fields,
                        JsonFields::Of(config, config_path.string()));
  TokenizerSpec spec;
  PITH_ASSIGN_OR_RETURN(spec.normalizer.lowercase,
                        fields.BoolOr("do_lower_case", true));
  PITH_ASSIGN_OR_RETURN(spec.normalizer.handle_chinese_chars,
                        fields.BoolOr("tokenize_chinese_chars", true));
  PITH_ASSIGN_OR_RETURN(
      spec.normalizer.strip_accents,
      fields.BoolOr("strip_accents", spec.normalizer.lowercase));
  spec.continuing_prefix = "##";
  int32_t id = 0;
  for (size_t begin = 0; begin < text.size(); ++id) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string token = text.substr(begin, end - begin);
    if (token.ends_with('\r')) {
      token.pop_back();
    }
    spec.vocabulary[std::move(token)] = id;
    begin = end + 1;
  }
  for (const auto& [key, absent] :
       {std::pair("unk_token", "[UNK]"), std::pair("sep_token", "[SEP]"),
        std::pair("pad_token", "[PAD]"), std::pair("cls_token", "[CLS]"),
        std::pair("mask_token", "[MASK]")}) {
    PITH_ASSIGN_OR_RETURN(const std::string token,
                          SpecialToken(fields, key, absent));
    const auto known = spec.vocabulary.find(token);
    if (known == spec.vocabulary.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path.string(), " has no \"", token, "\", which is the ",
                       key, " of the tokenizer"));
    }
    spec.added_tokens.push_back({.id = known->second,
                                 .content = token,
                                 .normalized = false,
                                 .special = true});
    if (std::string_view(key) == "unk_token") {
      spec.unknown_token = token;
    } else if (std::string_view(key) == "cls_token") {
      spec.prefix = {known->second};
    } else if (std::string_view(key) == "sep_token") {
      spec.suffix = {known->second};
    }
  }
  return spec;
}

std::vector<std::pair<std::string_view, int32_t>> Entries(
    const Vocabulary& vocabulary) {
  return {vocabulary.begin(), vocabulary.end()};
}

// The added tokens that are found in normalised text, or those that are not.
// Special ones first: where contents are equal after normalisation they win.
std::vector<AddedToken> SelectTokens(const TokenizerSpec& spec,
                                     bool normalized) {
  std::vector<AddedToken> tokens;
  for (const bool special : {true, false}) {
    for (const AddedToken& token : spec.added_tokens) {
      if (token.normalized == normalized && token.special == special) {
        tokens.push_back(token);
      }
    }
  }
  return tokens;
}

absl::StatusOr<std::vector<AddedToken>> NormalizedTokens(
    const TokenizerSpec& spec, const BertNormalizer& normalizer) {
  std::vector<AddedToken> tokens = SelectTokens(spec, true);
  for (AddedToken& token : tokens) {
    std::string content;
    normalizer.Normalize(token.content, content);
    if (content.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "added token ", token.id, " \"", token.content,
          "\" is empty when normalised; supported: tokens with characters that "
          "remain"));
    }
    token.content = std::move(content);
  }
  return tokens;
}

// Nothing if `text` is UTF-8, else a copy with U+FFFD for what is not.
std::string ReplaceInvalid(std::string_view text) {
  std::string replaced;
  size_t valid_begin = 0;
  for (size_t i = 0; i < text.size();) {
    if (static_cast<uint8_t>(text[i]) < 0x80) {
      ++i;
      continue;
    }
    const size_t begin = i;
    if (NextCodePoint(text, &i) < 0) {
      replaced.append(text.substr(valid_begin, begin - valid_begin));
      replaced += "\uFFFD";
      valid_begin = i;
    }
  }
  if (valid_begin > 0) {
    replaced.append(text.substr(valid_begin));
  }
  return replaced;
}

}  // namespace

class Tokenizer::State {
 public:
  State(const TokenizerSpec& spec, const BertNormalizer& normalizer,
        std::vector<AddedToken> normalized_tokens)
      : prefix_(spec.prefix),
        suffix_(spec.suffix),
        raw_tokens_(SelectTokens(spec, false)),
        normalizer_(normalizer),
        normalized_tokens_(std::move(normalized_tokens)),
        wordpiece_(
            Entries(spec.vocabulary),
            {.unknown_id = spec.vocabulary.find(spec.unknown_token)->second,
             .continuing_prefix = spec.continuing_prefix,
             .max_word_characters = spec.max_word_characters}) {
    for (const auto& [token, id] : spec.vocabulary) {
      vocab_size_ = std::max(vocab_size_, id + 1);
    }
    for (const AddedToken& token : spec.added_tokens) {
      vocab_size_ = std::max(vocab_size_, token.id + 1);
    }
    // A template may name ids that no token has.
    for (const std::vector<int32_t>* ids : {&prefix_, &suffix_}) {
      for (const int32_t id : *ids) {
        vocab_size_ = std::max(vocab_size_, id + 1);
      }
    }
  }

  void AddText(std::string_view text, LimitedIds& ids) const {
    const std::string replaced = ReplaceInvalid(text);
    std::string normalized;
    const auto add_token = [&](int32_t id) { ids.Add(id); };
    const auto add_words = [&](std::string_view piece) {
      wordpiece_.Tokenize(piece, ids);
    };
    raw_tokens_.Split(
        replaced.empty() ? text : replaced,
        [&](std::string_view piece) {
          normalizer_.Normalize(piece, normalized);
          normalized_tokens_.Split(normalized, add_words, add_token);
        },
        add_token);
  }

  const std::vector<int32_t>& prefix() const { return prefix_; }
  const std::vector<int32_t>& suffix() const { return suffix_; }
  int special_tokens() const {
    return static_cast<int>(prefix_.size() + suffix_.size());
  }
  int vocab_size() const { return vocab_size_; }

 private:
  std::vector<int32_t> prefix_;
  std::vector<int32_t> suffix_;
  AddedTokenMatcher raw_tokens_;
  BertNormalizer normalizer_;
  AddedTokenMatcher normalized_tokens_;
  WordPiece wordpiece_;
  int vocab_size_ = 0;
};

namespace {

int ToInt(size_t count) {
  return static_cast<int>(
      std::min(count, size_t{std::numeric_limits<int>::max()}));
}

absl::Status CheckSpec(const TokenizerSpec& spec) {
  if (!spec.vocabulary.contains(spec.unknown_token)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the vocabulary of ", spec.vocabulary.size(), " tokens has no \"",
        spec.unknown_token, "\", the token for unknown words"));
  }
  size_t bytes = 0;
  for (const auto& [token, id] : spec.vocabulary) {
    bytes += token.size();
  }
  if (bytes > TokenTrie::kMaxBytes) {
    return absl::InvalidArgumentError(absl::StrCat("the vocabulary has ", bytes,
                                                   " bytes; supported: up to ",
                                                   TokenTrie::kMaxBytes));
  }
  size_t added_bytes = 0;
  for (const AddedToken& token : spec.added_tokens) {
    added_bytes += token.content.size();
  }
  if (added_bytes > kMaxAddedBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the added tokens have ", added_bytes,
                     " bytes; supported: up to ", kMaxAddedBytes));
  }
  return absl::OkStatus();
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<const State> state)
    : state_(std::move(state)) {}

Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(
    const std::filesystem::path& directory) {
  std::filesystem::path path = directory / "tokenizer.json";
  TokenizerSpec spec;
  if (std::error_code error; std::filesystem::exists(path, error)) {
    PITH_ASSIGN_OR_RETURN(spec, ReadTokenizerJson(path));
  } else if (path = directory / "vocab.txt";
             std::filesystem::exists(path, error)) {
    PITH_ASSIGN_OR_RETURN(
        spec, ReadVocabText(path, directory / "tokenizer_config.json"));
  } else {
    return absl::NotFoundError(absl::StrCat(
        directory.string(),
        " has no tokenizer; supported: tokenizer.json, vocab.txt"));
  }
  if (absl::Status status = CheckSpec(spec); !status.ok()) {
    return Annotate(status, path.string());
  }
  const BertNormalizer normalizer(spec.normalizer);
  absl::StatusOr<std::vector<AddedToken>> normalized_tokens =
      NormalizedTokens(spec, normalizer);
  if (!normalized_tokens.ok()) {
    return Annotate(normalized_tokens.status(), path.string());
  }
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::make_unique<State>(
      spec, normalizer, *std::move(normalized_tokens))));
}

Encoding Tokenizer::Encode(std::string_view text, int max_tokens) const {
  CHECK_GE(max_tokens, special_tokens());
  LimitedIds ids(static_cast<size_t>(max_tokens - special_tokens()));
  state_->AddText(text, ids);
  Encoding encoding;
  const std::vector<int32_t>& text_ids = ids.ids();
  encoding.truncated_tokens = ToInt(ids.added() - text_ids.size());
  encoding.ids.reserve(text_ids.size() + state_->prefix().size() +
                       state_->suffix().size());
  for (const std::vector<int32_t>* part :
       {&state_->prefix(), &text_ids, &state_->suffix()}) {
    encoding.ids.insert(encoding.ids.end(), part->begin(), part->end());
  }
  return encoding;
}

int Tokenizer::Count(std::string_view text) const {
  LimitedIds ids(0);
  state_->AddText(text, ids);
  return ToInt(ids.added());
}

int Tokenizer::special_tokens() const {
  return state_->special_tokens();
}

int Tokenizer::vocab_size() const {
  return state_->vocab_size();
}

}  // namespace pith
