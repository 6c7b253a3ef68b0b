#ifndef PITH_CORE_TEXT_TEXT_CHECK_H_
#define PITH_CORE_TEXT_TEXT_CHECK_H_

#include <string_view>

#include "absl/status/status.h"

namespace pith {

inline constexpr std::string_view kBinaryReason = "BINARY";
inline constexpr std::string_view kNotUtf8Reason = "NOT_UTF8";

// OK if `bytes` is the text of a file that can be indexed: valid UTF-8 without
// NUL bytes. Else kInvalidArgument that says what it is: a binary file (NUL
// byte or a known binary signature at the start), UTF-16, or the offset of the
// first byte that is not UTF-8; its reason (core/base/reason.h) is one of those
// above. Empty text is OK.
absl::Status CheckText(std::string_view bytes);

// The same for what is not a whole file, such as a title: a binary signature
// that is valid UTF-8 is OK.
absl::Status CheckUtf8Text(std::string_view bytes);

}  // namespace pith

#endif  // PITH_CORE_TEXT_TEXT_CHECK_H_
