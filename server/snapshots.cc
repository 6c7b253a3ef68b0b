#include "server/snapshots.h"

#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"

#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/index/collection.h"

namespace pith {
namespace fs = std::filesystem;

namespace {

// What is left of a directory that was not finished; nothing if it was.
auto RemoveAtEnd(const fs::path& path) {
  return absl::MakeCleanup([path] { RemoveOrLog(path); });
}

absl::StatusOr<CheckResult> Check(const StoreBackend::OpenStore& open,
                                  const fs::path& directory,
                                  const CheckControl& control) {
  PITH_ASSIGN_OR_RETURN(
      const CollectionConfig config,
      Annotate(DecodeCollectionConfig(open.configuration), directory.string()));
  return CheckCollection(
      config, *open.store,
      SegmentDirectory(directory / Collection::kSegmentDirectory), control);
}

}  // namespace

void RemoveOrLog(const fs::path& directory) {
  const absl::Status removed = RemoveTree(directory);
  LOG_IF(ERROR, !removed.ok()) << removed;
}

absl::Status CreateSnapshot(const fs::path& copy, const fs::path& directory,
                            const WorkControl& control) {
  // Among a user's files: nothing else has such a name.
  fs::path unfinished = directory;
  unfinished += ".pith-unfinished";
  std::error_code error;
  if (fs::exists(unfinished, error)) {
    if (!fs::exists(unfinished / "CURRENT", error)) {
      return absl::AlreadyExistsError(absl::StrCat(
          "create snapshot ", directory.string(), ": ", unfinished.string(),
          " exists and does not look like what an interrupted one "
          "left; remove it first"));
    }
    PITH_RETURN_IF_ERROR(RemoveTree(unfinished));
  }
  const auto remove = RemoveAtEnd(unfinished);
  fs::rename(copy, unfinished, error);
  if (error == std::errc::cross_device_link) {
    PITH_RETURN_IF_ERROR(CopyTree(copy, unfinished, control));
  } else if (error) {
    return ErrnoStatus(error.value(), "create snapshot", directory);
  }
  PITH_RETURN_IF_ERROR(FinishSnapshot(unfinished, control).status());
  return RenameDurably(unfinished, directory);
}

absl::StatusOr<CollectionConfig> SnapshotConfig(const StoreBackend& backend,
                                                const fs::path& snapshot) {
  PITH_RETURN_IF_ERROR(CheckFinished(snapshot));
  PITH_ASSIGN_OR_RETURN(const StoreBackend::OpenStore open,
                        backend.open_read_only(snapshot));
  return Annotate(DecodeCollectionConfig(open.configuration),
                  snapshot.string());
}

absl::Status RestoreSnapshot(const StoreBackend& backend,
                             const fs::path& snapshot, const std::string& name,
                             const fs::path& directory,
                             const WorkControl& control) {
  auto remove = RemoveAtEnd(directory);
  PITH_RETURN_IF_ERROR(CopySnapshot(snapshot, directory, control));
  PITH_ASSIGN_OR_RETURN(const StoreBackend::OpenStore open,
                        backend.open(directory));
  PITH_ASSIGN_OR_RETURN(
      CollectionConfig config,
      Annotate(DecodeCollectionConfig(open.configuration), snapshot.string()));
  config.name = name;
  StoreBatch batch = {.sources = "",
                      .configuration = EncodeCollectionConfig(config)};
  PITH_ASSIGN_OR_RETURN(batch.counts, open.store->GetCounts());
  PITH_RETURN_IF_ERROR(open.store->Commit(batch, Durability::kSynced));
  std::move(remove).Cancel();
  return absl::OkStatus();
}

absl::StatusOr<CheckReport> VerifyDirectory(const StoreBackend& backend,
                                            const fs::path& directory,
                                            const CheckControl& control) {
  PITH_ASSIGN_OR_RETURN(const StoreBackend::OpenStore open,
                        backend.open_read_only(directory));
  PITH_ASSIGN_OR_RETURN(CheckResult result, Check(open, directory, control));
  return std::move(result.report);
}

absl::StatusOr<CheckReport> RepairDirectory(const StoreBackend& backend,
                                            const fs::path& directory,
                                            const CheckControl& control) {
  PITH_ASSIGN_OR_RETURN(const StoreBackend::OpenStore open,
                        backend.open(directory));
  PITH_ASSIGN_OR_RETURN(CheckResult result, Check(open, directory, control));
  if (result.repair) {
    PITH_RETURN_IF_ERROR(
        open.store->Commit(*result.repair, Durability::kSynced));
  }
  return std::move(result.report);
}

}  // namespace pith
