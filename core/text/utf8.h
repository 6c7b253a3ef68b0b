#ifndef PITH_CORE_TEXT_UTF8_H_
#define PITH_CORE_TEXT_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace pith {

// The code point at `*offset`, which is inside `text`, or a negative number if
// no valid UTF-8 starts there. Moves `*offset` behind it.
int32_t NextCodePoint(std::string_view text, size_t* offset);

}  // namespace pith

#endif  // PITH_CORE_TEXT_UTF8_H_
