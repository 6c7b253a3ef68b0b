// The program pith as its users run it, against a daemon that is made up.

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

#include "core/base/file.h"
#include "proto/pith/v1/admin.grpc.pb.h"
#include "proto/pith/v1/collections.grpc.pb.h"
#include "proto/pith/v1/documents.grpc.pb.h"
#include "proto/pith/v1/operations.grpc.pb.h"
#include "proto/pith/v1/search.grpc.pb.h"
#include "proto/pith/v1/sources.grpc.pb.h"
#include "tests/process.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

nlohmann::json ParseJson(const std::string& text) {
  return nlohmann::json::parse(text, nullptr, false);
}

using Result = ProcessResult;

grpc::Status Failure(grpc::StatusCode code, const std::string& message,
                     const std::string& reason) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  details.add_details()->PackFrom(info);
  return grpc::Status(code, message, details.SerializeAsString());
}

grpc::Status NoCollection(const std::string& name) {
  return Failure(grpc::StatusCode::NOT_FOUND,
                 absl::StrCat("no collection \"", name, "\""),
                 "COLLECTION_NOT_FOUND");
}

// What the made-up daemon holds, under one lock.
struct World {
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::string, v1::Collection> collections;
  std::map<std::string, std::string> documents;
  std::vector<v1::AddSourceRequest> added;
  std::vector<v1::CompactCollectionRequest> compacted;
  // What WatchOperation sends; a running last one waits for its cancellation.
  std::vector<v1::Operation> reports;
  bool watched = false;
  bool cancelled = false;
  v1::SearchRequest search;
  v1::SearchResponse found;
  // What runs, for GetStatus.
  std::vector<v1::Operation> running;
};

class FakeCollections : public v1::CollectionsService::Service {
 public:
  explicit FakeCollections(World& world) : world_(world) {}

  grpc::Status CreateCollection(
      grpc::ServerContext*, const v1::CreateCollectionRequest* request,
      v1::CreateCollectionResponse* response) override {
    std::lock_guard lock(world_.mutex);
    auto [it, created] = world_.collections.try_emplace(request->name());
    if (!created) {
      return Failure(grpc::StatusCode::ALREADY_EXISTS, "there is one",
                     "COLLECTION_EXISTS");
    }
    it->second.set_name(request->name());
    it->second.set_model(request->model());
    it->second.set_target_tokens(request->target_tokens());
    it->second.set_chunking(request->chunking());
    it->second.set_code_profile(request->code_profile());
    it->second.set_vector_source(request->vector_source());
    it->second.set_model_fingerprint("print of " + request->model());
    *response->mutable_collection() = it->second;
    return grpc::Status::OK;
  }
  grpc::Status GetCollection(grpc::ServerContext*,
                             const v1::GetCollectionRequest* request,
                             v1::GetCollectionResponse* response) override {
    std::lock_guard lock(world_.mutex);
    const auto it = world_.collections.find(request->name());
    if (it == world_.collections.end()) {
      return NoCollection(request->name());
    }
    *response->mutable_collection() = it->second;
    return grpc::Status::OK;
  }
  grpc::Status ListCollections(grpc::ServerContext*,
                               const v1::ListCollectionsRequest*,
                               v1::ListCollectionsResponse* response) override {
    std::lock_guard lock(world_.mutex);
    for (const auto& [name, collection] : world_.collections) {
      *response->add_collections() = collection;
    }
    return grpc::Status::OK;
  }
  grpc::Status DeleteCollection(grpc::ServerContext*,
                                const v1::DeleteCollectionRequest* request,
                                v1::DeleteCollectionResponse*) override {
    std::lock_guard lock(world_.mutex);
    return world_.collections.erase(request->name()) > 0
               ? grpc::Status::OK
               : NoCollection(request->name());
  }
  grpc::Status CompactCollection(
      grpc::ServerContext*, const v1::CompactCollectionRequest* request,
      v1::CompactCollectionResponse* response) override {
    std::lock_guard lock(world_.mutex);
    if (world_.collections.count(request->name()) == 0) {
      return NoCollection(request->name());
    }
    world_.compacted.push_back(*request);
    response->mutable_operation()->set_id("op");
    response->mutable_operation()->set_state(v1::Operation::STATE_RUNNING);
    response->mutable_operation()->mutable_compact();
    return grpc::Status::OK;
  }

 private:
  World& world_;
};

class FakeDocuments : public v1::DocumentsService::Service {
 public:
  explicit FakeDocuments(World& world) : world_(world) {}

