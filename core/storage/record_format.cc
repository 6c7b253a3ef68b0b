#include "core/storage/record_format.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"

#include "core/base/coding.h"
#include "core/base/string_view.h"

namespace pith {
namespace {

// In the order of MetadataValue's alternatives.
enum class ValueType : uint8_t { kString, kInteger, kDouble, kBoolean };

absl::Status Damaged(std::string_view what, std::string_view bytes) {
  return absl::DataLossError(absl::StrCat("decode ", AbslView(what), " of ",
                                          bytes.size(), " bytes: malformed"));
}

void PutMetadataValue(const MetadataValue& value, std::string& out) {
  out.push_back(static_cast<char>(value.index()));
  switch (static_cast<ValueType>(value.index())) {
    case ValueType::kString:
      PutString(std::get<std::string>(value), out);
      break;
    case ValueType::kInteger:
      PutFixed64(static_cast<uint64_t>(std::get<int64_t>(value)), out);
      break;
    case ValueType::kDouble:
      PutFixed64(std::bit_cast<uint64_t>(std::get<double>(value)), out);
      break;
    case ValueType::kBoolean:
      out.push_back(std::get<bool>(value) ? 1 : 0);
      break;
  }
}

// False if the bytes are not a value.
bool TakeMetadataValue(Decoder& decoder, MetadataValue& value) {
  switch (static_cast<ValueType>(decoder.Byte())) {
    case ValueType::kString:
      value = std::string(decoder.String());
      return decoder.ok();
    case ValueType::kInteger:
      value = static_cast<int64_t>(decoder.Fixed64());
      return decoder.ok();
    case ValueType::kDouble:
      value = std::bit_cast<double>(decoder.Fixed64());
      return decoder.ok();
    case ValueType::kBoolean: {
      const uint8_t byte = decoder.Byte();
      value = byte == 1;
      return decoder.ok() && byte <= 1;
    }
  }
  return false;
}

bool TakeMetadata(Decoder& decoder, Metadata& metadata) {
  const uint64_t count = decoder.Varint();
  for (uint64_t i = 0; i < count; ++i) {
    std::string key(decoder.String());
    MetadataValue value;
    if (!TakeMetadataValue(decoder, value)) {
      return false;
    }
    // An encoder writes keys in ascending order.
    if (!metadata.empty() && key <= metadata.rbegin()->first) {
      return false;
    }
    metadata.emplace_hint(metadata.end(), std::move(key), std::move(value));
  }
  return decoder.ok();
}

bool TakePassages(Decoder& decoder, DocumentRecord& record) {
  record.next_serial = static_cast<uint32_t>(decoder.Varint(kMaxSerial + 1));
  const uint64_t count = decoder.Varint();
  // An entry takes three bytes or more.
  if (!decoder.ok() || count > decoder.remaining() / 3) {
    return false;
  }
  record.passages.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    PassageEntry entry;
    entry.serial = static_cast<uint32_t>(decoder.Varint(kMaxSerial));
    entry.bytes = decoder.Varint();
    entry.newlines = decoder.Varint(entry.bytes);
    if (!decoder.ok() || entry.serial >= record.next_serial) {
      return false;
    }
    record.passages.push_back(entry);
  }
  return true;
}

// Nothing for a document that was read from no file.
void PutStamp(const std::optional<FileStamp>& stamp, std::string& out) {
  if (!stamp) {
    return;
  }
  PutVarint(stamp->device, out);
  PutVarint(stamp->inode, out);
  PutVarint(stamp->bytes, out);
  PutFixed64(static_cast<uint64_t>(stamp->mtime_ns), out);
  out.push_back(stamp->settled ? 1 : 0);
}

// The rest of a document record. False if it is no stamp.
bool TakeStamp(Decoder& decoder, std::optional<FileStamp>& stamp) {
  if (decoder.done()) {
    return true;
  }
  FileStamp taken;
  taken.device = decoder.Varint();
  taken.inode = decoder.Varint();
  taken.bytes = decoder.Varint();
  taken.mtime_ns = static_cast<int64_t>(decoder.Fixed64());
  const uint8_t settled = decoder.Byte();
  taken.settled = settled == 1;
  stamp = taken;
  return decoder.done() && settled <= 1;
}

}  // namespace

std::string EncodeDocumentKey(DocumentNumber number) {
  std::string key;
  PutBigEndian64(static_cast<uint64_t>(number), key);
  return key;
}

absl::StatusOr<DocumentNumber> DecodeDocumentKey(std::string_view key) {
  Decoder decoder(key);
  const DocumentNumber number{decoder.BigEndian64()};
  if (!decoder.done()) {
    return Damaged("document key", key);
  }
  return number;
}

