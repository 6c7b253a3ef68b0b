#ifndef PITH_CLIENTS_CLI_COLLECTION_OPERATION_H_
#define PITH_CLIENTS_CLI_COLLECTION_OPERATION_H_

#include <iostream>
#include <utility>

#include "absl/status/statusor.h"

#include "clients/cli/commands.h"
#include "clients/cli/daemon.h"
#include "clients/cli/json.h"
#include "clients/cli/operation.h"
#include "core/base/status_macros.h"
#include "proto/pith/v1/collections.grpc.pb.h"

namespace pith::cli {

// Starts an operation by `method` of CollectionsService, follows it to its end
// and prints it with --json. The result has ended, but maybe not well: EndOf.
template <typename Response, typename Method, typename Request>
absl::StatusOr<v1::Operation> RunOperation(const Invocation& invocation,
                                           Method method,
                                           const Request& request,
                                           const OperationWords& words) {
  InterruptListener interrupts;
  PITH_ASSIGN_OR_RETURN(const auto channel, Connect(invocation.daemon));
  v1::CollectionsService::Stub stub(channel);
  // A signal from here on is for the operation, once that has an id.
  interrupts.SetAction([](int) {});
  auto response = Call<Response>(stub, method, request);
  if (!response.ok()) {
    return OfCollection(response.status(), invocation.collection);
  }
  PITH_ASSIGN_OR_RETURN(*response->mutable_operation(),
                        Follow(channel, response->operation(), words,
                               interrupts, invocation.terminal));
  if (invocation.json) {
    std::cout << JsonText(ToJson(*response));
  }
  return std::move(*response->mutable_operation());
}

}  // namespace pith::cli

#endif  // PITH_CLIENTS_CLI_COLLECTION_OPERATION_H_
