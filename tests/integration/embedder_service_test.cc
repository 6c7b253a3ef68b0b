#include "embedder/embedder_service.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"

#include "embedder/worker_protocol.h"
#include "tests/worker_gates.h"

namespace pith {
namespace {

using ::testing::HasSubstr;

// Text i's vector is (its first id, its number of tokens).
class CountingEngine : public Engine {
 public:
  int dimension() const override { return 2; }

  absl::StatusOr<Matrix> Embed(const PackedTokens& tokens) override {
    Matrix vectors(tokens.size(), 2);
    for (size_t i = 0; i < tokens.size(); ++i) {
      const auto begin = static_cast<size_t>(tokens.offsets[i]);
      vectors.row(i)[0] = static_cast<float>(tokens.ids[begin]);
      vectors.row(i)[1] =
          static_cast<float>(tokens.offsets[i + 1] - tokens.offsets[i]);
      if (tokens.ids[begin] == 13) {
        return absl::ResourceExhaustedError("no memory");
      }
      if (tokens.ids[begin] == 14) {
        throw std::bad_alloc();
      }
      if (tokens.ids[begin] == 15) {
        throw std::runtime_error("no thread");
      }
    }
    MutexLock lock(mutex_);
    ++calls_;
    changed_.SignalAll();
    while (held_) {
      changed_.Wait(mutex_);
    }
    return vectors;
  }

  // Calls wait within the engine until Release.
  void Hold() {
    MutexLock lock(mutex_);
    held_ = true;
  }
  void Release() {
    MutexLock lock(mutex_);
    held_ = false;
    changed_.SignalAll();
  }
  void AwaitCalls(int count) {
    MutexLock lock(mutex_);
    while (calls_ < count) {
      changed_.Wait(mutex_);
    }
  }
  int calls() {
    MutexLock lock(mutex_);
    return calls_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  int calls_ = 0;
  bool held_ = false;
};

// A call that runs on a thread of its own.
class EmbedCall {
 public:
  EmbedCall(v1::EmbedderService::Stub& stub, int32_t id) {
    request_.add_token_ids(id);
    request_.add_text_lengths(1);
    thread_ = std::thread([this, &stub] {
      status_ = stub.EmbedTokens(&context_, request_, &response_);
      has_ended_ = true;
    });
  }
  ~EmbedCall() {
    if (thread_.joinable()) {
      thread_.join();
    }
  }

  void Cancel() { context_.TryCancel(); }
  bool has_ended() const { return has_ended_; }
  grpc::Status Wait() {
    thread_.join();
    return status_;
  }
  // After Wait.
  bool is_models_error() const {
    return context_.GetServerTrailingMetadata().contains(kModelErrorMark);
  }

 private:
  grpc::ClientContext context_;
  v1::EmbedTokensRequest request_;
  v1::EmbedTokensResponse response_;
  grpc::Status status_;
  std::atomic<bool> has_ended_ = false;
  std::thread thread_;
};

class EmbedderServiceTest : public ::testing::Test {
 protected:
  void Serve(absl::StatusOr<LoadedEngine> model,
             EmbedderServiceImpl::Access access = {}) {
    service_ = std::make_unique<EmbedderServiceImpl>(std::move(model),
                                                     std::move(access));
    grpc::ServerBuilder builder;
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    stub_ = v1::EmbedderService::NewStub(server_->InProcessChannel({}));
  }
  void ServeCountingEngine(EmbedderServiceImpl::Access access = {}) {
    auto engine = std::make_unique<CountingEngine>();
    engine_ = engine.get();
    Serve(LoadedEngine{std::move(engine), "cpu"}, std::move(access));
  }

