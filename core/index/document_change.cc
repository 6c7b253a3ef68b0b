#include "core/index/document_change.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <variant>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

#include "core/base/coding.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"
#include "core/text/text_check.h"

namespace pith {
namespace {

// Tokens kept free for a passage's context, so that context and text together
// stay within the model's limit; a quarter of it for small models.
constexpr int kMaxContextTokens = 32;

constexpr std::string_view kHeadingSeparator = " > ";

class ReservingCounter : public TokenCounter {
 public:
  ReservingCounter(const TokenCounter& counter, int reserved)
      : counter_(counter), max_tokens_(counter.max_tokens() - reserved) {}
  int CountTokens(std::string_view text) const override {
    return counter_.CountTokens(text);
  }
  int max_tokens() const override { return max_tokens_; }

 private:
  const TokenCounter& counter_;
  const int max_tokens_;
};

int ContextTokens(const CollectionConfig& config, const TokenCounter& counter) {
  return config.embed_context
             ? std::min(kMaxContextTokens, counter.max_tokens() / 4)
             : 0;
}

std::string_view Trimmed(std::string_view text) {
  return StdView(absl::StripAsciiWhitespace(AbslView(text)));
}

// Title and heading path, without the outermost parts that exceed the limit.
std::string MakeContext(std::string_view title, std::string_view heading_path,
                        int max_tokens, const TokenCounter& counter) {
  std::string context(heading_path);
  if (context.empty()) {
    context = title;
  } else if (!title.empty() && !context.starts_with(title)) {
    context =
        absl::StrCat(AbslView(title), AbslView(kHeadingSeparator), context);
  }
  // From the innermost part outwards, each counted once.
  const std::vector<absl::string_view> parts =
      absl::StrSplit(context, AbslView(kHeadingSeparator));
  const int separator_tokens = counter.CountTokens(kHeadingSeparator);
  size_t first = parts.size();
  for (int tokens = 0; first > 0; --first) {
    tokens += counter.CountTokens(StdView(parts[first - 1]));
    if (tokens > max_tokens) {
      break;
    }
    tokens += separator_tokens;
  }
  return absl::StrJoin(parts.begin() + static_cast<std::ptrdiff_t>(first),
                       parts.end(), AbslView(kHeadingSeparator));
}

size_t MetadataBytes(const Metadata& metadata) {
  size_t bytes = 0;
  for (const auto& [key, value] : metadata) {
    const auto* text = std::get_if<std::string>(&value);
    bytes += key.size() + (text == nullptr ? sizeof(int64_t) : text->size());
  }
  return bytes;
}

ChunkedText Cut(const DocumentInput& input, int reserved_tokens,
                const CollectionConfig& config, const TokenCounter& counter) {
  if (config.chunking == Chunking::kNone) {
    return {.title = "",
            .chunks = {
                {.offset = 0, .bytes = input.text.size(), .heading_path = ""}}};
  }
  const ReservingCounter reserving(counter, reserved_tokens);
  return ChunkText(
      input.text, input.format,
      {.target_tokens = std::min(config.target_tokens, reserving.max_tokens())},
      reserving);
}

}  // namespace

absl::Status CheckDocument(const DocumentInput& input) {
  if (input.id.empty() || input.id.size() > kMaxDocumentIdBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("document id of ", input.id.size(),
                     " bytes is not between 1 and ", kMaxDocumentIdBytes));
  }
  if (input.id.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError("document id holds a NUL byte");
  }
  const auto in_document = [&input](absl::Status status) {
    return Annotate(status, absl::StrCat("document \"", input.id, "\""));
  };
  if (input.text.size() > kMaxDocumentBytes) {
    return in_document(absl::InvalidArgumentError(
        absl::StrCat("text of ", input.text.size(),
                     " bytes is over the limit of ", kMaxDocumentBytes)));
  }
  if (input.title.size() > kMaxTitleBytes) {
    return in_document(absl::InvalidArgumentError(
        absl::StrCat("title of ", input.title.size(),
                     " bytes is over the limit of ", kMaxTitleBytes)));
  }
  if (const size_t bytes = MetadataBytes(input.metadata);
      bytes > kMaxMetadataBytes) {
    return in_document(absl::InvalidArgumentError(
        absl::StrCat("metadata of ", bytes, " bytes is over the limit of ",
                     kMaxMetadataBytes)));
  }
  PITH_RETURN_IF_ERROR(in_document(CheckText(input.text)));
  PITH_RETURN_IF_ERROR(
      in_document(Annotate(CheckUtf8Text(input.title), "title")));
  if (Trimmed(input.text).empty()) {
    return in_document(absl::InvalidArgumentError("text is empty"));
  }
  return absl::OkStatus();
}

