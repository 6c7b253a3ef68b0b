// Kills pithd again and again, at random moments and at chosen points, with and
// without what was not synced, and makes its files fail, while documents are
// added, changed, deleted, searched and sealed. After each start the collection
// is compared with what was acknowledged, and its answers with brute force.
//
// Exit code 0 if all agreed, 1 at the first mismatch, whose directory is kept.

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "glog/logging.h"
#include "nlohmann/json.hpp"

#include "clients/cli/daemon.h"
#include "clients/cli/rpc_status.h"
#include "core/base/paths.h"
#include "core/base/status_macros.h"
#include "core/base/vector_math.h"
#include "proto/pith/v1/collections.grpc.pb.h"
#include "proto/pith/v1/documents.grpc.pb.h"
#include "proto/pith/v1/operations.grpc.pb.h"
#include "proto/pith/v1/search.grpc.pb.h"
#include "tests/crash/faults.h"
#include "tests/process.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

constexpr char kCollection[] = "crash";
// Made of a snapshot.
constexpr char kRestored[] = "restored";
// Documents that there may be, fewer than a search can recompute. The first
// segment takes as many as a codebook is trained on.
constexpr size_t kDocuments = 1500;
constexpr size_t kFirstDocuments = 1200;
constexpr int kSealPassages = 150;
// Of brute force and search: vectors are rounded to f16 in between.
constexpr float kScoreTolerance = 4e-3f;

struct Options {
  int rounds = 50;
  uint64_t seed = 0;
  bool json = false;
  std::string daemon = PITH_DAEMON;
  std::string worker = PITH_FAKE_WORKER;
  std::string model = PITH_TEST_MODEL;
  std::string faults = PITH_CRASH_FAULTS;
};

struct Counts {
  int rounds = 0;
  int starts = 0;
  // Ended by SIGKILL, of those at a chosen operation, and with the loss of what
  // was not synced.
  int kills = 0;
  int kills_at_points = 0;
  int power_losses = 0;
  int64_t undone_entries = 0;
  int64_t cut_files = 0;
  // Operations on files that were made to fail.
  int64_t faults = 0;
  // After such, ended by an assertion of RocksDB's.
  int rocksdb_aborts = 0;
  int64_t acknowledged = 0;
  int64_t refused = 0;
  int64_t verified_documents = 0;
  int64_t searches = 0;
  int compactions = 0;
  // Checks of the whole collection, and of snapshots, with what was restored of
  // them.
  int verified = 0;
  // Segments that were cut short, and repairs that were done.
  int damages = 0;
  int repairs = 0;
  int snapshots = 0;
  std::map<std::string, int> points;
};

// What a document was at one time; without a text it was deleted.
struct Version {
  std::optional<std::string> text;
  // When it was acknowledged; 0: not, so that it may be or not.
  uint64_t acknowledged = 0;
};

// What the collection may hold: of each document, the last version that was
// acknowledged or one that was sent after it. Thread-safe.
class Model {
 public:
  // Returns the version's place, for Acknowledge.
  size_t Send(const std::string& id, std::optional<std::string> text) {
    const std::lock_guard lock(mutex_);
    std::vector<Version>& versions = VersionsOf(id);
    versions.push_back({.text = std::move(text)});
    return versions.size() - 1;
  }
  void Acknowledge(const std::string& id, size_t version) {
    const std::lock_guard lock(mutex_);
    VersionsOf(id)[version].acknowledged = ++clock_;
  }
  uint64_t Now() const {
    const std::lock_guard lock(mutex_);
    return clock_;
  }
  // Whether a search that began at `since` may have found `text` in `id`.
  bool MayBe(const std::string& id, const std::optional<std::string>& text,
             uint64_t since) const {
    const std::lock_guard lock(mutex_);
    const auto versions = documents_.find(id);
    if (versions == documents_.end()) {
      return !text;
    }
    for (size_t i = versions->second.size(); i-- > 0;) {
      const Version& version = versions->second[i];
      if (version.text == text) {
        return true;
      }
      if (version.acknowledged != 0 && version.acknowledged <= since) {
        return false;
      }
    }
    return !text;
  }
  // From here on, `id` is known to be this.
  void Settle(const std::string& id, std::optional<std::string> text) {
    const std::lock_guard lock(mutex_);
    documents_[id] = {{.text = std::move(text), .acknowledged = ++clock_}};
  }
  // Of more than one possible version.
  std::vector<std::string> InDoubt() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> ids;
    for (const auto& [id, versions] : documents_) {
      if (versions.size() > 1 || versions[0].acknowledged == 0) {
        ids.push_back(id);
      }
    }
    return ids;
  }
  // With the versions that were sent last.
  std::map<std::string, std::string> Documents() const {
    const std::lock_guard lock(mutex_);
    std::map<std::string, std::string> documents;
    for (const auto& [id, versions] : documents_) {
      if (versions.back().text) {
        documents[id] = *versions.back().text;
      }
    }
    return documents;
  }

 private:
  std::vector<Version>& VersionsOf(const std::string& id) {
    std::vector<Version>& versions = documents_[id];
    if (versions.empty()) {
      // That it is not there was always so.
      versions.push_back({.text = std::nullopt, .acknowledged = ++clock_});
    }
    return versions;
  }

  mutable std::mutex mutex_;
  uint64_t clock_ = 0;
  std::map<std::string, std::vector<Version>> documents_;
};

