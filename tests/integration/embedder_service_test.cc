#include "embedder/embedder_service.h"

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"

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
    }
    return vectors;
  }
};

class EmbedderServiceTest : public ::testing::Test {
 protected:
  void Serve(absl::StatusOr<LoadedEngine> model) {
    service_ = std::make_unique<EmbedderServiceImpl>(std::move(model));
    grpc::ServerBuilder builder;
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    stub_ = v1::EmbedderService::NewStub(server_->InProcessChannel({}));
  }
  void ServeCountingEngine() {
    Serve(LoadedEngine{std::make_unique<CountingEngine>(), "cpu"});
  }

  grpc::Status Embed(const std::vector<int32_t>& ids,
                     const std::vector<int32_t>& lengths) {
    grpc::ClientContext context;
    v1::EmbedTokensRequest request;
    request.mutable_token_ids()->Add(ids.begin(), ids.end());
    request.mutable_text_lengths()->Add(lengths.begin(), lengths.end());
    return stub_->EmbedTokens(&context, request, &response_);
  }

  std::unique_ptr<EmbedderServiceImpl> service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::EmbedderService::Stub> stub_;
  v1::EmbedTokensResponse response_;
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

TEST_F(EmbedderServiceTest, AnEnginesErrorIsTheAnswerAndTheNextCallWorks) {
  ServeCountingEngine();
  const grpc::Status status = Embed({13}, {1});
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(status.error_message(), "no memory");
  EXPECT_TRUE(Embed({7}, {1}).ok());
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
