// The real server in this process, over its real socket and through real
// stubs, with a fake model.

#include "server/server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"

#include "core/storage/rocksdb_store.h"
#include "proto/pith/v1/admin.grpc.pb.h"
#include "proto/pith/v1/collections.grpc.pb.h"
#include "proto/pith/v1/documents.grpc.pb.h"
#include "proto/pith/v1/operations.grpc.pb.h"
#include "proto/pith/v1/search.grpc.pb.h"
#include "proto/pith/v1/sources.grpc.pb.h"
#include "tests/fakes/fake_machine.h"
#include "tests/fakes/fake_models.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

// google.rpc details of an error.
template <typename Detail>
std::optional<Detail> DetailOf(const grpc::Status& status) {
  google::rpc::Status rich;
  rich.ParseFromString(status.error_details());
  for (const auto& any : rich.details()) {
    Detail detail;
    if (any.UnpackTo(&detail)) {
      return detail;
    }
  }
  return std::nullopt;
}

std::string ReasonOf(const grpc::Status& status) {
  const auto info = DetailOf<google::rpc::ErrorInfo>(status);
  return info ? info->reason() : "";
}

class ServerTest : public testing::Test {
 protected:
  ServerTest() {
    config_.data_directory = temp_.path() / "data";
    config_.socket = temp_.path() / "run" / "pith.sock";
    config_.drain_timeout = absl::Seconds(5);
    Start();
  }
  ~ServerTest() override {
    models_.embedder().Release();
    server_.reset();
  }

  absl::StatusOr<std::unique_ptr<Server>> StartServer() {
    const auto wrap = [](absl::StatusOr<std::unique_ptr<RocksDbStore>> store)
        -> absl::StatusOr<StoreBackend::OpenStore> {
      if (!store.ok()) {
        return store.status();
      }
      std::string configuration = (*store)->configuration();
      return StoreBackend::OpenStore{.configuration = std::move(configuration),
                                     .store = *std::move(store)};
    };
    const StoreBackend stores = {
        .create =
            [this, wrap](const fs::path& directory,
                         std::string_view configuration) {
              return wrap(
                  RocksDbStore::Create(directory, configuration, shared_));
            },
        .open =
            [this, wrap](const fs::path& directory) {
              return wrap(RocksDbStore::Open(directory, shared_));
            }};
    return Server::Start(config_, stores, models_);
  }

  void Start() {
    server_.reset();
    absl::StatusOr<std::unique_ptr<Server>> server = StartServer();
    ASSERT_OK(server);
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel("unix:" + config_.socket.string(),
                                   grpc::InsecureChannelCredentials());
    search_ = v1::SearchService::NewStub(channel_);
    documents_ = v1::DocumentsService::NewStub(channel_);
    collections_ = v1::CollectionsService::NewStub(channel_);
    sources_ = v1::SourcesService::NewStub(channel_);
    operations_ = v1::OperationsService::NewStub(channel_);
    admin_ = v1::AdminService::NewStub(channel_);
  }

