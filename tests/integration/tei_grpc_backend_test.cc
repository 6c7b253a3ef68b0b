#include "embedder/remote/tei_grpc_backend.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"

#include "core/base/mutex.h"
#include "core/base/reason.h"
#include "tests/status_matchers.h"

namespace pith {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

using Stream =
    grpc::ServerReaderWriter<tei::v1::EmbedResponse, tei::v1::EmbedRequest>;

// Answers text i with (i, its length), unless the test says otherwise.
class TeiService : public tei::v1::Embed::Service {
 public:
  std::function<grpc::Status(grpc::ServerContext*, Stream*)> answer;

  grpc::Status EmbedStream(grpc::ServerContext* context,
                           Stream* stream) override {
    const auto& metadata = context->client_metadata();
    const auto authorization = metadata.find("authorization");
    {
      MutexLock lock(mutex_);
      authorization_ = authorization == metadata.end()
                           ? ""
                           : std::string(authorization->second.data(),
                                         authorization->second.size());
    }
    if (answer) {
      return answer(context, stream);
    }
    tei::v1::EmbedRequest request;
    float i = 0;
    while (stream->Read(&request)) {
      {
        MutexLock lock(mutex_);
        requests_.push_back(request);
      }
      tei::v1::EmbedResponse response;
      response.add_embeddings(i++);
      response.add_embeddings(static_cast<float>(request.inputs().size()));
      stream->Write(response);
    }
    return grpc::Status::OK;
  }

  std::string authorization() const {
    MutexLock lock(mutex_);
    return authorization_;
  }
  std::vector<tei::v1::EmbedRequest> requests() const {
    MutexLock lock(mutex_);
    return requests_;
  }

 private:
  mutable Mutex mutex_;
  std::string authorization_ ABSL_GUARDED_BY(mutex_);
  std::vector<tei::v1::EmbedRequest> requests_ ABSL_GUARDED_BY(mutex_);
};

class TeiGrpcBackendTest : public ::testing::Test {
 protected:
  TeiGrpcBackendTest() {
    setenv("NO_PROXY", "127.0.0.1", 1);
    setenv("no_grpc_proxy", "127.0.0.1", 1);
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    spec_.name = "m";
    spec_.directory = "/models/m";
    spec_.api = RemoteApi::kTeiGrpc;
    spec_.url = absl::StrCat("http://127.0.0.1:", port);
    spec_.dimension = 2;
    spec_.max_tokens = 512;
    spec_.api_key.environment_variable = "TEI_KEY";
  }

  BackendAnswer Embed(const std::vector<std::string>& inputs,
                      const RequestContext& context = {},
                      const std::string& key = "") {
    if (backend_ == nullptr) {
      backend_ = *TeiGrpcBackend::Create(spec_);
    }
    return backend_->Embed({.inputs = inputs, .truncate = true, .api_key = key},
                           context);
  }

  // The answer when the server refuses the call.
  BackendAnswer Refused(grpc::StatusCode code, const std::string& message,
                        const std::string& key = "") {
    service_.answer = [=](auto*, auto*) { return grpc::Status(code, message); };
    return Embed({"text"}, {}, key);
  }

