#ifndef PITH_CORE_INDEX_DOCUMENT_CHANGE_H_
#define PITH_CORE_INDEX_DOCUMENT_CHANGE_H_

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "core/base/file_stamp.h"
#include "core/base/ids.h"
#include "core/index/collection_config.h"
#include "core/storage/document.h"
#include "core/text/chunker.h"
#include "core/text/token_counter.h"

namespace pith {

// A document as a user gives it.
struct DocumentInput {
  std::string id;
  // Empty: the text's first heading.
  std::string title;
  std::string text;
  Metadata metadata;
  TextFormat format = TextFormat::kPlain;
  // Of the file that holds the text, if one does; no part of the content.
  std::optional<FileStamp> stamp;
  // The document that this one was until now, if there is none with its own id:
  // that one goes on under this id, with the passages that are unchanged. No
  // part of the content.
  std::optional<std::string> renamed_from;
};

inline constexpr size_t kMaxDocumentIdBytes = 4096;
inline constexpr size_t kMaxTitleBytes = 1024;
// Of all keys and values together.
inline constexpr size_t kMaxMetadataBytes = size_t{64} << 10;
inline constexpr size_t kMaxDocumentBytes = size_t{64} << 20;

// kInvalidArgument naming the field and the bound.
absl::Status CheckDocument(const DocumentInput& input);

// Covers everything in `input`, so that equal hashes mean nothing changed.
ContentHash HashDocument(const DocumentInput& input);

// What is embedded for a passage: its context and its text without surrounding
// white space.
std::string EmbeddedText(const Passage& passage,
                         const CollectionConfig& config);

// What it takes to make a stored document equal to an input.
struct DocumentChange {
  DocumentRecord record;
  std::vector<Passage> put_passages;
  std::vector<PassageId> erase_passages;
  // A passage has more tokens than the model takes.
  bool truncated = false;
};

// Cuts `input` into passages. Those whose context and text equal a passage of
// the stored document keep its id, wherever they stand now; the others get new
// serials. kInvalidArgument if the text has no token. `old_record` and
// `old_passages` are the stored document and its passages in order; null and
// empty for a new one. kResourceExhausted if the document's serials are used
// up.
absl::StatusOr<DocumentChange> PlanDocumentChange(
    const DocumentInput& input, const ContentHash& content_hash,
    DocumentNumber number, const DocumentRecord* old_record,
    std::span<const Passage> old_passages, const CollectionConfig& config,
    const TokenCounter& counter);

}  // namespace pith

#endif  // PITH_CORE_INDEX_DOCUMENT_CHANGE_H_
