#include <iostream>
#include <string>

#include "absl/strings/str_cat.h"

#include "clients/cli/commands.h"
#include "clients/cli/json.h"
#include "clients/cli/operation.h"
#include "core/base/status_macros.h"
#include "proto/pith/v1/collections.grpc.pb.h"

namespace pith::cli {

namespace {

std::string SummaryText(const v1::Operation& operation) {
  const v1::CompactProgress& done = operation.compact();
  if (done.delta_passages() > 0) {
    return absl::StrCat(
        "nothing to do: ", Plural(done.delta_passages(), "passage"),
        ", and a codebook is trained from ",
        FormatCount(done.required_passages()),
        " on (pithd --seal-passages); until then they are searched as they "
        "are");
  }
  if (done.segment_passages() == 0 && done.replaced_segments() == 0) {
    return "nothing to do: no passage waits to be sealed";
  }
  std::string text =
      done.segment_passages() == 0
          ? "no passage is left"
          : absl::StrCat(Plural(done.segment_passages(), "passage"),
                         " in one segment, ",
                         FormatCount(done.sealed_passages()), " newly sealed");
  if (done.replaced_segments() > 0) {
    absl::StrAppend(&text, ", ", Plural(done.replaced_segments(), "segment"),
                    " replaced");
  }
  if (done.trained_codebook()) {
    absl::StrAppend(&text, ", codebook trained");
  }
  absl::StrAppend(&text, "; ", FormatSeconds(DurationOf(operation)));
  return text;
}

}  // namespace

absl::StatusOr<Outcome> Compact(const Invocation& invocation) {
  InterruptListener interrupts;
  PITH_ASSIGN_OR_RETURN(const auto channel, Connect(invocation.daemon));
  v1::CollectionsService::Stub stub(channel);
  v1::CompactCollectionRequest request;
  request.set_name(invocation.collection);
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
      .hint = "the collection is as it was; the same command begins again",
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
