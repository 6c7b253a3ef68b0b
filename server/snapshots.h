#ifndef PITH_SERVER_SNAPSHOTS_H_
#define PITH_SERVER_SNAPSHOTS_H_

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "core/index/collection.h"
#include "core/index/collection_check.h"
#include "core/storage/snapshot.h"
#include "server/backends.h"

namespace pith {

// What is done with a collection's directory as a whole. What an error leaves
// of a new directory is removed.

// A snapshot of `collection` at `directory`; while it is made, that is called
// as asked for and ".pith-unfinished", and one that a crash left goes first.
// Nothing has that path, and its parent exists.
absl::Status CreateSnapshot(Collection& collection,
                            const std::filesystem::path& directory,
                            const CopyControl& control);

// The name of the collection that a snapshot is of. As CheckSnapshot, but reads
// only what it must.
absl::StatusOr<std::string> SnapshotName(const StoreBackend& backend,
                                         const std::filesystem::path& snapshot);

// Makes `directory`, which does not exist, a collection's from a snapshot's
// bytes, with another name and without watched folders. As CopySnapshot.
// Durable but for the entry of `directory`.
absl::Status RestoreSnapshot(const StoreBackend& backend,
                             const std::filesystem::path& snapshot,
                             const std::string& name,
                             const std::filesystem::path& directory,
                             const CopyControl& control);

// CheckCollection of a directory that nobody changes: a snapshot's, or one of a
// collection that is closed.
absl::StatusOr<CheckReport> VerifyDirectory(
    const StoreBackend& backend, const std::filesystem::path& directory,
    const CheckControl& control);

// The same of an open collection, at one moment, while it goes on changing.
// `copy` is where a copy lies meanwhile, on the same file system; what a crash
// left there goes first.
absl::StatusOr<CheckReport> VerifyOpen(const StoreBackend& backend,
                                       Collection& collection,
                                       const std::filesystem::path& copy,
                                       const CheckControl& control);

// CheckCollection of a directory that is not open, and what it takes to mend
// what it finds, all or nothing.
absl::StatusOr<CheckReport> RepairDirectory(
    const StoreBackend& backend, const std::filesystem::path& directory,
    const CheckControl& control);

}  // namespace pith

#endif  // PITH_SERVER_SNAPSHOTS_H_