  grpc::Status Embed(const std::vector<int32_t>& ids,
                     const std::vector<int32_t>& lengths) {
    grpc::ClientContext context;
    if (!authorization_.empty()) {
      context.AddMetadata("authorization", authorization_);
    }
    v1::EmbedTokensRequest request;
    request.mutable_token_ids()->Add(ids.begin(), ids.end());
    request.mutable_text_lengths()->Add(lengths.begin(), lengths.end());
    request.set_fingerprint(fingerprint_);
    const grpc::Status status =
        stub_->EmbedTokens(&context, request, &response_);
    is_models_error_ =
        context.GetServerTrailingMetadata().contains(kModelErrorMark);
    instance_ = InstanceOf(context);
    return status;
  }
  // A call that does not wait for long.
  grpc::Status Knock() {
    v1::EmbedTokensRequest request;
    request.add_token_ids(9);
    request.add_text_lengths(1);
    grpc::ClientContext context;
    context.set_deadline(
        absl::ToChronoTime(absl::Now() + absl::Milliseconds(100)));
    return stub_->EmbedTokens(&context, request, &response_);
  }
  // As many calls as may wait behind the one that runs, and one more, which is
  // refused, and returned first.
  std::vector<std::unique_ptr<EmbedCall>> FillUp() {
    std::vector<std::unique_ptr<EmbedCall>> calls;
    for (size_t i = 0; i <= EmbedderServiceImpl::kMaxWaitingCalls; ++i) {
      calls.push_back(std::make_unique<EmbedCall>(*stub_, 8));
    }
    EXPECT_TRUE(Eventually([&] {
      const auto refused = std::ranges::find_if(
          calls, [](const auto& call) { return call->has_ended(); });
      if (refused != calls.end()) {
        std::iter_swap(refused, calls.begin());
      }
      return refused != calls.end();
    }));
    return calls;
  }
  grpc::StatusCode GetModelCode() {
    grpc::ClientContext context;
    if (!authorization_.empty()) {
      context.AddMetadata("authorization", authorization_);
    }
    const grpc::StatusCode code =
        stub_->GetModel(&context, {}, &model_).error_code();
    instance_ = InstanceOf(context);
    return code;
  }
  static std::string InstanceOf(const grpc::ClientContext& context) {
    const auto& metadata = context.GetServerTrailingMetadata();
    const auto found = metadata.find(kInstanceKey);
    return found == metadata.end()
               ? ""
               : std::string(found->second.data(), found->second.size());
  }

  CountingEngine* engine_ = nullptr;
  // What calls bring.
  std::string authorization_;
  std::string fingerprint_;
  std::unique_ptr<EmbedderServiceImpl> service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::EmbedderService::Stub> stub_;
  v1::EmbedTokensResponse response_;
  v1::GetModelResponse model_;
  bool is_models_error_ = false;
  std::string instance_;
};

TEST_F(EmbedderServiceTest, VectorsAreLittleEndianFloatsInOrder) {
  ServeCountingEngine();
  ASSERT_TRUE(Embed({7, 8, 9}, {1, 2}).ok());
  // 7, 1, 8 and 2 in IEEE 754 single precision.
  EXPECT_EQ(response_.vectors(), std::string("\0\0\xe0\x40\0\0\x80\x3f"
                                             "\0\0\x00\x41\0\0\x00\x40",
                                             16));
}

TEST_F(EmbedderServiceTest, LengthsMustAddUpToTheTokens) {
  ServeCountingEngine();
  const auto expect_refused = [&](const std::vector<int32_t>& lengths,
                                  const std::string& part) {
    const grpc::Status status = Embed({7, 8, 9}, lengths);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr(part));
  };
  expect_refused({1, 1}, "add up to 2, there are 3");
  expect_refused({1, 3}, "text 1 has 3 tokens, together 4 of 3");
  expect_refused({3, 0}, "text 1 has 0 tokens");
  expect_refused({4, -1}, "text 0 has 4 tokens");
  expect_refused({2147483647, 2147483647}, "text 0 has 2147483647 tokens");
}

TEST_F(EmbedderServiceTest, ACallMayHaveSoManyTokens) {
  ServeCountingEngine();
  const std::vector<int32_t> most(kMaxWorkerCallTokens, 7);
  EXPECT_TRUE(Embed(most, {kMaxWorkerCallTokens}).ok());
  std::vector<int32_t> more = most;
  more.push_back(7);
  const grpc::Status status = Embed(more, {kMaxWorkerCallTokens + 1});
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("65537 tokens"));
  EXPECT_EQ(engine_->calls(), 1);
}

TEST_F(EmbedderServiceTest, WithoutTheTokenNothingIsAnswered) {
  ServeCountingEngine({.token = "s3cret", .fingerprint = "f1"});
  for (const std::string authorization :
       {"", "s3cret", "Bearer ", "Bearer s3cre", "Bearer s3crets",
        "Basic s3cret"}) {
    authorization_ = authorization;
    const grpc::Status status = Embed({7}, {1});
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED)
        << authorization;
    EXPECT_FALSE(is_models_error_);
    EXPECT_EQ(GetModelCode(), grpc::StatusCode::UNAUTHENTICATED)
        << authorization;
    EXPECT_EQ(model_.fingerprint(), "");
    EXPECT_EQ(instance_, "");
  }
  EXPECT_EQ(engine_->calls(), 0);
  authorization_ = "Bearer s3cret";
  EXPECT_TRUE(Embed({7}, {1}).ok());
  EXPECT_EQ(GetModelCode(), grpc::StatusCode::OK);
  EXPECT_EQ(model_.fingerprint(), "f1");
}

