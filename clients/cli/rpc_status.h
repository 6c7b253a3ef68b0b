#ifndef PITH_CLIENTS_CLI_RPC_STATUS_H_
#define PITH_CLIENTS_CLI_RPC_STATUS_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"
#include "nlohmann/json.hpp"

namespace pith::cli {

// The same code and message; a google.rpc.ErrorInfo's reason is kept as that of
// core/base/reason.h.
absl::Status FromGrpc(const grpc::Status& status);
absl::Status FromRpcStatus(const google::rpc::Status& status);

// `status` with a sentence for people about what to do next.
absl::Status WithHint(absl::Status status, std::string_view hint);

// {"code": "NOT_FOUND", "reason": "...", "message": "..."}; the reason is the
// code where there is no other.
nlohmann::ordered_json StatusToJson(const absl::Status& status);

// What goes to standard error: "pith: message" and the hint in brackets on a
// line of its own; with `json`, {"error": StatusToJson}.
std::string ErrorText(const absl::Status& status, bool json);

}  // namespace pith::cli

#endif  // PITH_CLIENTS_CLI_RPC_STATUS_H_
