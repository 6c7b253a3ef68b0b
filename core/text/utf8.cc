#include "core/text/utf8.h"

#include "unicode/utf8.h"

namespace pith {

// ICU's macro narrows integers in the file that uses it.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wold-style-cast"
int32_t NextCodePoint(std::string_view text, size_t* offset) {
  int32_t code_point = 0;
  U8_NEXT(text.data(), *offset, text.size(), code_point);
  return code_point;
}
#pragma GCC diagnostic pop

}  // namespace pith
