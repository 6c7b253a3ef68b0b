#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "clients/cli/commands.h"
#include "clients/cli/json.h"
#include "clients/cli/progress.h"
#include "core/base/status_macros.h"
#include "proto/pith/v1/sources.grpc.pb.h"

namespace pith::cli {

namespace {

absl::Duration FromProto(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) +
         absl::Nanoseconds(duration.nanos());
}

// Since `time`.
absl::Duration Age(const google::protobuf::Timestamp& time) {
  return std::max(absl::ZeroDuration(),
                  absl::Now() - absl::FromUnixSeconds(time.seconds()) -
                      absl::Nanoseconds(time.nanos()));
}

// "12 binary, 3 hidden".
std::string Counts(
    const google::protobuf::RepeatedPtrField<v1::SourceFiles>& groups) {
  std::string text;
  for (const v1::SourceFiles& group : groups) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", FormatCount(group.count()),
                    " ", PrintableLine(group.reason()));
  }
  return text;
}

void AppendGroups(
    const char* title,
    const google::protobuf::RepeatedPtrField<v1::SourceFiles>& groups,
    std::string* text) {
  for (const v1::SourceFiles& group : groups) {
    absl::StrAppend(text, "  ", title, FormatCount(group.count()), " ",
                    PrintableLine(group.reason()));
    if (!group.example().empty()) {
      absl::StrAppend(text, ", one is ", PrintableLine(group.example()));
    }
    if (!group.detail().empty()) {
      absl::StrAppend(text, ": ", PrintableLine(group.detail()));
    }
    *text += '\n';
  }
}

std::string LastReconcile(const v1::Source& source) {
  if (!source.has_last_reconcile()) {
    return "not reconciled yet";
  }
  const v1::Reconcile& last = source.last_reconcile();
  const std::string ago =
      absl::StrCat(FormatSeconds(Age(last.start_time())), " ago");
  if (last.has_error()) {
    return absl::StrCat("failed ", ago, " with ", FormatCount(last.removed()),
                        " removed: ", ReasonText(last.error()));
  }
  return absl::StrCat(
      ago, " in ", FormatSeconds(FromProto(last.duration())), ": ",
      FormatCount(last.added()), " added, ", FormatCount(last.updated()),
      " updated, ", RenamedText(last.renamed()), FormatCount(last.unchanged()),
      " unchanged, ", FormatCount(last.removed()), " removed");
}

std::string SourceText(const v1::Source& source) {
  std::string text =
      absl::StrCat(PrintableLine(source.path()), "\n  collection ",
                   source.collection(), "\n  watched by ");
  if (source.watching() == v1::Source::WATCHING_INOTIFY) {
    text += "inotify\n";
  } else {
    absl::StrAppend(
        &text, "time alone: ", PrintableLine(source.watching_reason()), "\n");
  }
  absl::StrAppend(&text, "  seen       ", FormatCount(source.seen()),
                  "\n  indexed    ", FormatCount(source.indexed()),
                  "\n  pending    ", Plural(source.pending_changes(), "change"),
                  ", ", Plural(source.pending_documents(), "document"), "\n");
  AppendGroups("skipped    ", source.skipped(), &text);
  AppendGroups("failed     ", source.failed(), &text);
  AppendGroups("kept       ", source.kept(), &text);
  absl::StrAppend(&text, "  reconciled ", LastReconcile(source), "\n");
  if (source.has_scanning()) {
    ProgressMeter meter;
    meter.Update(source.scanning(), absl::Now());
    absl::StrAppend(&text, "  now        ", meter.Line(), "\n");
  }
  return text;
}

}  // namespace

std::string SourceLine(const v1::Source& source) {
  std::string text = absl::StrCat(
      PrintableLine(source.path()), " in ", source.collection(), ": ",
      FormatCount(source.indexed()), " indexed, ",
      FormatCount(source.pending_changes() + source.pending_documents()),
      " pending");
  if (!source.skipped().empty()) {
    absl::StrAppend(&text, ", skipped ", Counts(source.skipped()));
  }
  if (!source.failed().empty()) {
    absl::StrAppend(&text, ", failed ", Counts(source.failed()));
  }
  if (!source.kept().empty()) {
    absl::StrAppend(&text, ", kept ", Counts(source.kept()));
  }
  if (source.last_reconcile().has_error()) {
    absl::StrAppend(&text, ", reconcile failed: ",
                    ReasonText(source.last_reconcile().error()));
  }
  if (source.watching() == v1::Source::WATCHING_TIME) {
    text += ", watched by time alone";
  }
  return text;
}

absl::StatusOr<Outcome> Unwatch(const Invocation& invocation,
                                const std::vector<std::string>& arguments) {
  PITH_ASSIGN_OR_RETURN(const auto channel, Connect(invocation.daemon));
  v1::SourcesService::Stub stub(channel);
  for (const std::string& argument : arguments) {
    absl::Status status;
    std::string unwatched;
    // The folder may be gone, so that its name cannot be resolved any more.
    for (const std::string& path :
         IdCandidates(argument, invocation.working_directory)) {
      if (!path.starts_with('/')) {
        continue;
      }
      v1::UnwatchSourceRequest request;
      request.set_collection(invocation.collection);
      request.set_path(path);
      const auto response = Call<v1::UnwatchSourceResponse>(
          stub, &v1::SourcesService::Stub::UnwatchSource, request);
      if (response.ok()) {
        unwatched = path;
        break;
      }
      if (status.ok()) {
        status = response.status();
      }
      if (!absl::IsNotFound(response.status())) {
        break;
      }
    }
    if (unwatched.empty()) {
      return WithHint(std::move(status), "pith sources shows what is watched");
    }
    if (!invocation.json) {
      std::cout << PrintableLine(unwatched)
                << " is no longer watched; its documents stay\n";
    }
  }
  if (invocation.json) {
    std::cout << JsonText(ToJson(v1::UnwatchSourceResponse()));
  }
  return Outcome::kDone;
}

absl::StatusOr<Outcome> Sources(const Invocation& invocation) {
  PITH_ASSIGN_OR_RETURN(const auto channel, Connect(invocation.daemon));
  v1::SourcesService::Stub stub(channel);
  v1::ListSourcesRequest request;
  if (invocation.collection_given) {
    request.set_collection(invocation.collection);
  }
  const auto listed = Call<v1::ListSourcesResponse>(
      stub, &v1::SourcesService::Stub::ListSources, request);
  if (!listed.ok()) {
    return invocation.collection_given
               ? OfCollection(listed.status(), invocation.collection)
               : listed.status();
  }
  const v1::ListSourcesResponse& response = *listed;
  if (invocation.json) {
    std::cout << JsonText(ToJson(response));
  } else {
    const char* separator = "";
    for (const v1::Source& source : response.sources()) {
      std::cout << separator << SourceText(source);
      separator = "\n";
    }
  }
  return response.sources().empty() ? Outcome::kNothingFound : Outcome::kDone;
}

}  // namespace pith::cli
