#include "embedder/remote/http_client.h"

#include <atomic>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "openssl/evp.h"
#include "openssl/pem.h"
#include "openssl/x509v3.h"

#include "core/base/file.h"
#include "tests/fakes/embedding_server.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::SizeIs;

void Echo(const httplib::Request& request, httplib::Response& response) {
  response.set_content("<" + request.body + ">", "application/json");
}

HttpRequest Post(const std::string& url, const std::string& json) {
  return {.url = url, .json = json};
}

TEST(HttpClientTest, PostsJsonWithAKey) {
  EmbeddingServer server(Echo);
  HttpClient client({});
  HttpRequest request = Post(server.url() + "/a/b", R"({"x": 1})");
  request.bearer_token = "sk-1";
  const auto response = client.Send(request, {});
  ASSERT_OK(response);
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, R"(<{"x": 1}>)");
  EXPECT_EQ(response->retry_after, std::nullopt);
  ASSERT_THAT(server.requests(), SizeIs(1));
  const EmbeddingServer::Request seen = server.requests()[0];
  EXPECT_EQ(seen.method, "POST");
  EXPECT_EQ(seen.path, "/a/b");
  EXPECT_EQ(seen.Header("Authorization"), "Bearer sk-1");
  EXPECT_EQ(seen.Header("Content-Type"), "application/json");
  EXPECT_EQ(seen.Header("Accept"), "application/json");
  EXPECT_EQ(seen.headers.count("Expect"), 0);
}

TEST(HttpClientTest, GetsWithoutKeyAfterAPostWithOne) {
  EmbeddingServer server(Echo);
  HttpClient client({});
  HttpRequest post = Post(server.url(), "{}");
  post.bearer_token = "sk-1";
  ASSERT_OK(client.Send(post, {}));
  ASSERT_OK(
      client.Send({.url = server.url() + "/info", .json = std::nullopt}, {}));
  ASSERT_THAT(server.requests(), SizeIs(2));
  const EmbeddingServer::Request seen = server.requests()[1];
  EXPECT_EQ(seen.method, "GET");
  EXPECT_EQ(seen.body, "");
  EXPECT_EQ(seen.headers.count("Authorization"), 0);
  EXPECT_EQ(seen.headers.count("Content-Type"), 0);
}

TEST(HttpClientTest, BinaryAndLargeBodies) {
  EmbeddingServer server(Echo);
  HttpClient client({});
  std::string body(3 << 20, 'x');
  body[5] = '\0';
  HttpRequest request = Post(server.url(), body);
  request.max_response_bytes = body.size() + 2;
  const auto response = client.Send(request, {});
  ASSERT_OK(response);
  EXPECT_EQ(response->body, "<" + body + ">");
}

TEST(HttpClientTest, AnyStatusIsAnAnswer) {
  for (const auto& [header, delay] :
       {std::pair<std::string, std::optional<absl::Duration>>{"", {}},
        {"7", absl::Seconds(7)},
        {"soon", {}},
        {"0", {}}}) {
    EmbeddingServer server([&](const auto&, httplib::Response& response) {
      response.status = 429;
      if (!header.empty()) {
        response.set_header("Retry-After", header);
      }
      response.set_content("slow down", "text/plain");
    });
    HttpClient client({});
    const auto response = client.Send(Post(server.url(), "{}"), {});
    ASSERT_OK(response);
    EXPECT_EQ(response->status, 429);
    EXPECT_EQ(response->body, "slow down");
    EXPECT_EQ(response->retry_after, delay) << header;
  }
}

TEST(HttpClientTest, RetryAfterADate) {
  EmbeddingServer server([](const auto&, httplib::Response& response) {
    response.status = 503;
    response.set_header("Retry-After",
                        absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT",
                                         absl::Now() + absl::Seconds(100),
                                         absl::UTCTimeZone()));
  });
  HttpClient client({});
  const auto response = client.Send(Post(server.url(), "{}"), {});
  ASSERT_OK(response);
  ASSERT_TRUE(response->retry_after.has_value());
  EXPECT_GT(*response->retry_after, absl::Seconds(80));
  EXPECT_LE(*response->retry_after, absl::Seconds(100));
}

TEST(HttpClientTest, RefusesMoreThanItAskedFor) {
  for (const bool chunked : {false, true}) {
    EmbeddingServer server([&](const auto&, httplib::Response& response) {
      if (!chunked) {
        response.set_content(std::string(101, 'x'), "text/plain");
        return;
      }
      response.set_chunked_content_provider(
          "text/plain", [](size_t offset, httplib::DataSink& sink) {
            sink.write("0123456789", 10);
            if (offset >= 1 << 20) {
              sink.done();
            }
            return true;
          });
    });
    HttpClient client({});
    HttpRequest request = Post(server.url(), "{}");
    request.max_response_bytes = 100;
    EXPECT_THAT(client.Send(request, {}).status(),
                StatusIs(absl::StatusCode::kFailedPrecondition,
                         "more than the 100 bytes"))
        << chunked;
  }
}

TEST(HttpClientTest, NoServer) {
  std::string url;
  {
    EmbeddingServer server(Echo);
    url = server.url();
  }
  HttpClient client({});
  EXPECT_THAT(client.Send(Post(url, "{}"), {}).status(),
              StatusIs(absl::StatusCode::kUnavailable, url));
}

TEST(HttpClientTest, AnAnswerThatBreaksOff) {
  EmbeddingServer server([](const auto&, httplib::Response& response) {
    response.set_content_provider(1000, "application/json",
                                  [](size_t, size_t, httplib::DataSink& sink) {
                                    sink.write("[[1,", 4);
                                    return false;
                                  });
  });
  HttpClient client({});
  EXPECT_THAT(client.Send(Post(server.url(), "{}"), {}).status(),
              StatusIs(absl::StatusCode::kUnavailable, server.url()));
}