struct Plan {
  // As faults.cc takes it, without root and report.
  std::string faults;
  // The point's name, for the report.
  std::string name;
  // Whether operations on files fail, so that almost anything may.
  bool fails = false;
  bool seals = false;
  // How it ends if the faults do not end it.
  int signal = SIGKILL;
  absl::Duration work;
};

struct Point {
  const char* name;
  const char* kill;
  uint64_t most;
  bool seals;
};
constexpr std::array kPoints = {
    Point{"codebook written", "after,rename,codebook-", 1, true},
    Point{"segment written", "after,rename,segment-", 3, true},
    Point{"segment durable, before the manifest", "after,syncdir,segments", 4,
          true},
    Point{"after the manifest, before cleaning up", "before,remove,segment-", 3,
          true},
    Point{"while cleaning up", "after,remove,segment-", 3, true},
    Point{"log written, before its sync", "before,sync,.log", 30, false},
    Point{"log synced, before the acknowledgement", "after,sync,.log", 30,
          false},
    Point{"table created", "after,create,.sst", 3, true},
    Point{"store's manifest written", "after,write,MANIFEST", 4, false},
    Point{"any operation", "before,any,", 400, true},
};

class Harness {
 public:
  Harness(const Options& options, fs::path directory)
      : options_(options),
        directory_(std::move(directory)),
        random_(options.seed) {
    paths_ =
        ResolveStandardPaths({.home = directory_.string(),
                              .data_directory = (directory_ / "data").string(),
                              .socket = (directory_ / "pith.sock").string(),
                              .working_directory = directory_})
            .value();
  }

  absl::Status Run() {
    PITH_RETURN_IF_ERROR(Prepare());
    for (; counts_.rounds < options_.rounds; ++counts_.rounds) {
      PITH_RETURN_IF_ERROR(
          Annotate(Round(MakePlan()), absl::StrCat("round ", counts_.rounds)));
    }
    // Undisturbed.
    PITH_RETURN_IF_ERROR(Start({.name = "end"}));
    if (damaged_) {
      PITH_RETURN_IF_ERROR(Annotate(Mend(), "at the end"));
    }
    PITH_RETURN_IF_ERROR(Annotate(Verify(/*all=*/true), "at the end"));
    return Stop();
  }

  const Counts& counts() const { return counts_; }

 private:
  size_t Pick(size_t below) { return random_() % below; }

  std::string RandomText() {
    constexpr std::array kWords = {
        "river",  "mountain", "horse",  "school",   "window", "garden",
        "moon",   "music",    "engine", "winter",   "paper",  "kitchen",
        "bridge", "doctor",   "salt",   "language", "forest"};
    std::string text = absl::StrCat("note ", next_text_++);
    for (size_t words = 2 + Pick(6); words > 0; --words) {
      absl::StrAppend(&text, " ", kWords[Pick(kWords.size())]);
    }
    return text;
  }
  std::string RandomId() { return absl::StrCat("doc", Pick(kDocuments)); }

