#ifndef PITH_CORE_STORAGE_SNAPSHOT_H_
#define PITH_CORE_STORAGE_SNAPSHOT_H_

#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "core/base/work_control.h"

namespace pith {

// A snapshot is a directory with the files of a collection as they were at one
// moment and a file SHA256SUMS, in the format of sha256sum(1), that names all
// of them with their checksums. That file is written last: a directory without
// it is no snapshot. Progress is that of the bytes that are read.

// Makes every file below `directory` durable and then a snapshot of it. Returns
// the bytes of its files.
absl::StatusOr<uint64_t> FinishSnapshot(const std::filesystem::path& directory,
                                        const WorkControl& control);

// kNotFound if `directory` is no snapshot. Reads nothing.
absl::Status CheckFinished(const std::filesystem::path& directory);

// Reads every file that SHA256SUMS names. kNotFound if `directory` is no
// snapshot; kDataLoss, naming the file, if one is missing, not what it was or
// not named, or if SHA256SUMS has a line that FinishSnapshot does not write.
absl::Status CheckSnapshot(const std::filesystem::path& directory,
                           const WorkControl& control);

// As CheckSnapshot, and writes what it reads to `to`, which must not exist.
// What it leaves after an error is the caller's to remove. Durable but for the
// entry of `to` itself.
absl::Status CopySnapshot(const std::filesystem::path& directory,
                          const std::filesystem::path& to,
                          const WorkControl& control);

// Copies every file below `directory`, which nobody changes, to `to`, which
// must not exist. Else as CopySnapshot.
absl::Status CopyTree(const std::filesystem::path& directory,
                      const std::filesystem::path& to,
                      const WorkControl& control);

}  // namespace pith

#endif  // PITH_CORE_STORAGE_SNAPSHOT_H_
