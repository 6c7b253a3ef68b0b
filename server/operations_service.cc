#include "server/operations_service.h"

#include <memory>
#include <utility>

#include "core/base/mutex.h"
#include "core/base/status_macros.h"
#include "server/convert.h"
#include "server/unary_call.h"

namespace pith {
namespace {

// One WatchOperation stream: a message whenever the registry says that the
// operation has changed and the last message has left.
class WatchCall : public grpc::ServerWriteReactor<v1::WatchOperationResponse> {
 public:
  // What the registry's watcher holds; it may outlive the call.
  struct Shared {
    Mutex mutex;
    WatchCall* call ABSL_GUARDED_BY(mutex) = nullptr;
    bool writing ABSL_GUARDED_BY(mutex) = false;
    // The operation changed while a message was under way.
    bool behind ABSL_GUARDED_BY(mutex) = false;
  };

  static WatchCall* Start(OperationRegistry& operations,
                          const v1::WatchOperationRequest& request) {
    auto* call = new WatchCall;
    absl::StatusOr<std::shared_ptr<Operation>> operation =
        operations.Find(request.id());
    if (!operation.ok()) {
      // Finished here: a cancellation must not do it again.
      {
        MutexLock lock(call->shared_->mutex);
        call->shared_->call = nullptr;
      }
      call->Finish(ToGrpcStatus(operation.status()));
      return call;
    }
    call->operation_ = *operation;
    operations.Watch(*std::move(operation), [shared = call->shared_] {
      MutexLock lock(shared->mutex);
      if (shared->call == nullptr) {
        return false;
      }
      if (shared->writing) {
        shared->behind = true;
      } else {
        shared->call->WriteOrFinish();
      }
      return shared->call != nullptr;
    });
    return call;
  }

  void OnWriteDone(bool ok) override {
    MutexLock lock(shared_->mutex);
    shared_->writing = false;
    if (shared_->call == nullptr) {
      // Cancelled meanwhile.
      Finish(ToGrpcStatus(absl::CancelledError("the client has gone")));
      return;
    }
    if (!ok) {
      shared_->call = nullptr;
      Finish(ToGrpcStatus(absl::CancelledError("the client has gone")));
    } else if (shared_->behind || sent_end_) {
      shared_->behind = false;
      WriteOrFinish();
    }
  }

  void OnCancel() override {
    MutexLock lock(shared_->mutex);
    if (std::exchange(shared_->call, nullptr) != nullptr && !shared_->writing) {
      Finish(ToGrpcStatus(absl::CancelledError("the client has gone")));
    }
  }

  void OnDone() override { delete this; }

 private:
  WatchCall() : shared_(std::make_shared<Shared>()) { shared_->call = this; }

  // The caller holds shared_->mutex by a pointer that outlives this call, and
  // no message is under way.
  void WriteOrFinish() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (sent_end_) {
      shared_->call = nullptr;
      Finish(grpc::Status::OK);
      return;
    }
    *response_.mutable_operation() = operation_->Describe();
    sent_end_ = response_.operation().state() != v1::Operation::STATE_RUNNING;
    shared_->writing = true;
    StartWrite(&response_);
  }

  const std::shared_ptr<Shared> shared_;
  std::shared_ptr<Operation> operation_;
  v1::WatchOperationResponse response_;
  bool sent_end_ = false;
};

}  // namespace

grpc::ServerUnaryReactor* OperationsServiceImpl::GetOperation(
    grpc::CallbackServerContext* context,
    const v1::GetOperationRequest* request,
    v1::GetOperationResponse* response) {
  return RunUnary(context, executor_,
                  [=, this](const CallContext&) -> absl::Status {
                    PITH_ASSIGN_OR_RETURN(const auto operation,
                                          operations_.Find(request->id()));
                    *response->mutable_operation() = operation->Describe();
                    return absl::OkStatus();
                  });
}

grpc::ServerUnaryReactor* OperationsServiceImpl::ListOperations(
    grpc::CallbackServerContext* context,
    const v1::ListOperationsRequest* /*request*/,
    v1::ListOperationsResponse* response) {
  return RunUnary(context, executor_, [=, this](const CallContext&) {
    for (const auto& operation : operations_.List()) {
      *response->add_operations() = operation->Describe();
    }
    return absl::OkStatus();
  });
}

grpc::ServerWriteReactor<v1::WatchOperationResponse>*
OperationsServiceImpl::WatchOperation(
    grpc::CallbackServerContext* /*context*/,
    const v1::WatchOperationRequest* request) {
  return WatchCall::Start(operations_, *request);
}

grpc::ServerUnaryReactor* OperationsServiceImpl::CancelOperation(
    grpc::CallbackServerContext* context,
    const v1::CancelOperationRequest* request,
    v1::CancelOperationResponse* /*response*/) {
  return RunUnary(context, executor_,
                  [=, this](const CallContext&) -> absl::Status {
                    PITH_ASSIGN_OR_RETURN(const auto operation,
                                          operations_.Find(request->id()));
                    operation->Cancel();
                    return absl::OkStatus();
                  });
}

}  // namespace pith
