#ifndef PITH_CORE_BASE_CRC32_H_
#define PITH_CORE_BASE_CRC32_H_

#include <cstdint>
#include <string_view>

namespace pith {

// CRC-32 as zlib, gzip and PNG have it (polynomial 0x04c11db7, reflected).
// Finds every damage of up to 32 bits in a row; no protection from intent.
uint32_t Crc32(std::string_view bytes);

}  // namespace pith

#endif  // PITH_CORE_BASE_CRC32_H_
