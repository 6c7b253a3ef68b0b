// pithd and pith as their users run them, with a worker that is made up.

#include "clients/cli/daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "glog/logging.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/generic/generic_stub.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

#include "core/base/file.h"
#include "core/base/paths.h"
#include "core/base/reason.h"
#include "core/base/status_macros.h"
#include "proto/pith/v1/admin.grpc.pb.h"
#include "proto/pith/v1/collections.grpc.pb.h"
#include "proto/pith/v1/documents.grpc.pb.h"
#include "proto/pith/v1/operations.grpc.pb.h"
#include "proto/pith/v1/search.grpc.pb.h"
#include "proto/pith/v1/sources.grpc.pb.h"
#include "tests/file_power.h"
#include "tests/process.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"
#include "tests/worker_gates.h"

namespace pith {
namespace {

namespace fs = std::filesystem;
using absl::StatusCode;
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

const fs::path kModel = fs::path(PITH_TEST_DATA) / "tiny-bert";

constexpr int kExitAlreadyRunning = 3;
// Start-up takes a small part of this on an idle machine.
constexpr absl::Duration kQuickStart = absl::Seconds(5);

using Documents = std::map<std::string, std::string>;

MATCHER_P(HasReason, reason, "") {
  *result_listener << StatusOf(arg).ToString();
  return ReasonOf(StatusOf(arg)) == reason;
}

nlohmann::json ParseJson(const std::string& text) {
  return nlohmann::json::parse(text, nullptr, false);
}

void WriteText(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

// `count` documents of a few known words each, no two alike.
Documents MakeDocuments(int count, int words = 4) {
  constexpr std::array kWords = {
      "river",  "mountain", "horse",  "school",   "window", "garden",
      "moon",   "music",    "engine", "winter",   "paper",  "kitchen",
      "bridge", "doctor",   "salt",   "language", "forest"};
  Documents documents;
  for (int i = 0; i < count; ++i) {
    std::string text = absl::StrCat("note ", i, ":");
    for (int word = 0, rest = i; word < words; ++word) {
      absl::StrAppend(&text, " ",
                      kWords[static_cast<size_t>(rest) % kWords.size()]);
      rest = rest / 17 + i % 7 + 5 * word;
    }
    documents[absl::StrCat("doc", 10000 + i)] = text;
  }
  return documents;
}

mode_t ModeOf(const fs::path& path) {
  struct stat info;
  PCHECK(::lstat(path.c_str(), &info) == 0) << path;
  return info.st_mode & 07777;
}

// Changes one byte of a file, in its middle.
void FlipByte(const fs::path& path) {
  std::string bytes = ReadFile(path).value();
  bytes.at(bytes.size() / 2) ^= 0x55;
  std::ofstream(path, std::ios::binary) << bytes;
}

fs::path LargestFile(const fs::path& directory, const std::string& prefix,
                     const std::string& extension) {
  fs::path largest;
  uintmax_t bytes = 0;
  std::error_code gone;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (absl::StartsWith(name, prefix) && absl::EndsWith(name, extension)) {
      if (const uintmax_t size = entry.file_size(gone); !gone && size > bytes) {
        largest = entry.path();
        bytes = size;
      }
    }
  }
  return largest;
}

// A process that is not a child of this one.
class WatchedProcess {
 public:
  explicit WatchedProcess(int64_t pid)
      : fd_(static_cast<int>(
            ::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0))) {
    PCHECK(fd_.valid()) << pid;
  }
  bool EndsSoon() const {
    pollfd ended = {.fd = fd_.get(), .events = POLLIN, .revents = 0};
    return ::poll(&ended, 1, 60'000) == 1;
  }

 private:
  UniqueFd fd_;
};

sockaddr_un AddressOf(const fs::path& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  CHECK_LT(path.native().size(), sizeof(address.sun_path));
  std::memcpy(address.sun_path, path.c_str(), path.native().size());
  return address;
}

// One document after another over an Ingest stream, acknowledgements read as
// they come.
class IngestStream {
 public:
  IngestStream(const std::shared_ptr<grpc::Channel>& channel,
               const std::string& collection)
      : stub_(channel), stream_(stub_.Ingest(&context_)) {
    v1::IngestRequest request;
    request.mutable_start()->set_collection(collection);
    stream_->Write(request);
  }
  ~IngestStream() {
    context_.TryCancel();
    if (writer_.joinable()) {
      writer_.join();
    }
  }
  IngestStream(const IngestStream&) = delete;
  IngestStream& operator=(const IngestStream&) = delete;

  // Writes in the background, so that whoever reads is never waited for.
  void Send(Documents documents) {
    CHECK(!writer_.joinable());
    writer_ = std::thread([this, documents = std::move(documents)] {
      for (const auto& [id, text] : documents) {
        v1::IngestRequest request;
        request.mutable_document()->set_id(id);
        request.mutable_document()->set_text(text);
        if (!stream_->Write(request)) {
          return;
        }
      }
      stream_->WritesDone();
    });
  }
  std::optional<v1::IngestResponse> Next() {
    v1::IngestResponse response;
    return stream_->Read(&response) ? std::optional(response) : std::nullopt;
  }
  absl::Status Finish() {
    if (writer_.joinable()) {
      writer_.join();
    }
    return cli::FromGrpc(stream_->Finish());
  }

 private:
  v1::DocumentsService::Stub stub_;
  grpc::ClientContext context_;
  std::unique_ptr<
      grpc::ClientReaderWriter<v1::IngestRequest, v1::IngestResponse>>
      stream_;
  std::thread writer_;
};

class DaemonTest : public testing::Test {
 protected:
  DaemonTest() {
    paths_ = ResolveStandardPaths({.home = folder_.string(),
                                   .data_directory = data_.string(),
                                   .working_directory = folder_})
                 .value();
  }

  std::vector<std::string> DaemonArguments() const {
    return {"--data-dir",      data_.string(),
            "--worker",        worker_.string(),
            "--workers",       "1",
            "--default-model", default_model_.string()};
  }
  ProcessOptions Options(const std::string& output) const {
    ProcessOptions options = {.working_directory = folder_,
                              .output = folder_ / output};
    for (char** entry = environ; *entry != nullptr; ++entry) {
      if (absl::StartsWith(*entry, "PITH_FAKE_")) {
        options.environment.emplace_back(*entry);
      }
    }
    return options;
  }
  Process SpawnDaemon(const std::vector<std::string>& arguments = {},
                      const std::string& output = "daemon") const {
    std::vector<std::string> all = DaemonArguments();
    all.insert(all.end(), arguments.begin(), arguments.end());
    return Process(PITH_DAEMON, all, Options(output));
  }
  // Starts the daemon that the other functions use, and waits until it serves.
  void Start(const std::vector<std::string>& arguments = {}) {
    daemon_.emplace(SpawnDaemon(arguments));
    Connect();
  }
  void Connect() {
    CHECK(Eventually([this] {
      CHECK(!daemon_ || daemon_->Runs())
          << ReadFile(daemon_->Output(".err")).value_or("");
      auto channel = cli::Connect({.paths = paths_, .may_start = false});
      if (channel.ok()) {
        channel_ = *std::move(channel);
      }
      return channel_ != nullptr;
    }));
  }
  void Kill() {
    daemon_->Kill();
    daemon_.reset();
    channel_.reset();
  }
  int Stop() {
    channel_.reset();
    daemon_->Signal(SIGTERM);
    const int exit_code = daemon_->Wait().exit_code;
    daemon_.reset();
    return exit_code;
  }

