#ifndef PITH_CORE_SOURCE_SOURCE_LIST_H_
#define PITH_CORE_SOURCE_SOURCE_LIST_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace pith {

// The folders that a collection watches, absolute paths in ascending order, as
// the bytes that its store keeps; docs/index_format.md has the table.
std::string EncodeSourceList(const std::vector<std::string>& paths);

// Empty bytes are an empty list. kFailedPrecondition for a newer version,
// kDataLoss for bytes that no encoder writes.
absl::StatusOr<std::vector<std::string>> DecodeSourceList(
    std::string_view bytes);

}  // namespace pith

#endif  // PITH_CORE_SOURCE_SOURCE_LIST_H_
