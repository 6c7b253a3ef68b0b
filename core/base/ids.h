#ifndef PITH_CORE_BASE_IDS_H_
#define PITH_CORE_BASE_IDS_H_

#include <cstdint>

namespace pith {

// A document's number within its collection; never reused.
enum class DocumentNumber : uint64_t {};

// Names a passage as long as it exists: its document's number in the high 40
// bits, a serial within that document in the low 24. Never a position, never
// reused.
enum class PassageId : uint64_t {};

inline constexpr int kSerialBits = 24;
inline constexpr uint32_t kMaxSerial = (uint32_t{1} << kSerialBits) - 1;
inline constexpr uint64_t kMaxDocumentNumber =
    (uint64_t{1} << (64 - kSerialBits)) - 1;

// `document` is at most kMaxDocumentNumber and `serial` at most kMaxSerial.
constexpr PassageId MakePassageId(DocumentNumber document, uint32_t serial) {
  return PassageId{(static_cast<uint64_t>(document) << kSerialBits) | serial};
}
constexpr DocumentNumber DocumentOf(PassageId passage) {
  return DocumentNumber{static_cast<uint64_t>(passage) >> kSerialBits};
}
constexpr uint32_t SerialOf(PassageId passage) {
  return static_cast<uint32_t>(static_cast<uint64_t>(passage) & kMaxSerial);
}

}  // namespace pith

#endif  // PITH_CORE_BASE_IDS_H_