  Process StartPith(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(),
                     {"--data-dir", data_.string(), "--no-start"});
    return Process(PITH_CLI, arguments, Options("pith"));
  }
  ProcessResult Pith(const std::vector<std::string>& arguments) const {
    return StartPith(arguments).Wait();
  }
  // `pith add --json`, what it says of its one operation.
  nlohmann::json Add(const fs::path& path) const {
    const ProcessResult result = Pith({"add", path.string(), "--json"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return ParseJson(result.out)["operations"][0]["add_source"];
  }

  template <typename Response, typename Service, typename Request>
  absl::StatusOr<Response> Call(
      grpc::Status (Service::*method)(grpc::ClientContext*, const Request&,
                                      Response*),
      const Request& request) const {
    Service stub(channel_);
    return cli::Call<Response>(stub, method, request);
  }

  absl::StatusOr<v1::Collection> CreateCollection(
      const std::string& name, const std::string& model = "") const {
    v1::CreateCollectionRequest request;
    request.set_name(name);
    request.set_model(model);
    request.set_chunking(v1::CHUNKING_NONE);
    PITH_ASSIGN_OR_RETURN(
        const auto response,
        Call(&v1::CollectionsService::Stub::CreateCollection, request));
    return response.collection();
  }
  absl::Status DeleteCollection(const std::string& name) const {
    v1::DeleteCollectionRequest request;
    request.set_name(name);
    return Call(&v1::CollectionsService::Stub::DeleteCollection, request)
        .status();
  }
  // Outcomes by id; all are answered.
  std::map<std::string, v1::IngestResponse> Ingest(
      const std::string& collection, const Documents& documents) const {
    IngestStream stream(channel_, collection);
    stream.Send(documents);
    std::map<std::string, v1::IngestResponse> responses;
    while (const auto response = stream.Next()) {
      responses[response->id()] = *response;
    }
    EXPECT_OK(stream.Finish());
    EXPECT_EQ(responses.size(), documents.size());
    return responses;
  }
  absl::Status WaitUntilSearchable(const std::string& collection) const {
    v1::WaitUntilSearchableRequest request;
    request.set_collection(collection);
    return Call(&v1::DocumentsService::Stub::WaitUntilSearchable, request)
        .status();
  }
  static v1::SearchRequest SearchFor(const std::string& collection,
                                     const std::string& text) {
    v1::SearchRequest request;
    request.set_collection(collection);
    request.set_text(text);
    return request;
  }
  absl::StatusOr<v1::SearchResponse> Search(
      const v1::SearchRequest& request) const {
    return Call(&v1::SearchService::Stub::Search, request);
  }
  absl::StatusOr<v1::SearchResponse> Search(const std::string& collection,
                                            const std::string& text) const {
    return Search(SearchFor(collection, text));
  }
  std::future<absl::StatusOr<v1::SearchResponse>> SearchLater(
      const std::string& collection, const std::string& text) const {
    return std::async(std::launch::async, [this, collection, text] {
      return Search(collection, text);
    });
  }
  // `pith compact --json`, what it says of its operation.
  nlohmann::json Compact(const std::string& collection) const {
    const ProcessResult result = Pith({"compact", collection, "--json"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return ParseJson(result.out)["operation"]["compact"];
  }
  absl::StatusOr<v1::Document> Get(const std::string& collection,
                                   const std::string& id) const {
    v1::GetDocumentRequest request;
    request.set_collection(collection);
    request.set_id(id);
    PITH_ASSIGN_OR_RETURN(
        const auto response,
        Call(&v1::DocumentsService::Stub::GetDocument, request));
    return response.document();
  }
  absl::StatusOr<v1::DeleteDocumentsResponse> Delete(
      const std::string& collection, const std::string& id) const {
    v1::DeleteDocumentsRequest request;
    request.set_collection(collection);
    request.add_ids(id);
    return Call(&v1::DocumentsService::Stub::DeleteDocuments, request);
  }
  v1::GetStatusResponse Status() const {
    return Call(&v1::AdminService::Stub::GetStatus, v1::GetStatusRequest())
        .value();
  }
  v1::Collection StatusOfCollection(const std::string& name) const {
    const v1::GetStatusResponse status = Status();
    for (const v1::Collection& collection : status.collections()) {
      if (collection.name() == name) {
        return collection;
      }
    }
    ADD_FAILURE() << "no collection " << name;
    return {};
  }
  // The only model's worker.
  v1::Worker Worker() const {
    const v1::GetStatusResponse status = Status();
    CHECK_EQ(status.workers_size(), 1);
    return status.workers(0);
  }

  // All of `documents` are there and are what a search goes over.
  void ExpectSearchable(const std::string& name, const Documents& documents) {
    EXPECT_OK(WaitUntilSearchable(name));
    const v1::Collection status = StatusOfCollection(name);
    EXPECT_EQ(status.documents(), static_cast<int64_t>(documents.size()));
    EXPECT_EQ(status.pending_passages(), 0);
    EXPECT_EQ(status.failed_passages(), 0);
    const auto& [last_id, last_text] = *documents.rbegin();
    const auto found = Search(name, last_text);
    ASSERT_OK(found);
    EXPECT_EQ(found->stats().candidates_scored(), status.passages());
    ASSERT_FALSE(found->hits().empty());
    EXPECT_NEAR(found->hits(0).score(), 1, 1e-4);
    ExpectStored(name, documents);
  }
  void ExpectStored(const std::string& name, const Documents& documents) {
    for (const auto& [id, text] : documents) {
      const auto document = Get(name, id);
      ASSERT_OK(document);
      ASSERT_EQ(document->text(), text);
    }
  }

  fs::path CollectionDirectory(const std::string& name) const {
    for (const auto& entry : fs::directory_iterator(data_ / "collections")) {
      if (entry.path().stem() == name) {
        return entry.path();
      }
    }
    return {};
  }
  fs::path CopyOfModel(const std::string& name) const {
    fs::copy(kModel, folder_ / name, fs::copy_options::recursive);
    return folder_ / name;
  }

  // Bytes of a unary call, for services whose protos are not installed.
  absl::StatusOr<std::string> CallBytes(const std::string& method,
                                        const std::string& request) const {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const grpc::Slice slice(request);
    const auto call = stub.PrepareUnaryCall(
        &context, method, grpc::ByteBuffer(&slice, 1), &queue);
    grpc::ByteBuffer response;
    grpc::Status status;
    call->StartCall();
    call->Finish(&response, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    PITH_RETURN_IF_ERROR(cli::FromGrpc(status));
    std::vector<grpc::Slice> slices;
    CHECK(response.Dump(&slices).ok());
    std::string bytes;
    for (const grpc::Slice& part : slices) {
      bytes.append(part.begin(), part.end());
    }
    return bytes;
  }

  TempDirectory directory_;
  fs::path folder_ = fs::canonical(directory_.path());
  fs::path data_ = folder_ / "data";
  fs::path docs_ = folder_ / "docs";
  fs::path worker_ = PITH_FAKE_WORKER;
  fs::path default_model_ = kModel;
  StandardPaths paths_;
  std::optional<Process> daemon_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(DaemonTest, AFolderIsAddedSearchedAndBroughtUpToDate) {
  Start();
  WriteText(docs_ / "fox.md", "# Animals\n\nThe quick brown fox jumps.\n");
  WriteText(docs_ / "sea.txt", "A boat sails over deep blue water.\n");
  WriteText(docs_ / "rain.txt", "Cold rain and snow in the night.\n");
  WriteText(docs_ / "image.png", std::string("\x89PNG\0\0", 6));
  WriteText(docs_ / ".hidden", "Nobody may read this.\n");
  const std::string fox = (docs_ / "fox.md").string();

  nlohmann::json added = Add(docs_);
  EXPECT_EQ(added["added"], 3);
  EXPECT_EQ(added["passages_to_embed"], 3);
  EXPECT_EQ(added["passages_embedded"], 3);
  EXPECT_EQ(added["skipped_by_reason"]["binary"], 1);
  EXPECT_EQ(added["skipped_by_reason"]["hidden"], 1);

  ProcessResult result =
      Pith({"search", "what", "does a quick brown fox do", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const nlohmann::json hit = ParseJson(result.out)["hits"][0];
  EXPECT_EQ(hit["document_id"], fox);
  EXPECT_EQ(hit["heading_path"], "Animals");
  EXPECT_THAT(hit["text"], HasSubstr("brown fox jumps"));
  EXPECT_EQ(hit["last_line"], 3);
  EXPECT_THAT(Pith({"search", "fox", "-k", "1"}).out,
              AllOf(HasSubstr("docs/fox.md:"), Not(HasSubstr("sea.txt"))));

  ASSERT_OK(CreateCollection("empty"));
  EXPECT_EQ(Pith({"search", "fox", "-c", "empty"}).exit_code, 1);
  EXPECT_EQ(Pith({"search", "fox", "-c", "unknown"}).exit_code, 2);
  EXPECT_EQ(Pith({"get", fox}).exit_code, 0);
  EXPECT_EQ(Pith({"get", fox + "x"}).exit_code, 1);

  const int64_t embedded = Worker().texts_embedded();
  added = Add(docs_);
  EXPECT_EQ(added["unchanged"], 3);
  EXPECT_EQ(added["passages_to_embed"], 0);
  EXPECT_THAT(Pith({"add", docs_.string()}).out,
              HasSubstr("nothing to do: 3 files unchanged, nothing embedded"));
  EXPECT_EQ(Worker().texts_embedded(), embedded);

  WriteText(docs_ / "sea.txt", "A horse stands in a green field.\n");
  WriteText(docs_ / "deep" / "moon.txt", "The moon is made of light.\n");
  fs::remove(docs_ / "rain.txt");
  added = Add(docs_);
  EXPECT_EQ(added["added"], 1);
  EXPECT_EQ(added["updated"], 1);
  EXPECT_EQ(added["removed"], 1);
  EXPECT_EQ(added["unchanged"], 1);
  EXPECT_EQ(added["passages_to_embed"], 2);
  EXPECT_EQ(Pith({"get", (docs_ / "rain.txt").string()}).exit_code, 1);
  result = Pith({"search", "horse in a green field", "--json"});
  EXPECT_EQ(ParseJson(result.out)["hits"][0]["document_id"],
            (docs_ / "sea.txt").string());
  EXPECT_THAT(result.out, AllOf(Not(HasSubstr("boat")), Not(HasSubstr("snow")),
                                HasSubstr("moon.txt")));

  EXPECT_EQ(Pith({"rm", fox}).exit_code, 0);
  EXPECT_EQ(Pith({"rm", fox}).exit_code, 1);
  EXPECT_THAT(Pith({"search", "fox"}).out, Not(HasSubstr("fox.md")));
}

TEST_F(DaemonTest, TheCommandLineStartsAndStopsIt) {
  WriteText(docs_ / "fox.md", "The quick brown fox.\n");
  const auto pith = [this](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--data-dir", data_.string()});
    return Process(PITH_CLI, arguments, Options("pith")).Wait();
  };
  ProcessResult result =
      pith({"daemon", "start", "--", "--worker", PITH_FAKE_WORKER,
            "--default-model", kModel.string()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(pith({"add", "docs"}).exit_code, 0);
  EXPECT_EQ(pith({"search", "fox"}).exit_code, 0);
  Connect();
  const WatchedProcess daemon(Status().pid());
  channel_.reset();
  EXPECT_EQ(pith({"daemon", "stop"}).exit_code, 0);
  EXPECT_TRUE(daemon.EndsSoon());
  EXPECT_EQ(pith({"daemon", "status"}).exit_code, 1);
}

TEST_F(DaemonTest, AnAddThatItsDeathInterruptsIsTakenUpAgain) {
  const Documents documents = MakeDocuments(1000);
  Documents files;
  for (const auto& [name, text] : documents) {
    WriteText(docs_ / name, text);
    files[(docs_ / name).string()] = text;
  }
  int64_t acknowledged = 0;
  {
    const Gates gates(2);
    Start();
    Process add = StartPith({"add", docs_.string()});
    // The first passages are embedded, the others wait.
    gates.Await(0);
    const UniqueFd held = gates.Await(1);
    const WatchedProcess worker(Worker().pid());
    ASSERT_TRUE(Eventually([&] {
      const auto status = Status();
      if (status.operations_size() == 1) {
        acknowledged = status.operations(0).add_source().added();
      }
      return acknowledged >= 100;
    }));
    Kill();
    EXPECT_TRUE(worker.EndsSoon());
    const ProcessResult result = add.Wait();
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.err, HasSubstr("the same command again goes on"));
  }
  const absl::Time begin = absl::Now();
  Start();
  EXPECT_LT(absl::Now() - begin, kQuickStart);
  const int64_t stored = StatusOfCollection("default").documents();
  EXPECT_GE(stored, acknowledged);
  EXPECT_OK(WaitUntilSearchable("default"));
  const v1::Collection status = StatusOfCollection("default");
  EXPECT_EQ(status.documents(), stored);
  EXPECT_EQ(status.pending_passages(), 0);
  EXPECT_EQ(Search("default", "moon")->stats().candidates_scored(), stored);

  const nlohmann::json added = Add(docs_);
  EXPECT_EQ(added["unchanged"], stored);
  EXPECT_EQ(added["added"], 1000 - stored);
  EXPECT_EQ(added["passages_to_embed"], 1000 - stored);
  ExpectSearchable("default", files);
}

TEST_F(DaemonTest, EveryAcknowledgedDocumentOfAStreamSurvivesItsDeath) {
  const Documents documents = MakeDocuments(2000);
  Documents acknowledged;
  {
    const Gates gates(1);
    Start();
    ASSERT_OK(CreateCollection("notes"));
    IngestStream stream(channel_, "notes");
    stream.Send(documents);
    std::optional<UniqueFd> held;
    while (const auto response = stream.Next()) {
      EXPECT_EQ(response->outcome(), v1::IngestResponse::OUTCOME_ADDED);
      acknowledged.insert(*documents.find(response->id()));
      if (acknowledged.size() == 200) {
        held = gates.Await(0);
        Kill();
      }
    }
    EXPECT_THAT(stream.Finish(), StatusIs(StatusCode::kUnavailable, ""));
  }
  EXPECT_LT(acknowledged.size(), documents.size());
  Start();
  ExpectStored("notes", acknowledged);
  const int64_t stored = StatusOfCollection("notes").documents();
  const auto responses = Ingest("notes", documents);
  int64_t unchanged = 0;
  for (const auto& [id, response] : responses) {
    const bool is_unchanged =
        response.outcome() == v1::IngestResponse::OUTCOME_UNCHANGED;
    unchanged += is_unchanged ? 1 : 0;
    EXPECT_TRUE(is_unchanged || acknowledged.count(id) == 0) << id;
  }
  EXPECT_EQ(unchanged, stored);
  ExpectSearchable("notes", documents);
}

TEST_F(DaemonTest, DeletedDocumentsAreGoneAtOnceAndForGood) {
  Start();
  ASSERT_OK(CreateCollection("notes"));
  Documents documents = MakeDocuments(20);
  Ingest("notes", documents);
  ASSERT_OK(WaitUntilSearchable("notes"));
  const auto [id, text] = *documents.begin();
  const auto found_id = [&]() -> std::string {
    const auto found = Search("notes", text);
    return found.ok() && found->hits_size() > 0 ? found->hits(0).document_id()
                                                : found.status().ToString();
  };
  EXPECT_EQ(found_id(), id);
  const auto deleted = Delete("notes", id);
  ASSERT_OK(deleted);
  EXPECT_EQ(deleted->deleted(), 1);
  documents.erase(id);
  EXPECT_NE(found_id(), id);
  EXPECT_EQ(Search("notes", text)->stats().candidates_scored(), 19);
  Kill();
  Start();
  EXPECT_NE(found_id(), id);
  EXPECT_THAT(Get("notes", id), HasReason("DOCUMENT_NOT_FOUND"));
  EXPECT_EQ(Delete("notes", id)->not_found(), 1);
  ExpectSearchable("notes", documents);
}

TEST_F(DaemonTest, SegmentsSurviveItsDeathAndWhatItLeftUnfinishedGoes) {
  Start({"--seal-passages", "1024"});
  ASSERT_OK(CreateCollection("notes"));
  Documents documents = MakeDocuments(1100);
  Ingest("notes", documents);
  ASSERT_OK(WaitUntilSearchable("notes"));
  Compact("notes");
  v1::Collection sealed = StatusOfCollection("notes");
  EXPECT_EQ(sealed.segments(), 1);
  EXPECT_EQ(sealed.sealed_passages(), 1100);
  EXPECT_EQ(sealed.delta_passages(), 0);
  const auto [id, text] = *documents.begin();
  ASSERT_OK(Delete("notes", id));
  documents.erase(id);
  const auto& [kept_id, kept_text] = *documents.rbegin();
  const auto before = Search("notes", kept_text);
  ASSERT_OK(before);
  EXPECT_EQ(before->stats().segments(), 1);
  const fs::path segments = CollectionDirectory("notes") / "segments";
  Kill();

  WriteText(segments / "segment-99.pith", "half a segment");
  Start({"--seal-passages", "1024"});
  EXPECT_FALSE(fs::exists(segments / "segment-99.pith"));
  sealed = StatusOfCollection("notes");
  EXPECT_EQ(sealed.segments(), 1);
  EXPECT_EQ(sealed.sealed_passages(), 1100);
  EXPECT_EQ(sealed.dead_passages(), 1);
  EXPECT_EQ(sealed.pending_passages(), 0);
  const auto after = Search("notes", kept_text);
  ASSERT_OK(after);
  ASSERT_EQ(after->hits_size(), before->hits_size());
  for (int i = 0; i < before->hits_size(); ++i) {
    EXPECT_EQ(after->hits(i).document_id(), before->hits(i).document_id());
    EXPECT_NE(after->hits(i).document_id(), id);
  }
  EXPECT_THAT(Get("notes", id), HasReason("DOCUMENT_NOT_FOUND"));
  EXPECT_EQ(Compact("notes")["segment_passages"], 1099);
  EXPECT_EQ(StatusOfCollection("notes").dead_passages(), 0);
  ExpectSearchable("notes", documents);
}

TEST_F(DaemonTest, ASnapshotIsRestoredUnderAnotherNameAndElsewhere) {
  Start({"--seal-passages", "1024"});
  ASSERT_OK(CreateCollection("notes"));
  Documents documents = MakeDocuments(1100);
  Ingest("notes", documents);
  ASSERT_OK(WaitUntilSearchable("notes"));
  Compact("notes");
  fs::create_directory(docs_);
  WriteText(docs_ / "watched.txt", "a watched folder");
  ASSERT_EQ(Pith({"-c", "notes", "watch", docs_.string()}).exit_code, 0);
  documents[(docs_ / "watched.txt").string()] = "a watched folder";

  const ProcessResult made = Pith({"-c", "notes", "snapshot", "snapshot"});
  EXPECT_EQ(made.exit_code, 0) << made.err;
  EXPECT_THAT(made.out, HasSubstr("notes: snapshot " +
                                  (folder_ / "snapshot").string() + ", "));
  EXPECT_FALSE(fs::exists(folder_ / "snapshot.pith-unfinished"));
  ASSERT_OK(DeleteCollection("notes"));

  const ProcessResult verified = Pith({"verify", "--snapshot", "snapshot"});
  EXPECT_EQ(verified.exit_code, 0) << verified.err;
  EXPECT_THAT(verified.out, HasSubstr("no problem found in 1,101 documents, "
                                      "1,101 passages, 1 segment of 1,100"));
  const ProcessResult restored = Pith({"restore", "snapshot", "again"});
  EXPECT_EQ(restored.exit_code, 0) << restored.err;
  EXPECT_THAT(restored.out, HasSubstr("again: restored "));
  ExpectSearchable("again", documents);
  EXPECT_EQ(Pith({"-c", "third", "restore", "snapshot"}).exit_code, 0);
  ExpectSearchable("third", documents);
  EXPECT_EQ(Pith({"restore", "snapshot"}).exit_code, 0);
  ExpectSearchable("notes", documents);
  EXPECT_EQ(Pith({"sources", "-c", "nothing"}).exit_code, 2);
  EXPECT_EQ(ParseJson(Pith({"sources", "--json"}).out)["sources"].size(), 0u);
  Kill();

  // Elsewhere, as it lies there.
  fs::rename(folder_ / "snapshot", folder_ / "moved");
  fs::remove_all(data_);
  Start();
  EXPECT_EQ(Pith({"restore", "moved"}).exit_code, 0);
  ExpectSearchable("notes", documents);
}

TEST_F(DaemonTest, SnapshotsThatCannotBeMadeOrRestoredSayWhy) {
  Start();
  ASSERT_OK(CreateCollection("notes"));
  Ingest("notes", {{"a", "moon"}});
  ASSERT_OK(WaitUntilSearchable("notes"));
  const auto expect = [this](const std::vector<std::string>& arguments,
                             const std::string& message) {
    const ProcessResult result = Pith(arguments);
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.err, HasSubstr(message));
  };
  fs::create_directory(folder_ / "taken");
  expect({"-c", "notes", "snapshot", "taken"}, "taken: it exists already");
  expect({"-c", "notes", "snapshot", "no/such"}, "no is no directory");
  expect({"-c", "nothing", "snapshot", "new"}, "\"nothing\" does not exist");
  expect({"-c", "notes", "snapshot", (data_ / "collections" / "x").string()},
         "is for collections alone");
  expect({"restore", "taken"}, "is no finished snapshot: it has no SHA256SUMS");
  ASSERT_EQ(Pith({"-c", "notes", "snapshot", "new"}).exit_code, 0);
  expect({"restore", "new"}, "\"notes\" exists already");
  expect({"restore", "new", "../x"}, "name");
  fs::path damaged;
  for (const auto& entry : fs::directory_iterator(folder_ / "new")) {
    if (entry.path().extension() == ".sst") {
      damaged = entry.path();
    }
  }
  // A copy: the collection's is the same file.
  const std::string bytes = ReadFile(damaged).value();
  fs::remove(damaged);
  WriteText(damaged, "x" + bytes.substr(1));
  expect({"restore", "new", "other"}, "the SHA-256 of its bytes is");
  expect({"verify", "--snapshot", "new"}, "the SHA-256 of its bytes is");
  EXPECT_THAT(Status().collections(), SizeIs(1));
  ExpectSearchable("notes", {{"a", "moon"}});
}

TEST_F(DaemonTest, ADamagedSegmentIsFoundAndMendedFromTexts) {
  Start({"--seal-passages", "1024"});
  ASSERT_OK(CreateCollection("notes"));
  const Documents documents = MakeDocuments(1100);
  Ingest("notes", documents);
  ASSERT_OK(WaitUntilSearchable("notes"));
  Compact("notes");
  ASSERT_OK(CreateCollection("other"));
  Ingest("other", {{"a", "moon"}});
  ProcessResult verified = Pith({"verify", "notes"});
  EXPECT_EQ(verified.exit_code, 0) << verified.err;
  EXPECT_THAT(verified.out, HasSubstr("notes: no problem found in 1,100 "));
  // Nothing is left of the copy that was looked at.
  EXPECT_EQ(std::distance(fs::directory_iterator(data_ / "collections"),
                          fs::directory_iterator()),
            2);
  EXPECT_THAT(Pith({"repair", "notes"}).out, HasSubstr("no problem found"));

  fs::path segment;
  for (const auto& entry :
       fs::directory_iterator(CollectionDirectory("notes") / "segments")) {
    if (absl::StartsWith(entry.path().filename().string(), "segment-")) {
      segment = entry.path();
    }
  }
  Kill();
  fs::resize_file(segment, fs::file_size(segment) - 100);
  Start({"--seal-passages", "1024"});
  const ProcessResult search = Pith({"-c", "notes", "search", "moon"});
  EXPECT_EQ(search.exit_code, 2);
  EXPECT_THAT(search.err, AllOf(HasSubstr(segment.filename().string()),
                                HasSubstr("pith repair notes")));
  verified = Pith({"verify", "notes"});
  EXPECT_EQ(verified.exit_code, 2);
  EXPECT_THAT(verified.out,
              HasSubstr(" of 1100 passages: read " + segment.string()));
  EXPECT_THAT(verified.err, HasSubstr("1 problem, 0 beyond repair"));
  EXPECT_THAT(verified.err,
              HasSubstr("1,100 passages would be embedded again"));

  const ProcessResult repaired = Pith({"repair", "notes"});
  EXPECT_EQ(repaired.exit_code, 0) << repaired.err;
  EXPECT_THAT(repaired.out, HasSubstr("1 problem mended, 1,100 passages to be "
                                      "embedded again"));
  ExpectSearchable("notes", documents);
  EXPECT_THAT(Pith({"verify", "notes", "--json"}).out,
              HasSubstr("\"problem_count\": 0"));
  ExpectSearchable("other", {{"a", "moon"}});
}

TEST_F(DaemonTest, StoredVectorsAreReadAfterItsDeathAndNotEmbeddedAgain) {
  Start();
  ASSERT_EQ(Pith({"collection", "create", "notes", "--chunking", "none",
                  "--vectors", "f16"})
                .exit_code,
            0);
  const Documents documents = MakeDocuments(30);
  Ingest("notes", documents);
  ASSERT_OK(WaitUntilSearchable("notes"));
  Kill();
  Start();
  EXPECT_EQ(StatusOfCollection("notes").vector_source(),
            v1::VECTOR_SOURCE_STORED_F16);
  const auto found = Search("notes", documents.begin()->second);
  ASSERT_OK(found);
  EXPECT_EQ(found->hits(0).document_id(), documents.begin()->first);
  EXPECT_EQ(found->stats().passages_recomputed(), 0);
  EXPECT_EQ(found->stats().vectors_read(), found->stats().passages_reranked());
  // The query alone.
  EXPECT_EQ(Worker().texts_embedded(), 1);
  EXPECT_THAT(Pith({"search", "moon", "-c", "notes"}).out,
              HasSubstr("0 of 30 passages recomputed"));
  EXPECT_THAT(Pith({"status"}).out,
              AllOf(HasSubstr("f16"), HasSubstr("hits in")));
}

TEST_F(DaemonTest, PassagesAreSealedByThemselvesAndInTheMidstOfDeath) {
  const Documents documents = MakeDocuments(1500);
  // However busy the machine is.
  const std::vector<std::string> flags = {"--seal-passages", "1024",
                                          "--compaction-max-load", "100",
                                          "--compaction-on-battery"};
  Start(flags);
  ASSERT_OK(CreateCollection("notes"));
  Ingest("notes", documents);
  // While it trains, as likely as not.
  ASSERT_TRUE(Eventually([&] {
    const v1::Collection status = StatusOfCollection("notes");
    return status.delta_passages() >= 1024 || status.segments() > 0;
  }));
  Kill();
  Start(flags);
  EXPECT_OK(WaitUntilSearchable("notes"));
  EXPECT_TRUE(Eventually([&] {
    const v1::Collection status = StatusOfCollection("notes");
    return status.segments() > 0 && status.delta_passages() < 1024;
  }));
  const v1::Collection status = StatusOfCollection("notes");
  EXPECT_EQ(status.sealed_passages() + status.delta_passages(), 1500);
  EXPECT_FALSE(status.has_sealing_error());
  ExpectSearchable("notes", documents);
}

TEST_F(DaemonTest, CompactingSaysWhyItDoesNothing) {
  Start();
  ASSERT_OK(CreateCollection("notes"));
  Ingest("notes", MakeDocuments(20));
  ASSERT_OK(WaitUntilSearchable("notes"));
  const ProcessResult few = Pith({"compact", "notes"});
  EXPECT_EQ(few.exit_code, 0) << few.err;
  EXPECT_THAT(few.out,
              HasSubstr("notes: nothing to do: 20 passages unsealed, as a "
                        "codebook for them is trained from 10,000 on"));
  const ProcessResult unknown = Pith({"compact", "unknown"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("\"unknown\" does not exist"));
}

TEST_F(DaemonTest, DocumentsGoOutAndInAsLinesOfJson) {
  Start();
  ASSERT_OK(CreateCollection("notes"));
  ASSERT_OK(CreateCollection("copy"));
  const std::string lines =
      R"({"id":"a","title":"First","text":"river \"moon\"\nhorse",)"
      R"("metadata":{"f":2.5,"i":-3,"s":"x","t":true,"w":2.0}})"
      "\n"
      R"({"id":"b/\u00fc.md","title":"","text":"mountain","metadata":{}})"
      "\n";
  WriteText(folder_ / "in.jsonl", "\n" + lines);
  const ProcessResult in = Pith({"-c", "notes", "import", "in.jsonl"});
  EXPECT_EQ(in.exit_code, 0) << in.err;
  EXPECT_EQ(in.out, "notes: 2 added, 0 updated, 0 unchanged\n");
  EXPECT_EQ(Search("notes", "mountain")->hits(0).document_id(), "b/ü.md");

  const ProcessResult out = Pith({"-c", "notes", "export"});
  EXPECT_EQ(out.exit_code, 0) << out.err;
  EXPECT_EQ(ParseJson(out.out.substr(0, out.out.find('\n'))),
            ParseJson(lines.substr(0, lines.find('\n'))));
  WriteText(folder_ / "out.jsonl", out.out);
  EXPECT_EQ(Pith({"-c", "copy", "import", "out.jsonl"}).exit_code, 0);
  const ProcessResult copy = Pith({"-c", "copy", "export"});
  // The order within metadata is not kept.
  EXPECT_EQ(copy.out.size(), out.out.size());
  EXPECT_EQ(ParseJson(copy.out.substr(0, copy.out.find('\n'))),
            ParseJson(lines.substr(0, lines.find('\n'))));
  const auto again =
      ParseJson(Pith({"-c", "copy", "import", "out.jsonl", "--json"}).out);
  EXPECT_EQ(again["unchanged"], 2);
}

TEST_F(DaemonTest, AnImportSaysWhatItDoesNotTake) {
  Start();
  ASSERT_OK(CreateCollection("notes"));
  const auto import = [&](const std::string& lines) {
    WriteText(folder_ / "in.jsonl", lines);
    return Pith({"-c", "notes", "import", "in.jsonl"});
  };
  const std::string good = R"({"id":"a","text":"river"})";
  for (const auto& [line, why] :
       std::vector<std::pair<std::string, std::string>>{
           {"river", "no JSON object"},
           {R"({"text":"river"})", "no \"id\""},
           {R"({"id":"b","text":7})", "\"text\" is not"},
           {R"({"id":"b","text":"x","metadata":{"k":[1]}})", "\"k\" is no"},
           {R"({"id":"b","metadata":{"k":9223372036854775808}})", "over"}}) {
    SCOPED_TRACE(line);
    ProcessResult result = import(good + "\n" + line + "\n");
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.err,
                AllOf(HasSubstr("in.jsonl, line 2: "), HasSubstr(why)));
    EXPECT_OK(Get("notes", "a")) << "what came before it is stored";
    EXPECT_OK(Delete("notes", "a"));
  }
  const ProcessResult refused = import(R"({"id":"e","text":" "})"
                                       "\n" +
                                       good + "\n");
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("pith: e: INVALID_ARGUMENT"),
                                 HasSubstr("1 document refused")));
  EXPECT_OK(Get("notes", "a"));
  EXPECT_THAT(Pith({"import", "nowhere"}).err, HasSubstr("open nowhere"));
  EXPECT_THAT(Pith({"-c", "none", "import", "in.jsonl"}).err,
              HasSubstr("\"none\""));
  EXPECT_THAT(Pith({"-c", "none", "export"}).err, HasSubstr("\"none\""));
}

TEST_F(DaemonTest, ASearchOutlivesItsWorker) {
  std::optional<Gates> gates(2);
  Start({"--vector-cache-mb", "0"});
  ASSERT_OK(CreateCollection("notes"));
  Ingest("notes", {{"a", "quick brown fox"}});
  gates->Await(0);
  ASSERT_OK(WaitUntilSearchable("notes"));

  auto search = SearchLater("notes", "brown fox");
  {
    const UniqueFd held = gates->Await(1);
    // The next worker finds no gate.
    gates.reset();
    PCHECK(::kill(static_cast<pid_t>(Worker().pid()), SIGKILL) == 0);
  }
  EXPECT_THAT(search.get(),
              AnyOf(IsOk(), StatusIs(StatusCode::kUnavailable, "worker")));
  EXPECT_EQ(Status().pid(), daemon_->pid());
  const auto found = Search("notes", "brown fox");
  ASSERT_OK(found);
  EXPECT_EQ(found->hits(0).document_id(), "a");
  EXPECT_EQ(found->stats().passages_recomputed(), 1);
  EXPECT_EQ(Worker().lost(), 1);
  EXPECT_THAT(Worker().last_error(), HasSubstr("is lost"));
}

TEST_F(DaemonTest, AQueryThatKillsEveryWorkerFailsAlone) {
  const auto tokenizer = ParseJson(ReadFile(kModel / "tokenizer.json").value());
  const ScopedVariable crash("PITH_FAKE_CRASH_TOKEN",
                             tokenizer["model"]["vocab"]["dog"].dump());
  Start();
  ASSERT_OK(CreateCollection("notes"));
  Ingest("notes", {{"a", "quick brown fox"}});
  ASSERT_OK(WaitUntilSearchable("notes"));
  EXPECT_THAT(Search("notes", "lazy dog"),
              StatusIs(StatusCode::kUnavailable, "is lost"));
  EXPECT_OK(Search("notes", "brown fox"));
  EXPECT_EQ(Worker().lost(), 2);
}

TEST_F(DaemonTest, SigtermEndsItCleanly) {
  const Documents documents = MakeDocuments(300);
  {
    const Gates gates(1);
    Start();
    ASSERT_OK(CreateCollection("notes"));
    Ingest("notes", documents);
    // While the model is at work.
    const UniqueFd held = gates.Await(0);
    const WatchedProcess worker(Worker().pid());
    const absl::Time begin = absl::Now();
    EXPECT_EQ(Stop(), 0);
    EXPECT_LT(absl::Now() - begin, kQuickStart);
    EXPECT_TRUE(worker.EndsSoon());
  }
  EXPECT_FALSE(fs::exists(paths_.socket));
  EXPECT_EQ(FileLock::Owner(paths_.lock).value(), std::nullopt);
  Start();
  ExpectSearchable("notes", documents);
  EXPECT_EQ(Stop(), 0);
}

TEST_F(DaemonTest, ASecondOneNamesTheFirst) {
  Start();
  const std::string pid = absl::StrCat(daemon_->pid());
  ProcessResult second = SpawnDaemon({}, "second").Wait();
  EXPECT_EQ(second.exit_code, kExitAlreadyRunning);
  EXPECT_THAT(second.err, HasSubstr(pid));
  second =
      SpawnDaemon({"--socket", (folder_ / "other").string()}, "second").Wait();
  EXPECT_EQ(second.exit_code, kExitAlreadyRunning);
  EXPECT_THAT(second.err, HasSubstr(pid));
  // Another data directory, the same socket.
  second = Process(PITH_DAEMON,
                   {"--data-dir", (folder_ / "data2").string(), "--socket",
                    paths_.socket.string()},
                   Options("second"))
               .Wait();
  EXPECT_EQ(second.exit_code, kExitAlreadyRunning);
  EXPECT_THAT(second.err, HasSubstr(pid));
  EXPECT_EQ(Status().pid(), daemon_->pid());
}

TEST_F(DaemonTest, WhatAKilledOneLeftIsNoObstacle) {
  Start();
  Kill();
  EXPECT_TRUE(fs::exists(paths_.socket));
  EXPECT_TRUE(fs::exists(paths_.lock));
  Start();
  EXPECT_EQ(Status().pid(), daemon_->pid());
  EXPECT_EQ(Stop(), 0);
  // A file that is no socket may be somebody's.
  WriteText(paths_.socket, "mine");
  const ProcessResult refused = SpawnDaemon().Wait();
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.err, HasSubstr("no socket"));
  EXPECT_EQ(ReadFile(paths_.socket).value(), "mine");
}

TEST_F(DaemonTest, OnlyItsOwnerReachesItsFiles) {
  ::umask(0);
  Start();
  ::umask(022);
  EXPECT_EQ(ModeOf(paths_.socket), 0600u);
  EXPECT_EQ(ModeOf(paths_.socket.parent_path()), 0700u);
  EXPECT_EQ(ModeOf(data_), 0700u);
  EXPECT_EQ(ModeOf(data_ / "collections"), 0700u);
}

TEST_F(DaemonTest, AnotherUserIsRefused) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can become another user";
  }
  Start();
  for (const fs::path& path :
       {folder_, data_, paths_.socket.parent_path(), paths_.socket}) {
    fs::permissions(path, fs::perms::all);
  }
  const sockaddr_un address = AddressOf(paths_.socket);
  // What a client that says nothing reads first: 'd' the server's settings, 'e'
  // the end, 'c' the connection failed.
  const auto first_read_as = [&](uid_t user) {
    std::array<int, 2> pipe;
    PCHECK(::pipe2(pipe.data(), O_CLOEXEC) == 0);
    const pid_t child = ::fork();
    PCHECK(child >= 0);
    if (child == 0) {
      char outcome = 'c';
      const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
      if (::setuid(user) == 0 &&
          ::connect(fd, reinterpret_cast<const sockaddr*>(&address),
                    sizeof(address)) == 0) {
        char byte = 0;
        outcome = ::read(fd, &byte, 1) > 0 ? 'd' : 'e';
      }
      ::_exit(::write(pipe[1], &outcome, 1) == 1 ? 0 : 1);
    }
    ::close(pipe[1]);
    const UniqueFd reader(pipe[0]);
    char outcome = '?';
    EXPECT_EQ(::read(reader.get(), &outcome, 1), 1);
    ::waitpid(child, nullptr, 0);
    return outcome;
  };
  EXPECT_EQ(first_read_as(0), 'd');
  EXPECT_EQ(first_read_as(65534), 'e');
  fs::permissions(paths_.socket, fs::perms(0600));
  EXPECT_EQ(first_read_as(65534), 'c');
  EXPECT_OK(Search("none", "x").status().code() == StatusCode::kNotFound
                ? absl::OkStatus()
                : absl::InternalError("the daemon does not answer"));
}

TEST_F(DaemonTest, WrongRequestsAreRefusedWithTheirReason) {
  Start();
  ASSERT_OK(CreateCollection("notes"));
  const Documents documents = MakeDocuments(5);
  Ingest("notes", documents);
  ASSERT_OK(WaitUntilSearchable("notes"));

  for (const int k : {-1, 0, 1001}) {
    v1::SearchRequest request = SearchFor("notes", "fox");
    request.set_k(k);
    EXPECT_THAT(Search(request),
                AllOf(StatusIs(StatusCode::kInvalidArgument,
                               absl::StrCat("k of ", k, " is not between 1")),
                      HasReason("K_OUT_OF_RANGE")));
  }
  for (const int rerank : {0, 9, 2001}) {
    v1::SearchRequest request = SearchFor("notes", "fox");
    request.set_rerank_count(rerank);
    EXPECT_THAT(Search(request), HasReason("RERANK_COUNT_OUT_OF_RANGE"));
  }
  EXPECT_THAT(Search("notes", ""),
              StatusIs(StatusCode::kInvalidArgument, "empty"));
  v1::SearchRequest no_query;
  no_query.set_collection("notes");
  EXPECT_THAT(Search(no_query), HasReason("NO_QUERY"));
  std::string words;
  for (int i = 0; i < 100'000; ++i) {
    words += "water ";
  }
  EXPECT_THAT(Search("notes", words),
              StatusIs(StatusCode::kInvalidArgument,
                       "query has 100002 tokens, model "));
  EXPECT_THAT(Search("unknown", "fox"),
              AllOf(StatusIs(StatusCode::kNotFound, "\"unknown\""),
                    HasReason("COLLECTION_NOT_FOUND")));
  EXPECT_THAT(Get("notes", "unknown"),
              AllOf(StatusIs(StatusCode::kNotFound, "\"unknown\""),
                    HasReason("DOCUMENT_NOT_FOUND")));
  EXPECT_THAT(CreateCollection("notes"), HasReason("COLLECTION_EXISTS"));
  EXPECT_THAT(CreateCollection("../notes"),
              StatusIs(StatusCode::kInvalidArgument, "../notes"));
  EXPECT_THAT(CreateCollection("more", "no-such-model"),
              StatusIs(StatusCode::kNotFound, "no-such-model"));

  v1::AddSourceRequest source;
  source.set_collection("notes");
  source.set_path("docs");
  EXPECT_THAT(Call(&v1::SourcesService::Stub::AddSource, source),
              StatusIs(StatusCode::kInvalidArgument, "not absolute"));
  source.set_path((folder_ / "missing").string());
  EXPECT_THAT(Call(&v1::SourcesService::Stub::AddSource, source),
              StatusIs(StatusCode::kNotFound, "missing"));

  const auto failed = Ingest("notes", {{"", "text"}, {"nul", {'a', '\0'}}});
  for (const auto& [id, response] : failed) {
    EXPECT_EQ(response.outcome(), v1::IngestResponse::OUTCOME_FAILED) << id;
    EXPECT_EQ(response.error().code(),
              static_cast<int>(StatusCode::kInvalidArgument));
  }

  EXPECT_EQ(Pith({"add", (folder_ / "missing").string()}).exit_code, 2);
  EXPECT_EQ(Pith({"search", "", "-c", "notes"}).exit_code, 2);
  EXPECT_EQ(Pith({"search", "x", "-k", "0", "-c", "notes"}).exit_code, 2);
  for (const char* recall : {"2", "0", "nan"}) {
    const ProcessResult result =
        Pith({"search", "x", "--recall", recall, "-c", "notes"});
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.err, HasSubstr("recall_target of "));
  }
  EXPECT_THAT(Status().collections(), SizeIs(1));
  ExpectSearchable("notes", documents);
}

TEST_F(DaemonTest, WhatMayNotBeReadIsNamedAndItsDocumentsAreKept) {
  WriteText(docs_ / "open.txt", "quick brown fox\n");
  WriteText(docs_ / "secret.txt", "deep blue water\n");
  WriteText(docs_ / "closed" / "note.txt", "cold rain\n");
  if (!WithoutPowerOverFiles([this] { Start(); })) {
    GTEST_SKIP() << "root could not give up its power over files";
  }
  EXPECT_EQ(Add(docs_)["added"], 3);
  fs::permissions(docs_ / "secret.txt", fs::perms::none);
  fs::permissions(docs_ / "closed", fs::perms::none);
  const nlohmann::json added = Add(docs_);
  EXPECT_EQ(added["unchanged"], 1);
  EXPECT_EQ(added["removed"], 0);
  EXPECT_EQ(added["skipped_by_reason"]["unreadable"], 2);
  EXPECT_THAT(added["skipped"].dump(),
              AllOf(HasSubstr("secret.txt"), HasSubstr("docs/closed"),
                    HasSubstr("Permission denied")));
  ExpectSearchable("default",
                   {{(docs_ / "open.txt").string(), "quick brown fox\n"},
                    {(docs_ / "secret.txt").string(), "deep blue water\n"},
                    {(docs_ / "closed" / "note.txt").string(), "cold rain\n"}});

  const ProcessResult refused = Pith({"add", (docs_ / "closed").string()});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, HasSubstr("Permission denied"));
  fs::permissions(docs_ / "closed", fs::perms::owner_all);
}

TEST_F(DaemonTest, AModelThatDoesNotLoadLosesNothing) {
  WriteText(docs_ / "fox.md", "quick brown fox");
  {
    const ScopedVariable broken("PITH_FAKE_LOAD_ERROR",
                                "model.safetensors is cut");
    Start();
    const ProcessResult result = Pith({"add", docs_.string()});
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.err, AllOf(HasSubstr("documents are stored"),
                                  HasSubstr("model.safetensors is cut")));
    EXPECT_THAT(Search("default", "fox"),
                StatusIs(StatusCode::kDataLoss, "model.safetensors is cut"));
    EXPECT_EQ(StatusOfCollection("default").pending_passages(), 1);
    EXPECT_EQ(StatusOfCollection("default").embedding_error().code(),
              static_cast<int>(StatusCode::kDataLoss));
    EXPECT_EQ(Stop(), 0);
  }
  Start();
  ExpectSearchable("default",
                   {{(docs_ / "fox.md").string(), "quick brown fox"}});
}

