#ifndef PITH_CORE_BASE_STRING_VIEW_H_
#define PITH_CORE_BASE_STRING_VIEW_H_

#include <string_view>

#include "absl/strings/string_view.h"

namespace pith {

// Debian builds Abseil with a string_view of its own, which does not convert
// from or to std::string_view by itself.
inline absl::string_view AbslView(std::string_view text) {
  return {text.data(), text.size()};
}
inline std::string_view StdView(absl::string_view text) {
  return {text.data(), text.size()};
}

}  // namespace pith

#endif  // PITH_CORE_BASE_STRING_VIEW_H_