// Answers only once it is told to.
class HangingServer {
 public:
  EmbeddingServer& server() { return server_; }
  ~HangingServer() { release_.Notify(); }

 private:
  absl::Notification release_;
  EmbeddingServer server_{
      [this](const auto&, auto&) { release_.WaitForNotification(); }};
};

TEST(HttpClientTest, GivesUpOnASilentServer) {
  HangingServer hanging;
  HttpClient client({});
  HttpRequest request = Post(hanging.server().url(), "{}");
  request.timeout = absl::Milliseconds(20);
  EXPECT_THAT(client.Send(request, {}).status(),
              StatusIs(absl::StatusCode::kUnavailable, "timed out"));
}

TEST(HttpClientTest, EndsWithItsCaller) {
  HangingServer hanging;
  HttpClient client({});
  const HttpRequest request = Post(hanging.server().url(), "{}");
  RequestContext late;
  late.deadline = absl::Now() + absl::Milliseconds(20);
  EXPECT_THAT(client.Send(request, late).status(),
              StatusIs(absl::StatusCode::kDeadlineExceeded, "deadline"));
  // Goes once the request has arrived.
  RequestContext gone;
  gone.cancelled = [&] { return hanging.server().requests().size() == 2; };
  EXPECT_THAT(client.Send(request, gone).status(),
              StatusIs(absl::StatusCode::kCancelled, "gone"));
}

TEST(HttpClientTest, FollowsNoRedirect) {
  EmbeddingServer elsewhere(Echo);
  EmbeddingServer server([&](const auto&, httplib::Response& response) {
    response.set_redirect(elsewhere.url(), 307);
  });
  HttpClient client({});
  HttpRequest request = Post(server.url(), "{}");
  request.bearer_token = "sk-1";
  const auto response = client.Send(request, {});
  ASSERT_OK(response);
  EXPECT_EQ(response->status, 307);
  EXPECT_THAT(elsewhere.requests(), SizeIs(0));
}

TEST(HttpClientTest, KeepsConnections) {
  Mutex mutex;
  std::multiset<int> ports;
  EmbeddingServer server(
      [&](const httplib::Request& request, httplib::Response&) {
        MutexLock lock(mutex);
        ports.insert(request.remote_port);
      });
  HttpClient client({});
  for (int i = 0; i < 3; ++i) {
    ASSERT_OK(client.Send(Post(server.url(), "{}"), {}));
  }
  MutexLock lock(mutex);
  EXPECT_EQ(ports.count(*ports.begin()), 3);
}

TEST(HttpClientTest, ManyAtATime) {
  EmbeddingServer server(Echo);
  HttpClient client({});
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        const std::string body = absl::StrCat(t, ".", i);
        const auto response = client.Send(Post(server.url(), body), {});
        ASSERT_OK(response);
        EXPECT_EQ(response->body, "<" + body + ">");
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

// A key and a certificate for 127.0.0.1 that nobody but itself vouches for.
class SelfSigned {
 public:
  SelfSigned() {
    X509_set_version(certificate_, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate_), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate_), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate_), 3600);
    X509_set_pubkey(certificate_, key_);
    X509_NAME* const name = X509_get_subject_name(certificate_);
    X509_NAME_add_entry_by_txt(
        name, "CN", MBSTRING_ASC,
        reinterpret_cast<const unsigned char*>("pith test"), -1, -1, 0);
    X509_set_issuer_name(certificate_, name);
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(
        nullptr, nullptr, NID_subject_alt_name, "IP:127.0.0.1");
    X509_add_ext(certificate_, extension, -1);
    X509_EXTENSION_free(extension);
    CHECK_GT(X509_sign(certificate_, key_, EVP_sha256()), 0);
  }
  ~SelfSigned() {
    X509_free(certificate_);
    EVP_PKEY_free(key_);
  }

  std::unique_ptr<httplib::Server> Server() const {
    return std::make_unique<httplib::SSLServer>(certificate_, key_);
  }
  std::string Pem() const {
    BIO* const bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, certificate_);
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(bio, &bytes);
    std::string pem(bytes, static_cast<size_t>(size));
    BIO_free(bio);
    return pem;
  }

 private:
  EVP_PKEY* const key_ = CHECK_NOTNULL(EVP_EC_gen("P-256"));
  X509* const certificate_ = CHECK_NOTNULL(X509_new());
};

TEST(HttpClientTest, ChecksCertificates) {
  const SelfSigned identity;
  EmbeddingServer server(Echo, identity.Server());
  const std::string url = absl::StrCat("https://127.0.0.1:", server.port());
  {
    HttpClient client({});
    EXPECT_THAT(client.Send(Post(url, "{}"), {}).status(),
                StatusIs(absl::StatusCode::kFailedPrecondition, "certificate"));
  }
  TempDirectory directory;
  const std::filesystem::path ca_file = directory.path() / "ca.pem";
  {
    HttpClient client(ca_file);
    EXPECT_THAT(client.Send(Post(url, "{}"), {}).status(),
                StatusIs(absl::StatusCode::kFailedPrecondition, "ca.pem"));
  }
  ASSERT_OK(WriteFileAtomically(ca_file, identity.Pem()));
  HttpClient client(ca_file);
  const auto response = client.Send(Post(url, "{}"), {});
  ASSERT_OK(response);
  EXPECT_EQ(response->body, "<{}>");
  // It is not for that name.
  EXPECT_THAT(
      client
          .Send(Post(absl::StrCat("https://localhost:", server.port()), "{}"),
                {})
          .status(),
      StatusIs(absl::StatusCode::kFailedPrecondition, "localhost"));
}

}  // namespace
}  // namespace pith