  grpc::Status GetDocument(grpc::ServerContext*,
                           const v1::GetDocumentRequest* request,
                           v1::GetDocumentResponse* response) override {
    std::lock_guard lock(world_.mutex);
    response->mutable_document()->set_id(request->id());
    response->mutable_document()->set_text(world_.documents.at(request->id()));
    return grpc::Status::OK;
  }
  grpc::Status DeleteDocuments(grpc::ServerContext*,
                               const v1::DeleteDocumentsRequest* request,
                               v1::DeleteDocumentsResponse* response) override {
    std::lock_guard lock(world_.mutex);
    if (request->has_prefix()) {
      response->set_deleted(static_cast<int64_t>(
          std::erase_if(world_.documents, [&](const auto& document) {
            return absl::StartsWith(document.first, request->prefix());
          })));
    }
    for (const std::string& id : request->ids()) {
      response->set_deleted(response->deleted() +
                            static_cast<int64_t>(world_.documents.erase(id)));
    }
    return grpc::Status::OK;
  }
  grpc::Status ListDocuments(grpc::ServerContext*,
                             const v1::ListDocumentsRequest* request,
                             v1::ListDocumentsResponse* response) override {
    std::lock_guard lock(world_.mutex);
    if (world_.collections.count(request->collection()) == 0) {
      return NoCollection(request->collection());
    }
    // The token is the last id of the page before.
    auto it = request->page_token().empty()
                  ? world_.documents.lower_bound(request->prefix())
                  : world_.documents.upper_bound(request->page_token());
    for (; it != world_.documents.end() &&
           absl::StartsWith(it->first, request->prefix());
         ++it) {
      if (response->documents_size() == request->page_size()) {
        response->set_next_page_token(
            response->documents(response->documents_size() - 1).id());
        break;
      }
      auto* entry = response->add_documents();
      entry->set_id(it->first);
      entry->set_passages(2);
      entry->set_text_bytes(static_cast<int64_t>(it->second.size()));
    }
    return grpc::Status::OK;
  }

 private:
  World& world_;
};

class FakeSources : public v1::SourcesService::Service {
 public:
  explicit FakeSources(World& world) : world_(world) {}

  grpc::Status AddSource(grpc::ServerContext*,
                         const v1::AddSourceRequest* request,
                         v1::AddSourceResponse* response) override {
    std::lock_guard lock(world_.mutex);
    if (world_.collections.count(request->collection()) == 0) {
      return NoCollection(request->collection());
    }
    world_.added.push_back(*request);
    response->mutable_operation()->set_id("op");
    response->mutable_operation()->set_target(request->path());
    response->mutable_operation()->set_state(v1::Operation::STATE_RUNNING);
    return grpc::Status::OK;
  }

 private:
  World& world_;
};

class FakeOperations : public v1::OperationsService::Service {
 public:
  explicit FakeOperations(World& world) : world_(world) {}

  grpc::Status WatchOperation(
      grpc::ServerContext*, const v1::WatchOperationRequest*,
      grpc::ServerWriter<v1::WatchOperationResponse>* writer) override {
    std::unique_lock lock(world_.mutex);
    v1::WatchOperationResponse response;
    for (const v1::Operation& report : world_.reports) {
      *response.mutable_operation() = report;
      if (!world_.added.empty()) {
        response.mutable_operation()->set_target(world_.added.back().path());
      }
      writer->Write(response);
    }
    world_.watched = true;
    world_.changed.notify_all();
    if (response.operation().state() == v1::Operation::STATE_RUNNING) {
      // Bounded, so that a client that goes without cancelling fails its test.
      world_.changed.wait_for(lock, std::chrono::seconds(10),
                              [&] { return world_.cancelled; });
      response.mutable_operation()->set_state(v1::Operation::STATE_CANCELLED);
      writer->Write(response);
    }
    return grpc::Status::OK;
  }
  grpc::Status CancelOperation(grpc::ServerContext*,
                               const v1::CancelOperationRequest*,
                               v1::CancelOperationResponse*) override {
    std::lock_guard lock(world_.mutex);
    world_.cancelled = true;
    world_.changed.notify_all();
    return grpc::Status::OK;
  }

 private:
  World& world_;
};

class FakeSearch : public v1::SearchService::Service {
 public:
  explicit FakeSearch(World& world) : world_(world) {}

  grpc::Status Search(grpc::ServerContext*, const v1::SearchRequest* request,
                      v1::SearchResponse* response) override {
    std::lock_guard lock(world_.mutex);
    if (world_.collections.count(request->collection()) == 0) {
      return NoCollection(request->collection());
    }
    if (request->k() < 0) {
      return Failure(grpc::StatusCode::INVALID_ARGUMENT, "k is -1",
                     "K_OUT_OF_RANGE");
    }
    world_.search = *request;
    *response = world_.found;
    return grpc::Status::OK;
  }

 private:
  World& world_;
};

class FakeAdmin : public v1::AdminService::Service {
 public:
  explicit FakeAdmin(World& world) : world_(world) {}

  grpc::Status GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*,
                         v1::GetStatusResponse* response) override {
    std::lock_guard lock(world_.mutex);
    response->set_pid(1234);
    for (const auto& [name, collection] : world_.collections) {
      *response->add_collections() = collection;
    }
    for (const v1::Operation& operation : world_.running) {
      *response->add_operations() = operation;
    }
    v1::VectorCache& cache = *response->mutable_vector_cache();
    cache.set_lookups(2000);
    cache.set_hits(1500);
    cache.set_entries(321);
    cache.set_bytes(300'000);
    cache.set_max_bytes(16'000'000);
    return grpc::Status::OK;
  }
  grpc::Status ListModels(grpc::ServerContext*, const v1::ListModelsRequest*,
                          v1::ListModelsResponse*) override {
    return grpc::Status::OK;
  }
  grpc::Status GetModelInfo(grpc::ServerContext*,
                            const v1::GetModelInfoRequest* request,
                            v1::GetModelInfoResponse* response) override {
    response->mutable_model()->set_name(request->model());
    response->mutable_model()->set_fingerprint("print of " + request->model());
    return grpc::Status::OK;
  }

 private:
  World& world_;
};