std::string EncodePassageKey(PassageId id) {
  std::string key;
  PutBigEndian64(static_cast<uint64_t>(id), key);
  return key;
}

absl::StatusOr<PassageId> DecodePassageKey(std::string_view key) {
  Decoder decoder(key);
  const PassageId id{decoder.BigEndian64()};
  if (!decoder.done()) {
    return Damaged("passage key", key);
  }
  return id;
}

std::string EncodeTombstoneKey(PassageId id) {
  std::string key(kTombstonePrefix);
  PutBigEndian64(static_cast<uint64_t>(id), key);
  return key;
}

absl::StatusOr<PassageId> DecodeTombstoneKey(std::string_view key) {
  Decoder decoder(key.substr(kTombstonePrefix.size()));
  const PassageId id{decoder.BigEndian64()};
  if (!decoder.done()) {
    return Damaged("tombstone key", key);
  }
  return id;
}

std::string EncodeDocumentRecord(const DocumentRecord& record) {
  CHECK_LE(record.next_serial, kMaxSerial + 1);
  std::string bytes;
  PutString(record.id, bytes);
  PutString(record.title, bytes);
  PutVarint(record.metadata.size(), bytes);
  for (const auto& [key, value] : record.metadata) {
    PutString(key, bytes);
    PutMetadataValue(value, bytes);
  }
  bytes.append(record.content_hash.bytes.begin(),
               record.content_hash.bytes.end());
  PutVarint(record.next_serial, bytes);
  PutVarint(record.passages.size(), bytes);
  for (const PassageEntry& entry : record.passages) {
    CHECK_LT(entry.serial, record.next_serial);
    CHECK_LE(entry.newlines, entry.bytes);
    PutVarint(entry.serial, bytes);
    PutVarint(entry.bytes, bytes);
    PutVarint(entry.newlines, bytes);
  }
  PutStamp(record.stamp, bytes);
  return bytes;
}

absl::StatusOr<DocumentRecord> DecodeDocumentRecord(std::string_view bytes) {
  Decoder decoder(bytes);
  DocumentRecord record;
  record.id = decoder.String();
  record.title = decoder.String();
  if (!TakeMetadata(decoder, record.metadata)) {
    return Damaged("document record", bytes);
  }
  const std::string_view hash = decoder.Bytes(record.content_hash.bytes.size());
  std::copy(hash.begin(), hash.end(), record.content_hash.bytes.begin());
  if (!TakePassages(decoder, record) || !TakeStamp(decoder, record.stamp)) {
    return Damaged("document record", bytes);
  }
  return record;
}

std::string EncodePassageValue(const Passage& passage) {
  std::string bytes;
  bytes.reserve(passage.context.size() + passage.text.size() + 5);
  PutString(passage.context, bytes);
  bytes.append(passage.text);
  return bytes;
}

absl::StatusOr<Passage> DecodePassageValue(PassageId id,
                                           std::string_view bytes) {
  Decoder decoder(bytes);
  Passage passage;
  passage.id = id;
  passage.context = decoder.String();
  passage.text = decoder.Bytes(decoder.remaining());
  if (!decoder.ok()) {
    return Damaged("passage", bytes);
  }
  return passage;
}

std::string EncodeDocumentNumber(DocumentNumber number) {
  std::string bytes;
  PutVarint(static_cast<uint64_t>(number), bytes);
  return bytes;
}

absl::StatusOr<DocumentNumber> DecodeDocumentNumber(std::string_view bytes) {
  Decoder decoder(bytes);
  const uint64_t number = decoder.Varint(kMaxDocumentNumber);
  if (!decoder.done()) {
    return Damaged("document number", bytes);
  }
  return DocumentNumber{number};
}

std::string EncodeCounts(const StoreCounts& counts) {
  std::string bytes;
  PutVarint(counts.documents, bytes);
  PutVarint(counts.passages, bytes);
  PutVarint(counts.pending, bytes);
  PutVarint(counts.text_bytes, bytes);
  PutVarint(static_cast<uint64_t>(counts.next_document), bytes);
  return bytes;
}

absl::StatusOr<StoreCounts> DecodeCounts(std::string_view bytes) {
  Decoder decoder(bytes);
  StoreCounts counts;
  counts.documents = decoder.Varint();
  counts.passages = decoder.Varint();
  counts.pending = decoder.Varint(counts.passages);
  counts.text_bytes = decoder.Varint();
  // One more than the largest number that was given out.
  counts.next_document = DocumentNumber{decoder.Varint(kMaxDocumentNumber + 1)};
  if (!decoder.done()) {
    return Damaged("counts", bytes);
  }
  return counts;
}

}  // namespace pith