TEST_F(DaemonTest, AWorkerThatIsNotInstalledIsNamed) {
  worker_ = "/nonexistent/worker";
  Start();
  ASSERT_OK(CreateCollection("notes"));
  EXPECT_THAT(Search("notes", "fox"),
              StatusIs(StatusCode::kUnavailable, "/nonexistent/worker"));
}

TEST_F(DaemonTest, ACorruptModelMakesNoCollection) {
  Start();
  for (const char* file : {"config.json", "tokenizer.json"}) {
    const fs::path model = CopyOfModel(absl::StrCat("without-", file));
    fs::resize_file(model / file, fs::file_size(model / file) / 2);
    EXPECT_THAT(CreateCollection("notes", model.string()),
                StatusIs(StatusCode::kInvalidArgument, file));
  }
  const fs::path model = CopyOfModel("without-weights");
  fs::remove(model / "model.safetensors");
  EXPECT_THAT(CreateCollection("notes", model.string()),
              StatusIs(StatusCode::kNotFound, "model.safetensors"));
  EXPECT_TRUE(fs::is_empty(data_ / "collections"));
  EXPECT_OK(CreateCollection("notes"));
}

TEST_F(DaemonTest, AnotherModelThanTheCollectionsIsRefused) {
  default_model_ = CopyOfModel("mine");
  Start();
  const std::string fingerprint =
      CreateCollection("notes")->model_fingerprint();
  const Documents documents = MakeDocuments(5);
  Ingest("notes", documents);
  ASSERT_OK(WaitUntilSearchable("notes"));
  EXPECT_EQ(Stop(), 0);

  const fs::path weights = default_model_ / "model.safetensors";
  FlipByte(weights);
  Start();
  v1::GetModelInfoRequest request;
  const auto other = Call(&v1::AdminService::Stub::GetModelInfo, request);
  ASSERT_OK(other);
  const auto refused = Search("notes", "fox");
  EXPECT_THAT(refused,
              AllOf(StatusIs(StatusCode::kFailedPrecondition,
                             fingerprint.substr(0, 12)),
                    StatusIs(StatusCode::kFailedPrecondition,
                             other->model().fingerprint().substr(0, 12)),
                    HasReason("MODEL_MISMATCH")));
  EXPECT_THAT(Pith({"status"}).out, HasSubstr("notes cannot be served"));
  EXPECT_EQ(Stop(), 0);

  FlipByte(weights);
  Start();
  ExpectSearchable("notes", documents);
}