  TeiService service_;
  std::unique_ptr<grpc::Server> server_;
  RemoteModelSpec spec_;
  std::unique_ptr<TeiGrpcBackend> backend_;
};

TEST_F(TeiGrpcBackendTest, OneStreamForAllTexts) {
  std::vector<std::string> inputs;
  for (size_t i = 0; i < 100; ++i) {
    inputs.push_back(std::string(i + 1, 'x'));
  }
  const BackendAnswer answer = Embed(inputs, {}, "sk-1");
  ASSERT_OK(answer.vectors);
  for (size_t i = 0; i < inputs.size(); ++i) {
    EXPECT_THAT(answer.vectors->row(i), ElementsAre(i, i + 1));
  }
  EXPECT_EQ(service_.authorization(), "Bearer sk-1");
  const auto requests = service_.requests();
  ASSERT_EQ(requests.size(), inputs.size());
  EXPECT_EQ(requests[2].inputs(), "xxx");
  EXPECT_TRUE(requests[2].truncate());
  EXPECT_TRUE(requests[2].normalize());
  EXPECT_FALSE(requests[2].has_dimensions());
}

// The names and numbers on the wire are the server's.
TEST_F(TeiGrpcBackendTest, WireFormat) {
  EXPECT_EQ(tei::v1::Embed::service_full_name(), std::string("tei.v1.Embed"));
  tei::v1::EmbedRequest request;
  request.set_inputs("ab");
  request.set_truncate(true);
  request.set_normalize(true);
  request.set_dimensions(3);
  EXPECT_EQ(request.SerializeAsString(),
            "\x0A\x02"
            "ab\x10\x01\x18\x01\x30\x03");
  tei::v1::EmbedResponse response;
  response.add_embeddings(1);
  EXPECT_EQ(response.SerializeAsString(),
            std::string("\x0A\x04\x00\x00\x80\x3F", 6));
}

TEST_F(TeiGrpcBackendTest, AsksForTheDimensionIfTold) {
  spec_.request_dimension = true;
  ASSERT_OK(Embed({"text"}).vectors);
  EXPECT_EQ(service_.authorization(), "");
  EXPECT_EQ(service_.requests()[0].dimensions(), 2);
}

TEST_F(TeiGrpcBackendTest, Refusals) {
  BackendAnswer answer =
      Refused(grpc::StatusCode::INVALID_ARGUMENT, "text is too long");
  EXPECT_THAT(answer.vectors.status(),
              StatusIs(absl::StatusCode::kInvalidArgument, "text is too long"));
  EXPECT_FALSE(answer.transient);

  answer = Refused(grpc::StatusCode::RESOURCE_EXHAUSTED, "overloaded");
  EXPECT_THAT(answer.vectors.status(),
              StatusIs(absl::StatusCode::kResourceExhausted, "overloaded"));
  EXPECT_EQ(ReasonOf(answer.vectors.status()), kModelUnreachableReason);
  EXPECT_TRUE(answer.transient);

  answer = Refused(grpc::StatusCode::INTERNAL, "model failed: sk-1", "sk-1");
  EXPECT_THAT(answer.vectors.status(),
              StatusIs(absl::StatusCode::kUnavailable, "[API key]"));
  EXPECT_NE(ReasonOf(answer.vectors.status()), kModelUnreachableReason);
  EXPECT_TRUE(answer.transient);

  answer = Refused(grpc::StatusCode::UNAUTHENTICATED, "not sk-*1", "sk-1");
  EXPECT_THAT(answer.vectors.status(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       "the key from $TEI_KEY is refused"));
  EXPECT_THAT(answer.vectors.status().message(), Not(HasSubstr("sk-")));
  EXPECT_FALSE(answer.transient);
}

TEST_F(TeiGrpcBackendTest, WrongNumberOfVectors) {
  for (const int extra : {-1, 1}) {
    service_.answer = [=](auto*, Stream* stream) {
      tei::v1::EmbedResponse response;
      response.add_embeddings(1);
      response.add_embeddings(2);
      tei::v1::EmbedRequest request;
      while (stream->Read(&request)) {
      }
      for (int i = 0; i < 3 + extra; ++i) {
        stream->Write(response);
      }
      return grpc::Status::OK;
    };
    const BackendAnswer answer = Embed({"a", "b", "c"});
    EXPECT_THAT(answer.vectors.status(),
                StatusIs(absl::StatusCode::kUnavailable, "answers 3 texts"))
        << extra;
  }
}

TEST_F(TeiGrpcBackendTest, WrongDimension) {
  spec_.dimension = 3;
  EXPECT_THAT(Embed({"a"}).vectors.status(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       "gives vectors of 2 elements"));
}

TEST_F(TeiGrpcBackendTest, NoServer) {
  server_->Shutdown();
  const BackendAnswer answer = Embed({"a"});
  EXPECT_THAT(answer.vectors.status(),
              StatusIs(absl::StatusCode::kUnavailable, spec_.url));
  EXPECT_EQ(ReasonOf(answer.vectors.status()), kModelUnreachableReason);
  EXPECT_TRUE(answer.transient);
}

TEST_F(TeiGrpcBackendTest, SilentServer) {
  service_.answer = [](grpc::ServerContext* context, auto*) {
    while (!context->IsCancelled()) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    return grpc::Status::OK;
  };
  RequestContext late;
  late.deadline = absl::Now() + absl::Milliseconds(20);
  EXPECT_EQ(Embed({"a"}, late).vectors.status().code(),
            absl::StatusCode::kDeadlineExceeded);

  RequestContext gone;
  gone.cancelled = [] { return true; };
  EXPECT_EQ(Embed({"a"}, gone).vectors.status().code(),
            absl::StatusCode::kCancelled);

  backend_.reset();
  spec_.timeout = absl::Milliseconds(30);
  const BackendAnswer answer = Embed({"a"});
  EXPECT_EQ(answer.vectors.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(answer.transient);
}

TEST_F(TeiGrpcBackendTest, CertificatesMustBeReadable) {
  spec_.url = "https://127.0.0.1:1";
  spec_.ca_file = "/nonexistent/ca.pem";
  EXPECT_THAT(TeiGrpcBackend::Create(spec_).status(),
              StatusIs(absl::StatusCode::kNotFound, "ca.pem"));
}

}  // namespace
}  // namespace pith