  Plan MakePlan() {
    Plan plan = {.work = absl::Milliseconds(20 + Pick(300))};
    plan.faults = absl::StrCat("seed=", random_() % 1'000'000'007);
    const bool power = Pick(2) == 0;
    if (power) {
      plan.faults += ";power=1";
    }
    switch (Pick(8)) {
      case 0:
        plan.name = "end by SIGTERM";
        plan.signal = SIGTERM;
        break;
      case 1:
      case 2:
        plan.name = "at a random moment";
        absl::StrAppend(&plan.faults,
                        ";kill_after_us=", 1000 + Pick(1'200'000));
        plan.seals = Pick(2) == 0;
        break;
      case 3: {
        constexpr std::array kOperations = {"write", "sync", "create", "rename",
                                            "syncdir"};
        constexpr std::array kParts = {".log", ".sst", "segment", "MANIFEST"};
        constexpr std::array kErrors = {ENOSPC, EIO, 0};
        const char* const operation = kOperations[Pick(kOperations.size())];
        plan.name = absl::StrCat("failing ", operation);
        plan.fails = true;
        plan.seals = Pick(2) == 0;
        absl::StrAppend(&plan.faults, ";fail=", operation, ",",
                        Pick(2) == 0 ? "" : kParts[Pick(kParts.size())], ",",
                        kErrors[Pick(kErrors.size())], ",", 1 + Pick(20), ",",
                        1 + Pick(20),
                        ";kill_after_us=", 400'000 + Pick(1'000'000));
        break;
      }
      default: {
        const Point& point = kPoints[Pick(kPoints.size())];
        plan.name = point.name;
        plan.seals = point.seals;
        absl::StrAppend(&plan.faults, ";kill=", point.kill, ",",
                        1 + Pick(point.most));
      }
    }
    return plan;
  }

  // Cuts a segment's file short, as a disk might.
  void DamageASegment() {
    fs::path segment;
    for (const auto& collection :
         fs::directory_iterator(paths_.data_directory / "collections")) {
      const std::string name = collection.path().filename();
      if (!name.starts_with(absl::StrCat(kCollection, ".")) ||
          name.ends_with(".new")) {
        continue;
      }
      for (const auto& entry :
           fs::directory_iterator(collection.path() / "segments")) {
        const std::string file = entry.path().filename();
        if (file.starts_with("segment-") && file.ends_with(".pith")) {
          segment = entry.path();
        }
      }
    }
    if (segment.empty()) {
      return;
    }
    // Not in place: a snapshot has the same file.
    const fs::path copy = directory_ / "damaged";
    fs::copy_file(segment, copy, fs::copy_options::overwrite_existing);
    fs::resize_file(copy, fs::file_size(copy) / 2);
    fs::rename(copy, segment);
    damaged_ = true;
    ++counts_.damages;
  }
  // That the damage is found, and mended.
  absl::Status Mend() {
    v1::VerifyCollectionRequest verify;
    verify.set_name(kCollection);
    if (const absl::Status checked = CheckWhole(verify);
        !absl::IsDataLoss(checked)) {
      // A repair before this one was done when the daemon died.
      damaged_ = !checked.ok();
      return checked;
    }
    v1::RepairCollectionRequest request;
    request.set_name(kCollection);
    PITH_ASSIGN_OR_RETURN(
        const auto response,
        Call(&v1::CollectionsService::Stub::RepairCollection, request));
    PITH_RETURN_IF_ERROR(WaitFor(response.operation()).status());
    damaged_ = false;
    ++counts_.repairs;
    return absl::OkStatus();
  }

  absl::Status Start(const Plan& plan) {
    ++counts_.starts;
    const fs::path report = directory_ / "report";
    fs::remove(report);
    ProcessOptions process = {.working_directory = directory_,
                              .output = directory_ / "daemon"};
    if (!plan.faults.empty()) {
      process.environment = {
          absl::StrCat("LD_PRELOAD=", options_.faults),
          absl::StrCat("PITH_FAULTS=root=",
                       (paths_.data_directory / "collections").string(),
                       ";report=", report.string(), ";", plan.faults)};
    }
    daemon_.emplace(
        options_.daemon,
        std::vector<std::string>{
            "--data-dir", paths_.data_directory.string(), "--socket",
            paths_.socket.string(), "--worker", options_.worker, "--workers",
            "1", "--default-model", options_.model, "--vector-cache-mb", "0",
            "--seal-passages", absl::StrCat(kSealPassages),
            "--compaction-cpu-share", "100", "--compaction-max-load", "100",
            "--compaction-on-battery"},
        process);
    const absl::Time limit = absl::Now() + absl::Seconds(60);
    while (absl::Now() < limit) {
      if (!daemon_->Runs()) {
        return absl::UnavailableError("the daemon ended");
      }
      auto channel = cli::Connect({.paths = paths_, .may_start = false});
      if (channel.ok()) {
        channel_ = *std::move(channel);
        return absl::OkStatus();
      }
      absl::SleepFor(absl::Milliseconds(5));
    }
    return absl::DeadlineExceededError("the daemon does not serve");
  }

  // Waits until it has ended by itself, which it must.
  absl::Status Stop() {
    channel_.reset();
    daemon_->Signal(SIGTERM);
    const ProcessResult result = daemon_->Wait();
    daemon_.reset();
    return result.exit_code == 0
               ? absl::OkStatus()
               : absl::InternalError(absl::StrCat(
                     "ended with code ", result.exit_code, ": ", result.err));
  }

  template <typename Response, typename Service, typename Request>
  absl::StatusOr<Response> Call(
      grpc::Status (Service::*method)(grpc::ClientContext*, const Request&,
                                      Response*),
      const Request& request) const {
    Service stub(channel_);
    return cli::Call<Response>(stub, method, request, absl::Seconds(60));
  }

  absl::Status Prepare() {
    PITH_RETURN_IF_ERROR(Start({.name = "begin"}));
    v1::CreateCollectionRequest request;
    request.set_name(kCollection);
    request.set_chunking(v1::CHUNKING_NONE);
    request.set_code_profile(v1::CODE_PROFILE_MINIMAL);
    request.set_vector_source(options_.seed % 2 == 0
                                  ? v1::VECTOR_SOURCE_RECOMPUTE
                                  : v1::VECTOR_SOURCE_STORED_F16);
    PITH_RETURN_IF_ERROR(
        Call(&v1::CollectionsService::Stub::CreateCollection, request)
            .status());
    std::vector<std::string> ids;
    for (size_t i = 0; i < kFirstDocuments; ++i) {
      ids.push_back(absl::StrCat("doc", i));
    }
    PutStream stream(*this);
    stream.Put(ids);
    PITH_RETURN_IF_ERROR(stream.Finish());
    PITH_RETURN_IF_ERROR(WaitUntilSearchable());
    PITH_RETURN_IF_ERROR(Compact());
    for (const absl::Time limit = absl::Now() + absl::Minutes(1);;) {
      PITH_ASSIGN_OR_RETURN(const v1::Collection collection, Describe());
      if (collection.segments() > 0) {
        break;
      }
      if (absl::Now() > limit) {
        return absl::DeadlineExceededError("nothing was sealed");
      }
      absl::SleepFor(absl::Milliseconds(10));
    }
    PITH_RETURN_IF_ERROR(Verify(/*all=*/true));
    return Stop();
  }

  // Adds or changes documents, acknowledged in the background.
  class PutStream {
   public:
    explicit PutStream(Harness& harness)
        : harness_(harness),
          stub_(harness.channel_),
          stream_(stub_.Ingest(&context_)),
          reader_([this] { Read(); }) {
      v1::IngestRequest request;
      request.mutable_start()->set_collection(kCollection);
      open_ = stream_->Write(request);
    }
    ~PutStream() {
      context_.TryCancel();
      if (reader_.joinable()) {
        reader_.join();
      }
    }
    PutStream(const PutStream&) = delete;
    PutStream& operator=(const PutStream&) = delete;

    // False if the stream is broken.
    bool Put(std::span<const std::string> ids) {
      for (const std::string& id : ids) {
        v1::IngestRequest request;
        request.mutable_document()->set_id(id);
        request.mutable_document()->set_text(harness_.RandomText());
        {
          const std::lock_guard lock(mutex_);
          sent_.push_back(
              {id, harness_.model_.Send(id, request.document().text())});
        }
        open_ = open_ && stream_->Write(request);
      }
      return open_;
    }
    // Until all that was sent is answered. False if the stream is broken.
    bool Drain() {
      while (true) {
        {
          const std::lock_guard lock(mutex_);
          if (answered_ == sent_.size()) {
            return open_;
          }
          if (ended_) {
            return false;
          }
        }
        absl::SleepFor(absl::Microseconds(200));
      }
    }
    absl::Status Finish() {
      stream_->WritesDone();
      reader_.join();
      return cli::FromGrpc(stream_->Finish());
    }

   private:
    void Read() {
      v1::IngestResponse response;
      while (stream_->Read(&response)) {
        const std::lock_guard lock(mutex_);
        const auto& [id, version] = sent_[answered_++];
        if (response.outcome() == v1::IngestResponse::OUTCOME_FAILED) {
          ++harness_.counts_.refused;
        } else {
          ++harness_.counts_.acknowledged;
          harness_.model_.Acknowledge(id, version);
        }
      }
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }

    Harness& harness_;
    v1::DocumentsService::Stub stub_;
    grpc::ClientContext context_;
    std::unique_ptr<
        grpc::ClientReaderWriter<v1::IngestRequest, v1::IngestResponse>>
        stream_;
    bool open_ = false;
    std::mutex mutex_;
    std::vector<std::pair<std::string, size_t>> sent_;
    size_t answered_ = 0;
    bool ended_ = false;
    std::thread reader_;
  };

  absl::Status WaitUntilSearchable() const {
    v1::WaitUntilSearchableRequest request;
    request.set_collection(kCollection);
    return Call(&v1::DocumentsService::Stub::WaitUntilSearchable, request)
        .status();
  }
  // The operation when it has ended. Fails if it did not end well.
  absl::StatusOr<v1::Operation> WaitFor(v1::Operation operation) const {
    v1::GetOperationRequest request;
    request.set_id(operation.id());
    while (operation.state() == v1::Operation::STATE_RUNNING) {
      absl::SleepFor(absl::Milliseconds(2));
      PITH_ASSIGN_OR_RETURN(
          const auto response,
          Call(&v1::OperationsService::Stub::GetOperation, request));
      operation = response.operation();
    }
    PITH_RETURN_IF_ERROR(cli::FromRpcStatus(operation.error()));
    return operation;
  }
  // kDataLoss if it has a problem.
  absl::Status CheckWhole(const v1::VerifyCollectionRequest& request) {
    PITH_ASSIGN_OR_RETURN(
        const auto response,
        Call(&v1::CollectionsService::Stub::VerifyCollection, request));
    PITH_ASSIGN_OR_RETURN(const v1::Operation verified,
                          WaitFor(response.operation()));
    ++counts_.verified;
    if (verified.verify().problem_count() == 0) {
      return absl::OkStatus();
    }
    return absl::DataLossError(
        absl::StrCat("verify: ", verified.verify().ShortDebugString()));
  }
  absl::Status CheckWhole(const std::string& collection) {
    v1::VerifyCollectionRequest request;
    request.set_name(collection);
    return CheckWhole(request);
  }

  // Only begins.
  absl::Status TakeSnapshot() {
    std::error_code ignored;
    fs::remove_all(snapshot_, ignored);
    const uint64_t since = model_.Now();
    v1::CreateSnapshotRequest request;
    request.set_name(kCollection);
    request.set_path(snapshot_.string());
    PITH_RETURN_IF_ERROR(
        Call(&v1::CollectionsService::Stub::CreateSnapshot, request).status());
    snapshot_since_ = since;
    return absl::OkStatus();
  }
  // Only begins.
  absl::Status RestoreSnapshot() {
    v1::RestoreSnapshotRequest request;
    request.set_name(kRestored);
    request.set_path(snapshot_.string());
    return Call(&v1::CollectionsService::Stub::RestoreSnapshot, request)
        .status();
  }
  // That what was being restored is a whole collection or none, and that a
  // snapshot, if it is there, has what was acknowledged by the time it was
  // asked for and nothing that was not sent.
  absl::Status CheckSnapshot() {
    v1::DeleteCollectionRequest erase;
    erase.set_name(kRestored);
    const auto erase_restored = [&] {
      return Call(&v1::CollectionsService::Stub::DeleteCollection, erase)
          .status();
    };
    const absl::Status restored = CheckWhole(kRestored);
    if (!absl::IsNotFound(restored)) {
      PITH_RETURN_IF_ERROR(restored);
      PITH_RETURN_IF_ERROR(erase_restored());
    }
    if (!fs::exists(snapshot_)) {
      return absl::OkStatus();
    }
    v1::VerifyCollectionRequest verify;
    verify.set_snapshot_path(snapshot_.string());
    PITH_RETURN_IF_ERROR(CheckWhole(verify));
    v1::RestoreSnapshotRequest request;
    request.set_name(kRestored);
    request.set_path(snapshot_.string());
    PITH_ASSIGN_OR_RETURN(
        const auto response,
        Call(&v1::CollectionsService::Stub::RestoreSnapshot, request));
    PITH_RETURN_IF_ERROR(WaitFor(response.operation()).status());
    PITH_ASSIGN_OR_RETURN(const std::vector<std::string> listed,
                          List(kRestored));
    const std::set<std::string> ids(listed.begin(), listed.end());
    for (size_t i = 0; i < kDocuments; ++i) {
      const std::string id = absl::StrCat("doc", i);
      std::optional<std::string> text;
      if (ids.contains(id)) {
        PITH_ASSIGN_OR_RETURN(text, Get(id, kRestored));
      }
      if (!model_.MayBe(id, text, snapshot_since_)) {
        return absl::DataLossError(absl::StrCat(
            "in a snapshot ", id, " is ", text ? "\"" + *text + "\"" : "gone",
            ", which it was not when that was taken"));
      }
    }
    ++counts_.snapshots;
    PITH_RETURN_IF_ERROR(erase_restored());
    fs::remove_all(snapshot_);
    return absl::OkStatus();
  }

  // Only begins.
  absl::Status Compact() {
    ++counts_.compactions;
    v1::CompactCollectionRequest request;
    request.set_name(kCollection);
    request.set_recompute(Pick(3) == 0);
    return Call(&v1::CollectionsService::Stub::CompactCollection, request)
        .status();
  }
  absl::StatusOr<v1::Collection> Describe() const {
    v1::GetCollectionRequest request;
    request.set_name(kCollection);
    PITH_ASSIGN_OR_RETURN(
        const auto response,
        Call(&v1::CollectionsService::Stub::GetCollection, request));
    return response.collection();
  }
  absl::StatusOr<v1::SearchResponse> Search(const std::string& text,
                                            int count) const {
    v1::SearchRequest request;
    request.set_collection(kCollection);
    request.set_text(text);
    request.set_k(count);
    request.set_rerank_count(2000);
    return Call(&v1::SearchService::Stub::Search, request);
  }

  absl::Status Round(const Plan& plan) {
    if (Pick(12) == 0) {
      DamageASegment();
    }
    absl::Status status = Start(plan);
    if (status.ok() && damaged_) {
      status = Mend();
    }
    if (status.ok()) {
      status = Verify(/*all=*/counts_.rounds % 10 == 0);
    }
    if (status.ok()) {
      status = Work(plan);
    }
    const bool runs = daemon_->Runs();
    channel_.reset();
    if (runs) {
      if (plan.signal == SIGKILL && !plan.faults.empty()) {
        // Its own time to die may be near; else it is now.
        absl::SleepFor(absl::Milliseconds(Pick(50)));
      }
      daemon_->Signal(plan.signal);
    }
    const ProcessResult ended = daemon_->Wait();
    daemon_.reset();
    PITH_RETURN_IF_ERROR(CountFaults(plan, runs));
    // Calls fail when the daemon dies or its files fail, else never.
    if (absl::IsDataLoss(status) ||
        (!status.ok() && runs && !plan.fails && !died_by_fault_)) {
      return absl::DataLossError(
          absl::StrCat(plan.name, ": ", status.ToString()));
    }
    if (ended.exit_code > 0 && !plan.fails) {
      return absl::DataLossError(absl::StrCat(
          plan.name, ": ended with code ", ended.exit_code, ": ", ended.err));
    }
    // Debian's RocksDB is built with its assertions, and some do not hold after
    // a write that failed.
    if (plan.fails && ended.exit_code < 0 &&
        ended.err.find("rocksdb::") != std::string::npos &&
        ended.err.find("Assertion") != std::string::npos) {
      ++counts_.rocksdb_aborts;
      return absl::OkStatus();
    }
    if (ended.err.find("Check failed") != std::string::npos ||
        (ended.exit_code < 0 && !died_by_kill_)) {
      return absl::DataLossError(
          absl::StrCat(plan.name, ": crashed: ", ended.err));
    }
    return absl::OkStatus();
  }

  absl::Status CountFaults(const Plan& plan, bool ran) {
    FaultReport report;
    std::ifstream file(directory_ / "report", std::ios::binary);
    file.read(reinterpret_cast<char*>(&report), sizeof(report));
    if (!file) {
      return absl::DataLossError("the faults were not loaded");
    }
    died_by_fault_ = report.kills > 0;
    died_by_kill_ = died_by_fault_ || (ran && plan.signal == SIGKILL);
    counts_.kills += died_by_kill_ ? 1 : 0;
    counts_.faults += static_cast<int64_t>(report.failures);
    counts_.kills_at_points += static_cast<int>(report.reached);
    counts_.power_losses += static_cast<int>(report.power_losses);
    counts_.undone_entries += static_cast<int64_t>(report.undone_entries);
    counts_.cut_files += static_cast<int64_t>(report.cut_files);
    if (report.reached > 0 || report.failures > 0) {
      ++counts_.points[plan.name];
    }
    return absl::OkStatus();
  }

  // What a user's programs do, until the daemon dies or it is enough. kDataLoss
  // if an answer was wrong.
  absl::Status Work(const Plan& plan) {
    const absl::Time end =
        absl::Now() + (plan.signal == SIGTERM ? plan.work : absl::Seconds(1));
    std::atomic<bool> over = false;
    absl::Status searched;
    std::vector<std::string> queries;
    for (int i = 0; i < 50; ++i) {
      queries.push_back(RandomText());
    }
    std::thread searcher([&] {
      for (size_t i = 0; !over; ++i) {
        const uint64_t since = model_.Now();
        const auto response = Search(queries[i % queries.size()], 20);
        if (!response.ok()) {
          // Not told from one that a failing file explains.
          continue;
        }
        ++counts_.searches;
        for (const v1::SearchHit& hit : response->hits()) {
          if (!model_.MayBe(hit.document_id(), hit.text(), since)) {
            searched = absl::DataLossError(
                absl::StrCat("a search found \"", hit.text(), "\" in ",
                             hit.document_id(), ", which it is not"));
            return;
          }
        }
      }
    });
    {
      PutStream stream(*this);
      bool alive = true;
      if (plan.seals) {
        alive = Compact().ok();
      }
      while (alive && absl::Now() < end) {
        if (Pick(6) > 0) {
          std::vector<std::string> ids(1 + Pick(60));
          for (std::string& id : ids) {
            id = RandomId();
          }
          alive = stream.Put(ids);
        } else {
          // After all that was sent before.
          alive = stream.Drain() && Delete();
        }
        if (plan.seals && Pick(10) == 0) {
          alive = alive && WaitUntilSearchable().ok();
          // That one runs already is no failure.
          (void)Compact();
        }
        if (Pick(20) == 0) {
          // One that is being made may be in the way, and so may files that
          // fail.
          (void)TakeSnapshot();
        }
        if (Pick(20) == 0) {
          (void)RestoreSnapshot();
        }
        if (Pick(20) == 0) {
          // Nobody waits for it.
          v1::VerifyCollectionRequest verify;
          verify.set_name(kCollection);
          (void)Call(&v1::CollectionsService::Stub::VerifyCollection, verify);
        }
        if (plan.signal == SIGKILL &&
            plan.faults.find("kill") == std::string::npos && Pick(10) == 0) {
          break;
        }
      }
    }
    over = true;
    searcher.join();
    return searched;
  }

  bool Delete() {
    v1::DeleteDocumentsRequest request;
    request.set_collection(kCollection);
    std::map<std::string, size_t> versions;
    for (size_t count = 1 + Pick(30); count > 0; --count) {
      const std::string id = RandomId();
      if (!versions.contains(id)) {
        request.add_ids(id);
        versions[id] = model_.Send(id, std::nullopt);
      }
    }
    const auto response =
        Call(&v1::DocumentsService::Stub::DeleteDocuments, request);
    if (!response.ok()) {
      ++counts_.refused;
      return !absl::IsUnavailable(response.status());
    }
    ++counts_.acknowledged;
    for (const auto& [id, version] : versions) {
      model_.Acknowledge(id, version);
    }
    return true;
  }

  // What the collection holds against what it may hold, its counts, and answers
  // against brute force. Any other error than kDataLoss: it could not be read,
  // since the daemon died.
  absl::Status Verify(bool all) {
    PITH_RETURN_IF_ERROR(CheckSnapshot());
    PITH_RETURN_IF_ERROR(CheckWhole(kCollection));
    PITH_ASSIGN_OR_RETURN(const std::vector<std::string> ids,
                          List(kCollection));
    std::map<std::string, bool> present;
    for (const std::string& id : ids) {
      present[id] = true;
    }
    for (const std::string& id : model_.InDoubt()) {
      std::optional<std::string> text;
      if (present.contains(id)) {
        PITH_ASSIGN_OR_RETURN(text, Get(id, kCollection));
      }
      PITH_RETURN_IF_ERROR(CheckDocument(id, text));
      model_.Settle(id, text);
    }
    std::map<std::string, std::string> documents = model_.Documents();
    for (const auto& [id, text] : documents) {
      if (!present.contains(id)) {
        return absl::DataLossError(absl::StrCat(id, " is gone"));
      }
      if (all || Pick(30) == 0) {
        PITH_ASSIGN_OR_RETURN(const std::optional<std::string> stored,
                              Get(id, kCollection));
        PITH_RETURN_IF_ERROR(CheckDocument(id, stored));
      }
    }
    if (ids.size() != documents.size()) {
      return absl::DataLossError(absl::StrCat(ids.size(),
                                              " documents are there, ",
                                              documents.size(), " should be"));
    }
    PITH_RETURN_IF_ERROR(WaitUntilSearchable());
    PITH_RETURN_IF_ERROR(CheckCounts(documents.size()));
    for (int i = all ? 20 : 3; i > 0; --i) {
      PITH_RETURN_IF_ERROR(CheckSearch(RandomText(), documents));
    }
    return absl::OkStatus();
  }

  absl::Status CheckDocument(const std::string& id,
                             const std::optional<std::string>& text) {
    ++counts_.verified_documents;
    if (model_.MayBe(id, text, model_.Now())) {
      return absl::OkStatus();
    }
    return absl::DataLossError(
        absl::StrCat(id, " is ", text ? "\"" + *text + "\"" : "gone",
                     ", which was not acknowledged last"));
  }

  absl::Status CheckCounts(size_t documents) const {
    PITH_ASSIGN_OR_RETURN(const v1::Collection collection, Describe());
    const auto expected = static_cast<int64_t>(documents);
    const int64_t indexed = collection.sealed_passages() -
                            collection.dead_passages() +
                            collection.delta_passages();
    if (collection.has_error() || collection.documents() != expected ||
        collection.passages() != expected || indexed != expected ||
        collection.pending_passages() != 0 ||
        collection.failed_passages() != 0) {
      return absl::DataLossError(absl::StrCat(
          "status does not agree with ", expected,
          " documents of one passage: ", collection.ShortDebugString()));
    }
    return absl::OkStatus();
  }

  absl::Status CheckSearch(
      const std::string& query,
      const std::map<std::string, std::string>& documents) {
    constexpr int kCount = 10;
    std::vector<std::string> texts = {query};
    for (const auto& [id, text] : documents) {
      texts.push_back(text);
    }
    PITH_RETURN_IF_ERROR(Embed(texts));
    const std::vector<float> vector = vectors_.at(query);
    std::vector<float> scores;
    for (const auto& [id, text] : documents) {
      scores.push_back(Dot(vector, vectors_.at(text)));
    }
    vectors_.erase(query);
    const size_t count = std::min<size_t>(kCount, scores.size());
    std::partial_sort(scores.begin(),
                      scores.begin() + static_cast<ptrdiff_t>(count),
                      scores.end(), std::greater<>());
    PITH_ASSIGN_OR_RETURN(const auto response, Search(query, kCount));
    ++counts_.searches;
    if (static_cast<size_t>(response.hits_size()) != count) {
      return absl::DataLossError(absl::StrCat(
          "a search finds ", response.hits_size(), " hits, not ", count));
    }
    for (int i = 0; i < response.hits_size(); ++i) {
      const v1::SearchHit& hit = response.hits(i);
      const auto document = documents.find(hit.document_id());
      if (document == documents.end() || document->second != hit.text() ||
          std::abs(hit.score() - scores[static_cast<size_t>(i)]) >
              kScoreTolerance) {
        return absl::DataLossError(absl::StrFormat(
            "hit %d for \"%s\" is \"%s\" of %s with %f, brute force has %f", i,
            query, hit.text(), hit.document_id(), hit.score(),
            scores[static_cast<size_t>(i)]));
      }
    }
    return absl::OkStatus();
  }

  // Puts the vectors of `texts` into vectors_.
  absl::Status Embed(const std::vector<std::string>& texts) {
    std::vector<std::string> missing;
    for (const std::string& text : texts) {
      if (!vectors_.contains(text)) {
        missing.push_back(text);
      }
    }
    constexpr size_t kAtOnce = 256;
    for (size_t begin = 0; begin < missing.size(); begin += kAtOnce) {
      v1::EmbedTextsRequest request;
      request.set_collection(kCollection);
      request.set_role(v1::EmbedTextsRequest::ROLE_PASSAGE);
      const size_t end = std::min(missing.size(), begin + kAtOnce);
      for (size_t i = begin; i < end; ++i) {
        request.add_texts(missing[i]);
      }
      PITH_ASSIGN_OR_RETURN(
          const auto response,
          Call(&v1::SearchService::Stub::EmbedTexts, request));
      const auto dimension = static_cast<size_t>(response.dimension());
      for (size_t i = begin; i < end; ++i) {
        std::vector<float>& vector = vectors_[missing[i]];
        vector.resize(dimension);
        std::memcpy(
            vector.data(),
            response.vectors().data() + (i - begin) * dimension * sizeof(float),
            dimension * sizeof(float));
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::string>> List(
      const std::string& collection) const {
    std::vector<std::string> ids;
    v1::ListDocumentsRequest request;
    request.set_collection(collection);
    request.set_page_size(1000);
    do {
      PITH_ASSIGN_OR_RETURN(
          const auto response,
          Call(&v1::DocumentsService::Stub::ListDocuments, request));
      for (const auto& entry : response.documents()) {
        ids.push_back(entry.id());
      }
      request.set_page_token(response.next_page_token());
    } while (!request.page_token().empty());
    return ids;
  }
  absl::StatusOr<std::optional<std::string>> Get(
      const std::string& id, const std::string& collection) const {
    v1::GetDocumentRequest request;
    request.set_collection(collection);
    request.set_id(id);
    PITH_ASSIGN_OR_RETURN(
        const auto response,
        Call(&v1::DocumentsService::Stub::GetDocument, request));
    return std::optional(response.document().text());
  }

  const Options options_;
  const fs::path directory_;
  StandardPaths paths_;
  std::mt19937_64 random_;
  uint64_t next_text_ = 0;
  Model model_;
  Counts counts_;
  // Of documents' texts.
  std::map<std::string, std::vector<float>> vectors_;
  std::optional<Process> daemon_;
  std::shared_ptr<grpc::Channel> channel_;
  // In the last round: by the faults' kill, or by any.
  bool died_by_fault_ = false;
  bool died_by_kill_ = false;
  // The time of model_ at which the last one was asked for.
  const fs::path snapshot_ = directory_ / "snapshot";
  uint64_t snapshot_since_ = 0;
  // A segment is, as far as known.
  bool damaged_ = false;
};

nlohmann::ordered_json ToJson(const Options& options, const Counts& counts,
                              const absl::Status& status, absl::Duration time) {
  return {{"benchmark", "crash_harness"},
          {"seed", options.seed},
          {"rounds", counts.rounds},
          {"starts", counts.starts},
          {"kills", counts.kills},
          {"kills_at_points", counts.kills_at_points},
          {"power_losses", counts.power_losses},
          {"undone_directory_entries", counts.undone_entries},
          {"cut_files", counts.cut_files},
          {"faults", counts.faults},
          {"rocksdb_aborts", counts.rocksdb_aborts},
          {"acknowledged", counts.acknowledged},
          {"refused", counts.refused},
          {"compactions", counts.compactions},
          {"verified_collections", counts.verified},
          {"restored_snapshots", counts.snapshots},
          {"damaged_segments", counts.damages},
          {"repairs", counts.repairs},
          {"verified_documents", counts.verified_documents},
          {"searches", counts.searches},
          {"points", counts.points},
          {"seconds", absl::ToDoubleSeconds(time)},
          {"mismatches", status.ok() ? 0 : 1}};
}

int Main(const Options& options) {
  std::string pattern =
      (fs::temp_directory_path() / "pith-crash-XXXXXX").string();
  PCHECK(::mkdtemp(pattern.data()) != nullptr) << pattern;
  const absl::Time start = absl::Now();
  Harness harness(options, pattern);
  absl::Status status = harness.Run();
  const Counts& counts = harness.counts();
  // Or it would have tried nothing. Half of the rounds are to be killed at a
  // point, a third to lose what was not synced, one in fifteen has a fault.
  constexpr int kRoundsForKills = 60;
  constexpr int kRoundsForFaults = 300;
  if (status.ok() &&
      ((options.rounds >= kRoundsForKills &&
        (counts.kills_at_points == 0 || counts.power_losses == 0 ||
         counts.snapshots == 0 || counts.cut_files == 0 ||
         counts.undone_entries == 0)) ||
       (options.rounds >= kRoundsForFaults && counts.faults == 0))) {
    status = absl::InternalError(
        "a kind of kill or fault never came, see the counts");
  }
  const nlohmann::ordered_json report =
      ToJson(options, counts, status, absl::Now() - start);
  std::cout << report.dump(options.json ? -1 : 2) << "\n";
  if (!status.ok()) {
    std::cerr << "mismatch, seed " << options.seed << ": " << status
              << "\nthe data is kept in " << pattern << "\n";
    return 1;
  }
  fs::remove_all(pattern);
  return 0;
}

}  // namespace
}  // namespace pith

int main(int argc, char** argv) {
  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = true;
  pith::Options options;
  options.seed = static_cast<uint64_t>(absl::ToUnixMicros(absl::Now()));
  CLI::App app("Kills pithd at random and compares what is left.");
  app.add_option("--rounds", options.rounds, "Starts of the daemon")
      ->check(CLI::PositiveNumber);
  app.add_option("--seed", options.seed, "Of all that is random");
  app.add_flag("--json", options.json, "Print one line of JSON");
  app.add_option("--pithd", options.daemon, "The daemon's executable");
  CLI11_PARSE(app, argc, argv);
  return pith::Main(options);
}
