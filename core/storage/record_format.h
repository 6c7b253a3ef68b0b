#ifndef PITH_CORE_STORAGE_RECORD_FORMAT_H_
#define PITH_CORE_STORAGE_RECORD_FORMAT_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

#include "core/base/ids.h"
#include "core/storage/document.h"
#include "core/storage/passage_store.h"

namespace pith {

// The store's keys and values as bytes; docs/index_format.md has the tables.
// Decoders return kDataLoss for bytes that no encoder writes.

std::string EncodeDocumentKey(DocumentNumber number);
absl::StatusOr<DocumentNumber> DecodeDocumentKey(std::string_view key);

std::string EncodePassageKey(PassageId id);
absl::StatusOr<PassageId> DecodePassageKey(std::string_view key);

// Tombstones lie between the names of meta, all under one prefix, in order of
// passage id.
inline constexpr std::string_view kTombstonePrefix = "tombstone:";
std::string EncodeTombstoneKey(PassageId id);
// `key` starts with kTombstonePrefix.
absl::StatusOr<PassageId> DecodeTombstoneKey(std::string_view key);

std::string EncodeDocumentRecord(const DocumentRecord& record);
absl::StatusOr<DocumentRecord> DecodeDocumentRecord(std::string_view bytes);

// The value does not repeat the id, which is the key.
std::string EncodePassageValue(const Passage& passage);
absl::StatusOr<Passage> DecodePassageValue(PassageId id,
                                           std::string_view bytes);

std::string EncodeDocumentNumber(DocumentNumber number);
absl::StatusOr<DocumentNumber> DecodeDocumentNumber(std::string_view bytes);

std::string EncodeCounts(const StoreCounts& counts);
absl::StatusOr<StoreCounts> DecodeCounts(std::string_view bytes);

}  // namespace pith

#endif  // PITH_CORE_STORAGE_RECORD_FORMAT_H_