TEST_F(EmbedderServiceTest, EveryAnswerSaysFromWhichProcessItIs) {
  std::set<std::string> instances;
  for (int process = 0; process < 3; ++process) {
    ServeCountingEngine();
    EXPECT_EQ(GetModelCode(), grpc::StatusCode::OK);
    EXPECT_EQ(instance_.size(), 32);
    const std::string instance = instance_;
    instances.insert(instance);
    // Good, refused and failed.
    for (const int32_t id : {7, -1, 13}) {
      Embed({id}, {id == -1 ? 2 : 1});
      EXPECT_EQ(instance_, instance);
    }
  }
  EXPECT_EQ(instances.size(), 3);
}

TEST_F(EmbedderServiceTest, AnotherModelsVectorsAreNotGiven) {
  ServeCountingEngine({.fingerprint = "f1"});
  fingerprint_ = "f2";
  const grpc::Status status = Embed({7}, {1});
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_FALSE(is_models_error_);
  fingerprint_ = "f1";
  EXPECT_TRUE(Embed({7}, {1}).ok());
}

TEST_F(EmbedderServiceTest, CallsBeyondThoseThatMayWaitAreTurnedAway) {
  ServeCountingEngine();
  engine_->Hold();
  EmbedCall running(*stub_, 7);
  engine_->AwaitCalls(1);
  const std::vector<std::unique_ptr<EmbedCall>> calls = FillUp();
  const grpc::Status refused = calls[0]->Wait();
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(), HasSubstr("16 calls already wait"));
  EXPECT_FALSE(calls[0]->is_models_error());
  engine_->Release();
  EXPECT_TRUE(running.Wait().ok());
  for (size_t i = 1; i < calls.size(); ++i) {
    EXPECT_TRUE(calls[i]->Wait().ok());
  }
}

TEST_F(EmbedderServiceTest, WhoeverGivesUpWhileWaitingNeverReachesTheModel) {
  ServeCountingEngine();
  engine_->Hold();
  EmbedCall running(*stub_, 7);
  engine_->AwaitCalls(1);
  const std::vector<std::unique_ptr<EmbedCall>> calls = FillUp();
  for (size_t i = 1; i < calls.size(); ++i) {
    calls[i]->Cancel();
    EXPECT_EQ(calls[i]->Wait().error_code(), grpc::StatusCode::CANCELLED);
  }
  // They make room at once; and whoever comes into it expires there.
  EXPECT_TRUE(Eventually([&] {
    return Knock().error_code() == grpc::StatusCode::DEADLINE_EXCEEDED;
  }));
  EmbedCall last(*stub_, 9);
  engine_->Release();
  EXPECT_TRUE(running.Wait().ok());
  EXPECT_TRUE(last.Wait().ok());
  EXPECT_EQ(engine_->calls(), 2);
}

TEST_F(EmbedderServiceTest, AnEnginesErrorIsTheAnswerAndTheNextCallWorks) {
  ServeCountingEngine();
  const grpc::Status status = Embed({13}, {1});
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(status.error_message(), "no memory");
  EXPECT_TRUE(is_models_error_);
  EXPECT_TRUE(Embed({7}, {1}).ok());
}

TEST_F(EmbedderServiceTest, AfterWhatAnEngineThrowsTheNextCallWorks) {
  ServeCountingEngine();
  const grpc::Status no_memory = Embed({14, 7}, {2});
  EXPECT_EQ(no_memory.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(no_memory.error_message(),
            "embed 1 texts, 2 tokens: out of memory");
  EXPECT_TRUE(is_models_error_);
  ASSERT_TRUE(Eventually([&] { return Knock().ok(); }));
  EmbedCall call(*stub_, 15);
  EXPECT_EQ(call.Wait().error_code(), grpc::StatusCode::UNKNOWN);
  EXPECT_TRUE(Eventually([&] { return Knock().ok(); }));
}

TEST_F(EmbedderServiceTest, AFailedLoadIsEveryCallsAnswer) {
  Serve(absl::DataLossError("model.safetensors is torn"));
  grpc::ClientContext context;
  v1::GetModelResponse response;
  const grpc::Status status = stub_->GetModel(&context, {}, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(status.error_message(), "model.safetensors is torn");
  EXPECT_EQ(Embed({7}, {1}).error_code(), grpc::StatusCode::DATA_LOSS);
}

}  // namespace
}  // namespace pith