TEST_F(DaemonTest, ADamagedDatabaseIsDataLossAndTheOthersAreServed) {
  Start();
  ASSERT_OK(CreateCollection("damaged"));
  ASSERT_OK(CreateCollection("whole"));
  const Documents documents = MakeDocuments(800, 20);
  const Documents others = MakeDocuments(5);
  Ingest("damaged", documents);
  Ingest("whole", others);
  ASSERT_OK(WaitUntilSearchable("damaged"));
  const fs::path database = CollectionDirectory("damaged");
  // It is settled once its documents are all embedded.
  ASSERT_TRUE(
      Eventually([&] { return !LargestFile(database, "", ".sst").empty(); }));
  EXPECT_EQ(Stop(), 0);
  const fs::path copy = folder_ / "copy";
  fs::copy(database, copy, fs::copy_options::recursive);

  // The codes, which are all read at the start.
  const fs::path table = LargestFile(database, "", ".sst");
  const fs::path manifest = LargestFile(database, "MANIFEST-", "");
  ASSERT_FALSE(manifest.empty());
  FlipByte(table);
  Start();
  EXPECT_THAT(Get("damaged", documents.begin()->first),
              StatusIs(StatusCode::kDataLoss, "damaged"));
  EXPECT_THAT(Search("damaged", "moon"),
              StatusIs(StatusCode::kDataLoss, "damaged"));
  ExpectSearchable("whole", others);
  EXPECT_EQ(Stop(), 0);

  for (const fs::path& file : {manifest, database / "CURRENT"}) {
    fs::remove_all(database);
    fs::copy(copy, database, fs::copy_options::recursive);
    const std::string content = ReadFile(file).value();
    fs::resize_file(file, content.size() / 2);
    Start();
    EXPECT_THAT(Search("damaged", "moon"), StatusIs(StatusCode::kDataLoss, ""));
    const v1::Collection status = StatusOfCollection("damaged");
    EXPECT_EQ(status.error().code(), static_cast<int>(StatusCode::kDataLoss));
    EXPECT_THAT(Pith({"status"}).out, HasSubstr("damaged cannot be served"));
    ExpectSearchable("whole", others);
    // Repaired while the daemon runs.
    std::ofstream(file, std::ios::binary) << content;
    // It is tried again once a second.
    const absl::Time give_up = absl::Now() + absl::Seconds(10);
    while (!Search("damaged", "moon").ok() && absl::Now() < give_up) {
    }
    EXPECT_OK(Search("damaged", "moon"));
    ExpectSearchable("damaged", documents);
    EXPECT_EQ(Stop(), 0);
  }
}

