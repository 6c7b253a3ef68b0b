#include "embedder/tokenizer.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"

#include "core/base/status_macros.h"
#include "core/text/utf8.h"
#include "embedder/added_tokens.h"
#include "embedder/text_normalizer.h"
#include "embedder/token_model.h"
#include "embedder/token_trie.h"
#include "embedder/tokenizer_files.h"

namespace pith {
namespace {

constexpr size_t kMaxAddedBytes = 1 << 20;
static_assert(kMaxAddedBytes <= TokenTrie::kMaxBytes);

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

absl::Status CheckBytes(const std::vector<AddedToken>& added_tokens) {
  size_t bytes = 0;
  for (const AddedToken& token : added_tokens) {
    bytes += token.content.size();
  }
  if (bytes > kMaxAddedBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the added tokens have ", bytes,
                     " bytes; supported: up to ", kMaxAddedBytes));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<AddedToken>> NormalizedTokens(
    const TokenizerSpec& spec) {
  PITH_RETURN_IF_ERROR(CheckBytes(spec.added_tokens));
  std::vector<AddedToken> tokens = SelectTokens(spec, true);
  for (AddedToken& token : tokens) {
    std::string content;
    spec.normalizer.Normalize(token.content, content);
    if (content.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "added token ", token.id, " \"", token.content,
          "\" is empty when normalised; supported: tokens with characters that "
          "remain"));
    }
    token.content = std::move(content);
  }
  PITH_RETURN_IF_ERROR(CheckBytes(tokens));
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
  State(TokenizerSpec spec, std::vector<AddedToken> normalized_tokens)
      : prefix_(std::move(spec.prefix)),
        suffix_(std::move(spec.suffix)),
        raw_tokens_(SelectTokens(spec, false)),
        normalizer_(std::move(spec.normalizer)),
        normalized_tokens_(std::move(normalized_tokens)),
        model_(std::move(spec.model.model)) {
    for (const auto& [token, id] : spec.model.vocabulary) {
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
    const std::string_view valid = replaced.empty() ? text : replaced;
    std::string normalized;
    const auto add_token = [&](int32_t id) { ids.Add(id); };
    raw_tokens_.Split(
        valid,
        [&](std::string_view piece) {
          normalizer_.Normalize(piece, normalized);
          normalized_tokens_.Split(
              normalized,
              [&](std::string_view words) {
                const bool begins_input = piece.data() == valid.data() &&
                                          words.data() == normalized.data();
                model_->Tokenize(words, begins_input, ids);
              },
              add_token);
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
  TextNormalizer normalizer_;
  AddedTokenMatcher normalized_tokens_;
  std::unique_ptr<const TokenModel> model_;
  int vocab_size_ = 0;
};

namespace {

int ToInt(size_t count) {
  return static_cast<int>(
      std::min(count, size_t{std::numeric_limits<int>::max()}));
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<const State> state)
    : state_(std::move(state)) {}

Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(
    const std::filesystem::path& directory) {
  std::filesystem::path path = directory / "tokenizer.json";
  absl::StatusOr<TokenizerSpec> spec;
  if (std::error_code error; std::filesystem::exists(path, error)) {
    spec = ReadTokenizerJson(path);
  } else if (path = directory / "vocab.txt";
             std::filesystem::exists(path, error)) {
    spec = ReadVocabText(path, directory / "tokenizer_config.json");
  } else {
    spec = absl::NotFoundError(absl::StrCat(
        directory.string(),
        " has no tokenizer; supported: tokenizer.json, vocab.txt"));
  }
  PITH_RETURN_IF_ERROR(spec.status());
  absl::StatusOr<std::vector<AddedToken>> normalized_tokens =
      NormalizedTokens(*spec);
  if (!normalized_tokens.ok()) {
    return Annotate(normalized_tokens.status(), path.string());
  }
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::make_unique<State>(
      *std::move(spec), *std::move(normalized_tokens))));
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
