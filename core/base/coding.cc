#include "core/base/coding.h"

namespace pith {
namespace {

template <typename T>
void PutLittleEndian(T value, std::string& out) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    out.push_back(static_cast<char>(value >> (8 * i)));
  }
}

template <typename T>
T LoadLittleEndian(std::string_view bytes) {
  T value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    value = static_cast<T>(
        value | static_cast<T>(static_cast<uint8_t>(bytes[i])) << (8 * i));
  }
  return value;
}

}  // namespace

void PutFixed16(uint16_t value, std::string& out) {
  PutLittleEndian(value, out);
}
void PutFixed32(uint32_t value, std::string& out) {
  PutLittleEndian(value, out);
}
void PutFixed64(uint64_t value, std::string& out) {
  PutLittleEndian(value, out);
}

void PutBigEndian64(uint64_t value, std::string& out) {
  for (int shift = 56; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(value >> shift));
  }
}

void PutVarint(uint64_t value, std::string& out) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

void PutString(std::string_view value, std::string& out) {
  PutVarint(value.size(), out);
  out.append(value);
}

std::string_view Decoder::Bytes(size_t count) {
  if (!ok_ || count > bytes_.size()) {
    ok_ = false;
    return {};
  }
  const std::string_view result = bytes_.substr(0, count);
  bytes_.remove_prefix(count);
  return result;
}

uint8_t Decoder::Byte() {
  const std::string_view bytes = Bytes(1);
  return ok_ ? static_cast<uint8_t>(bytes[0]) : 0;
}

uint16_t Decoder::Fixed16() {
  return LoadLittleEndian<uint16_t>(Bytes(2));
}
uint32_t Decoder::Fixed32() {
  return LoadLittleEndian<uint32_t>(Bytes(4));
}
uint64_t Decoder::Fixed64() {
  return LoadLittleEndian<uint64_t>(Bytes(8));
}

uint64_t Decoder::BigEndian64() {
  uint64_t value = 0;
  for (const char byte : Bytes(8)) {
    value = (value << 8) | static_cast<uint8_t>(byte);
  }
  return value;
}

uint64_t Decoder::Varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const uint8_t byte = Byte();
    if (!ok_ || (shift == 63 && byte > 1)) {
      break;
    }
    if (byte == 0 && shift > 0) {
      break;
    }
    value |= uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) {
      return value;
    }
  }
  ok_ = false;
  return 0;
}

uint64_t Decoder::Varint(uint64_t max) {
  const uint64_t value = Varint();
  if (value > max) {
    ok_ = false;
    return 0;
  }
  return value;
}

std::string_view Decoder::String() {
  return Bytes(Varint());
}

}  // namespace pith