  static void SetDeadline(grpc::ClientContext& context) {
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::seconds(30));
  }

  grpc::Status Create(const std::string& name,
                      v1::Chunking chunking = v1::CHUNKING_NONE,
                      v1::CodeProfile profile = v1::CODE_PROFILE_UNSPECIFIED) {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::CreateCollectionRequest request;
    request.set_name(name);
    request.set_chunking(chunking);
    request.set_code_profile(profile);
    v1::CreateCollectionResponse response;
    return collections_->CreateCollection(&context, request, &response);
  }

  v1::Collection Get(const std::string& name) {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::GetCollectionRequest request;
    request.set_name(name);
    v1::GetCollectionResponse response;
    const grpc::Status status =
        collections_->GetCollection(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.collection();
  }

  grpc::Status Delete(const std::string& name) {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::DeleteCollectionRequest request;
    request.set_name(name);
    v1::DeleteCollectionResponse response;
    return collections_->DeleteCollection(&context, request, &response);
  }

  grpc::Status StartCompact(const std::string& name,
                            v1::Operation* operation = nullptr) {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::CompactCollectionRequest request;
    request.set_name(name);
    v1::CompactCollectionResponse response;
    const grpc::Status status =
        collections_->CompactCollection(&context, request, &response);
    if (operation != nullptr) {
      *operation = response.operation();
    }
    return status;
  }
  v1::CompactProgress Compact(const std::string& name) {
    v1::Operation operation;
    const grpc::Status status = StartCompact(name, &operation);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_TRUE(operation.has_compact());
    operation = WatchToEnd(operation.id());
    EXPECT_EQ(operation.state(), v1::Operation::STATE_SUCCEEDED)
        << operation.error().message();
    EXPECT_EQ(operation.compact().phase(), v1::CompactProgress::PHASE_DONE);
    return operation.compact();
  }

  grpc::Status Remove(const std::string& collection, const std::string& id) {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::DeleteDocumentsRequest request;
    request.set_collection(collection);
    request.add_ids(id);
    v1::DeleteDocumentsResponse response;
    return documents_->DeleteDocuments(&context, request, &response);
  }

  // Sends texts with ids "0", "1", ... and returns the answers.
  std::vector<v1::IngestResponse> Ingest(const std::string& collection,
                                         const std::vector<std::string>& texts,
                                         grpc::Status* status = nullptr) {
    grpc::ClientContext context;
    SetDeadline(context);
    auto stream = documents_->Ingest(&context);
    v1::IngestRequest request;
    request.mutable_start()->set_collection(collection);
    stream->Write(request);
    std::thread writer([&] {
      for (size_t i = 0; i < texts.size(); ++i) {
        v1::IngestRequest document;
        document.mutable_document()->set_id(absl::StrCat(i));
        document.mutable_document()->set_text(texts[i]);
        if (!stream->Write(document)) {
          break;
        }
      }
      stream->WritesDone();
    });
    std::vector<v1::IngestResponse> answers;
    v1::IngestResponse answer;
    while (stream->Read(&answer)) {
      answers.push_back(answer);
    }
    writer.join();
    const grpc::Status end = stream->Finish();
    if (status != nullptr) {
      *status = end;
    } else {
      EXPECT_TRUE(end.ok()) << end.error_message();
    }
    return answers;
  }

  void Wait(const std::string& collection) {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::WaitUntilSearchableRequest request;
    request.set_collection(collection);
    v1::WaitUntilSearchableResponse response;
    const grpc::Status status =
        documents_->WaitUntilSearchable(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }

  grpc::Status Search(const v1::SearchRequest& request,
                      v1::SearchResponse* response) {
    grpc::ClientContext context;
    SetDeadline(context);
    return search_->Search(&context, request, response);
  }
  static v1::SearchRequest Query(const std::string& collection,
                                 const std::string& text) {
    v1::SearchRequest request;
    request.set_collection(collection);
    request.set_text(text);
    return request;
  }
  std::vector<std::string> Find(const std::string& collection,
                                const std::string& text) {
    v1::SearchResponse response;
    const grpc::Status status = Search(Query(collection, text), &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    std::vector<std::string> ids;
    for (const auto& hit : response.hits()) {
      ids.push_back(hit.document_id());
    }
    return ids;
  }

  // Runs AddSource and watches it to its end.
  v1::Operation AddSource(const std::string& collection, const fs::path& path,
                          grpc::Status* failure = nullptr) {
    v1::AddSourceResponse response;
    {
      grpc::ClientContext context;
      SetDeadline(context);
      v1::AddSourceRequest request;
      request.set_collection(collection);
      request.set_path(path.string());
      const grpc::Status status =
          sources_->AddSource(&context, request, &response);
      if (failure != nullptr) {
        *failure = status;
        return {};
      }
      EXPECT_TRUE(status.ok()) << status.error_message();
    }
    return WatchToEnd(response.operation().id());
  }

  v1::Operation WatchToEnd(const std::string& id) {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::WatchOperationRequest request;
    request.set_id(id);
    auto stream = operations_->WatchOperation(&context, request);
    v1::WatchOperationResponse response;
    v1::Operation last;
    while (stream->Read(&response)) {
      last = response.operation();
    }
    const grpc::Status status = stream->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_NE(last.state(), v1::Operation::STATE_RUNNING);
    return last;
  }

  TempDirectory temp_;
  RocksDbShared shared_{{}};
  FakeModels models_;
  ServerConfig config_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::SearchService::Stub> search_;
  std::unique_ptr<v1::DocumentsService::Stub> documents_;
  std::unique_ptr<v1::CollectionsService::Stub> collections_;
  std::unique_ptr<v1::SourcesService::Stub> sources_;
  std::unique_ptr<v1::OperationsService::Stub> operations_;
  std::unique_ptr<v1::AdminService::Stub> admin_;
};

void WriteFile(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

// Passages that are enough to train a codebook on.
constexpr int kSealed = 1030;

// Texts of four of two hundred words; no two are alike.
std::vector<std::string> MakeTexts(int count) {
  std::vector<std::string> texts;
  for (int i = 0; i < count; ++i) {
    texts.push_back(absl::StrCat("w", i % 200, " w", (i / 200 + 7 * i) % 200,
                                 " w", (i * i + 3) % 200, " t", i));
  }
  return texts;
}

TEST_F(ServerTest, IngestsInOrderAndFinds) {
  ASSERT_TRUE(Create("c").ok());
  std::vector<std::string> texts;
  for (int i = 0; i < 300; ++i) {
    texts.push_back(absl::StrCat("word", i, " common"));
  }
  const std::vector<v1::IngestResponse> answers = Ingest("c", texts);
  ASSERT_THAT(answers, SizeIs(300));
  for (size_t i = 0; i < answers.size(); ++i) {
    EXPECT_EQ(answers[i].id(), absl::StrCat(i));
    EXPECT_EQ(answers[i].outcome(), v1::IngestResponse::OUTCOME_ADDED);
    EXPECT_EQ(answers[i].passages_to_embed(), 1);
  }
  Wait("c");
  v1::SearchRequest request = Query("c", "word123 common");
  request.set_k(3);
  request.set_rerank_count(30);
  v1::SearchResponse response;
  ASSERT_TRUE(Search(request, &response).ok());
  ASSERT_EQ(response.hits_size(), 3);
  EXPECT_EQ(response.hits(0).document_id(), "123");
  EXPECT_EQ(response.hits(0).text(), "word123 common");
  EXPECT_EQ(response.hits(0).first_line(), 1);
  EXPECT_EQ(response.stats().candidates_scored(), 300);
  EXPECT_EQ(response.stats().passages_recomputed(), 30);
  EXPECT_EQ(response.stats().pending_passages(), 0);
}

TEST_F(ServerTest, ABadDocumentFailsAloneAndInItsPlace) {
  ASSERT_TRUE(Create("c").ok());
  const std::vector<v1::IngestResponse> answers =
      Ingest("c", {"one", " ", "three", std::string("n\0l", 3)});
  ASSERT_THAT(answers, SizeIs(4));
  EXPECT_EQ(answers[0].outcome(), v1::IngestResponse::OUTCOME_ADDED);
  EXPECT_EQ(answers[1].outcome(), v1::IngestResponse::OUTCOME_FAILED);
  EXPECT_THAT(answers[1].error().message(), HasSubstr("text is empty"));
  EXPECT_EQ(answers[2].outcome(), v1::IngestResponse::OUTCOME_ADDED);
  EXPECT_EQ(answers[3].outcome(), v1::IngestResponse::OUTCOME_FAILED);
  Wait("c");
  EXPECT_THAT(Find("c", "three"), ElementsAre("2", "0"));
}

TEST_F(ServerTest, AnIngestStreamWithoutStartOrCollectionIsRefused) {
  grpc::Status status;
  Ingest("none", {"x"}, &status);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ReasonOf(status), "COLLECTION_NOT_FOUND");

  grpc::ClientContext context;
  SetDeadline(context);
  auto stream = documents_->Ingest(&context);
  v1::IngestRequest request;
  request.mutable_document()->set_id("a");
  stream->Write(request);
  v1::IngestResponse answer;
  EXPECT_FALSE(stream->Read(&answer));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ServerTest, AnIngestStreamThatIsCancelledLosesNothingAcknowledged) {
  ASSERT_TRUE(Create("c").ok());
  grpc::ClientContext context;
  SetDeadline(context);
  auto stream = documents_->Ingest(&context);
  v1::IngestRequest request;
  request.mutable_start()->set_collection("c");
  stream->Write(request);
  request.mutable_document()->set_id("kept");
  request.mutable_document()->set_text("kept text");
  stream->Write(request);
  v1::IngestResponse answer;
  ASSERT_TRUE(stream->Read(&answer));
  context.TryCancel();
  stream->Finish();
  Start();
  Wait("c");
  EXPECT_THAT(Find("c", "kept"), ElementsAre("kept"));
}

TEST_F(ServerTest, EverythingIsThereAfterARestart) {
  ASSERT_TRUE(Create("c").ok());
  Ingest("c", {"red green", "blue black"});
  Wait("c");
  const size_t embedded = models_.embedder().ingested();
  Start();
  EXPECT_THAT(Find("c", "blue"), ElementsAre("1", "0"));
  EXPECT_EQ(models_.embedder().ingested(), embedded);
}

TEST_F(ServerTest, RefusesSearchesThatAreOutOfRange) {
  ASSERT_TRUE(Create("c").ok());
  v1::SearchResponse response;
  v1::SearchRequest request = Query("c", "x");
  request.set_k(0);
  EXPECT_EQ(ReasonOf(Search(request, &response)), "K_OUT_OF_RANGE");
  request.set_k(-5);
  EXPECT_EQ(ReasonOf(Search(request, &response)), "K_OUT_OF_RANGE");
  request.set_k(1001);
  EXPECT_EQ(ReasonOf(Search(request, &response)), "K_OUT_OF_RANGE");
  request.set_k(10);
  request.set_rerank_count(9);
  EXPECT_EQ(ReasonOf(Search(request, &response)), "RERANK_COUNT_OUT_OF_RANGE");
  request.set_rerank_count(-1);
  EXPECT_EQ(ReasonOf(Search(request, &response)), "RERANK_COUNT_OUT_OF_RANGE");
  request.clear_rerank_count();
  for (const double target : {2.0, 0.4, -1.0, std::nan("")}) {
    request.set_recall_target(target);
    EXPECT_EQ(ReasonOf(Search(request, &response)),
              "RECALL_TARGET_OUT_OF_RANGE");
  }
  request.clear_recall_target();
  for (const int beam : {-1, 0, 10'001}) {
    request.set_beam(beam);
    EXPECT_EQ(ReasonOf(Search(request, &response)), "BEAM_OUT_OF_RANGE");
  }
  request.clear_beam();
  request.set_mode(static_cast<v1::SearchMode>(9));
  const grpc::Status unknown_mode = Search(request, &response);
  EXPECT_EQ(unknown_mode.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(unknown_mode.error_message(), HasSubstr("search mode 9"));
  EXPECT_EQ(Search(Query("c", ""), &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  v1::SearchRequest none;
  none.set_collection("c");
  EXPECT_EQ(ReasonOf(Search(none, &response)), "NO_QUERY");
  none.mutable_vector()->set_vector("abc");
  EXPECT_EQ(Search(none, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(Search(Query("none", "x"), &response)),
            "COLLECTION_NOT_FOUND");
  none.set_passage_id(99);
  EXPECT_EQ(ReasonOf(Search(none, &response)), "PASSAGE_NOT_FOUND");
}

TEST_F(ServerTest, RecallIsAskedForOrHowManyAreRecomputed) {
  ASSERT_TRUE(Create("c").ok());
  Ingest("c", MakeTexts(600));
  Wait("c");
  // Near none of the texts more than another, so that codes leave doubts.
  const auto reranked = [this](std::optional<double> recall_target,
                               std::optional<int> rerank_count) {
    v1::SearchRequest request = Query("c", "zebra");
    if (recall_target) {
      request.set_recall_target(*recall_target);
    }
    if (rerank_count) {
      request.set_rerank_count(*rerank_count);
    }
    v1::SearchResponse response;
    const grpc::Status status = Search(request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    const v1::SearchStats& stats = response.stats();
    EXPECT_EQ(stats.passages_recomputed() + stats.cache_hits(),
              stats.passages_reranked());
    return stats.passages_reranked();
  };
  EXPECT_EQ(reranked(std::nullopt, 77), 77);
  const int64_t usual = reranked(std::nullopt, std::nullopt);
  EXPECT_GE(usual, 10);
  EXPECT_LT(usual, 600);
  EXPECT_EQ(reranked(0.95, std::nullopt), usual);
  EXPECT_GT(reranked(0.999, std::nullopt), reranked(0.5, std::nullopt));
  EXPECT_EQ(reranked(0.999, 10), 10);
}

// Embeddings of a service that has its price.
class CostlyEmbedder : public HashEmbedder {
 public:
  bool recompute_is_costly() const override { return true; }
};

TEST_F(ServerTest, AVectorSourceIsChosenWhenACollectionIsCreated) {
  models_.Set("costly", std::make_unique<CostlyEmbedder>());
  const auto create = [this](const std::string& name, const std::string& model,
                             v1::VectorSource source) {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::CreateCollectionRequest request;
    request.set_name(name);
    request.set_model(model);
    request.set_vector_source(source);
    v1::CreateCollectionResponse response;
    const grpc::Status status =
        collections_->CreateCollection(&context, request, &response);
    EXPECT_EQ(status.ok(), response.has_collection());
    return status.ok() ? std::optional(response.collection().vector_source())
                       : std::nullopt;
  };
  EXPECT_EQ(create("a", "", v1::VECTOR_SOURCE_UNSPECIFIED),
            v1::VECTOR_SOURCE_RECOMPUTE);
  EXPECT_EQ(create("b", "costly", v1::VECTOR_SOURCE_UNSPECIFIED),
            v1::VECTOR_SOURCE_STORED_F16);
  EXPECT_EQ(create("c", "costly", v1::VECTOR_SOURCE_RECOMPUTE),
            v1::VECTOR_SOURCE_RECOMPUTE);
  EXPECT_EQ(create("d", "", v1::VECTOR_SOURCE_STORED_I8),
            v1::VECTOR_SOURCE_STORED_I8);
  EXPECT_EQ(create("e", "", static_cast<v1::VectorSource>(9)), std::nullopt);
  Start();
  EXPECT_EQ(Get("d").vector_source(), v1::VECTOR_SOURCE_STORED_I8);
}

// One cache for all collections, whatever their vectors come from.
TEST_F(ServerTest, SearchesAndStatusSayWhereVectorsCameFrom) {
  ASSERT_TRUE(Create("a").ok());
  ASSERT_TRUE(Create("b").ok());
  {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::CreateCollectionRequest request;
    request.set_name("stored");
    request.set_chunking(v1::CHUNKING_NONE);
    request.set_vector_source(v1::VECTOR_SOURCE_STORED_I8);
    v1::CreateCollectionResponse response;
    ASSERT_TRUE(
        collections_->CreateCollection(&context, request, &response).ok());
  }
  for (const std::string name : {"a", "b", "stored"}) {
    Ingest(name, MakeTexts(20));
    Wait(name);
  }
  const auto stats = [this](const std::string& collection) {
    v1::SearchResponse response;
    EXPECT_TRUE(Search(Query(collection, "w1 w2"), &response).ok());
    const v1::SearchStats& found = response.stats();
    EXPECT_EQ(
        found.passages_recomputed() + found.cache_hits() + found.vectors_read(),
        found.passages_reranked());
    EXPECT_GE(found.passages_reranked(), 10);
    return found;
  };
  const v1::SearchStats first = stats("a");
  EXPECT_EQ(first.passages_recomputed(), first.passages_reranked());
  EXPECT_EQ(stats("b").cache_hits(), first.passages_reranked());
  const size_t searched = models_.embedder().searched();
  const v1::SearchStats read = stats("stored");
  EXPECT_EQ(read.vectors_read(), read.passages_reranked());
  EXPECT_EQ(read.vectors_of_other_precision(), 0);
  // The query alone.
  EXPECT_EQ(models_.embedder().searched(), searched + 1);

  grpc::ClientContext context;
  SetDeadline(context);
  v1::GetStatusResponse status;
  ASSERT_TRUE(admin_->GetStatus(&context, {}, &status).ok());
  const v1::VectorCache& cache = status.vector_cache();
  EXPECT_EQ(cache.hits(), first.passages_reranked());
  EXPECT_EQ(cache.lookups(),
            2 * first.passages_reranked() + read.passages_reranked());
  EXPECT_EQ(cache.entries(),
            first.passages_reranked() + read.passages_reranked());
  EXPECT_GT(cache.bytes(), 0);
  EXPECT_EQ(cache.max_bytes(), int64_t{16} << 20);
  EXPECT_EQ(cache.evictions(), 0);
  EXPECT_EQ(cache.rejections(), 0);
}

TEST_F(ServerTest, AThousandHitsCanBeHad) {
  ASSERT_TRUE(Create("c").ok());
  Ingest("c", MakeTexts(1200));
  Wait("c");
  v1::SearchRequest request = Query("c", "w1 w2");
  request.set_k(1000);
  v1::SearchResponse response;
  const grpc::Status status = Search(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.hits_size(), 1000);
}

TEST_F(ServerTest, CompactingKeepsEveryResult) {
  ASSERT_TRUE(Create("c").ok());
  Ingest("c", MakeTexts(kSealed));
  Wait("c");
  ASSERT_TRUE(Remove("c", "3").ok());
  // Every passage recomputed, so that codes decide nothing.
  v1::SearchRequest request = Query("c", "w1 w2 w3 w4");
  request.set_k(200);
  request.set_rerank_count(2000);
  v1::SearchResponse before;
  ASSERT_TRUE(Search(request, &before).ok());
  EXPECT_EQ(before.stats().segments(), 0);
  EXPECT_EQ(before.stats().passages_reranked(), kSealed - 1);

  config_.collection.seal_passages = kSealed - 1;
  Start();
  Compact("c");
  const v1::Collection sealed = Get("c");
  EXPECT_EQ(sealed.segments(), 1);
  EXPECT_EQ(sealed.sealed_passages(), kSealed - 1);
  EXPECT_EQ(sealed.delta_passages(), 0);
  EXPECT_EQ(sealed.dead_passages(), 0);
  EXPECT_FALSE(sealed.has_sealing_error()) << sealed.sealing_error().message();

  for (const v1::SearchMode mode :
       {v1::SEARCH_MODE_CODES, v1::SEARCH_MODE_TWO_LEVEL}) {
    request.set_mode(mode);
    v1::SearchResponse after;
    ASSERT_TRUE(Search(request, &after).ok());
    EXPECT_EQ(after.stats().segments(), 1);
    EXPECT_EQ(after.stats().candidates_scored(), kSealed - 1);
    ASSERT_EQ(after.hits_size(), before.hits_size());
    for (int i = 0; i < before.hits_size(); ++i) {
      EXPECT_EQ(after.hits(i).SerializeAsString(),
                before.hits(i).SerializeAsString());
    }
  }
  Start();
  EXPECT_EQ(Get("c").segments(), 1);
  v1::SearchResponse reopened;
  ASSERT_TRUE(Search(request, &reopened).ok());
  EXPECT_EQ(reopened.hits(0).SerializeAsString(),
            before.hits(0).SerializeAsString());
}

TEST_F(ServerTest, SealingThatPausesIsShown) {
  FakeMachine machine;
  machine.SetOnBattery(true);
  SealThrottle throttle({.pause_on_battery = true, .files = machine.files()});
  config_.collection.seal_passages = kSealed;
  config_.collection.throttle = &throttle;
  Start();
  ASSERT_TRUE(Create("c").ok());
  EXPECT_EQ(Get("c").sealing_pause(), "");
  Ingest("c", MakeTexts(kSealed));
  Wait("c");
  while (Get("c").sealing_pause() != "on battery") {
    absl::SleepFor(absl::Milliseconds(10));
  }
  EXPECT_EQ(Get("c").delta_passages(), kSealed);
  // Asked for, it does not pause.
  Compact("c");
  EXPECT_EQ(Get("c").sealed_passages(), kSealed);
  EXPECT_EQ(Get("c").sealing_pause(), "");
  server_.reset();
}

TEST_F(ServerTest, CompactingMergesWhatCameAndDropsWhatWent) {
  config_.collection.seal_passages = kSealed;
  Start();
  ASSERT_TRUE(Create("c", v1::CHUNKING_NONE, v1::CODE_PROFILE_MINIMAL).ok());
  EXPECT_EQ(Get("c").code_profile(), v1::CODE_PROFILE_MINIMAL);
  std::vector<std::string> texts = MakeTexts(kSealed + 30);
  Ingest("c", {texts.begin(), texts.begin() + kSealed});
  Wait("c");
  // By itself, or now.
  Compact("c");
  ASSERT_EQ(Get("c").sealed_passages(), kSealed);
  const v1::CompactProgress nothing = Compact("c");
  EXPECT_EQ(nothing.sealed_passages(), 0);
  EXPECT_EQ(nothing.segment_passages(), 0);
  EXPECT_EQ(nothing.delta_passages(), 0);

  Ingest("c", texts);
  Wait("c");
  for (const char* id : {"0", "1", "1030"}) {
    ASSERT_TRUE(Remove("c", id).ok());
  }
  v1::Collection now = Get("c");
  EXPECT_EQ(now.delta_passages(), 29);
  EXPECT_EQ(now.sealed_passages(), kSealed);
  EXPECT_EQ(now.dead_passages(), 2);
  EXPECT_THAT(Find("c", texts[0]), Not(Contains("0")));

  const v1::CompactProgress merged = Compact("c");
  EXPECT_EQ(merged.sealed_passages(), 29);
  EXPECT_EQ(merged.segment_passages(), kSealed + 27);
  EXPECT_EQ(merged.replaced_segments(), 1);
  EXPECT_FALSE(merged.trained_codebook());
  now = Get("c");
  EXPECT_EQ(now.segments(), 1);
  EXPECT_EQ(now.sealed_passages(), kSealed + 27);
  EXPECT_EQ(now.dead_passages(), 0);
  EXPECT_EQ(now.delta_passages(), 0);
  EXPECT_EQ(Find("c", texts[kSealed + 3])[0], absl::StrCat(kSealed + 3));
  EXPECT_EQ(Find("c", texts[77])[0], "77");
}

TEST_F(ServerTest, AGraphIsWalkedOnCodesOrOnRecomputedPassages) {
  config_.collection.seal_passages = kSealed;
  config_.collection.min_graph_passages = 500;
  Start();
  ASSERT_TRUE(Create("c").ok());
  const std::vector<std::string> texts = MakeTexts(kSealed);
  Ingest("c", texts);
  Wait("c");
  Compact("c");
  for (const v1::SearchMode mode :
       {v1::SEARCH_MODE_CODES, v1::SEARCH_MODE_TWO_LEVEL}) {
    v1::SearchRequest request = Query("c", texts[400]);
    request.set_mode(mode);
    request.set_beam(100);
    v1::SearchResponse response;
    const grpc::Status status = Search(request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    ASSERT_EQ(response.hits_size(), 10);
    EXPECT_EQ(response.hits(0).document_id(), "400");
    EXPECT_EQ(response.stats().segments(), 1);
    EXPECT_GE(response.stats().passages_reranked(), 10);
  }
  // More hits than a walk keeps nodes as a rule.
  v1::SearchRequest many = Query("c", texts[400]);
  many.set_k(900);
  v1::SearchResponse response;
  ASSERT_TRUE(Search(many, &response).ok());
  EXPECT_EQ(response.hits_size(), 900);
}

TEST_F(ServerTest, CompactingTooFewPassagesSaysHowManyItTakes) {
  ASSERT_TRUE(Create("c").ok());
  const v1::CompactProgress empty = Compact("c");
  EXPECT_EQ(empty.delta_passages(), 0);
  Ingest("c", MakeTexts(5));
  Wait("c");
  const v1::CompactProgress few = Compact("c");
  EXPECT_EQ(few.sealed_passages(), 0);
  EXPECT_EQ(few.delta_passages(), 5);
  EXPECT_EQ(few.required_passages(), 10'000);
  EXPECT_EQ(Get("c").segments(), 0);
}

TEST_F(ServerTest, OnlyOneCompactionOfACollectionWaitsOrRuns) {
  EXPECT_EQ(ReasonOf(StartCompact("c")), "COLLECTION_NOT_FOUND");
  ASSERT_TRUE(Create("c").ok());
  ASSERT_TRUE(Create("d").ok());
  models_.embedder().Hold();
  // They have the threads, and wait for the model.
  for (int i = 0; i < 4; ++i) {
    const fs::path folder = temp_.path() / absl::StrCat("folder", i);
    WriteFile(folder / "a.txt", absl::StrCat("word", i));
    grpc::ClientContext context;
    SetDeadline(context);
    v1::AddSourceRequest request;
    request.set_collection("d");
    request.set_path(folder.string());
    v1::AddSourceResponse response;
    ASSERT_TRUE(sources_->AddSource(&context, request, &response).ok());
  }
  v1::Operation waiting;
  ASSERT_TRUE(StartCompact("c", &waiting).ok());
  EXPECT_TRUE(waiting.has_compact());
  EXPECT_EQ(waiting.target(), "");
  const grpc::Status again = StartCompact("c");
  EXPECT_EQ(again.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(ReasonOf(again), "OPERATION_RUNNING");
  EXPECT_THAT(again.error_message(), HasSubstr("on collection \"c\""));
  EXPECT_TRUE(StartCompact("d").ok());
  {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::CancelOperationRequest request;
    request.set_id(waiting.id());
    v1::CancelOperationResponse response;
    ASSERT_TRUE(
        operations_->CancelOperation(&context, request, &response).ok());
  }
  EXPECT_EQ(WatchToEnd(waiting.id()).state(), v1::Operation::STATE_CANCELLED);
  EXPECT_TRUE(StartCompact("c").ok());
}

TEST_F(ServerTest, ADeletedCollectionTakesItsSegmentsWithIt) {
  config_.collection.seal_passages = kSealed;
  Start();
  ASSERT_TRUE(Create("c").ok());
  Ingest("c", MakeTexts(kSealed));
  Wait("c");
  Compact("c");
  const fs::path collections = config_.data_directory / "collections";
  EXPECT_FALSE(
      fs::is_empty(fs::directory_iterator(collections)->path() / "segments"));
  EXPECT_TRUE(Delete("c").ok());
  // What still holds the collection lets it go with the server.
  server_.reset();
  EXPECT_TRUE(fs::is_empty(collections));
}

TEST_F(ServerTest, EmbedTextsGivesTheVectorsThatSearchUses) {
  ASSERT_TRUE(Create("c").ok());
  Ingest("c", {"red green", "blue black"});
  Wait("c");
  v1::EmbedTextsRequest request;
  request.set_collection("c");
  request.set_role(v1::EmbedTextsRequest::ROLE_QUERY);
  request.add_texts("blue");
  v1::EmbedTextsResponse embedded;
  {
    grpc::ClientContext context;
    SetDeadline(context);
    ASSERT_TRUE(search_->EmbedTexts(&context, request, &embedded).ok());
  }
  EXPECT_EQ(embedded.vectors().size(),
            static_cast<size_t>(embedded.dimension()) * 4);
  v1::SearchRequest by_vector;
  by_vector.set_collection("c");
  by_vector.mutable_vector()->set_vector(embedded.vectors());
  v1::SearchResponse response;
  ASSERT_TRUE(Search(by_vector, &response).ok());
  EXPECT_EQ(response.hits(0).document_id(), "1");
  {
    grpc::ClientContext context;
    SetDeadline(context);
    request.clear_role();
    EXPECT_EQ(search_->EmbedTexts(&context, request, &embedded).error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
  }
}

TEST_F(ServerTest, CollectionsAreCreatedListedAndDeleted) {
  EXPECT_TRUE(Create("b").ok());
  EXPECT_TRUE(Create("a").ok());
  EXPECT_EQ(ReasonOf(Create("a")), "COLLECTION_EXISTS");
  EXPECT_EQ(Create("a/b").error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  const grpc::Status unknown_profile =
      Create("x", v1::CHUNKING_NONE, static_cast<v1::CodeProfile>(9));
  EXPECT_EQ(unknown_profile.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(unknown_profile.error_message(), HasSubstr("code profile 9"));
  {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::CreateCollectionRequest request;
    request.set_name("x");
    request.set_model("unheard-of");
    v1::CreateCollectionResponse response;
    EXPECT_EQ(collections_->CreateCollection(&context, request, &response)
                  .error_code(),
              grpc::StatusCode::NOT_FOUND);
  }
  {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::CreateCollectionRequest request;
    request.set_name("x");
    request.set_target_tokens(100000);
    v1::CreateCollectionResponse response;
    EXPECT_EQ(
        ReasonOf(collections_->CreateCollection(&context, request, &response)),
        "TARGET_TOKENS_OUT_OF_RANGE");
  }
  const auto names = [&] {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::ListCollectionsResponse response;
    EXPECT_TRUE(collections_->ListCollections(&context, {}, &response).ok());
    std::vector<std::string> list;
    for (const auto& collection : response.collections()) {
      list.push_back(collection.name());
    }
    return list;
  };
  EXPECT_THAT(names(), ElementsAre("a", "b"));
  EXPECT_TRUE(Delete("a").ok());
  EXPECT_THAT(names(), ElementsAre("b"));
  EXPECT_EQ(
      std::distance(
          fs::directory_iterator(config_.data_directory / "collections"), {}),
      1);
  // The name is free at once, and what was deleted does not come back.
  EXPECT_TRUE(Create("a").ok());
  Start();
  EXPECT_THAT(names(), ElementsAre("a", "b"));
}

TEST_F(ServerTest, DocumentsAreGotListedAndDeleted) {
  ASSERT_TRUE(Create("c").ok());
  Ingest("c", {"zero", "one", "two"});
  {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::GetDocumentRequest request;
    request.set_collection("c");
    request.set_id("1");
    v1::GetDocumentResponse response;
    ASSERT_TRUE(documents_->GetDocument(&context, request, &response).ok());
    EXPECT_EQ(response.document().text(), "one");
  }
  {
    v1::ListDocumentsRequest request;
    request.set_collection("c");
    request.set_page_size(2);
    v1::ListDocumentsResponse response;
    grpc::ClientContext context;
    SetDeadline(context);
    ASSERT_TRUE(documents_->ListDocuments(&context, request, &response).ok());
    ASSERT_EQ(response.documents_size(), 2);
    EXPECT_EQ(response.documents(1).id(), "1");
    request.set_page_token(response.next_page_token());
    grpc::ClientContext next;
    SetDeadline(next);
    ASSERT_TRUE(documents_->ListDocuments(&next, request, &response).ok());
    ASSERT_EQ(response.documents_size(), 1);
    EXPECT_EQ(response.documents(0).id(), "2");
    EXPECT_EQ(response.next_page_token(), "");
    request.set_page_size(1001);
    grpc::ClientContext wrong;
    SetDeadline(wrong);
    EXPECT_EQ(
        documents_->ListDocuments(&wrong, request, &response).error_code(),
        grpc::StatusCode::INVALID_ARGUMENT);
  }
  {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::DeleteDocumentsRequest request;
    request.set_collection("c");
    request.add_ids("1");
    request.add_ids("none");
    v1::DeleteDocumentsResponse response;
    ASSERT_TRUE(documents_->DeleteDocuments(&context, request, &response).ok());
    EXPECT_EQ(response.deleted(), 1);
    EXPECT_EQ(response.not_found(), 1);
    for (const bool with_ids : {true, false}) {
      grpc::ClientContext refused;
      SetDeadline(refused);
      with_ids ? request.set_prefix("1") : request.set_prefix("");
      EXPECT_EQ(documents_->DeleteDocuments(&refused, request, &response)
                    .error_code(),
                grpc::StatusCode::INVALID_ARGUMENT);
      request.clear_ids();
    }
  }
  grpc::ClientContext context;
  SetDeadline(context);
  v1::GetDocumentRequest request;
  request.set_collection("c");
  request.set_id("1");
  v1::GetDocumentResponse response;
  EXPECT_EQ(ReasonOf(documents_->GetDocument(&context, request, &response)),
            "DOCUMENT_NOT_FOUND");
}

TEST_F(ServerTest, AFolderIsBroughtIntoAgreement) {
  const fs::path folder = temp_.path() / "folder";
  WriteFile(folder / "a.txt", "alpha words\n");
  WriteFile(folder / "sub" / "b.md", "# Beta\n\nbeta words\n");
  WriteFile(folder / "binary.bin", std::string("\x7f\x45LF\0\0\0", 7));
  WriteFile(folder / "latin1.txt", "caf\xe9 au lait\n");
  WriteFile(folder / "empty.txt", "");
  WriteFile(folder / "ignored.log", "noise\n");
  WriteFile(folder / ".gitignore", "*.log\n");
  WriteFile(folder / ".hidden", "hidden\n");
  ASSERT_TRUE(Create("c", v1::CHUNKING_STRUCTURE).ok());

  v1::Operation first = AddSource("c", folder);
  EXPECT_EQ(first.state(), v1::Operation::STATE_SUCCEEDED)
      << first.error().message();
  const v1::AddSourceProgress& progress = first.add_source();
  EXPECT_EQ(progress.phase(), v1::AddSourceProgress::PHASE_DONE);
  EXPECT_EQ(progress.added(), 2);
  EXPECT_EQ(progress.passages_embedded(), 2);
  EXPECT_EQ(progress.skipped_by_reason().at("binary"), 1);
  EXPECT_EQ(progress.skipped_by_reason().at("not_utf8"), 1);
  EXPECT_EQ(progress.skipped_by_reason().at("empty"), 1);
  EXPECT_EQ(progress.skipped_by_reason().at("ignored"), 1);
  EXPECT_EQ(progress.skipped_by_reason().at("hidden"), 2);
  // Hidden and ignored files are only counted.
  EXPECT_EQ(progress.skipped_size(), 3);
  EXPECT_THAT(Find("c", "beta words"),
              ElementsAre((folder / "sub" / "b.md").string(),
                          (folder / "a.txt").string()));

  const size_t embedded = models_.embedder().ingested();
  v1::Operation second = AddSource("c", folder);
  EXPECT_EQ(second.add_source().unchanged(), 2);
  EXPECT_EQ(second.add_source().added(), 0);
  EXPECT_EQ(second.add_source().passages_to_embed(), 0);
  EXPECT_EQ(models_.embedder().ingested(), embedded);

  WriteFile(folder / "a.txt", "gamma words\n");
  fs::remove(folder / "sub" / "b.md");
  WriteFile(folder / "new.txt", "delta words\n");
  v1::Operation third = AddSource("c", folder);
  EXPECT_EQ(third.add_source().updated(), 1);
  EXPECT_EQ(third.add_source().added(), 1);
  EXPECT_EQ(third.add_source().removed(), 1);
  EXPECT_EQ(models_.embedder().ingested(), embedded + 2);
  // One file of it, and a sibling whose name begins alike.
  WriteFile(temp_.path() / "folder2" / "x.txt", "epsilon\n");
  EXPECT_EQ(AddSource("c", temp_.path() / "folder2").add_source().added(), 1);
  v1::Operation single = AddSource("c", folder / "a.txt");
  EXPECT_EQ(single.add_source().unchanged(), 1);
  EXPECT_EQ(single.add_source().removed(), 0);
  EXPECT_EQ(AddSource("c", folder).add_source().removed(), 0);
}

TEST_F(ServerTest, ASourceThatIsNotThereIsRefused) {
  ASSERT_TRUE(Create("c").ok());
  grpc::Status status;
  AddSource("c", "relative/path", &status);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  AddSource("c", temp_.path() / "none", &status);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(status.error_message(), HasSubstr("none"));
  AddSource("none", temp_.path(), &status);
  EXPECT_EQ(ReasonOf(status), "COLLECTION_NOT_FOUND");
}

TEST_F(ServerTest, AnOperationCanBeCancelledAndKeepsWhatItStored) {
  ASSERT_TRUE(Create("c").ok());
  const fs::path folder = temp_.path() / "folder";
  for (int i = 0; i < 20; ++i) {
    WriteFile(folder / absl::StrCat(i, ".txt"), absl::StrCat("word", i));
  }
  models_.embedder().Hold();
  v1::AddSourceResponse started;
  {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::AddSourceRequest request;
    request.set_collection("c");
    request.set_path(folder.string());
    ASSERT_TRUE(sources_->AddSource(&context, request, &started).ok());
  }
  grpc::Status again;
  AddSource("c", folder, &again);
  EXPECT_EQ(ReasonOf(again), "OPERATION_RUNNING");
  // Watched until everything is stored and waits for the model.
  {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::WatchOperationRequest request;
    request.set_id(started.operation().id());
    auto stream = operations_->WatchOperation(&context, request);
    v1::WatchOperationResponse response;
    while (stream->Read(&response) &&
           response.operation().add_source().phase() !=
               v1::AddSourceProgress::PHASE_EMBEDDING) {
    }
    context.TryCancel();
    stream->Finish();
  }
  {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::CancelOperationRequest request;
    request.set_id(started.operation().id());
    v1::CancelOperationResponse response;
    ASSERT_TRUE(
        operations_->CancelOperation(&context, request, &response).ok());
  }
  const v1::Operation ended = WatchToEnd(started.operation().id());
  EXPECT_EQ(ended.state(), v1::Operation::STATE_CANCELLED);
  EXPECT_EQ(ended.add_source().added(), 20);
  models_.embedder().Release();
  Wait("c");
  EXPECT_THAT(Find("c", "word7"), Contains((folder / "7.txt").string()));
}

TEST_F(ServerTest, AFolderIsStoredEvenIfTheModelCannotRunAndSaysSo) {
  ASSERT_TRUE(Create("c").ok());
  WriteFile(temp_.path() / "folder" / "a.txt", "alpha");
  models_.embedder().set_failure([](std::span<const std::string_view>) {
    return absl::FailedPreconditionError("no such worker");
  });
  const v1::Operation operation = AddSource("c", temp_.path() / "folder");
  EXPECT_EQ(operation.state(), v1::Operation::STATE_FAILED);
  EXPECT_THAT(operation.error().message(),
              HasSubstr("1 passages wait for their embedding"));
  EXPECT_THAT(operation.error().message(), HasSubstr("no such worker"));
  EXPECT_EQ(operation.add_source().added(), 1);
  models_.embedder().set_failure(nullptr);
  Wait("c");
  EXPECT_THAT(Find("c", "alpha"), SizeIs(1));
}

TEST_F(ServerTest, AnUnknownOperationIsNotFound) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::WatchOperationRequest request;
  request.set_id("op-99");
  auto stream = operations_->WatchOperation(&context, request);
  v1::WatchOperationResponse response;
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(ReasonOf(stream->Finish()), "OPERATION_NOT_FOUND");
}

TEST_F(ServerTest, WatchesThatAreCancelledAtOnceHarmNothing) {
  for (int i = 0; i < 300; ++i) {
    grpc::ClientContext context;
    v1::WatchOperationRequest request;
    request.set_id("op-99");
    auto stream = operations_->WatchOperation(&context, request);
    context.TryCancel();
    stream->Finish();
  }
  grpc::ClientContext context;
  SetDeadline(context);
  v1::GetStatusResponse response;
  EXPECT_TRUE(admin_->GetStatus(&context, {}, &response).ok());
}

TEST_F(ServerTest, AnOperationThatHasNotBegunEndsWhenItIsCancelled) {
  ASSERT_TRUE(Create("c").ok());
  models_.embedder().Hold();
  // The first four have the threads, and wait for the model.
  std::vector<std::string> ids;
  for (int i = 0; i < 6; ++i) {
    const fs::path folder = temp_.path() / absl::StrCat("folder", i);
    WriteFile(folder / "a.txt", absl::StrCat("word", i));
    grpc::ClientContext context;
    SetDeadline(context);
    v1::AddSourceRequest request;
    request.set_collection("c");
    request.set_path(folder.string());
    v1::AddSourceResponse response;
    ASSERT_TRUE(sources_->AddSource(&context, request, &response).ok());
    ids.push_back(response.operation().id());
  }
  grpc::ClientContext context;
  SetDeadline(context);
  v1::CancelOperationRequest request;
  request.set_id(ids.back());
  v1::CancelOperationResponse response;
  ASSERT_TRUE(operations_->CancelOperation(&context, request, &response).ok());
  const v1::Operation ended = WatchToEnd(ids.back());
  EXPECT_EQ(ended.state(), v1::Operation::STATE_CANCELLED);
  EXPECT_EQ(ended.add_source().added(), 0);
}

TEST_F(ServerTest, DeletingACollectionEndsWhatGoesOnWithIt) {
  ASSERT_TRUE(Create("c").ok());
  models_.embedder().Hold();
  const fs::path folder = temp_.path() / "folder";
  WriteFile(folder / "a.txt", "alpha");
  v1::AddSourceResponse started;
  {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::AddSourceRequest request;
    request.set_collection("c");
    request.set_path(folder.string());
    ASSERT_TRUE(sources_->AddSource(&context, request, &started).ok());
  }
  EXPECT_TRUE(Delete("c").ok());
  const v1::Operation ended = WatchToEnd(started.operation().id());
  EXPECT_NE(ended.state(), v1::Operation::STATE_SUCCEEDED);
  v1::SearchResponse response;
  EXPECT_EQ(ReasonOf(Search(Query("c", "alpha"), &response)),
            "COLLECTION_NOT_FOUND");
}

TEST_F(ServerTest, PassagesThatCannotBeEmbeddedAreNotCountedAsEmbedded) {
  ASSERT_TRUE(Create("c").ok());
  models_.embedder().set_failure([](std::span<const std::string_view> texts) {
    for (const std::string_view text : texts) {
      if (text.find("poison") != std::string_view::npos) {
        return absl::InternalError("the model fails on poison");
      }
    }
    return absl::OkStatus();
  });
  WriteFile(temp_.path() / "folder" / "a.txt", "alpha");
  WriteFile(temp_.path() / "folder" / "b.txt", "poison");
  const v1::Operation ended = AddSource("c", temp_.path() / "folder");
  EXPECT_EQ(ended.state(), v1::Operation::STATE_SUCCEEDED);
  EXPECT_EQ(ended.add_source().passages_to_embed(), 2);
  EXPECT_EQ(ended.add_source().passages_embedded(), 1);
}

TEST_F(ServerTest, OfManyWhoCreateOneCollectionOneSucceedsAndAllCanUseIt) {
  std::vector<std::future<grpc::Status>> calls;
  for (int i = 0; i < 4; ++i) {
    calls.push_back(std::async(std::launch::async, [&] {
      const grpc::Status created = Create("c");
      EXPECT_TRUE(created.ok() || ReasonOf(created) == "COLLECTION_EXISTS")
          << created.error_message();
      v1::SearchResponse response;
      const grpc::Status searched = Search(Query("c", "x"), &response);
      EXPECT_TRUE(searched.ok()) << searched.error_message();
      return created;
    }));
  }
  int created = 0;
  for (auto& call : calls) {
    created += call.get().ok() ? 1 : 0;
  }
  EXPECT_EQ(created, 1);
}

TEST_F(ServerTest, WaitingForSearchableEndsWithTheClientsPatience) {
  ASSERT_TRUE(Create("c").ok());
  models_.embedder().Hold();
  Ingest("c", {"word"});
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::milliseconds(50));
  v1::WaitUntilSearchableRequest request;
  request.set_collection("c");
  v1::WaitUntilSearchableResponse response;
  EXPECT_EQ(documents_->WaitUntilSearchable(&context, request, &response)
                .error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  models_.embedder().Release();
  Wait("c");
}

TEST_F(ServerTest, ModelTroubleIsNamedAndOthersAreServed) {
  ASSERT_TRUE(Create("good").ok());
  ASSERT_TRUE(Create("bad").ok());
  Ingest("good", {"word"});
  Wait("good");
  // Damage one collection's database: its list of files.
  for (const auto& entry :
       fs::directory_iterator(config_.data_directory / "collections")) {
    if (absl::StartsWith(entry.path().filename().string(), "bad.")) {
      server_.reset();
      WriteFile(entry.path() / "CURRENT", "garbage\n");
    }
  }
  Start();
  EXPECT_THAT(Find("good", "word"), ElementsAre("0"));
  v1::SearchResponse response;
  const grpc::Status status = Search(Query("bad", "word"), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DATA_LOSS)
      << status.error_message();
  EXPECT_THAT(status.error_message(), HasSubstr("bad"));
  grpc::ClientContext context;
  SetDeadline(context);
  v1::GetStatusResponse server_status;
  ASSERT_TRUE(admin_->GetStatus(&context, {}, &server_status).ok());
  ASSERT_EQ(server_status.collections_size(), 2);
  EXPECT_NE(server_status.collections(0).error().code(), 0);
  EXPECT_EQ(server_status.collections(1).error().code(), 0);
  EXPECT_EQ(server_status.collections(1).documents(), 1);
  EXPECT_GT(server_status.collections(1).disk_bytes(), 0);
  EXPECT_GT(server_status.resident_bytes(), 1 << 20);
}

TEST_F(ServerTest, AnotherModelIsRefusedUntilTheOldOneIsBack) {
  ASSERT_TRUE(Create("c").ok());
  Ingest("c", {"word"});
  Wait("c");
  server_.reset();
  models_.Set("default", std::make_unique<HashEmbedder>("another"));
  Start();
  v1::SearchResponse response;
  EXPECT_EQ(ReasonOf(Search(Query("c", "word"), &response)), "MODEL_MISMATCH");
  models_.Set("default", std::make_unique<HashEmbedder>());
  // It is tried again once a second.
  grpc::Status status;
  do {
    status = Search(Query("c", "word"), &response);
  } while (ReasonOf(status) == "MODEL_MISMATCH");
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_THAT(Find("c", "word"), ElementsAre("0"));
}

TEST_F(ServerTest, TheSocketIsTheOwnersAlone) {
  struct stat info;
  ASSERT_EQ(stat(config_.socket.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_EQ(stat(config_.socket.parent_path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
}

TEST_F(ServerTest, ASecondServerIsRefusedWithTheFirstOnesPid) {
  EXPECT_THAT(StartServer(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                      absl::StrCat("process ", getpid())));
  // Another directory, the same socket.
  config_.data_directory = temp_.path() / "other";
  EXPECT_THAT(StartServer(),
              StatusIs(absl::StatusCode::kFailedPrecondition, "pith.sock"));
  v1::SearchResponse response;
  EXPECT_EQ(ReasonOf(Search(Query("none", "x"), &response)),
            "COLLECTION_NOT_FOUND")
      << "the first server serves on";
}

TEST_F(ServerTest, AFileThatIsNoSocketIsNotReplaced) {
  server_.reset();
  WriteFile(config_.socket, "precious");
  EXPECT_THAT(StartServer(),
              StatusIs(absl::StatusCode::kFailedPrecondition, "no socket"));
  std::string content;
  std::ifstream(config_.socket) >> content;
  EXPECT_EQ(content, "precious");
}

TEST_F(ServerTest, TooManyRequestsAreRefusedWithARetryDelay) {
  server_.reset();
  config_.request_threads = 1;
  config_.max_queued_requests = 1;
  Start();
  ASSERT_TRUE(Create("c").ok());
  // The only thread waits inside the model; one more request may wait.
  std::promise<void> release;
  std::shared_future<void> released = release.get_future().share();
  std::promise<void> inside;
  std::once_flag once;
  models_.embedder().set_failure([&](std::span<const std::string_view>) {
    std::call_once(once, [&] { inside.set_value(); });
    released.wait();
    return absl::OkStatus();
  });
  std::vector<std::thread> clients;
  std::vector<grpc::Status> statuses(2);
  clients.emplace_back([&] {
    v1::SearchResponse response;
    statuses[0] = Search(Query("c", "x"), &response);
  });
  inside.get_future().wait();
  // One of these waits, the others are refused; which, is not known.
  std::vector<std::future<grpc::Status>> more;
  for (int i = 0; i < 4; ++i) {
    more.push_back(std::async(std::launch::async, [&] {
      v1::SearchResponse response;
      return Search(Query("c", "x"), &response);
    }));
  }
  int refused = 0;
  std::vector<std::future<grpc::Status>> waiting;
  while (refused < 3) {
    for (auto& call : more) {
      if (call.valid() && call.wait_for(std::chrono::milliseconds(1)) ==
                              std::future_status::ready) {
        const grpc::Status status = call.get();
        EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
        EXPECT_EQ(ReasonOf(status), "REQUEST_QUEUE_FULL");
        const auto retry = DetailOf<google::rpc::RetryInfo>(status);
        ASSERT_TRUE(retry);
        EXPECT_GT(retry->retry_delay().nanos(), 0);
        ++refused;
      }
    }
  }
  release.set_value();
  clients[0].join();
  EXPECT_TRUE(statuses[0].ok()) << statuses[0].error_message();
  for (auto& call : more) {
    if (call.valid()) {
      const grpc::Status status = call.get();
      EXPECT_TRUE(status.ok()) << status.error_message();
    }
  }
}

TEST_F(ServerTest, ModelsAreListedAndDescribed) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::ListModelsResponse list;
  ASSERT_TRUE(admin_->ListModels(&context, {}, &list).ok());
  EXPECT_EQ(list.models_size(), 1);
  grpc::ClientContext other;
  SetDeadline(other);
  v1::GetModelInfoRequest request;
  request.set_model("unheard-of");
  v1::GetModelInfoResponse response;
  EXPECT_EQ(admin_->GetModelInfo(&other, request, &response).error_code(),
            grpc::StatusCode::NOT_FOUND);
}

TEST_F(ServerTest, ShutdownLetsASearchEndAndWaitsForNoIdleClient) {
  ASSERT_TRUE(Create("c").ok());
  std::promise<void> release;
  std::shared_future<void> released = release.get_future().share();
  std::promise<void> inside;
  std::once_flag once;
  models_.embedder().set_failure([&](std::span<const std::string_view>) {
    std::call_once(once, [&] { inside.set_value(); });
    released.wait();
    return absl::OkStatus();
  });
  grpc::Status status;
  std::thread client([&] {
    v1::SearchResponse response;
    status = Search(Query("c", "x"), &response);
  });
  inside.get_future().wait();
  const absl::Time start = absl::Now();
  std::thread shutdown([&] { server_->Shutdown(); });
  release.set_value();
  client.join();
  shutdown.join();
  EXPECT_TRUE(status.ok()) << status.error_message();
  // The channel is still open; the time-out for draining is five seconds.
  EXPECT_LT(absl::Now() - start, absl::Seconds(4));
}

TEST_F(ServerTest, ShutdownEndsWhatRunsAndKeepsWhatWasAcknowledged) {
  ASSERT_TRUE(Create("c").ok());
  models_.embedder().Hold();
  Ingest("c", {"word"});
  config_.drain_timeout = absl::Milliseconds(100);
  server_->Shutdown();
  models_.embedder().Release();
  Start();
  Wait("c");
  EXPECT_THAT(Find("c", "word"), ElementsAre("0"));
}

}  // namespace
}  // namespace pith
