#ifndef PITH_SERVER_OPERATIONS_H_
#define PITH_SERVER_OPERATIONS_H_

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "core/base/mutex.h"
#include "proto/pith/v1/operations.pb.h"
#include "server/executor.h"

namespace pith {

// Long work that is run by the daemon, watched and cancelled. Thread-safe.
class Operation {
 public:
  // `description` has collection, target and an empty progress.
  Operation(const std::string& id, v1::Operation description);

  const std::string& id() const { return id_; }
  const std::string& collection() const { return collection_; }
  const std::string& target() const { return target_; }
  v1::Operation Describe() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Changes when Describe() does.
  uint64_t version() const ABSL_LOCKS_EXCLUDED(mutex_);

  // For the work itself: changes the progress of its kind by `edit`, and asks
  // whether to go on.
  void Update(const std::function<void(v1::Operation&)>& edit)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void Update(const std::function<void(v1::AddSourceProgress&)>& edit)
      ABSL_LOCKS_EXCLUDED(mutex_);
  bool cancelled() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits for Cancel(), up to `timeout`; returns cancelled().
  bool WaitForCancel(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mutex_);

  // One that has not begun ends at once.
  void Cancel() ABSL_LOCKS_EXCLUDED(mutex_);
  bool ended() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  friend class OperationRegistry;
  // False if it was cancelled before.
  bool Begin() ABSL_LOCKS_EXCLUDED(mutex_);
  void End(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);
  void EndLocked(const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string id_;
  const std::string collection_;
  const std::string target_;

  mutable Mutex mutex_;
  CondVar cancel_requested_;
  v1::Operation state_ ABSL_GUARDED_BY(mutex_);
  uint64_t version_ ABSL_GUARDED_BY(mutex_) = 0;
  bool begun_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

// Of an operation that adds what lies at `path`.
v1::Operation DescribeAdd(const std::string& collection,
                          const std::string& path);

// Runs operations, keeps those that ended lately, and tells watchers of
// changes.
class OperationRegistry {
 public:
  OperationRegistry();
  // Cancels what runs, and waits for it; watchers are told a last time.
  ~OperationRegistry();

  // Runs `work` on a thread of the registry's. `description` has collection,
  // target, either of which may be empty, and an empty progress, which says of
  // what kind it is. kFailedPrecondition if one of the same three has not
  // ended (or, for a snapshot, one to the same target of another collection),
  // kResourceExhausted if too many wait. kCancelled from `work` is no failure.
  absl::StatusOr<std::shared_ptr<Operation>> Start(
      v1::Operation description, std::function<absl::Status(Operation&)> work)
      ABSL_LOCKS_EXCLUDED(mutex_);

  absl::StatusOr<std::shared_ptr<Operation>> Find(std::string_view id)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Newest first.
  std::vector<std::shared_ptr<Operation>> List() ABSL_LOCKS_EXCLUDED(mutex_);
  // Cancels every operation on `collection`.
  void CancelAll(std::string_view collection) ABSL_LOCKS_EXCLUDED(mutex_);

  // Calls `changed` on the registry's thread: soon, then after each change, at
  // most ten times a second, and once more when the operation has ended, until
  // it returns false or the operation has ended.
  void Watch(std::shared_ptr<Operation> operation,
             std::function<bool()> changed) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Watcher {
    std::shared_ptr<Operation> operation;
    std::function<bool()> changed;
    uint64_t seen_version = UINT64_MAX;
  };
  void RunWatchers();

  Mutex mutex_;
  CondVar watchers_changed_;
  uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  // Newest first.
  std::list<std::shared_ptr<Operation>> operations_ ABSL_GUARDED_BY(mutex_);
  std::vector<Watcher> watchers_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::unique_ptr<Executor> executor_;
  std::thread watcher_thread_;
};

}  // namespace pith

#endif  // PITH_SERVER_OPERATIONS_H_
