#include "core/index/passage_ids.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"

#include "core/base/coding.h"

namespace pith {
namespace {

static_assert(std::endian::native == std::endian::little,
              "bits are loaded as they lie");

// What a load at the last node may read behind it.
constexpr size_t kSlackBytes = 8;
constexpr int kDocumentBits = 64 - kSerialBits;
constexpr uint64_t kMaxNodes = UINT32_MAX;

uint64_t BitsToBytes(uint64_t bits) {
  return (bits + 7) / 8;
}

// The low `width` bits set; `width` is at most 64.
uint64_t Mask(int width) {
  return width == 0 ? 0 : UINT64_MAX >> (64 - width);
}

uint64_t DocumentNumberOf(PassageId id) {
  return static_cast<uint64_t>(DocumentOf(id));
}

// A passage that `ids` has twice, if any.
std::optional<PassageId> FindRepeated(std::vector<PassageId> ids) {
  std::sort(ids.begin(), ids.end());
  const auto found = std::adjacent_find(ids.begin(), ids.end());
  return found == ids.end() ? std::nullopt : std::optional(*found);
}

}  // namespace

PassageIds::PassageIds(std::span<const PassageId> ids) {
  CHECK_LE(ids.size(), kMaxNodes);
  CHECK(!FindRepeated({ids.begin(), ids.end()}).has_value());
  Pack(ids);
}

void PassageIds::Pack(std::span<const PassageId> ids) {
  size_ = ids.size();
  if (!ids.empty()) {
    const auto [first, last] = std::minmax_element(ids.begin(), ids.end());
    base_ = DocumentNumberOf(*first);
    document_bits_ =
        static_cast<int>(std::bit_width(DocumentNumberOf(*last) - base_));
    uint32_t max_serial = 0;
    for (const PassageId id : ids) {
      max_serial = std::max(max_serial, SerialOf(id));
    }
    serial_bits_ = static_cast<int>(std::bit_width(max_serial));
  }
  const int width = document_bits_ + serial_bits_;
  bits_.resize(BitsToBytes(size_ * static_cast<uint64_t>(width)) + kSlackBytes);
  for (size_t i = 0; i < size_; ++i) {
    const uint64_t value =
        (DocumentNumberOf(ids[i]) - base_) << serial_bits_ | SerialOf(ids[i]);
    const uint64_t bit = i * static_cast<uint64_t>(width);
    const int shift = static_cast<int>(bit % 8);
    uint8_t* const at = bits_.data() + bit / 8;
    uint64_t word = 0;
    std::memcpy(&word, at, sizeof(word));
    word |= value << shift;
    std::memcpy(at, &word, sizeof(word));
    if (shift + width > 64) {
      at[sizeof(word)] = static_cast<uint8_t>(value >> (64 - shift));
    }
  }
}

PassageId PassageIds::operator[](NodeId node) const {
  const uint64_t i = static_cast<uint64_t>(node);
  DCHECK_LT(i, size_);
  const int width = document_bits_ + serial_bits_;
  const uint64_t bit = i * static_cast<uint64_t>(width);
  const int shift = static_cast<int>(bit % 8);
  const uint8_t* const at = bits_.data() + bit / 8;
  uint64_t value = 0;
  std::memcpy(&value, at, sizeof(value));
  value >>= shift;
  if (shift + width > 64) {
    value |= uint64_t{at[8]} << (64 - shift);
  }
  value &= Mask(width);
  return MakePassageId(DocumentNumber{base_ + (value >> serial_bits_)},
                       static_cast<uint32_t>(value & Mask(serial_bits_)));
}

std::string PassageIds::Encode() const {
  std::string bytes;
  PutFixed32(static_cast<uint32_t>(size_), bytes);
  PutFixed64(base_, bytes);
  bytes.push_back(static_cast<char>(document_bits_));
  bytes.push_back(static_cast<char>(serial_bits_));
  bytes.append(bits_.begin(), bits_.end() - kSlackBytes);
  return bytes;
}

absl::StatusOr<PassageIds> PassageIds::Decode(std::string_view bytes) {
  Decoder decoder(bytes);
  const uint64_t size = decoder.Fixed32();
  const uint64_t base = decoder.Fixed64();
  const int document_bits = decoder.Byte();
  const int serial_bits = decoder.Byte();
  if (!decoder.ok()) {
    return absl::DataLossError(
        absl::StrCat(bytes.size(), " bytes are fewer than a header takes"));
  }
  if (base > kMaxDocumentNumber || document_bits > kDocumentBits ||
      serial_bits > kSerialBits) {
    return absl::DataLossError(absl::StrCat(
        "smallest document ", base, ", ", document_bits, " bits of document, ",
        serial_bits, " bits of serial: at most ", kMaxDocumentNumber, ", ",
        kDocumentBits, " and ", kSerialBits));
  }
  const int width = document_bits + serial_bits;
  const uint64_t bits = size * static_cast<uint64_t>(width);
  if (decoder.remaining() != BitsToBytes(bits)) {
    return absl::DataLossError(
        absl::StrCat(decoder.remaining(), " bytes of bits, ", size,
                     " passages of ", width, " bits take ", BitsToBytes(bits)));
  }
  if (width < 32 && size > uint64_t{1} << width) {
    return absl::DataLossError(
        absl::StrCat(size, " passages of ", width, " bits are not distinct"));
  }
  PassageIds ids;
  ids.size_ = size;
  ids.base_ = base;
  ids.document_bits_ = document_bits;
  ids.serial_bits_ = serial_bits;
  const std::string_view packed = decoder.Bytes(decoder.remaining());
  ids.bits_.reserve(packed.size() + kSlackBytes);
  ids.bits_.assign(packed.begin(), packed.end());
  ids.bits_.resize(packed.size() + kSlackBytes);

  std::vector<PassageId> all;
  all.reserve(size);
  for (size_t i = 0; i < size; ++i) {
    all.push_back(ids[NodeId{static_cast<uint32_t>(i)}]);
  }
  // Fails for a base or a width that the passages do not need, a document
  // number that is too large, or a bit behind the last passage.
  PassageIds again;
  again.Pack(all);
  if (again != ids) {
    return absl::DataLossError(absl::StrCat(
        size, " passages from document ", base, " on, ", document_bits, " and ",
        serial_bits, " bits: not as they are written"));
  }
  if (const auto repeated = FindRepeated(std::move(all))) {
    return absl::DataLossError(absl::StrCat("passage ",
                                            static_cast<uint64_t>(*repeated),
                                            " is more than one node"));
  }
  return ids;
}

}  // namespace pith
