#include "clients/cli/rpc_status.h"

#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"

#include "clients/cli/json.h"
#include "clients/cli/text.h"
#include "core/base/reason.h"
#include "core/base/string_view.h"

namespace pith::cli {

namespace {

constexpr absl::string_view kHintPayload = "pith/hint";

}  // namespace

absl::Status FromRpcStatus(const google::rpc::Status& status) {
  absl::Status result(static_cast<absl::StatusCode>(status.code()),
                      status.message());
  google::rpc::ErrorInfo info;
  for (const auto& detail : status.details()) {
    if (!result.ok() && detail.Is<google::rpc::ErrorInfo>() &&
        detail.UnpackTo(&info)) {
      result = WithReason(std::move(result), info.reason());
    }
  }
  return result;
}

absl::Status FromGrpc(const grpc::Status& status) {
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) {
    details.Clear();
  }
  details.set_code(status.error_code());
  details.set_message(status.error_message());
  return FromRpcStatus(details);
}

absl::Status WithHint(absl::Status status, std::string_view hint) {
  if (hint.empty()) {
    return status;
  }
  status.SetPayload(kHintPayload, absl::Cord(AbslView(hint)));
  return status;
}

Json StatusToJson(const absl::Status& status) {
  Json object = Json::object();
  object["code"] = absl::StatusCodeToString(status.code());
  object["reason"] = ReasonOf(status);
  object["message"] = std::string(status.message());
  return object;
}

std::string ErrorText(const absl::Status& status, bool json) {
  if (json) {
    return JsonText({{"error", StatusToJson(status)}});
  }
  std::string text = absl::StrCat("pith: ",
                                  status.message().empty()
                                      ? absl::StatusCodeToString(status.code())
                                      : Printable(StdView(status.message())),
                                  "\n");
  if (const auto hint = status.GetPayload(kHintPayload)) {
    absl::StrAppend(&text, "(", std::string(*hint), ")\n");
  }
  return text;
}

}  // namespace pith::cli
