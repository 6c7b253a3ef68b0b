#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "clients/cli/commands.h"
#include "clients/cli/json.h"
#include "clients/cli/operation.h"
#include "core/base/status_macros.h"
#include "proto/pith/v1/collections.grpc.pb.h"

namespace pith::cli {

namespace {

std::string SummaryText(const v1::Operation& operation) {
  const v1::CompactProgress& done = operation.compact();
  std::vector<std::string> parts;
  if (done.segment_passages() > 0) {
    parts.push_back(absl::StrCat(Plural(done.segment_passages(), "passage"),
                                 " in ", Plural(done.segments(), "new segment"),
                                 ", ", FormatCount(done.sealed_passages()),
                                 " newly sealed"));
  } else if (done.replaced_segments() > 0) {
    parts.push_back("no passage is left");
  }
  if (done.replaced_segments() > 0) {
    parts.push_back(
        absl::StrCat(Plural(done.replaced_segments(), "segment"), " replaced"));
  }
  if (done.trained_codebook()) {
    parts.push_back("codebook trained");
  }
  std::string text = parts.empty()
                         ? "nothing to do: "
                         : absl::StrCat(absl::StrJoin(parts, ", "), "; ",
                                        FormatSeconds(DurationOf(operation)));
  if (done.delta_passages() > 0) {
    absl::StrAppend(&text, parts.empty() ? "" : "; ",
                    Plural(done.delta_passages(), "passage"),
                    " unsealed, as a codebook for them is trained from ",
                    FormatCount(done.required_passages()),
                    " on (pithd --seal-passages); they are searched as they "
                    "are");
  } else if (parts.empty()) {
    absl::StrAppend(&text, "no passage waits to be sealed");
  }
  return text;
}

}  // namespace

absl::StatusOr<Outcome> Compact(const Invocation& invocation, bool recompute) {
  InterruptListener interrupts;
  PITH_ASSIGN_OR_RETURN(const auto channel, Connect(invocation.daemon));
  v1::CollectionsService::Stub stub(channel);
  v1::CompactCollectionRequest request;
  request.set_name(invocation.collection);
  request.set_recompute(recompute);
  // A signal from here on is for the operation, once that has an id.
  interrupts.SetAction([](int) {});
  auto response = Call<v1::CompactCollectionResponse>(
      stub, &v1::CollectionsService::Stub::CompactCollection, request);
  if (!response.ok()) {
    return OfCollection(response.status(), invocation.collection);
  }
  const std::string work = absl::StrCat("compact ", invocation.collection);
  const OperationWords words = {
      .work = work,
      .hint = "what was not finished is as it was; the same command goes on",
      .lost_hint = "it may still go on; `pith status` shows what came of it"};
  PITH_ASSIGN_OR_RETURN(*response->mutable_operation(),
                        Follow(channel, response->operation(), words,
                               interrupts, invocation.terminal));
  if (invocation.json) {
    std::cout << JsonText(ToJson(*response));
  }
  PITH_RETURN_IF_ERROR(EndOf(response->operation(), words));
  if (!invocation.json) {
    std::cout << PrintableLine(invocation.collection) << ": "
              << SummaryText(response->operation()) << "\n";
  }
  return Outcome::kDone;
}

}  // namespace pith::cli
