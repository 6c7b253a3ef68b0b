#ifndef PITH_CORE_BASE_CODING_H_
#define PITH_CORE_BASE_CODING_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace pith {

// Integers and strings as bytes, for keys and values on disk. Fixed integers
// are little-endian, except in keys, where big-endian makes byte order numeric
// order. Varints are LEB128: seven bits a byte, least significant first.

void PutFixed16(uint16_t value, std::string& out);
void PutFixed32(uint32_t value, std::string& out);
void PutFixed64(uint64_t value, std::string& out);
void PutBigEndian64(uint64_t value, std::string& out);
void PutVarint(uint64_t value, std::string& out);
// A varint length, then the bytes.
void PutString(std::string_view value, std::string& out);

// Reads values from the front of a byte string and distrusts it: a read past
// the end, or a varint of more than 64 bits or more bytes than it needs, makes
// ok() false for good and yields zero or empty values.
class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : bytes_(bytes) {}

  uint16_t Fixed16();
  uint32_t Fixed32();
  uint64_t Fixed64();
  uint64_t BigEndian64();
  uint64_t Varint();
  // A varint that must be at most `max`.
  uint64_t Varint(uint64_t max);
  std::string_view String();
  std::string_view Bytes(size_t count);
  uint8_t Byte();

  bool ok() const { return ok_; }
  // True when every byte was read and every read was sound.
  bool done() const { return ok_ && bytes_.empty(); }
  size_t remaining() const { return bytes_.size(); }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

}  // namespace pith

#endif  // PITH_CORE_BASE_CODING_H_
