#include "clients/cli/commands.h"

#include <algorithm>
#include <iostream>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

#include "clients/cli/json.h"
#include "clients/cli/progress.h"
#include "core/base/reason.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"
#include "proto/pith/v1/admin.grpc.pb.h"
#include "proto/pith/v1/collections.grpc.pb.h"
#include "proto/pith/v1/documents.grpc.pb.h"

namespace pith::cli {
namespace fs = std::filesystem;

namespace {

using v1::AdminService;
using v1::CollectionsService;
using v1::DocumentsService;

constexpr int kPageSize = 1000;
constexpr size_t kMaxIdsPerDelete = 1000;
// A thousand documents take milliseconds.
constexpr absl::Duration kMaxPrefixWait = absl::Hours(1);

absl::StatusOr<v1::ListDocumentsResponse> ListPage(
    DocumentsService::Stub& stub, const std::string& collection,
    const std::string& prefix, const std::string& page_token, int page_size) {
  v1::ListDocumentsRequest request;
  request.set_collection(collection);
  request.set_prefix(prefix);
  request.set_page_size(page_size);
  request.set_page_token(page_token);
  auto response = Call<v1::ListDocumentsResponse>(
      stub, &DocumentsService::Stub::ListDocuments, request);
  if (!response.ok()) {
    return OfCollection(response.status(), collection);
  }
  return response;
}

// The id of the document that a user means by `argument`, if there is one.
absl::StatusOr<std::optional<std::string>> FindDocument(
    DocumentsService::Stub& stub, const Invocation& invocation,
    const std::string& argument) {
  for (std::string& id : IdCandidates(argument, invocation.working_directory)) {
    // Of all ids with a prefix the prefix itself comes first. The document
    // would bring all its text.
    PITH_ASSIGN_OR_RETURN(const auto page,
                          ListPage(stub, invocation.collection, id, "", 1));
    if (page.documents_size() > 0 && page.documents(0).id() == id) {
      return std::move(id);
    }
  }
  return std::nullopt;
}

absl::Status NoSuchDocument(const std::string& argument,
                            const std::string& collection) {
  return absl::NotFoundError(
      absl::StrCat("no document ", PrintableLine(argument), " in collection \"",
                   collection, "\""));
}

std::string VerifyHint(const std::string& collection) {
  return absl::StrCat("(pith verify ", collection, " says what is damaged)\n");
}

std::string Ratio(int64_t part, int64_t whole) {
  return whole <= 0
             ? "-"
             : absl::StrFormat("%.0f %%", 100.0 * static_cast<double>(part) /
                                              static_cast<double>(whole));
}

// What `pith collection create --vectors` calls a vector source.
std::string VectorsName(v1::VectorSource source) {
  switch (source) {
    case v1::VECTOR_SOURCE_RECOMPUTE:
      return "recompute";
    case v1::VECTOR_SOURCE_STORED_F16:
      return "f16";
    case v1::VECTOR_SOURCE_STORED_I8:
      return "i8";
    case v1::VECTOR_SOURCE_STORED_HUBS:
      return "hubs";
    default:
      return "unknown";
  }
}

// An empty name is no choice.
v1::VectorSource VectorsArgument(const std::string& name) {
  for (const v1::VectorSource source :
       {v1::VECTOR_SOURCE_RECOMPUTE, v1::VECTOR_SOURCE_STORED_F16,
        v1::VECTOR_SOURCE_STORED_I8, v1::VECTOR_SOURCE_STORED_HUBS}) {
    if (name == VectorsName(source)) {
      return source;
    }
  }
  return v1::VECTOR_SOURCE_UNSPECIFIED;
}

std::string CollectionsTable(
    const google::protobuf::RepeatedPtrField<v1::Collection>& collections) {
  std::vector<std::vector<std::string>> rows = {
      {"collection", "documents", "passages", "pending", "failed", "text",
       "disk", "disk/text", "model"}};
  for (const v1::Collection& collection : collections) {
    rows.push_back({collection.name(), FormatCount(collection.documents()),
                    FormatCount(collection.passages()),
                    FormatCount(collection.pending_passages()),
                    FormatCount(collection.failed_passages()),
                    FormatBytes(collection.text_bytes()),
                    FormatBytes(collection.disk_bytes()),
                    Ratio(collection.disk_bytes(), collection.text_bytes()),
                    PrintableLine(collection.model())});
  }
  std::string text = Table(rows);
  for (const v1::Collection& collection : collections) {
    if (collection.has_error()) {
      absl::StrAppend(&text, collection.name(),
                      " cannot be served: ", ReasonText(collection.error()),
                      "\n");
      if (absl::IsDataLoss(FromRpcStatus(collection.error()))) {
        absl::StrAppend(&text, VerifyHint(collection.name()));
      }
    }
    if (collection.has_embedding_error()) {
      absl::StrAppend(&text, collection.name(), " embedding failed: ",
                      ReasonText(collection.embedding_error()), "\n");
    }
    if (collection.has_sealing_error()) {
      absl::StrAppend(&text, collection.name(), " sealing failed: ",
                      ReasonText(collection.sealing_error()), "\n");
    }
    if (collection.has_storage_error()) {
      absl::StrAppend(&text, collection.name(),
                      " storage: ", ReasonText(collection.storage_error()),
                      "\n");
      if (absl::IsDataLoss(FromRpcStatus(collection.storage_error()))) {
        absl::StrAppend(&text, VerifyHint(collection.name()));
      }
    }
    if (!collection.sealing_pause().empty()) {
      absl::StrAppend(&text, collection.name(), " sealing pauses: ",
                      PrintableLine(collection.sealing_pause()), "\n");
    }
  }
  return text;
}

// Where the passages of each collection are. Empty if none can be served.
std::string IndexTable(
    const google::protobuf::RepeatedPtrField<v1::Collection>& collections) {
  std::vector<std::vector<std::string>> rows = {
      {"index", "profile", "vectors", "segments", "codebooks", "sealed",
       "deleted", "delta", "memory"}};
  for (const v1::Collection& collection : collections) {
    if (!collection.has_error()) {
      rows.push_back({collection.name(), ProfileName(collection.code_profile()),
                      VectorsName(collection.vector_source()),
                      FormatCount(collection.segments()),
                      FormatCount(collection.codebooks()),
                      FormatCount(collection.sealed_passages()),
                      FormatCount(collection.dead_passages()),
                      FormatCount(collection.delta_passages()),
                      FormatBytes(collection.code_memory_bytes())});
    }
  }
  return rows.size() == 1 ? "" : "\n" + Table(rows);
}

std::string WorkerText(const v1::Worker& worker) {
  std::string text =
      absl::StrCat("worker      ", PrintableLine(worker.model()));
  const std::string place =
      worker.address().empty()
          ? absl::StrCat("pid ", worker.pid())
          : absl::StrCat("at ", PrintableLine(worker.address()));
  switch (worker.state()) {
    case v1::Worker::STATE_UNSPECIFIED:
      absl::StrAppend(&text, ", run by ", PrintableLine(worker.url()));
      break;
    case v1::Worker::STATE_READY:
      absl::StrAppend(&text, ", ready, ", place, ", ",
                      PrintableLine(worker.precision()), " on ",
                      PrintableLine(worker.device()));
      break;
    case v1::Worker::STATE_STARTING:
      absl::StrAppend(&text, ", starting, ", place);
      break;
    default:
      absl::StrAppend(&text, worker.address().empty()
                                 ? ", stopped"
                                 : absl::StrCat(", not connected, ", place));
  }
  absl::StrAppend(&text, ", ", Plural(worker.texts_embedded(), "text"), " and ",
                  Plural(worker.tokens_embedded(), "token"), " embedded");
  if (worker.lost() > 0) {
    absl::StrAppend(&text, ", ", FormatCount(worker.lost()),
                    worker.url().empty() ? " lost" : " requests failed");
  }
  if (!worker.last_error().empty()) {
    absl::StrAppend(&text, "\n            last error: ",
                    PrintableLine(worker.last_error()));
  }
  return text + "\n";
}

std::string CacheText(const v1::VectorCache& cache) {
  return absl::StrCat(
      "cache       ", Plural(cache.entries(), "vector"), ", ",
      FormatBytes(cache.bytes()), " of ", FormatBytes(cache.max_bytes()), ", ",
      FormatCount(cache.hits()), " hits in ", Plural(cache.lookups(), "lookup"),
      " (", Ratio(cache.hits(), cache.lookups()), ")\n");
}

// The command that started it.
std::string_view CommandOf(const v1::Operation& operation) {
  switch (operation.progress_case()) {
    case v1::Operation::kCompact:
      return "compact";
    case v1::Operation::kCreateSnapshot:
      return "snapshot";
    case v1::Operation::kRestoreSnapshot:
      return "restore";
    case v1::Operation::kVerify:
      return "verify";
    case v1::Operation::kRepair:
      return "repair";
    default:
      return "add";
  }
}

std::string RunningText(const v1::Operation& operation) {
  const std::string_view command = CommandOf(operation);
  if (const std::optional<std::string> work = WorkText(operation)) {
    return absl::StrCat("running     ", AbslView(command), " ",
                        operation.collection(),
                        operation.target().empty() ? "" : " ",
                        PrintableLine(operation.target()), ": ", *work);
  }
  ProgressMeter meter;
  meter.Update(operation.add_source(), absl::Now());
  return absl::StrCat("running     add ", PrintableLine(operation.target()),
                      " to ", operation.collection(), ": ", meter.Line());
}

absl::Duration Uptime(const v1::GetStatusResponse& status) {
  return std::max(
      absl::ZeroDuration(),
      absl::Now() - absl::FromUnixSeconds(status.start_time().seconds()));
}

std::string DaemonText(const v1::GetStatusResponse& status) {
  return absl::StrCat(
      "daemon      pid ", status.pid(), ", version ", status.version(), ", up ",
      FormatRemaining(Uptime(status)), ", ",
      FormatBytes(status.resident_bytes()), " resident\ndata        ",
      PrintableLine(status.data_directory()), "\nsocket      ",
      PrintableLine(status.socket()), "\n");
}

absl::StatusOr<v1::GetStatusResponse> GetStatus(
    const std::shared_ptr<grpc::Channel>& channel) {
  AdminService::Stub stub(channel);
  return Call<v1::GetStatusResponse>(stub, &AdminService::Stub::GetStatus,
                                     v1::GetStatusRequest());
}

std::string ModelText(const v1::ModelInfo& model) {
  std::string text;
  const auto add = [&text](std::string_view name, std::string_view value) {
    absl::StrAppend(&text, absl::StrFormat("%-16s%s\n", AbslView(name),
                                           PrintableLine(value)));
  };
  add("name", model.name());
  add("directory", model.directory());
  if (model.has_error()) {
    add("error", ReasonText(model.error()));
    return text;
  }
  add("fingerprint", model.fingerprint());
  add("dimension", absl::StrCat(model.dimension()));
  add("maximum tokens", absl::StrCat(model.max_tokens()));
  if (model.api().empty()) {
    add("pooling", model.pooling());
    add("layers", absl::StrCat(model.layers()));
    add("vocabulary", FormatCount(model.vocabulary_size()));
  } else {
    add("run by", absl::StrCat(model.api(), " at ", model.url()));
  }
  add("query prompt", model.query_prompt());
  add("passage prompt", model.passage_prompt());
  add("default", model.is_default() ? "yes" : "no");
  return text;
}

std::string QueueText(const v1::EmbeddingQueue& queue) {
  const int64_t waiting = queue.search_tokens() + queue.ingest_tokens();
  std::string text = absl::StrCat("queue       ", PrintableLine(queue.model()),
                                  ", ", Plural(waiting, "token"), " waiting, ",
                                  Plural(queue.texts(), "text"), " in ",
                                  FormatCount(queue.batches()), " batches");
  if (queue.room_tokens() > 0) {
    absl::StrAppend(&text, ", ", 100 * queue.tokens() / queue.room_tokens(),
                    " % full");
  }
  absl::StrAppend(&text, ", ", FormatCount(queue.shared_texts()), " shared\n");
  return text;
}

}  // namespace

std::string ReasonText(const google::rpc::Status& status) {
  return PrintableLine(StdView(FromRpcStatus(status).ToString(
      absl::StatusToStringMode::kWithNoExtraData)));
}

std::string ModelArgument(const std::string& model,
                          const fs::path& working_directory) {
  std::error_code error;
  const fs::path path = working_directory / model;
  // A name without a slash is one in the models directory.
  return model.find('/') != std::string::npos && fs::is_directory(path, error)
             ? path.lexically_normal().string()
             : model;
}

v1::CodeProfile ProfileArgument(const std::string& name) {
  for (const v1::CodeProfile profile :
       {v1::CODE_PROFILE_MINIMAL, v1::CODE_PROFILE_BALANCED,
        v1::CODE_PROFILE_FAST}) {
    if (name == ProfileName(profile)) {
      return profile;
    }
  }
  return v1::CODE_PROFILE_UNSPECIFIED;
}

std::string ProfileName(v1::CodeProfile profile) {
  switch (profile) {
    case v1::CODE_PROFILE_MINIMAL:
      return "minimal";
    case v1::CODE_PROFILE_BALANCED:
      return "balanced";
    case v1::CODE_PROFILE_FAST:
      return "fast";
    default:
      return "unknown";
  }
}

absl::Status OfCollection(absl::Status status, const std::string& collection) {
  if (absl::IsDataLoss(status)) {
    return WithHint(
        std::move(status),
        absl::StrCat(
            "pith verify ", collection, " says what is damaged, pith repair ",
            collection,
            " mends what can be made again from texts; else a snapshot "
            "may have it (pith restore PATH NAME)"));
  }
  if (ReasonOf(status) != "COLLECTION_NOT_FOUND") {
    return status;
  }
  return WithHint(std::move(status),
                  collection == kDefaultCollection
                      ? "add documents first: pith add PATH"
                      : "pith collection list shows what there is, pith "
                        "collection create makes one");
}

absl::StatusOr<Outcome> Get(const Invocation& invocation,
                            const std::string& argument) {
  PITH_ASSIGN_OR_RETURN(const auto channel, Connect(invocation.daemon));
  DocumentsService::Stub stub(channel);
  PITH_ASSIGN_OR_RETURN(const std::optional<std::string> id,
                        FindDocument(stub, invocation, argument));
  if (!id.has_value()) {
    std::cerr << ErrorText(NoSuchDocument(argument, invocation.collection),
                           invocation.json);
    return Outcome::kNothingFound;
  }
  v1::GetDocumentRequest request;
  request.set_collection(invocation.collection);
  request.set_id(*id);
  PITH_ASSIGN_OR_RETURN(
      const auto response,
      Call<v1::GetDocumentResponse>(stub, &DocumentsService::Stub::GetDocument,
                                    request));
  if (invocation.json) {
    std::cout << JsonText(ToJson(response));
    return Outcome::kDone;
  }
  const std::string text = Printable(response.document().text());
  std::cout << text << (text.ends_with('\n') ? "" : "\n");
  return Outcome::kDone;
}

absl::StatusOr<Outcome> Remove(const Invocation& invocation,
                               const std::vector<std::string>& arguments,
                               const std::string& prefix) {
  if (arguments.empty() && prefix.empty()) {
    return absl::InvalidArgumentError("neither an ID nor a --prefix is given");
  }
  PITH_ASSIGN_OR_RETURN(const auto channel, Connect(invocation.daemon));
  DocumentsService::Stub stub(channel);
  std::vector<std::string> ids;
  v1::DeleteDocumentsResponse total;
  if (!prefix.empty()) {
    for (const std::string& candidate :
         IdCandidates(prefix, invocation.working_directory)) {
      v1::DeleteDocumentsRequest request;
      request.set_collection(invocation.collection);
      request.set_prefix(candidate);
      const auto response = Call<v1::DeleteDocumentsResponse>(
          stub, &DocumentsService::Stub::DeleteDocuments, request,
          kMaxPrefixWait);
      if (!response.ok()) {
        return OfCollection(response.status(), invocation.collection);
      }
      total = *response;
      if (total.deleted() > 0) {
        break;
      }
    }
  }
  for (const std::string& argument : arguments) {
    PITH_ASSIGN_OR_RETURN(std::optional<std::string> id,
                          FindDocument(stub, invocation, argument));
    if (id.has_value()) {
      ids.push_back(*std::move(id));
      continue;
    }
    total.set_not_found(total.not_found() + 1);
    if (!invocation.json) {
      std::cerr << ErrorText(NoSuchDocument(argument, invocation.collection),
                             false);
    }
  }
  for (size_t begin = 0; begin < ids.size(); begin += kMaxIdsPerDelete) {
    v1::DeleteDocumentsRequest request;
    request.set_collection(invocation.collection);
    for (size_t i = begin; i < std::min(begin + kMaxIdsPerDelete, ids.size());
         ++i) {
      request.add_ids(ids[i]);
    }
    PITH_ASSIGN_OR_RETURN(
        const auto response,
        Call<v1::DeleteDocumentsResponse>(
            stub, &DocumentsService::Stub::DeleteDocuments, request));
    total.set_deleted(total.deleted() + response.deleted());
    total.set_not_found(total.not_found() + response.not_found());
  }
  if (invocation.json) {
    std::cout << JsonText(ToJson(total));
  } else if (total.deleted() > 0) {
    std::cout << Plural(total.deleted(), "document") << " removed\n";
  }
  return total.deleted() > 0 && total.not_found() == 0 ? Outcome::kDone
                                                       : Outcome::kNothingFound;
}

absl::StatusOr<Outcome> List(const Invocation& invocation,
                             const std::string& prefix) {
  PITH_ASSIGN_OR_RETURN(const auto channel, Connect(invocation.daemon));
  DocumentsService::Stub stub(channel);
  v1::ListDocumentsResponse page;
  std::string used_prefix;
  for (const std::string& candidate :
       IdCandidates(prefix, invocation.working_directory)) {
    used_prefix = candidate;
    PITH_ASSIGN_OR_RETURN(
        page, ListPage(stub, invocation.collection, candidate, "", kPageSize));
    if (!page.documents().empty()) {
      break;
    }
  }
  const Outcome outcome =
      page.documents().empty() ? Outcome::kNothingFound : Outcome::kDone;
  v1::ListDocumentsResponse all;
  while (true) {
    for (auto& document : *page.mutable_documents()) {
      if (invocation.json) {
        *all.add_documents() = std::move(document);
        continue;
      }
      std::cout << absl::StrFormat(
          "%14s  %9s  %s\n", Plural(document.passages(), "passage"),
          FormatBytes(document.text_bytes()),
          DisplayId(document.id(), invocation.working_directory));
    }
    if (page.next_page_token().empty()) {
      break;
    }
    const std::string token = page.next_page_token();
    PITH_ASSIGN_OR_RETURN(page, ListPage(stub, invocation.collection,
                                         used_prefix, token, kPageSize));
  }
  if (invocation.json) {
    std::cout << JsonText(ToJson(all));
  }
  return outcome;
}

absl::StatusOr<Outcome> Status(const Invocation& invocation) {
  PITH_ASSIGN_OR_RETURN(const auto channel, Connect(invocation.daemon));
  PITH_ASSIGN_OR_RETURN(const auto status, GetStatus(channel));
  if (invocation.json) {
    std::cout << JsonText(ToJson(status));
    return Outcome::kDone;
  }
  std::cout << DaemonText(status);
  for (const v1::Worker& worker : status.workers()) {
    std::cout << WorkerText(worker);
  }
  for (const v1::EmbeddingQueue& queue : status.embedding_queues()) {
    std::cout << QueueText(queue);
  }
  std::cout << CacheText(status.vector_cache());
  for (const v1::Operation& operation : status.operations()) {
    std::cout << RunningText(operation) << "\n";
  }
  for (const v1::Source& source : status.sources()) {
    std::cout << "source      " << SourceLine(source) << "\n";
  }
  std::cout << "\n"
            << (status.collections().empty()
                    ? "no collections yet: pith add PATH makes one\n"
                    : CollectionsTable(status.collections()) +
                          IndexTable(status.collections()));
  return Outcome::kDone;
}

absl::StatusOr<Outcome> CreateCollection(
    const Invocation& invocation, const CreateCollectionOptions& options) {
  PITH_ASSIGN_OR_RETURN(const auto channel, Connect(invocation.daemon));
  CollectionsService::Stub stub(channel);
  v1::CreateCollectionRequest request;
  request.set_name(options.name);
  request.set_model(ModelArgument(options.model, invocation.working_directory));
  if (!options.chunking.empty()) {
    request.set_chunking(options.chunking == "none" ? v1::CHUNKING_NONE
                                                    : v1::CHUNKING_STRUCTURE);
  }
  if (options.target_tokens.has_value()) {
    request.set_target_tokens(*options.target_tokens);
  }
  if (options.no_context) {
    request.set_embed_context(false);
  }
  request.set_code_profile(ProfileArgument(options.profile));
  request.set_vector_source(VectorsArgument(options.vectors));
  PITH_ASSIGN_OR_RETURN(
      const auto response,
      Call<v1::CreateCollectionResponse>(
          stub, &CollectionsService::Stub::CreateCollection, request));
  if (invocation.json) {
    std::cout << JsonText(ToJson(response));
  } else {
    std::cout << "collection " << response.collection().name()
              << " created with model "
              << PrintableLine(response.collection().model()) << "\n";
  }
  return Outcome::kDone;
}

absl::StatusOr<Outcome> ListCollections(const Invocation& invocation) {
  PITH_ASSIGN_OR_RETURN(const auto channel, Connect(invocation.daemon));
  CollectionsService::Stub stub(channel);
  PITH_ASSIGN_OR_RETURN(const auto response,
                        Call<v1::ListCollectionsResponse>(
                            stub, &CollectionsService::Stub::ListCollections,
                            v1::ListCollectionsRequest()));
  if (invocation.json) {
    std::cout << JsonText(ToJson(response));
  } else if (!response.collections().empty()) {
    std::cout << CollectionsTable(response.collections());
  }
  return response.collections().empty() ? Outcome::kNothingFound
                                        : Outcome::kDone;
}

absl::StatusOr<Outcome> DeleteCollection(const Invocation& invocation,
                                         const std::string& name) {
  PITH_ASSIGN_OR_RETURN(const auto channel, Connect(invocation.daemon));
  CollectionsService::Stub stub(channel);
  v1::DeleteCollectionRequest request;
  request.set_name(name);
  const auto response = Call<v1::DeleteCollectionResponse>(
      stub, &CollectionsService::Stub::DeleteCollection, request);
  if (!response.ok()) {
    return OfCollection(response.status(), name);
  }
  if (invocation.json) {
    std::cout << JsonText(ToJson(*response));
  } else {
    std::cout << "collection " << name << " deleted\n";
  }
  return Outcome::kDone;
}

absl::StatusOr<Outcome> ListModels(const Invocation& invocation) {
  PITH_ASSIGN_OR_RETURN(const auto channel, Connect(invocation.daemon));
  AdminService::Stub stub(channel);
  PITH_ASSIGN_OR_RETURN(
      const auto response,
      Call<v1::ListModelsResponse>(stub, &AdminService::Stub::ListModels,
                                   v1::ListModelsRequest()));
  if (invocation.json) {
    std::cout << JsonText(ToJson(response));
  } else if (!response.models().empty()) {
    std::vector<std::vector<std::string>> rows = {
        {"model", "dimension", "tokens", "pooling", "default", "run by"}};
    std::string errors;
    for (const v1::ModelInfo& model : response.models()) {
      rows.push_back(
          {PrintableLine(model.name()), absl::StrCat(model.dimension()),
           absl::StrCat(model.max_tokens()), model.pooling(),
           model.is_default() ? "yes" : "",
           model.api().empty() ? "pith"
                               : absl::StrCat(model.api(), " at ",
                                              PrintableLine(model.url()))});
      if (model.has_error()) {
        absl::StrAppend(&errors, PrintableLine(model.name()),
                        " cannot be used: ", ReasonText(model.error()), "\n");
      }
    }
    std::cout << Table(rows) << errors;
  }
  return response.models().empty() ? Outcome::kNothingFound : Outcome::kDone;
}

absl::StatusOr<Outcome> ModelInfo(const Invocation& invocation,
                                  const std::string& model) {
  PITH_ASSIGN_OR_RETURN(const auto channel, Connect(invocation.daemon));
  AdminService::Stub stub(channel);
  v1::GetModelInfoRequest request;
  request.set_model(ModelArgument(model, invocation.working_directory));
  PITH_ASSIGN_OR_RETURN(const auto response,
                        Call<v1::GetModelInfoResponse>(
                            stub, &AdminService::Stub::GetModelInfo, request));
  std::cout << (invocation.json ? JsonText(ToJson(response))
                                : ModelText(response.model()));
  return Outcome::kDone;
}

absl::StatusOr<Outcome> DaemonStart(const Invocation& invocation) {
  DaemonOptions options = invocation.daemon;
  options.may_start = false;
  absl::StatusOr<std::shared_ptr<grpc::Channel>> channel = Connect(options);
  const bool runs = channel.ok();
  if (!runs) {
    PITH_ASSIGN_OR_RETURN(channel, Connect(invocation.daemon));
  }
  PITH_ASSIGN_OR_RETURN(const auto status, GetStatus(*channel));
  if (invocation.json) {
    std::cout << JsonText({{"started", !runs}, {"pid", status.pid()}});
  } else {
    std::cout << (runs ? "daemon already runs" : "daemon started") << ", pid "
              << status.pid() << "\n";
  }
  return Outcome::kDone;
}

absl::StatusOr<Outcome> DaemonStop(const Invocation& invocation) {
  PITH_ASSIGN_OR_RETURN(const bool stopped,
                        StopDaemon(invocation.daemon.paths));
  if (invocation.json) {
    std::cout << JsonText({{"stopped", stopped}});
  } else {
    std::cout << (stopped ? "daemon stopped\n" : "no daemon runs\n");
  }
  return Outcome::kDone;
}

absl::StatusOr<Outcome> DaemonStatus(const Invocation& invocation) {
  PITH_ASSIGN_OR_RETURN(const std::optional<pid_t> pid,
                        DaemonPid(invocation.daemon.paths));
  DaemonOptions options = invocation.daemon;
  options.may_start = false;
  const auto channel = Connect(options);
  if (!channel.ok() && !pid.has_value() &&
      absl::IsUnavailable(channel.status())) {
    if (invocation.json) {
      std::cout << JsonText({{"running", false}});
    } else {
      std::cout << "no daemon runs for "
                << options.paths.data_directory.string() << "\n";
    }
    return Outcome::kNothingFound;
  }
  if (!channel.ok()) {
    return pid.has_value()
               ? Annotate(channel.status(),
                          absl::StrCat("daemon process ", *pid, " runs"))
               : channel.status();
  }
  PITH_ASSIGN_OR_RETURN(const auto status, GetStatus(*channel));
  if (invocation.json) {
    std::cout << JsonText({{"running", true},
                           {"pid", status.pid()},
                           {"version", status.version()},
                           {"uptime", absl::ToInt64Seconds(Uptime(status))},
                           {"data_directory", status.data_directory()},
                           {"socket", status.socket()},
                           {"resident_bytes", status.resident_bytes()}});
  } else {
    std::cout << DaemonText(status);
  }
  return Outcome::kDone;
}

}  // namespace pith::cli
