#ifndef PITH_SERVER_UNARY_CALL_H_
#define PITH_SERVER_UNARY_CALL_H_

#include <atomic>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"

#include "core/index/embedder.h"
#include "server/convert.h"
#include "server/executor.h"

namespace pith {

// What a handler's work may ask about its call.
struct CallContext {
  // Deadline and cancellation.
  RequestContext request;
  // How long the call waited for a thread.
  absl::Duration queue_time;
};

// Runs `work`, a function of CallContext that returns absl::Status, on
// `executor` and finishes the call with its status; RESOURCE_EXHAUSTED if the
// executor's queue is full. The handler itself never blocks.
template <typename Work>
grpc::ServerUnaryReactor* RunUnary(grpc::CallbackServerContext* context,
                                   Executor& executor, Work work) {
  class Call : public grpc::ServerUnaryReactor {
   public:
    bool cancelled() const { return cancelled_; }
    void OnCancel() override { cancelled_ = true; }
    // The last event of a call, after Finish.
    void OnDone() override { delete this; }

   private:
    std::atomic<bool> cancelled_ = false;
  };
  auto* call = new Call;
  const absl::Time deadline = absl::FromChrono(context->deadline());
  const absl::Time submitted = absl::Now();
  const absl::Status queued =
      executor.Submit([call, deadline, submitted, work = std::move(work)] {
        CallContext call_context;
        call_context.request.deadline = deadline;
        call_context.request.cancelled = [call] { return call->cancelled(); };
        call_context.queue_time = absl::Now() - submitted;
        absl::Status status = CheckAlive(call_context.request);
        if (status.ok()) {
          status = work(call_context);
        }
        call->Finish(ToGrpcStatus(status));
      });
  if (!queued.ok()) {
    call->Finish(ToGrpcStatus(queued));
  }
  return call;
}

}  // namespace pith

#endif  // PITH_SERVER_UNARY_CALL_H_
