#ifndef PITH_TESTS_FAKES_EMBEDDING_SERVER_H_
#define PITH_TESTS_FAKES_EMBEDDING_SERVER_H_

#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"

#include "core/base/mutex.h"
#include "httplib.h"

namespace pith {

// An HTTP server on a port of its own of the loopback interface, which answers
// as the test says and keeps what it was asked.
class EmbeddingServer {
 public:
  struct Request {
    std::string method;
    std::string path;
    std::string body;
    httplib::Headers headers;

    std::string Header(const std::string& name) const {
      const auto found = headers.find(name);
      return found == headers.end() ? "" : found->second;
    }
  };
  using Answer =
      std::function<void(const httplib::Request&, httplib::Response&)>;

  // Any `server`: plain, or one with TLS.
  explicit EmbeddingServer(Answer answer,
                           std::unique_ptr<httplib::Server> server =
                               std::make_unique<httplib::Server>())
      : answer_(std::move(answer)), server_(std::move(server)) {
    // Whatever proxy the machine has.
    setenv("NO_PROXY", "127.0.0.1", 1);
    setenv("no_proxy", "127.0.0.1", 1);
    const auto handle = [this](const httplib::Request& request,
                               httplib::Response& response) {
      {
        MutexLock lock(mutex_);
        requests_.push_back({.method = request.method,
                             .path = request.path,
                             .body = request.body,
                             .headers = request.headers});
      }
      answer_(request, response);
    };
    server_->Get(".*", handle);
    server_->Post(".*", handle);
    port_ = server_->bind_to_any_port("127.0.0.1");
    CHECK_GT(port_, 0);
    thread_ = std::thread([this] { server_->listen_after_bind(); });
  }
  ~EmbeddingServer() { Stop(); }

  void Stop() {
    if (thread_.joinable()) {
      // It stops only once it runs.
      while (!server_->is_running()) {
        std::this_thread::yield();
      }
      server_->stop();
      thread_.join();
    }
  }

  int port() const { return port_; }
  std::string url() const { return absl::StrCat("http://127.0.0.1:", port_); }

  std::vector<Request> requests() const {
    MutexLock lock(mutex_);
    return requests_;
  }

 private:
  const Answer answer_;
  mutable Mutex mutex_;
  std::vector<Request> requests_ ABSL_GUARDED_BY(mutex_);
  const std::unique_ptr<httplib::Server> server_;
  int port_ = 0;
  std::thread thread_;
};

}  // namespace pith

#endif  // PITH_TESTS_FAKES_EMBEDDING_SERVER_H_