class Cli : public testing::Test {
 protected:
  Cli() {
    fs::create_directories(folder_ / "docs");
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    builder.AddListeningPort(absl::StrCat("unix:", socket_.string()),
                             grpc::InsecureServerCredentials());
    for (grpc::Service* service : std::initializer_list<grpc::Service*>{
             &collections_, &documents_, &sources_, &operations_, &search_,
             &admin_}) {
      builder.RegisterService(service);
    }
    server_ = builder.BuildAndStart();
    CHECK(server_ != nullptr);
  }

  Process Start(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--socket", socket_.string()});
    return Process(
        PITH_CLI, arguments,
        {.working_directory = folder_, .output = folder_ / "output"});
  }
  Result Run(const std::vector<std::string>& arguments) {
    return Start(arguments).Wait();
  }

  void HaveDefaultCollection() {
    world_.collections["default"].set_name("default");
    world_.collections["default"].set_model_fingerprint("print of usual");
  }

  TempDirectory directory_;
  fs::path folder_ = fs::canonical(directory_.path());
  fs::path socket_ = folder_ / "s";
  World world_;
  FakeCollections collections_{world_};
  FakeDocuments documents_{world_};
  FakeSources sources_{world_};
  FakeOperations operations_{world_};
  FakeSearch search_{world_};
  FakeAdmin admin_{world_};
  std::unique_ptr<grpc::Server> server_;
};

v1::Operation Report(v1::Operation::State state) {
  v1::Operation operation;
  operation.set_id("op");
  operation.set_state(state);
  operation.mutable_start_time()->set_seconds(100);
  operation.mutable_end_time()->set_seconds(104);
  return operation;
}

