#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "clients/cli/commands.h"
#include "clients/cli/json.h"
#include "clients/cli/operation.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"
#include "proto/pith/v1/admin.grpc.pb.h"
#include "proto/pith/v1/collections.grpc.pb.h"
#include "proto/pith/v1/sources.grpc.pb.h"

namespace pith::cli {
namespace fs = std::filesystem;

namespace {

constexpr int kSkippedShown = 10;

// Absolute, with symbolic links resolved, so that a file has one id whichever
// way it was named.
absl::StatusOr<std::vector<fs::path>> ResolvePaths(
    std::string_view command, const std::vector<std::string>& paths,
    const fs::path& working_directory) {
  std::vector<fs::path> resolved;
  for (const std::string& path : paths) {
    std::error_code error;
    const fs::path absolute = working_directory / path;
    resolved.push_back(fs::canonical(absolute, error));
    if (error) {
      return ErrnoStatus(error.value(), command, absolute);
    }
    if (!IsUtf8(resolved.back().native())) {
      return absl::InvalidArgumentError(absl::StrCat(
          AbslView(command), " ", path, ": its path ",
          PrintableLine(resolved.back().native()), " is not UTF-8"));
    }
  }
  return resolved;
}

constexpr char kOtherCollectionHint[] =
    "it cannot be changed; another needs another collection: pith collection "
    "create";

// Creates the default collection if there is none. A model and a profile that
// were asked for must be the collection's.
absl::Status EnsureDefaultCollection(
    std::string_view command, const std::shared_ptr<grpc::Channel>& channel,
    const std::string& model, v1::CodeProfile profile) {
  v1::CollectionsService::Stub stub(channel);
  v1::GetCollectionRequest get;
  get.set_name(kDefaultCollection);
  auto existing = Call<v1::GetCollectionResponse>(
      stub, &v1::CollectionsService::Stub::GetCollection, get);
  if (absl::IsNotFound(existing.status())) {
    v1::CreateCollectionRequest create;
    create.set_name(kDefaultCollection);
    create.set_model(model);
    create.set_code_profile(profile);
    const auto created = Call<v1::CreateCollectionResponse>(
        stub, &v1::CollectionsService::Stub::CreateCollection, create);
    if (!absl::IsAlreadyExists(created.status())) {
      return created.status();
    }
    existing = Call<v1::GetCollectionResponse>(
        stub, &v1::CollectionsService::Stub::GetCollection, get);
  }
  PITH_RETURN_IF_ERROR(existing.status());
  const v1::Collection& collection = existing->collection();
  if (profile != v1::CODE_PROFILE_UNSPECIFIED &&
      profile != collection.code_profile()) {
    return WithHint(
        absl::FailedPreconditionError(absl::StrCat(
            AbslView(command), ": collection \"", collection.name(),
            "\" has profile ", ProfileName(collection.code_profile()), ", not ",
            ProfileName(profile))),
        kOtherCollectionHint);
  }
  if (model.empty()) {
    return absl::OkStatus();
  }
  v1::AdminService::Stub admin(channel);
  v1::GetModelInfoRequest request;
  request.set_model(model);
  PITH_ASSIGN_OR_RETURN(
      const auto info,
      Call<v1::GetModelInfoResponse>(
          admin, &v1::AdminService::Stub::GetModelInfo, request));
  if (info.model().fingerprint() == collection.model_fingerprint()) {
    return absl::OkStatus();
  }
  return WithHint(
      absl::FailedPreconditionError(absl::StrCat(
          AbslView(command), ": collection \"", collection.name(),
          "\" uses model ", collection.model(), " (",
          collection.model_fingerprint().substr(0, 12), "), not ", model, " (",
          info.model().fingerprint().substr(0, 12), ")")),
      kOtherCollectionHint);
}

std::string SummaryText(const v1::Operation& operation, bool verbose,
                        const Invocation& invocation) {
  const v1::AddSourceProgress& done = operation.add_source();
  std::string text = absl::StrCat(PrintableLine(operation.target()), ": ");
  const bool succeeded = operation.state() == v1::Operation::STATE_SUCCEEDED;
  if (succeeded && done.added() + done.updated() + done.renamed() +
                           done.removed() + done.passages_to_embed() ==
                       0) {
    absl::StrAppend(&text, done.unchanged() == 0
                               ? "nothing to do: no text found"
                               : absl::StrCat("nothing to do: ",
                                              Plural(done.unchanged(), "file"),
                                              " unchanged, nothing embedded"));
  } else {
    absl::StrAppend(
        &text, succeeded ? "" : "stopped early: ", FormatCount(done.added()),
        " added, ", FormatCount(done.updated()), " updated, ",
        RenamedText(done.renamed()), FormatCount(done.unchanged()),
        " unchanged, ", FormatCount(done.removed()), " removed; ",
        Plural(done.passages_embedded(), "passage"), " embedded in ",
        FormatSeconds(DurationOf(operation)));
    if (const int64_t missing =
            done.passages_to_embed() - done.passages_embedded();
        succeeded && missing > 0) {
      absl::StrAppend(&text, "; ", Plural(missing, "passage"),
                      " could not be embedded (pith status says why)");
    }
  }
  text += '\n';
  if (done.skipped_by_reason().empty()) {
    return text;
  }
  const std::map<std::string, int64_t> reasons(done.skipped_by_reason().begin(),
                                               done.skipped_by_reason().end());
  const char* separator = "skipped: ";
  for (const auto& [reason, count] : reasons) {
    absl::StrAppend(&text, separator, FormatCount(count), " ",
                    PrintableLine(reason));
    separator = ", ";
  }
  text += '\n';
  const int shown = verbose ? done.skipped_size()
                            : std::min(done.skipped_size(), kSkippedShown);
  for (int i = 0; i < shown; ++i) {
    const v1::SkippedFile& file = done.skipped(i);
    absl::StrAppend(
        &text, "  ", DisplayId(file.path(), invocation.working_directory), ": ",
        PrintableLine(file.reason()), file.detail().empty() ? "" : ": ",
        PrintableLine(file.detail()), "\n");
  }
  if (shown < done.skipped_size()) {
    absl::StrAppend(&text, "  and ", FormatCount(done.skipped_size() - shown),
                    " more; --verbose names them\n");
  }
  return text;
}

absl::StatusOr<v1::Operation> Start(v1::SourcesService::Stub& stub,
                                    const AddOptions& options,
                                    const std::string& collection,
                                    const fs::path& path) {
  if (options.watch) {
    v1::WatchSourceRequest request;
    request.set_collection(collection);
    request.set_path(path.string());
    PITH_ASSIGN_OR_RETURN(
        const auto response,
        Call<v1::WatchSourceResponse>(
            stub, &v1::SourcesService::Stub::WatchSource, request));
    return response.operation();
  }
  v1::AddSourceRequest request;
  request.set_collection(collection);
  request.set_path(path.string());
  PITH_ASSIGN_OR_RETURN(
      const auto response,
      Call<v1::AddSourceResponse>(stub, &v1::SourcesService::Stub::AddSource,
                                  request));
  return response.operation();
}

}  // namespace

absl::StatusOr<Outcome> Add(const Invocation& invocation,
                            const AddOptions& options) {
  const std::string_view command = options.watch ? "watch" : "add";
  InterruptListener interrupts;
  PITH_ASSIGN_OR_RETURN(
      const std::vector<fs::path> paths,
      ResolvePaths(command, options.paths, invocation.working_directory));
  if (invocation.collection != kDefaultCollection) {
    for (const auto& [option, value] :
         {std::pair("--model", &options.model),
          std::pair("--profile", &options.profile)}) {
      if (!value->empty()) {
        return WithHint(absl::InvalidArgumentError(absl::StrCat(
                            AbslView(command), ": ", option,
                            " is for the collection \"", kDefaultCollection,
                            "\", not for \"", invocation.collection, "\"")),
                        absl::StrCat("pith collection create has ", option));
      }
    }
  }
  PITH_ASSIGN_OR_RETURN(const auto channel, Connect(invocation.daemon));
  if (invocation.collection == kDefaultCollection) {
    PITH_RETURN_IF_ERROR(EnsureDefaultCollection(
        command, channel,
        ModelArgument(options.model, invocation.working_directory),
        ProfileArgument(options.profile)));
  }
  v1::SourcesService::Stub stub(channel);
  v1::ListOperationsResponse ended;
  absl::Status status;
  for (const fs::path& path : paths) {
    // A signal from here on is for the operation, once that has an id.
    interrupts.SetAction([](int) {});
    const auto started = Start(stub, options, invocation.collection, path);
    if (!started.ok()) {
      status = OfCollection(started.status(), invocation.collection);
      break;
    }
    const std::string work =
        absl::StrCat(AbslView(command), " ", path.string());
    const std::string_view hint =
        options.watch
            ? "the folder is watched, and the daemon goes on by itself: pith "
              "sources shows how far it is, pith unwatch ends it"
            : "what was stored stays; the same command again goes on from "
              "there";
    const OperationWords words = {
        .work = work, .hint = hint, .lost_hint = hint};
    const auto operation =
        Follow(channel, *started, words, interrupts, invocation.terminal);
    if (!operation.ok()) {
      status = operation.status();
      break;
    }
    if (invocation.json) {
      *ended.add_operations() = *operation;
    } else {
      std::cout << SummaryText(*operation, options.verbose, invocation)
                << std::flush;
    }
    status = EndOf(*operation, words);
    if (!status.ok()) {
      break;
    }
  }
  if (invocation.json) {
    std::cout << JsonText(ToJson(ended));
  }
  PITH_RETURN_IF_ERROR(status);
  return Outcome::kDone;
}

}  // namespace pith::cli
