#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "clients/cli/collection_operation.h"
#include "clients/cli/commands.h"
#include "core/base/status_macros.h"

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
  v1::CompactCollectionRequest request;
  request.set_name(invocation.collection);
  request.set_recompute(recompute);
  const std::string work = absl::StrCat("compact ", invocation.collection);
  const OperationWords words = {
      .work = work,
      .hint = "what was not finished is as it was; the same command goes on",
      .lost_hint = "it may still go on; `pith status` shows what came of it"};
  PITH_ASSIGN_OR_RETURN(
      const v1::Operation operation,
      RunOperation<v1::CompactCollectionResponse>(
          invocation, &v1::CollectionsService::Stub::CompactCollection, request,
          words));
  PITH_RETURN_IF_ERROR(EndOf(operation, words));
  if (!invocation.json) {
    std::cout << PrintableLine(invocation.collection) << ": "
              << SummaryText(operation) << "\n";
  }
  return Outcome::kDone;
}

}  // namespace pith::cli
