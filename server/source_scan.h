#ifndef PITH_SERVER_SOURCE_SCAN_H_
#define PITH_SERVER_SOURCE_SCAN_H_

#include <filesystem>

#include "absl/status/status.h"

#include "core/index/collection.h"
#include "server/operations.h"

namespace pith {

// Brings `collection` into agreement with the files at `path` (a file or a
// folder; absolute, normal): as SourcesService.AddSource says. Reports to
// `operation` and returns when everything is searchable. kCancelled if the
// operation was; what was stored by then stays.
absl::Status ScanSource(Collection& collection,
                        const std::filesystem::path& path,
                        Operation& operation);

}  // namespace pith

#endif  // PITH_SERVER_SOURCE_SCAN_H_
