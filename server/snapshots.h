#ifndef PITH_SERVER_SNAPSHOTS_H_
#define PITH_SERVER_SNAPSHOTS_H_

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "core/base/work_control.h"
#include "core/index/collection_check.h"
#include "core/index/collection_config.h"
#include "core/storage/snapshot.h"
#include "server/backends.h"

namespace pith {

// Removes it and all that is in it. What is left for an error is for the next
// start to remove.
void RemoveOrLog(const std::filesystem::path& directory);

// What is done with a collection's directory as a whole. What an error leaves
// of a new directory is removed.

// A snapshot at `directory` of `copy`, which Collection::CopyTo made and which
// goes there, if it lies on the same file system, else is copied. While it is
// made, it is called as asked for and ".pith-unfinished", and one that a crash
// left goes first. Nothing has that path, and its parent exists.
absl::Status CreateSnapshot(const std::filesystem::path& copy,
                            const std::filesystem::path& directory,
                            const WorkControl& control);

// The configuration of the collection that a snapshot is of. As CheckSnapshot,
// but reads only what it must.
absl::StatusOr<CollectionConfig> SnapshotConfig(
    const StoreBackend& backend, const std::filesystem::path& snapshot);

// Makes `directory`, which does not exist, a collection's from a snapshot's
// bytes, with another name and without watched folders. As CopySnapshot.
// Durable but for the entry of `directory`.
absl::Status RestoreSnapshot(const StoreBackend& backend,
                             const std::filesystem::path& snapshot,
                             const std::string& name,
                             const std::filesystem::path& directory,
                             const WorkControl& control);

// CheckCollection of a directory that nobody changes: a snapshot's, or one of a
// collection that is closed.
absl::StatusOr<CheckReport> VerifyDirectory(
    const StoreBackend& backend, const std::filesystem::path& directory,
    const CheckControl& control);

// CheckCollection of a directory that is not open, and what it takes to mend
// what can be mended, in one batch.
absl::StatusOr<CheckReport> RepairDirectory(
    const StoreBackend& backend, const std::filesystem::path& directory,
    const CheckControl& control);

}  // namespace pith

#endif  // PITH_SERVER_SNAPSHOTS_H_
