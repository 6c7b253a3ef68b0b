#include <iostream>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "clients/cli/collection_operation.h"
#include "clients/cli/commands.h"
#include "clients/cli/rpc_status.h"
#include "core/base/status_macros.h"

namespace pith::cli {
namespace {

using Stub = v1::CollectionsService::Stub;

constexpr char kNothingLeft[] = "nothing is left of it";
constexpr char kMayGoOn[] =
    "it may still go on; `pith status` shows whether it does";
// Where what is damaged cannot even be read.
constexpr char kBeyondCheck[] =
    "a snapshot may have what is lost (pith restore PATH NAME); else delete "
    "the "
    "collection and add its documents again";

// EndOf an operation that checks a collection.
absl::Status EndOfCheck(const v1::Operation& operation,
                        const OperationWords& words) {
  absl::Status end = EndOf(operation, words);
  return absl::IsDataLoss(end) ? WithHint(std::move(end), kBeyondCheck)
                               : std::move(end);
}

std::string CheckedText(const v1::CheckProgress& check) {
  std::string text =
      absl::StrCat(Plural(check.documents(), "document"), ", ",
                   Plural(check.passages(), "passage"), ", ",
                   Plural(check.segments(), "segment"), " of ",
                   Plural(check.segment_passages(), "passage"), ", ",
                   FormatCount(check.delta_passages()), " unsealed, ",
                   FormatCount(check.pending_passages()), " not yet embedded");
  if (check.vectors() > 0) {
    absl::StrAppend(&text, ", ", Plural(check.vectors(), "vector"), " stored");
  }
  return text;
}

// What was found, a line each.
void PrintProblems(const v1::CheckProgress& check) {
  for (const v1::CheckProgress::Problem& problem : check.problems()) {
    std::cout << (problem.repairable() ? "damaged  " : "LOST     ")
              << PrintableLine(problem.text()) << "\n";
  }
  if (const int64_t more = check.problem_count() - check.problems_size();
      more > 0) {
    std::cout << "and " << FormatCount(more) << " more\n";
  }
}

absl::Status ProblemsFound(const v1::CheckProgress& check,
                           const std::string& work, const std::string& repair) {
  return WithHint(
      absl::DataLossError(absl::StrCat(
          work, ": ", Plural(check.problem_count(), "problem"), ", ",
          FormatCount(check.irreparable_count()), " beyond repair")),
      check.irreparable_count() > 0
          ? "a snapshot may have what is lost (pith restore PATH NAME); else "
            "remove the documents named and add them again or, where the store "
            "is damaged, pith export what can be read and pith import it into "
            "a new collection"
          : absl::StrCat(repair, " mends them; ",
                         Plural(check.lost_codes(), "passage"),
                         " would be embedded again"));
}

// A path as the daemon is to find it.
std::string Absolute(const Invocation& invocation, const std::string& path) {
  return (invocation.working_directory / path).lexically_normal().string();
}

}  // namespace

absl::StatusOr<Outcome> Snapshot(const Invocation& invocation,
                                 const std::string& path) {
  v1::CreateSnapshotRequest request;
  request.set_name(invocation.collection);
  request.set_path(Absolute(invocation, path));
  const std::string work = absl::StrCat("snapshot ", request.path());
  const OperationWords words = {
      .work = work, .hint = kNothingLeft, .lost_hint = kMayGoOn};
  PITH_ASSIGN_OR_RETURN(const v1::Operation operation,
                        RunOperation<v1::CreateSnapshotResponse>(
                            invocation, &Stub::CreateSnapshot, request, words));
  PITH_RETURN_IF_ERROR(EndOf(operation, words));
  if (!invocation.json) {
    std::cout << PrintableLine(invocation.collection) << ": snapshot "
              << PrintableLine(operation.target()) << ", "
              << FormatBytes(operation.create_snapshot().total_bytes()) << "; "
              << FormatSeconds(DurationOf(operation)) << "\n";
  }
  return Outcome::kDone;
}

absl::StatusOr<Outcome> Restore(const Invocation& invocation,
                                const std::string& path,
                                const std::string& name) {
  v1::RestoreSnapshotRequest request;
  request.set_path(Absolute(invocation, path));
  request.set_name(name);
  const std::string work = absl::StrCat("restore ", request.path());
  const OperationWords words = {
      .work = work, .hint = kNothingLeft, .lost_hint = kMayGoOn};
  PITH_ASSIGN_OR_RETURN(
      const v1::Operation operation,
      RunOperation<v1::RestoreSnapshotResponse>(
          invocation, &Stub::RestoreSnapshot, request, words));
  if (absl::Status end = EndOf(operation, words); !end.ok()) {
    return absl::IsAlreadyExists(end)
               ? WithHint(std::move(end),
                          "pith restore PATH NAME gives another")
               : end;
  }
  if (!invocation.json) {
    std::cout << PrintableLine(operation.collection()) << ": restored "
              << FormatBytes(operation.restore_snapshot().total_bytes()) << "; "
              << FormatSeconds(DurationOf(operation))
              << "; it watches no folders\n";
  }
  return Outcome::kDone;
}

absl::StatusOr<Outcome> Verify(const Invocation& invocation,
                               const std::string& snapshot) {
  v1::VerifyCollectionRequest request;
  std::string what = invocation.collection;
  std::string repair = absl::StrCat("pith repair ", invocation.collection);
  if (snapshot.empty()) {
    request.set_name(invocation.collection);
  } else {
    what = Absolute(invocation, snapshot);
    repair = "restoring it and pith repair";
    request.set_snapshot_path(what);
  }
  const std::string work = absl::StrCat("verify ", what);
  const OperationWords words = {
      .work = work, .hint = "", .lost_hint = kMayGoOn};
  PITH_ASSIGN_OR_RETURN(
      const v1::Operation operation,
      RunOperation<v1::VerifyCollectionResponse>(
          invocation, &Stub::VerifyCollection, request, words));
  PITH_RETURN_IF_ERROR(snapshot.empty() ? EndOfCheck(operation, words)
                                        : EndOf(operation, words));
  const v1::CheckProgress& check = operation.verify();
  if (!invocation.json) {
    PrintProblems(check);
  }
  if (check.problem_count() > 0) {
    return ProblemsFound(check, work, repair);
  }
  if (!invocation.json) {
    std::cout << PrintableLine(what) << ": no problem found in "
              << CheckedText(check) << "; "
              << FormatSeconds(DurationOf(operation)) << "\n";
  }
  return Outcome::kDone;
}

absl::StatusOr<Outcome> Repair(const Invocation& invocation) {
  v1::RepairCollectionRequest request;
  request.set_name(invocation.collection);
  const std::string work = absl::StrCat("repair ", invocation.collection);
  const OperationWords words = {
      .work = work, .hint = "nothing was changed", .lost_hint = kMayGoOn};
  PITH_ASSIGN_OR_RETURN(
      const v1::Operation operation,
      RunOperation<v1::RepairCollectionResponse>(
          invocation, &Stub::RepairCollection, request, words));
  const v1::CheckProgress& check = operation.repair();
  if (!invocation.json) {
    PrintProblems(check);
  }
  if (check.irreparable_count() > 0) {
    return ProblemsFound(check, work, "");
  }
  PITH_RETURN_IF_ERROR(EndOfCheck(operation, words));
  if (!invocation.json) {
    std::cout << PrintableLine(invocation.collection) << ": "
              << (check.problem_count() == 0
                      ? "no problem found in " + CheckedText(check)
                      : absl::StrCat(Plural(check.problem_count(), "problem"),
                                     " mended, ",
                                     Plural(check.lost_codes(), "passage"),
                                     " to be embedded again"))
              << "; " << FormatSeconds(DurationOf(operation)) << "\n";
  }
  return Outcome::kDone;
}

}  // namespace pith::cli