TEST_F(DaemonTest, BadFlagsAreNamed) {
  const auto refused = [this](const std::vector<std::string>& arguments,
                              const std::string& named) {
    const ProcessResult result = SpawnDaemon(arguments).Wait();
    EXPECT_NE(result.exit_code, 0);
    EXPECT_NE(result.exit_code, kExitAlreadyRunning);
    EXPECT_THAT(result.err, HasSubstr(named));
  };
  refused({"--nonsense"}, "--nonsense");
  refused({"word"}, "word");
  refused({"--threads", "0"}, "--threads");
  refused({"--threads", "many"}, "--threads");
  refused({"--precision", "f64"}, "--precision");
  refused({"--request-threads", "0"}, "--request-threads");
  refused({"--vector-cache-mb", "-1"}, "--vector-cache-mb");
  refused({"--seal-passages", "0"}, "--seal-passages");
  refused({"--compaction-cpu-share", "0"}, "--compaction-cpu-share");
  refused({"--compaction-cpu-share", "101"}, "--compaction-cpu-share");
  refused({"--compaction-max-load", "0"}, "--compaction-max-load");
  refused({"--socket", "/" + std::string(200, 'x')}, "socket");
  EXPECT_FALSE(fs::exists(data_));
}

TEST_F(DaemonTest, HealthAndReflectionAnswer) {
  Start();
  // HealthCheckResponse: field 1 is SERVING.
  EXPECT_THAT(CallBytes("/grpc.health.v1.Health/Check", ""),
              AllOf(IsOk(), testing::ResultOf([](auto r) { return *r; },
                                              std::string("\x08\x01"))));
  // ServerReflectionRequest: field 7, list_services.
  const auto services = CallBytes(
      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
      std::string("\x3a\x00", 2));
  ASSERT_OK(services);
  for (const char* service :
       {"pith.v1.SearchService", "pith.v1.DocumentsService",
        "pith.v1.CollectionsService", "pith.v1.OperationsService",
        "pith.v1.SourcesService", "pith.v1.AdminService",
        "grpc.health.v1.Health"}) {
    EXPECT_THAT(*services, HasSubstr(service));
  }
}

