#ifndef PITH_CORE_STORAGE_DOCUMENT_H_
#define PITH_CORE_STORAGE_DOCUMENT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/base/file_stamp.h"
#include "core/base/hash.h"
#include "core/base/ids.h"

namespace pith {

using MetadataValue = std::variant<std::string, int64_t, double, bool>;
using Metadata = std::map<std::string, MetadataValue>;

// Where one passage of a document lies. Offsets and first lines are sums over
// the entries before it.
struct PassageEntry {
  uint32_t serial = 0;
  uint64_t bytes = 0;
  // Newlines in the passage.
  uint64_t newlines = 0;

  friend bool operator==(const PassageEntry&, const PassageEntry&) = default;
};

// What is stored about a document. Its text is the concatenation of its
// passages.
struct DocumentRecord {
  // The user's id: a path, a key.
  std::string id;
  std::string title;
  Metadata metadata;
  // Of everything that a user gave for it: text, title, metadata and format.
  ContentHash content_hash;
  // In the order of the text.
  std::vector<PassageEntry> passages;
  // The serial that the next new passage gets.
  uint32_t next_serial = 0;
  // Of the file that the text was read from last, if it was read from one.
  std::optional<FileStamp> stamp;

  friend bool operator==(const DocumentRecord&,
                         const DocumentRecord&) = default;
};

struct Passage {
  PassageId id{};
  // What is embedded in front of the text (a title or heading path); may be
  // empty.
  std::string context;
  std::string text;

  friend bool operator==(const Passage&, const Passage&) = default;
};

}  // namespace pith

#endif  // PITH_CORE_STORAGE_DOCUMENT_H_