TEST_F(Cli, AddCreatesTheDefaultCollectionAndSumsUp) {
  v1::Operation report = Report(v1::Operation::STATE_SUCCEEDED);
  auto& progress = *report.mutable_add_source();
  progress.set_added(1200);
  progress.set_removed(1);
  progress.set_passages_to_embed(3400);
  progress.set_passages_embedded(3400);
  (*progress.mutable_skipped_by_reason())["binary"] = 12;
  for (int i = 0; i < 12; ++i) {
    auto* file = progress.add_skipped();
    file->set_path((folder_ / absl::StrCat("docs/", i)).string());
    file->set_reason("binary");
  }
  world_.reports = {Report(v1::Operation::STATE_RUNNING), report};

  const Result result = Run({"add", "./docs/../docs", "--model", "usual"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(world_.collections.at("default").model(), "usual");
  ASSERT_EQ(world_.added.size(), 1u);
  EXPECT_EQ(world_.added[0].path(), (folder_ / "docs").string());
  EXPECT_THAT(
      result.out,
      AllOf(HasSubstr("1,200 added, 0 updated, 0 unchanged, 1 removed; 3,400 "
                      "passages embedded in 4.0 s\nskipped: 12 binary\n"),
            HasSubstr("  docs/9: binary\n  and 2 more; --verbose names them"),
            Not(HasSubstr("docs/10"))));
  EXPECT_THAT(Run({"add", "docs", "--verbose"}).out, HasSubstr("docs/11: bin"));
}

TEST_F(Cli, AddCreatesTheDefaultCollectionWithAProfileAndKeepsToIt) {
  world_.reports = {Report(v1::Operation::STATE_SUCCEEDED)};
  EXPECT_EQ(Run({"add", "docs", "--profile", "minimal"}).exit_code, 0);
  EXPECT_EQ(world_.collections.at("default").code_profile(),
            v1::CODE_PROFILE_MINIMAL);
  EXPECT_EQ(Run({"add", "docs", "--profile", "minimal"}).exit_code, 0);
  EXPECT_EQ(Run({"add", "docs"}).exit_code, 0);
  ASSERT_EQ(world_.added.size(), 3u);
  const Result other = Run({"add", "docs", "--profile", "fast"});
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_THAT(other.err, AllOf(HasSubstr("has profile minimal, not fast"),
                               HasSubstr("pith collection create")));
  EXPECT_EQ(Run({"add", "docs", "--profile", "tiny"}).exit_code, 2);
  const Result named = Run({"add", "docs", "-c", "n", "--profile", "fast"});
  EXPECT_EQ(named.exit_code, 2);
  EXPECT_THAT(named.err, HasSubstr("pith collection create has --profile"));
  EXPECT_EQ(world_.added.size(), 3u);
}

TEST_F(Cli, CompactSaysWhatItDid) {
  HaveDefaultCollection();
  world_.collections["notes"].set_name("notes");
  v1::Operation report = Report(v1::Operation::STATE_SUCCEEDED);
  auto& done = *report.mutable_compact();
  done.set_phase(v1::CompactProgress::PHASE_DONE);
  done.set_sealed_passages(12'345);
  done.set_segment_passages(20'000);
  done.set_segments(1);
  done.set_replaced_segments(2);
  v1::Operation running = Report(v1::Operation::STATE_RUNNING);
  running.mutable_compact()->set_phase(v1::CompactProgress::PHASE_ENCODING);
  world_.reports = {running, report};
  const Result result = Run({"compact"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out,
            "default: 20,000 passages in 1 new segment, 12,345 newly sealed, "
            "2 segments replaced; 4.0 s\n");
  EXPECT_EQ(Run({"compact", "notes"}).exit_code, 0);
  EXPECT_EQ(Run({"compact", "-c", "notes"}).exit_code, 0);
  ASSERT_EQ(world_.compacted.size(), 3u);
  EXPECT_EQ(world_.compacted[0].name(), "default");
  EXPECT_EQ(world_.compacted[1].name(), "notes");
  EXPECT_EQ(world_.compacted[2].name(), "notes");
  EXPECT_FALSE(world_.compacted[2].recompute());
  EXPECT_EQ(Run({"compact", "--recompute"}).exit_code, 0);
  EXPECT_TRUE(world_.compacted.back().recompute());
  const auto json = ParseJson(Run({"compact", "--json"}).out);
  EXPECT_EQ(json["operation"]["state"], "STATE_SUCCEEDED");
  EXPECT_EQ(json["operation"]["compact"]["segment_passages"], 20'000);

  done.set_replaced_segments(0);
  done.set_trained_codebook(true);
  done.set_delta_passages(312);
  done.set_required_passages(10'000);
  world_.reports = {report};
  EXPECT_THAT(Run({"compact"}).out,
              HasSubstr("12,345 newly sealed, codebook trained; 4.0 s; 312 "
                        "passages unsealed, as"));
  done.Clear();
  done.set_replaced_segments(1);
  world_.reports = {report};
  EXPECT_EQ(Run({"compact"}).out,
            "default: no passage is left, 1 segment replaced; 4.0 s\n");
}

TEST_F(Cli, CompactSaysWhenThereIsNothingToDo) {
  HaveDefaultCollection();
  v1::Operation report = Report(v1::Operation::STATE_SUCCEEDED);
  report.mutable_compact()->set_phase(v1::CompactProgress::PHASE_DONE);
  world_.reports = {report};
  Result result = Run({"compact"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out,
            "default: nothing to do: no passage waits to be sealed\n");
  report.mutable_compact()->set_delta_passages(312);
  report.mutable_compact()->set_required_passages(10'000);
  world_.reports = {report};
  result = Run({"compact"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(
      result.out,
      HasSubstr("nothing to do: 312 passages unsealed, as a codebook for "
                "them is trained from 10,000 on"));
}

TEST_F(Cli, CompactOfAnUnknownCollectionOrThatFailsIsAnError) {
  const Result unknown = Run({"compact", "notes"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, AllOf(HasSubstr("no collection \"notes\""),
                                 HasSubstr("pith collection list")));
  HaveDefaultCollection();
  v1::Operation report = Report(v1::Operation::STATE_FAILED);
  report.mutable_compact();
  report.mutable_error()->set_code(8);
  report.mutable_error()->set_message("the disk is full");
  world_.reports = {report};
  const Result failed = Run({"compact"});
  EXPECT_EQ(failed.exit_code, 2);
  EXPECT_THAT(failed.out, IsEmpty());
  EXPECT_EQ(failed.err, "pith: the disk is full\n");
}

TEST_F(Cli, CtrlCCancelsACompaction) {
  HaveDefaultCollection();
  v1::Operation report = Report(v1::Operation::STATE_RUNNING);
  report.mutable_compact()->set_phase(v1::CompactProgress::PHASE_TRAINING);
  world_.reports = {report};
  Process process = Start({"compact"});
  {
    std::unique_lock lock(world_.mutex);
    world_.changed.wait(lock, [&] { return world_.watched; });
  }
  ASSERT_EQ(::kill(process.pid(), SIGINT), 0);
  const Result result = process.Wait();
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_TRUE(world_.cancelled);
  EXPECT_THAT(result.err,
              AllOf(HasSubstr("pith: compact default: cancelled\n"),
                    HasSubstr("what was not finished is as it was")));
}

TEST_F(Cli, AddSaysWhenThereIsNothingToDo) {
  v1::Operation report = Report(v1::Operation::STATE_SUCCEEDED);
  report.mutable_add_source()->set_unchanged(7);
  world_.reports = {report};
  const Result result = Run({"add", "docs"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("nothing to do: 7 files unchanged, nothing "
                                    "embedded"));
}

TEST_F(Cli, AddSaysHowManyPassagesCouldNotBeEmbedded) {
  v1::Operation report = Report(v1::Operation::STATE_SUCCEEDED);
  report.mutable_add_source()->set_added(2);
  report.mutable_add_source()->set_passages_to_embed(10);
  report.mutable_add_source()->set_passages_embedded(7);
  world_.reports = {report};
  const Result result = Run({"add", "docs"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out,
              HasSubstr("7 passages embedded in 4.0 s; 3 passages could not be "
                        "embedded (pith status says why)\n"));
}

TEST_F(Cli, ArgumentsThatAreNotUtf8AreNamed) {
  HaveDefaultCollection();
  std::ofstream(folder_ / "caf\xe9.txt") << "text";
  for (const char* command : {"add", "search", "get", "rm", "ls"}) {
    const Result result = Run({command, "caf\xe9.txt"});
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_EQ(result.err, "pith: argument \"caf\uFFFD.txt\" is not UTF-8\n");
  }
  fs::create_symlink("caf\xe9.txt", folder_ / "link.txt");
  const Result linked = Run({"add", "link.txt"});
  EXPECT_EQ(linked.exit_code, 2);
  EXPECT_THAT(linked.err, AllOf(HasSubstr("pith: add link.txt: its path "),
                                HasSubstr("caf\uFFFD.txt is not UTF-8\n")));
  EXPECT_TRUE(world_.added.empty());
}

TEST_F(Cli, AddNamesAFileByItsRealPath) {
  fs::create_directory_symlink("docs", folder_ / "link");
  world_.reports = {Report(v1::Operation::STATE_SUCCEEDED)};
  EXPECT_EQ(Run({"add", "link"}).exit_code, 0);
  EXPECT_EQ(world_.added.at(0).path(), (folder_ / "docs").string());
}

TEST_F(Cli, AddOfAMissingPathAddsNothing) {
  const Result result = Run({"add", "docs", "missing"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("missing: No such file or directory"));
  EXPECT_TRUE(world_.added.empty());
}

TEST_F(Cli, AddRefusesAModelThatIsNotTheCollections) {
  HaveDefaultCollection();
  const Result result = Run({"add", "docs", "--model", "other"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("not other"));
  EXPECT_TRUE(world_.added.empty());
}

TEST_F(Cli, AddDoesNotCreateOtherCollections) {
  const Result result = Run({"add", "docs", "-c", "notes"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, AllOf(HasSubstr("no collection \"notes\""),
                                HasSubstr("pith collection create")));
  EXPECT_TRUE(world_.collections.empty());
}

TEST_F(Cli, AddThatFailsReportsTheReason) {
  v1::Operation report = Report(v1::Operation::STATE_FAILED);
  report.mutable_error()->set_code(8);
  report.mutable_error()->set_message("the disk is full");
  world_.reports = {report};
  const Result result = Run({"add", "docs"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("pith: the disk is full"));
}

TEST_F(Cli, CtrlCCancelsTheOperationAndReportsWhatWasDone) {
  v1::Operation report = Report(v1::Operation::STATE_RUNNING);
  report.mutable_add_source()->set_added(5);
  world_.reports = {report};
  Process process = Start({"add", "docs"});
  {
    std::unique_lock lock(world_.mutex);
    world_.changed.wait(lock, [&] { return world_.watched; });
  }
  ASSERT_EQ(::kill(process.pid(), SIGINT), 0);
  const Result result = process.Wait();
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_TRUE(world_.cancelled);
  EXPECT_THAT(result.out, HasSubstr("stopped early: 5 added"));
  EXPECT_THAT(result.err, HasSubstr("cancelled"));
}

TEST_F(Cli, SearchShowsPlaceScoreAndSnippet) {
  HaveDefaultCollection();
  auto* hit = world_.found.add_hits();
  hit->set_document_id((folder_ / "docs/a.md").string());
  hit->set_score(0.75f);
  hit->set_first_line(3);
  hit->set_last_line(9);
  hit->set_heading_path("Top > \033[2JSub");
  hit->set_text("The pruning\033[31m rule.\n");
  world_.found.mutable_stats()->set_candidates_scored(5000);
  world_.found.mutable_stats()->set_passages_recomputed(30);
  world_.found.mutable_stats()->set_pending_passages(2);
  const Result result =
      Run({"search", "how", "is", "it pruned", "-k", "3", "--rerank", "9"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(world_.search.text(), "how is it pruned");
  EXPECT_EQ(world_.search.k(), 3);
  EXPECT_EQ(world_.search.rerank_count(), 9);
  EXPECT_FALSE(world_.search.has_recall_target());
  EXPECT_EQ(result.out,
            " 1  0.7500  docs/a.md:3-9\n"
            "    Top > [2JSub\n"
            "    The pruning[31m rule.\n"
            "\n"
            "30 of 5,000 passages recomputed, 0 ms; results are incomplete: 2 "
            "passages not embedded yet\n");
  const auto json = ParseJson(Run({"search", "x", "--json"}).out);
  EXPECT_EQ(json["hits"][0]["first_line"], 3);
  EXPECT_EQ(json["hits"][0]["text"], "The pruning\033[31m rule.\n");
  EXPECT_EQ(json["stats"]["pending_passages"], 2);
}

TEST_F(Cli, SearchPassesOnWhatItIsToCost) {
  HaveDefaultCollection();
  Run({"search", "x", "--recall", "0.9", "--mode", "two-level", "--beam", "7"});
  EXPECT_DOUBLE_EQ(world_.search.recall_target(), 0.9);
  EXPECT_FALSE(world_.search.has_rerank_count());
  EXPECT_EQ(world_.search.mode(), v1::SEARCH_MODE_TWO_LEVEL);
  EXPECT_EQ(world_.search.beam(), 7);
  Run({"search", "x", "--mode", "codes"});
  EXPECT_EQ(world_.search.mode(), v1::SEARCH_MODE_CODES);
  EXPECT_FALSE(world_.search.has_recall_target());
  EXPECT_FALSE(world_.search.has_beam());
  const Result wrong = Run({"search", "x", "--mode", "guess"});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("--mode"));
  EXPECT_EQ(Run({"search", "x", "--recall", "all"}).exit_code, 2);
}

TEST_F(Cli, SearchWithoutHitsIsNothingFound) {
  HaveDefaultCollection();
  EXPECT_EQ(Run({"search", "x"}).exit_code, 1);
  const Result result = Run({"--json", "search", "x"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_TRUE(ParseJson(result.out)["hits"].empty());
}

TEST_F(Cli, ErrorsAreSentencesOrJson) {
  const Result text = Run({"search", "x"});
  EXPECT_EQ(text.exit_code, 2);
  EXPECT_EQ(text.err,
            "pith: no collection \"default\"\n(add documents first: pith add "
            "PATH)\n");
  const Result json = Run({"search", "x", "--json"});
  EXPECT_EQ(json.exit_code, 2);
  EXPECT_THAT(json.out, IsEmpty());
  EXPECT_EQ(ParseJson(json.err)["error"]["code"], "NOT_FOUND");
  EXPECT_EQ(ParseJson(json.err)["error"]["reason"], "COLLECTION_NOT_FOUND");
  HaveDefaultCollection();
  EXPECT_EQ(Run({"search", "x", "-k", "-1"}).exit_code, 2);
}

TEST_F(Cli, WrongArgumentsAreErrors) {
  EXPECT_EQ(Run({}).exit_code, 2);
  EXPECT_THAT(Run({"serch", "x"}).err, HasSubstr("serch"));
  EXPECT_EQ(Run({"search"}).exit_code, 2);
  EXPECT_EQ(Run({"collection"}).exit_code, 2);
  EXPECT_EQ(Run({"search", "x", "-k", "ten"}).exit_code, 2);
  for (const std::vector<std::string>& contradiction :
       {std::vector<std::string>{"-c", "notes", "status"},
        {"model", "list", "-c", "notes"},
        {"verify", "notes", "--snapshot", "x"},
        {"-c", "notes", "verify", "other"},
        {"-c", "notes", "repair", "other"},
        {"-c", "notes", "compact", "other"},
        {"-c", "notes", "verify", "--snapshot", "x"},
        {"-c", "notes", "restore", "x", "other"}}) {
    const Result refused = Run(contradiction);
    EXPECT_EQ(refused.exit_code, 2);
    EXPECT_THAT(refused.err, AnyOf(HasSubstr("--collection notes does not"),
                                   HasSubstr("excludes")));
  }
  EXPECT_THAT(Run({"import", "nothing"}).err,
              HasSubstr("open nothing: No such file or directory"));
  const Result json = Run({"search", "--json"});
  EXPECT_EQ(json.exit_code, 2);
  EXPECT_EQ(ParseJson(json.err)["error"]["code"], "INVALID_ARGUMENT");
  const Result help = Run({"search", "--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, HasSubstr("--rerank"));
  EXPECT_THAT(Run({"--version"}).out, HasSubstr("pith "));
}

TEST_F(Cli, GetFindsADocumentByItsPath) {
  HaveDefaultCollection();
  world_.documents[(folder_ / "docs/gone.md").string()] = "Te\033xt";
  world_.documents["key"] = "K";
  EXPECT_EQ(Run({"get", "docs/gone.md"}).out, "Text\n");
  EXPECT_EQ(Run({"get", "key"}).out, "K\n");
  EXPECT_EQ(ParseJson(Run({"get", "key", "--json"}).out)["document"]["text"],
            "K");
  const Result missing = Run({"get", "ke"});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_THAT(missing.err, HasSubstr("no document ke"));
  EXPECT_EQ(Run({"get", "key", "-c", "other"}).exit_code, 2);
}

TEST_F(Cli, RmRemovesByIdAndByPathAndNamesWhatItDidNotFind) {
  HaveDefaultCollection();
  world_.documents[(folder_ / "docs/a.md").string()] = "a";
  world_.documents["key"] = "k";
  world_.documents["keys"] = "k";
  const Result result = Run({"rm", "docs/a.md", "key", "unknown"});
  EXPECT_EQ(result.exit_code, 1) << result.err;
  EXPECT_EQ(result.out, "2 documents removed\n");
  EXPECT_THAT(result.err, HasSubstr("no document unknown"));
  EXPECT_EQ(world_.documents.size(), 1u);
  EXPECT_EQ(Run({"rm", "key"}).exit_code, 1);
}

TEST_F(Cli, RmRemovesByPrefixAndBelowAPath) {
  HaveDefaultCollection();
  for (const std::string& id :
       {(folder_ / "docs/a.md").string(), (folder_ / "docs/b.md").string(),
        std::string("key"), std::string("keys")}) {
    world_.documents[id] = "k";
  }
  EXPECT_EQ(Run({"rm", "--prefix", "docs"}).out, "2 documents removed\n");
  EXPECT_EQ(Run({"rm", "--prefix", "key"}).out, "2 documents removed\n");
  EXPECT_EQ(Run({"rm", "--prefix", "key"}).exit_code, 1);
  EXPECT_EQ(Run({"rm"}).exit_code, 2);
  EXPECT_EQ(Run({"rm", "a", "--prefix", "key"}).exit_code, 2);
}

TEST_F(Cli, LsPagesThroughAll) {
  HaveDefaultCollection();
  EXPECT_EQ(Run({"ls"}).exit_code, 1);
  for (int i = 0; i < 2500; ++i) {
    world_.documents[absl::StrCat("key", 10000 + i)] = "text";
  }
  world_.documents[(folder_ / "docs/a.md").string()] = "a";
  const auto json = ParseJson(Run({"ls", "key", "--json"}).out);
  EXPECT_EQ(json["documents"].size(), 2500u);
  const Result below = Run({"ls", "docs/"});
  EXPECT_EQ(below.exit_code, 0);
  EXPECT_EQ(below.out, "    2 passages        1 B  docs/a.md\n");
}

TEST_F(Cli, StatusShowsCollectionsAndTheirErrors) {
  HaveDefaultCollection();
  world_.collections["default"].set_documents(1234);
  world_.collections["default"].set_text_bytes(2000);
  world_.collections["default"].set_disk_bytes(900);
  world_.collections["default"].set_failed_passages(317);
  world_.collections["default"].mutable_embedding_error()->set_code(8);
  world_.collections["default"].mutable_embedding_error()->set_message(
      "the worker ran out of memory");
  world_.collections["default"].set_code_profile(v1::CODE_PROFILE_FAST);
  world_.collections["default"].set_vector_source(v1::VECTOR_SOURCE_STORED_I8);
  world_.collections["default"].set_segments(3);
  world_.collections["default"].set_codebooks(2);
  world_.collections["default"].set_sealed_passages(45'678);
  world_.collections["default"].set_dead_passages(91);
  world_.collections["default"].set_delta_passages(2345);
  world_.collections["default"].mutable_sealing_error()->set_code(8);
  world_.collections["default"].mutable_sealing_error()->set_message(
      "no space left");
  world_.collections["default"].set_sealing_pause("machine busy 83 %");
  world_.collections["default"].mutable_storage_error()->set_code(15);
  world_.collections["default"].mutable_storage_error()->set_message(
      "read passages of store d: checksum");
  v1::Operation compacting = Report(v1::Operation::STATE_RUNNING);
  compacting.set_collection("default");
  compacting.mutable_compact()->set_phase(v1::CompactProgress::PHASE_BUILDING);
  compacting.mutable_compact()->set_passages(48'023);
  world_.running = {compacting};
  world_.collections["broken"].set_name("broken");
  world_.collections["broken"].mutable_error()->set_code(15);
  world_.collections["broken"].mutable_error()->set_message("bad block");
  const Result result = Run({"status"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(
      result.out,
      AllOf(
          HasSubstr("pid 1234"), HasSubstr("1,234"), HasSubstr("45 %"),
          HasSubstr("  317  "),
          HasSubstr("default embedding failed: RESOURCE_EXHAUSTED: the "
                    "worker ran out of memory\n"),
          HasSubstr("default sealing failed: RESOURCE_EXHAUSTED: no space "
                    "left\n"),
          HasSubstr("default storage: DATA_LOSS: read passages of store d: "
                    "checksum\n(pith verify default says what is damaged)\n"),
          HasSubstr("default sealing pauses: machine busy 83 %\n"),
          HasSubstr("running     compact default: building the graph of "
                    "48,023 passages\n"),
          HasSubstr("default     fast       i8         3          2  45,678   "
                    "    91  2,345"),
          HasSubstr("cache       321 vectors, 300.0 kB of 16.0 MB, 1,500 "
                    "hits in 2,000 lookups (75 %)\n"),
          Not(HasSubstr("unknown")),
          HasSubstr("broken cannot be served: DATA_LOSS: bad block\n(pith "
                    "verify broken says what is damaged)\n")));
  EXPECT_EQ(ParseJson(Run({"status", "--json"}).out)["pid"], 1234);
}

TEST_F(Cli, CollectionsAreCreatedListedAndDeleted) {
  EXPECT_EQ(Run({"collection", "list"}).exit_code, 1);
  // A folder is a model's path only where it is named as one.
  const Result created =
      Run({"collection", "create", "notes", "--model", "./docs", "--chunking",
           "none", "--target-tokens", "64", "--profile", "minimal", "--vectors",
           "f16"});
  EXPECT_EQ(created.exit_code, 0) << created.err;
  const v1::Collection& notes = world_.collections.at("notes");
  EXPECT_EQ(notes.model(), (folder_ / "docs").string());
  EXPECT_EQ(notes.chunking(), v1::CHUNKING_NONE);
  EXPECT_EQ(notes.target_tokens(), 64);
  EXPECT_EQ(notes.code_profile(), v1::CODE_PROFILE_MINIMAL);
  EXPECT_EQ(notes.vector_source(), v1::VECTOR_SOURCE_STORED_F16);
  for (const auto& [name, source] :
       {std::pair("recompute", v1::VECTOR_SOURCE_RECOMPUTE),
        std::pair("i8", v1::VECTOR_SOURCE_STORED_I8)}) {
    EXPECT_EQ(Run({"collection", "create", name, "--vectors", name}).exit_code,
              0);
    EXPECT_EQ(world_.collections.at(name).vector_source(), source);
  }
  EXPECT_EQ(Run({"collection", "create", "y"}).exit_code, 0);
  EXPECT_EQ(world_.collections.at("y").vector_source(),
            v1::VECTOR_SOURCE_UNSPECIFIED);
  EXPECT_EQ(Run({"collection", "create", "x", "--vectors", "f32"}).exit_code,
            2);
  EXPECT_EQ(Run({"collection", "create", "notes"}).exit_code, 2);
  EXPECT_EQ(Run({"collection", "create", "x", "--chunking", "odd"}).exit_code,
            2);
  EXPECT_EQ(Run({"collection", "create", "x", "--profile", "odd"}).exit_code,
            2);
  EXPECT_THAT(Run({"collection", "list"}).out, HasSubstr("notes"));
  EXPECT_EQ(Run({"collection", "delete", "notes"}).exit_code, 0);
  EXPECT_EQ(Run({"collection", "delete", "notes"}).exit_code, 2);
}

TEST_F(Cli, ModelsAreListedAndDescribed) {
  EXPECT_EQ(Run({"model", "list"}).exit_code, 1);
  EXPECT_THAT(Run({"model", "info", "docs"}).out,
              AllOf(HasSubstr("docs\n"), HasSubstr("print of docs")));
}

// pith beside a pithd of the test's choice.
class CliDaemon : public testing::Test {
 protected:
  CliDaemon() {
    std::error_code error;
    fs::create_hard_link(PITH_CLI, pith_, error);
    if (error) {
      fs::copy_file(PITH_CLI, pith_);
    }
  }
  ~CliDaemon() override { Run({"daemon", "stop"}); }

  void UseFakeDaemon() {
    fs::create_symlink(PITH_FAKE_DAEMON, folder_ / "pithd");
  }
  void UseScript(const std::string& script) {
    std::ofstream(folder_ / "pithd") << "#!/bin/sh\n" << script;
    fs::permissions(folder_ / "pithd", fs::perms::owner_all);
  }

  Process Start(std::vector<std::string> arguments,
                const std::string& output = "output") {
    arguments.insert(arguments.begin(), {"--data-dir", "data"});
    return Process(pith_, arguments,
                   {.working_directory = folder_, .output = folder_ / output});
  }
  Result Run(const std::vector<std::string>& arguments) {
    return Start(arguments).Wait();
  }

  TempDirectory directory_;
  fs::path folder_ = fs::canonical(directory_.path());
  fs::path pith_ = folder_ / "pith";
};

TEST_F(CliDaemon, IsStartedWhenACommandNeedsIt) {
  UseFakeDaemon();
  EXPECT_EQ(Run({"daemon", "status"}).exit_code, 1);
  const Result refused = Run({"status", "--no-start"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, HasSubstr("no daemon listens on"));

  const Result status = Run({"status", "--json"});
  EXPECT_EQ(status.exit_code, 0) << status.err;
  const int pid = ParseJson(status.out)["pid"];
  EXPECT_EQ(FileLock::Owner(folder_ / "data/pithd.lock").value(), pid);
  EXPECT_EQ(::getsid(pid), pid);
  EXPECT_EQ(ParseJson(Run({"status", "--json"}).out)["pid"], pid);
  EXPECT_EQ(ParseJson(Run({"daemon", "status", "--json"}).out)["pid"], pid);

  EXPECT_EQ(Run({"daemon", "stop"}).out, "daemon stopped\n");
  EXPECT_EQ(FileLock::Owner(folder_ / "data/pithd.lock").value(), std::nullopt);
  EXPECT_EQ(Run({"daemon", "status"}).exit_code, 1);
  EXPECT_EQ(Run({"daemon", "stop"}).out, "no daemon runs\n");
}

TEST_F(CliDaemon, GetsTheArgumentsOfStart) {
  UseFakeDaemon();
  EXPECT_THAT(Run({"daemon", "start", "--", "--verbose", "-c"}).out,
              HasSubstr("daemon started"));
  EXPECT_THAT(Run({"daemon", "start"}).out, HasSubstr("daemon already runs"));
  EXPECT_EQ(ReadFile(folder_ / "data/pithd.log").value(),
            "argument --verbose\nargument -c\n");
}

TEST_F(CliDaemon, StartsInTheFolderOfItsCommand) {
  UseScript("echo in $(pwd) >&2; exit 7");
  EXPECT_THAT(Run({"daemon", "start"}).err,
              HasSubstr(absl::StrCat("in ", folder_.string())));
}

TEST_F(CliDaemon, IsOneHoweverManyCommandsStartIt) {
  UseFakeDaemon();
  std::vector<Process> processes;
  for (int i = 0; i < 4; ++i) {
    processes.push_back(Start({"status", "--json"}, absl::StrCat("out", i)));
  }
  std::optional<nlohmann::json> pid;
  for (Process& process : processes) {
    const Result result = process.Wait();
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const auto this_pid = ParseJson(result.out)["pid"];
    EXPECT_EQ(pid.value_or(this_pid), this_pid);
    pid = this_pid;
  }
}

TEST_F(CliDaemon, ThatDiesAtOnceShowsTheEndOfItsLog) {
  UseScript("echo of an earlier run; exit 7");
  Run({"status"});
  UseScript("echo cannot read the configuration >&2; exit 7");
  const Result result = Run({"status"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, AllOf(HasSubstr("exit status 7"),
                                HasSubstr("cannot read the configuration"),
                                Not(HasSubstr("earlier"))));
}

TEST_F(CliDaemon, ThatIsNotInstalledIsMissed) {
  const Result result = Run({"status"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("no pithd beside pith"));
}

}  // namespace
}  // namespace pith