ContentHash HashDocument(const DocumentInput& input) {
  std::string bytes;
  PutVarint(static_cast<uint64_t>(input.format), bytes);
  PutString(input.title, bytes);
  PutVarint(input.metadata.size(), bytes);
  for (const auto& [key, value] : input.metadata) {
    PutString(key, bytes);
    PutVarint(value.index(), bytes);
    std::visit(
        [&bytes](const auto& v) {
          using T = std::decay_t<decltype(v)>;
          if constexpr (std::is_same_v<T, std::string>) {
            PutString(v, bytes);
          } else {
            uint64_t bits = 0;
            std::memcpy(&bits, &v, sizeof(v));
            PutFixed64(bits, bytes);
          }
        },
        value);
  }
  Sha256 sha;
  sha.Update(bytes);
  // The text comes last, so that its end needs no length.
  sha.Update(input.text);
  return sha.FinishContent();
}

std::string EmbeddedText(const Passage& passage,
                         const CollectionConfig& config) {
  const std::string_view text = Trimmed(passage.text);
  if (!config.embed_context || passage.context.empty()) {
    return std::string(text);
  }
  return absl::StrCat(passage.context, "\n", AbslView(text));
}

absl::StatusOr<DocumentChange> PlanDocumentChange(
    const DocumentInput& input, const ContentHash& content_hash,
    DocumentNumber number, const DocumentRecord* old_record,
    std::span<const Passage> old_passages, const CollectionConfig& config,
    const TokenCounter& counter) {
  const int context_tokens = ContextTokens(config, counter);
  const ChunkedText cut = Cut(input, context_tokens, config, counter);
  if (cut.chunks.empty() || (config.chunking == Chunking::kNone &&
                             counter.CountTokens(input.text) == 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "document \"", input.id, "\": the text has no token of model \"",
        config.model.name, "\""));
  }

  DocumentChange change;
  DocumentRecord& record = change.record;
  record.id = input.id;
  record.title = input.title.empty() ? cut.title : input.title;
  record.metadata = input.metadata;
  record.content_hash = content_hash;
  record.stamp = input.stamp;
  record.next_serial = old_record == nullptr ? 0 : old_record->next_serial;

  // Stored passages by content; equal ones are taken in order.
  using Content = std::pair<std::string_view, std::string_view>;
  absl::flat_hash_map<Content, std::vector<const Passage*>> reusable;
  for (size_t i = old_passages.size(); i-- > 0;) {
    reusable[{old_passages[i].context, old_passages[i].text}].push_back(
        &old_passages[i]);
  }

  for (const Chunk& chunk : cut.chunks) {
    const std::string_view text =
        std::string_view(input.text).substr(chunk.offset, chunk.bytes);
    const std::string context = MakeContext(
        record.title, chunk.heading_path,
        std::min(kMaxContextTokens, counter.max_tokens() / 4), counter);
    PassageEntry entry;
    entry.bytes = text.size();
    entry.newlines =
        static_cast<uint64_t>(std::count(text.begin(), text.end(), '\n'));
    const auto found = reusable.find(Content(context, text));
    if (found != reusable.end() && !found->second.empty()) {
      entry.serial = SerialOf(found->second.back()->id);
      found->second.pop_back();
    } else {
      if (record.next_serial > kMaxSerial) {
        return absl::ResourceExhaustedError(absl::StrCat(
            "document \"", input.id, "\" has used all ", kMaxSerial + 1,
            " passage serials; delete it and add it again"));
      }
      entry.serial = record.next_serial++;
      change.put_passages.push_back({.id = MakePassageId(number, entry.serial),
                                     .context = context,
                                     .text = std::string(text)});
    }
    record.passages.push_back(entry);
  }
  for (const auto& [content, passages] : reusable) {
    for (const Passage* passage : passages) {
      change.erase_passages.push_back(passage->id);
    }
  }
  std::sort(change.erase_passages.begin(), change.erase_passages.end());
  if (config.chunking == Chunking::kNone) {
    for (const Passage& passage : change.put_passages) {
      change.truncated |= counter.CountTokens(EmbeddedText(passage, config)) >
                          counter.max_tokens();
    }
  }
  return change;
}

}  // namespace pith
