#include "server/collections_service.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "core/base/status_macros.h"
#include "server/convert.h"
#include "server/unary_call.h"

namespace pith {
namespace {

// What CompactCollection starts.
absl::Status Compact(Collection& collection, const CompactOptions& options,
                     Operation& operation) {
  PITH_ASSIGN_OR_RETURN(
      const CompactResult result,
      collection.Compact(
          options, [&operation] { return operation.cancelled(); },
          [&operation](const CompactProgress& progress) {
            operation.Update([&](v1::Operation& shown) {
              *shown.mutable_compact() = ToProto(progress);
            });
          }));
  operation.Update([&](v1::Operation& shown) {
    *shown.mutable_compact() = ToProto(result);
  });
  return absl::OkStatus();
}

// Of an operation that shows its progress where `progress` says.
template <typename Progress>
v1::Operation Describe(const std::string& collection, const std::string& target,
                       Progress* (v1::Operation::*progress)()) {
  v1::Operation description;
  description.set_collection(collection);
  description.set_target(target);
  (description.*progress)();
  return description;
}

// Shows done and total in the fields that the setters are of, of the progress
// that `progress` says.
template <typename Progress>
std::function<void(uint64_t, uint64_t)> ShownBy(
    Operation& operation, Progress* (v1::Operation::*progress)(),
    void (Progress::*set_done)(int64_t), void (Progress::*set_total)(int64_t)) {
  return [&operation, progress, set_done, set_total](uint64_t done,
                                                     uint64_t total) {
    operation.Update([&](v1::Operation& shown) {
      Progress& message = *(shown.*progress)();
      (message.*set_done)(static_cast<int64_t>(done));
      (message.*set_total)(static_cast<int64_t>(total));
    });
  };
}

WorkControl CopyControlOf(Operation& operation,
                          v1::CopyProgress* (v1::Operation::*progress)()) {
  return {.cancelled = [&operation] { return operation.cancelled(); },
          .progress = ShownBy(operation, progress, &v1::CopyProgress::set_bytes,
                              &v1::CopyProgress::set_total_bytes)};
}

CheckControl CheckControlOf(Operation& operation,
                            v1::CheckProgress* (v1::Operation::*progress)()) {
  return {.cancelled = [&operation] { return operation.cancelled(); },
          .bytes_progress =
              ShownBy(operation, progress, &v1::CheckProgress::set_bytes,
                      &v1::CheckProgress::set_total_bytes),
          .documents_progress = ShownBy(
              operation, progress, &v1::CheckProgress::set_documents_checked,
              &v1::CheckProgress::set_documents)};
}

absl::Status Restore(CollectionRegistry& collections,
                     const std::filesystem::path& snapshot,
                     const std::string& name, Operation& operation) {
  PITH_ASSIGN_OR_RETURN(
      const auto handle,
      collections.RestoreSnapshot(
          snapshot, name,
          CopyControlOf(operation, &v1::Operation::mutable_restore_snapshot)));
  operation.Update([&](v1::Operation& shown) {
    shown.set_collection(handle->collection().config().name);
  });
  return absl::OkStatus();
}

absl::Status Verify(CollectionRegistry& collections,
                    const v1::VerifyCollectionRequest& request,
                    Operation& operation) {
  const CheckControl control =
      CheckControlOf(operation, &v1::Operation::mutable_verify);
  PITH_ASSIGN_OR_RETURN(
      const CheckReport report,
      request.has_snapshot_path()
          ? collections.VerifySnapshot(request.snapshot_path(), control)
          : collections.Verify(request.name(), control));
  operation.Update(
      [&](v1::Operation& shown) { *shown.mutable_verify() = ToProto(report); });
  return absl::OkStatus();
}

absl::Status Repair(CollectionRegistry& collections, const std::string& name,
                    Operation& operation) {
  PITH_ASSIGN_OR_RETURN(
      const CheckReport report,
      collections.Repair(
          name, CheckControlOf(operation, &v1::Operation::mutable_repair)));
  operation.Update([&](v1::Operation& shown) {
    v1::CheckProgress& repair = *shown.mutable_repair();
    repair = ToProto(report);
    repair.set_repaired(report.problem_count > 0 &&
                        report.irreparable_count == 0);
  });
  if (report.irreparable_count == 0) {
    return absl::OkStatus();
  }
  return absl::DataLossError(absl::StrCat(
      "repair collection \"", name, "\": ", report.irreparable_count, " of ",
      report.problem_count, " problems cannot be mended"));
}

}  // namespace

grpc::ServerUnaryReactor* CollectionsServiceImpl::CreateCollection(
    grpc::CallbackServerContext* context,
    const v1::CreateCollectionRequest* request,
    v1::CreateCollectionResponse* response) {
  return RunUnary(
      context, executor_, [=, this](const CallContext&) -> absl::Status {
        PITH_ASSIGN_OR_RETURN(const NewCollection collection,
                              CollectionFromProto(*request));
        PITH_ASSIGN_OR_RETURN(auto handle, collections_.Create(collection));
        *response->mutable_collection() = ToProto(CollectionRegistry::Listing{
            .name = collection.name, .handle = std::move(handle)});
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* CollectionsServiceImpl::GetCollection(
    grpc::CallbackServerContext* context,
    const v1::GetCollectionRequest* request,
    v1::GetCollectionResponse* response) {
  return RunUnary(
      context, executor_, [=, this](const CallContext&) -> absl::Status {
        PITH_ASSIGN_OR_RETURN(auto handle,
                              collections_.FindOrReopen(request->name()));
        *response->mutable_collection() = ToProto(CollectionRegistry::Listing{
            .name = request->name(), .handle = std::move(handle)});
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* CollectionsServiceImpl::ListCollections(
    grpc::CallbackServerContext* context,
    const v1::ListCollectionsRequest* /*request*/,
    v1::ListCollectionsResponse* response) {
  return RunUnary(context, executor_, [=, this](const CallContext&) {
    for (const auto& listing : collections_.List()) {
      *response->add_collections() = ToProto(listing);
    }
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* CollectionsServiceImpl::DeleteCollection(
    grpc::CallbackServerContext* context,
    const v1::DeleteCollectionRequest* request,
    v1::DeleteCollectionResponse* /*response*/) {
  return RunUnary(context, executor_,
                  [=, this](const CallContext&) -> absl::Status {
                    PITH_RETURN_IF_ERROR(collections_.Delete(request->name()));
                    operations_.CancelAll(request->name());
                    return absl::OkStatus();
                  });
}

grpc::ServerUnaryReactor* CollectionsServiceImpl::CompactCollection(
    grpc::CallbackServerContext* context,
    const v1::CompactCollectionRequest* request,
    v1::CompactCollectionResponse* response) {
  return RunUnary(
      context, executor_, [=, this](const CallContext&) -> absl::Status {
        PITH_ASSIGN_OR_RETURN(auto handle,
                              collections_.FindOrReopen(request->name()));
        PITH_ASSIGN_OR_RETURN(
            const auto operation,
            operations_.Start(
                Describe(request->name(), "", &v1::Operation::mutable_compact),
                [handle = std::move(handle),
                 options = CompactOptions{.recompute = request->recompute()}](
                    Operation& self) {
                  return Compact(handle->collection(), options, self);
                }));
        *response->mutable_operation() = operation->Describe();
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* CollectionsServiceImpl::CreateSnapshot(
    grpc::CallbackServerContext* context,
    const v1::CreateSnapshotRequest* request,
    v1::CreateSnapshotResponse* response) {
  return RunUnary(
      context, executor_, [=, this](const CallContext&) -> absl::Status {
        const std::string& name = request->name();
        PITH_ASSIGN_OR_RETURN(const std::filesystem::path path,
                              PathFromProto(request->path()));
        PITH_RETURN_IF_ERROR(collections_.FindOrReopen(name).status());
        PITH_RETURN_IF_ERROR(collections_.CheckSnapshotPath(path));
        PITH_ASSIGN_OR_RETURN(
            const auto operation,
            operations_.Start(
                Describe(name, path.string(),
                         &v1::Operation::mutable_create_snapshot),
                [this, name, path](Operation& self) {
                  return collections_.CreateSnapshot(
                      name, path,
                      CopyControlOf(self,
                                    &v1::Operation::mutable_create_snapshot));
                }));
        *response->mutable_operation() = operation->Describe();
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* CollectionsServiceImpl::RestoreSnapshot(
    grpc::CallbackServerContext* context,
    const v1::RestoreSnapshotRequest* request,
    v1::RestoreSnapshotResponse* response) {
  return RunUnary(context, executor_,
                  [=, this](const CallContext&) -> absl::Status {
                    const std::string& name = request->name();
                    PITH_ASSIGN_OR_RETURN(const std::filesystem::path path,
                                          PathFromProto(request->path()));
                    if (!name.empty()) {
                      PITH_RETURN_IF_ERROR(CheckCollectionName(name));
                    }
                    PITH_ASSIGN_OR_RETURN(
                        const auto operation,
                        operations_.Start(
                            Describe(name, path.string(),
                                     &v1::Operation::mutable_restore_snapshot),
                            [this, name, path](Operation& self) {
                              return Restore(collections_, path, name, self);
                            }));
                    *response->mutable_operation() = operation->Describe();
                    return absl::OkStatus();
                  });
}

grpc::ServerUnaryReactor* CollectionsServiceImpl::VerifyCollection(
    grpc::CallbackServerContext* context,
    const v1::VerifyCollectionRequest* request,
    v1::VerifyCollectionResponse* response) {
  return RunUnary(
      context, executor_, [=, this](const CallContext&) -> absl::Status {
        v1::VerifyCollectionRequest wanted = *request;
        if (wanted.has_snapshot_path()) {
          PITH_ASSIGN_OR_RETURN(const std::filesystem::path path,
                                PathFromProto(wanted.snapshot_path()));
          wanted.set_snapshot_path(path.string());
        } else {
          PITH_RETURN_IF_ERROR(collections_.CheckExists(wanted.name()));
        }
        PITH_ASSIGN_OR_RETURN(
            const auto operation,
            operations_.Start(Describe(wanted.name(), wanted.snapshot_path(),
                                       &v1::Operation::mutable_verify),
                              [this, wanted](Operation& self) {
                                return Verify(collections_, wanted, self);
                              }));
        *response->mutable_operation() = operation->Describe();
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* CollectionsServiceImpl::RepairCollection(
    grpc::CallbackServerContext* context,
    const v1::RepairCollectionRequest* request,
    v1::RepairCollectionResponse* response) {
  return RunUnary(context, executor_,
                  [=, this](const CallContext&) -> absl::Status {
                    const std::string& name = request->name();
                    PITH_RETURN_IF_ERROR(collections_.CheckExists(name));
                    PITH_ASSIGN_OR_RETURN(
                        const auto operation,
                        operations_.Start(
                            Describe(name, "", &v1::Operation::mutable_repair),
                            [this, name](Operation& self) {
                              return Repair(collections_, name, self);
                            }));
                    *response->mutable_operation() = operation->Describe();
                    return absl::OkStatus();
                  });
}

}  // namespace pith