TEST_F(DaemonTest, TheSocketOfTheServiceManagerIsUsed) {
  CHECK(CreatePrivateDirectories(paths_.socket.parent_path()).ok());
  const sockaddr_un address = AddressOf(paths_.socket);
  const UniqueFd listening(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  PCHECK(::bind(listening.get(), reinterpret_cast<const sockaddr*>(&address),
                sizeof(address)) == 0);
  PCHECK(::listen(listening.get(), 16) == 0);
  ProcessOptions options = Options("daemon");
  options.descriptor = listening.get();
  std::vector<std::string> arguments = {
      "-c", "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"", PITH_DAEMON};
  const std::vector<std::string> own = DaemonArguments();
  arguments.insert(arguments.end(), own.begin(), own.end());
  daemon_.emplace("/bin/sh", arguments, options);
  Connect();
  EXPECT_EQ(Status().pid(), daemon_->pid());
  EXPECT_EQ(Stop(), 0);
  // It is the manager's to remove.
  EXPECT_TRUE(fs::exists(paths_.socket));
}

TEST_F(DaemonTest, StatusCountsExactly) {
  const Gates gates(1);
  Start();
  ASSERT_OK(CreateCollection("notes"));
  const Documents documents = MakeDocuments(7);
  int64_t bytes = 0;
  for (const auto& [id, text] : documents) {
    bytes += static_cast<int64_t>(text.size());
  }
  Ingest("notes", documents);
  {
    const UniqueFd held = gates.Await(0);
    const v1::Collection pending = StatusOfCollection("notes");
    EXPECT_EQ(pending.documents(), 7);
    EXPECT_EQ(pending.passages(), 7);
    EXPECT_EQ(pending.pending_passages(), 7);
    EXPECT_EQ(pending.text_bytes(), bytes);
  }
  ASSERT_OK(WaitUntilSearchable("notes"));
  ASSERT_OK(Delete("notes", documents.begin()->first));
  bytes -= static_cast<int64_t>(documents.begin()->second.size());

  const v1::GetStatusResponse status = Status();
  EXPECT_EQ(status.pid(), daemon_->pid());
  EXPECT_EQ(status.data_directory(), data_.string());
  EXPECT_EQ(status.socket(), paths_.socket.string());
  EXPECT_FALSE(status.version().empty());
  EXPECT_GT(status.resident_bytes(), 1 << 20);
  EXPECT_THAT(status.operations(), IsEmpty());
  ASSERT_EQ(status.collections_size(), 1);
  const v1::Collection& notes = status.collections(0);
  EXPECT_EQ(notes.documents(), 6);
  EXPECT_EQ(notes.passages(), 6);
  EXPECT_EQ(notes.pending_passages(), 0);
  EXPECT_EQ(notes.failed_passages(), 0);
  EXPECT_EQ(notes.text_bytes(), bytes);
  // A name that finds it in the next run, too.
  EXPECT_EQ(notes.model(), fs::canonical(kModel).string());
  EXPECT_EQ(notes.dimension(), 48);
  EXPECT_EQ(notes.chunking(), v1::CHUNKING_NONE);
  EXPECT_EQ(notes.disk_bytes(),
            static_cast<int64_t>(
                DirectoryBytes(CollectionDirectory("notes")).value()));
  ASSERT_EQ(status.workers_size(), 1);
  EXPECT_EQ(status.workers(0).state(), v1::Worker::STATE_READY);
  EXPECT_EQ(status.workers(0).texts_embedded(), 7);
  EXPECT_EQ(status.workers(0).lost(), 0);

  ASSERT_OK(Search("notes", "moon"));
  const int64_t texts = Worker().texts_embedded();
  EXPECT_GE(texts, 8);
  Kill();
  Start();
  EXPECT_EQ(StatusOfCollection("notes").documents(), 6);
  EXPECT_EQ(StatusOfCollection("notes").text_bytes(), bytes);
}

TEST_F(DaemonTest, ADeletedCollectionLeavesNothing) {
  const Gates gates(1);
  Start();
  ASSERT_OK(CreateCollection("notes"));
  ASSERT_OK(CreateCollection("others"));
  Ingest("notes", MakeDocuments(50));
  {
    // While its documents are embedded.
    const UniqueFd held = gates.Await(0);
    EXPECT_OK(DeleteCollection("notes"));
    EXPECT_THAT(Search("notes", "fox"), HasReason("COLLECTION_NOT_FOUND"));
  }
  EXPECT_TRUE(Eventually([&] { return CollectionDirectory("notes").empty(); }));
  EXPECT_THAT(DeleteCollection("notes"), HasReason("COLLECTION_NOT_FOUND"));
  EXPECT_FALSE(CollectionDirectory("others").empty());
  ASSERT_OK(CreateCollection("notes"));
  EXPECT_EQ(StatusOfCollection("notes").documents(), 0);
  Kill();
  Start();
  EXPECT_EQ(Status().collections_size(), 2);
}

TEST_F(DaemonTest, ASearchThatNobodyWaitsForFreesItsThread) {
  const Gates gates(1);
  Start({"--request-threads", "1"});
  ASSERT_OK(CreateCollection("notes"));
  v1::SearchService::Stub stub(channel_);
  const v1::SearchRequest request = SearchFor("notes", "fox");

  grpc::ClientContext cancelled;
  auto search = std::async(std::launch::async, [&] {
    v1::SearchResponse response;
    return cli::FromGrpc(stub.Search(&cancelled, request, &response));
  });
  std::optional<UniqueFd> held = gates.Await(0);
  cancelled.TryCancel();
  EXPECT_THAT(search.get(), StatusIs(StatusCode::kCancelled, ""));
  EXPECT_EQ(StatusOfCollection("notes").documents(), 0);

  EXPECT_THAT(
      cli::Call<v1::SearchResponse>(stub, &v1::SearchService::Stub::Search,
                                    request, absl::Milliseconds(100)),
      StatusIs(StatusCode::kDeadlineExceeded, ""));
  EXPECT_EQ(StatusOfCollection("notes").documents(), 0);

  held.reset();
  EXPECT_OK(Search(request));
}

TEST_F(DaemonTest, SearchesBeyondTheQueueAreTurnedAway) {
  constexpr int kQueue = 256;
  constexpr int kBeyond = 20;
  const Gates gates(1);
  Start({"--request-threads", "1"});
  ASSERT_OK(CreateCollection("notes"));
  struct Search {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientAsyncResponseReader<v1::SearchResponse>> reader;
    v1::SearchResponse response;
    grpc::Status status;
  };
  v1::SearchService::Stub stub(channel_);
  grpc::CompletionQueue queue;
  std::vector<std::unique_ptr<Search>> searches;
  const auto send = [&] {
    searches.push_back(std::make_unique<Search>());
    Search& search = *searches.back();
    search.reader =
        stub.AsyncSearch(&search.context, SearchFor("notes", "fox"), &queue);
    search.reader->Finish(&search.response, &search.status, &search);
  };
  const auto next = [&] {
    void* tag = nullptr;
    bool ok = false;
    CHECK(queue.Next(&tag, &ok));
    return static_cast<Search*>(tag)->status;
  };
  send();
  {
    const UniqueFd held = gates.Await(0);
    for (int i = 0; i < kQueue + kBeyond; ++i) {
      send();
    }
    for (int i = 0; i < kBeyond; ++i) {
      const grpc::Status status = next();
      EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
      google::rpc::Status details;
      google::rpc::RetryInfo retry;
      ASSERT_TRUE(details.ParseFromString(status.error_details()));
      EXPECT_TRUE(std::any_of(
          details.details().begin(), details.details().end(),
          [&](const auto& detail) { return detail.UnpackTo(&retry); }));
      EXPECT_GT(retry.retry_delay().nanos(), 0);
    }
  }
  for (int i = 0; i < kQueue + 1; ++i) {
    EXPECT_TRUE(next().ok());
  }
}

}  // namespace
}  // namespace pith
