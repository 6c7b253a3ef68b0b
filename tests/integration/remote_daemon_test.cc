// pithd and pith with a model that a server runs.

#include <signal.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

#include "core/base/file.h"
#include "tests/fakes/embedding_server.h"
#include "tests/fakes/hash_embedder.h"
#include "tests/process.h"
#include "tests/temp_directory.h"
#include "tests/worker_gates.h"

namespace pith {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

constexpr char kKey[] = "sk-test-0123456789";

class RemoteDaemonTest : public testing::Test {
 protected:
  enum class Mode { kWell, kAway, kAnotherModel };

  RemoteDaemonTest()
      : server_([this](const httplib::Request& request,
                       httplib::Response& response) {
          Answer(request, response);
        }) {
    Write(folder_ / ".local/share/pith/models/far-away/remote.json",
          json{{"backend", "openai"},
               {"url", server_.url() + "/v1"},
               {"model", "embed-small"},
               {"dimension", 96},
               {"max_tokens", 512},
               {"api_key_env", "EXAMPLE_KEY"}}
              .dump());
  }

  void Answer(const httplib::Request& request, httplib::Response& response) {
    if (mode_ == Mode::kAway) {
      response.status = 503;
      return;
    }
    if (request.get_header_value("Authorization") !=
        absl::StrCat("Bearer ", kKey)) {
      response.status = 401;
      return;
    }
    const json body = json::parse(request.body);
    const auto texts = body["input"].get<std::vector<std::string>>();
    std::vector<std::string> seen = texts;
    if (mode_ == Mode::kAnotherModel) {
      for (std::string& text : seen) {
        text += " and more";
      }
    }
    const std::vector<std::string_view> views(seen.begin(), seen.end());
    const Matrix vectors =
        *embedder_.Embed(views, TextRole::kPassage, RequestContext());
    json data = json::array();
    for (size_t i = 0; i < texts.size(); ++i) {
      data.push_back({{"index", i}, {"embedding", vectors.row(i)}});
    }
    response.set_content(json{{"data", data}}.dump(), "application/json");
  }

  static void Write(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
  }

  ProcessOptions Options(const std::string& output) const {
    return {.working_directory = folder_,
            .output = folder_ / output,
            .environment = {absl::StrCat("EXAMPLE_KEY=", kKey),
                            "NO_PROXY=127.0.0.1"},
            .descriptor = std::nullopt};
  }
  void Start() {
    daemon_.emplace(PITH_DAEMON,
                    std::vector<std::string>{"--data-dir", data_.string()},
                    Options("daemon"));
    ASSERT_TRUE(Eventually([this] { return Pith({"status"}).exit_code == 0; }));
  }
  std::string Stop() {
    daemon_->Signal(SIGTERM);
    ProcessResult result = daemon_->Wait();
    EXPECT_EQ(result.exit_code, 0);
    daemon_.reset();
    return result.err;
  }
  ProcessResult Pith(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(),
                     {"--data-dir", data_.string(), "--no-start"});
    return Process(PITH_CLI, arguments, Options("pith")).Wait();
  }
  ProcessResult Search() const {
    return Pith({"search", "bridge over a river", "-c", "notes", "--json"});
  }

  const TempDirectory directory_;
  const fs::path folder_ = fs::canonical(directory_.path());
  const fs::path data_ = folder_ / "data";
  HashEmbedder embedder_{"", 96, 512};
  std::atomic<Mode> mode_ = Mode::kWell;
  EmbeddingServer server_;
  std::optional<Process> daemon_;
};

TEST_F(RemoteDaemonTest, ACollectionOfAServersModel) {
  Write(folder_ / "docs/bridge.txt", "The old bridge over the river.");
  Write(folder_ / "docs/kitchen.txt", "Salt and paper in the kitchen.");
  Start();

  const ProcessResult models = Pith({"model", "list"});
  EXPECT_THAT(models.out, HasSubstr("far-away"));
  EXPECT_THAT(models.out, HasSubstr("openai at " + server_.url() + "/v1"));
  EXPECT_EQ(server_.requests().size(), 0);

  ASSERT_EQ(
      Pith({"collection", "create", "notes", "--model", "far-away"}).exit_code,
      0);
  // The probes.
  ASSERT_EQ(server_.requests().size(), 1);
  EXPECT_EQ(server_.requests()[0].path, "/v1/embeddings");
  ASSERT_EQ(Pith({"add", "docs", "-c", "notes"}).exit_code, 0);
  const ProcessResult found = Search();
  ASSERT_EQ(found.exit_code, 0) << found.err;
  EXPECT_THAT(
      json::parse(found.out)["hits"][0]["document_id"].get<std::string>(),
      HasSubstr("bridge.txt"));
  EXPECT_THAT(Pith({"status"}).out,
              HasSubstr("far-away, run by " + server_.url() + "/v1"));
  std::string log = Stop();

  // Without the server, the daemon starts and texts are there; what needs
  // vectors says why not.
  mode_ = Mode::kAway;
  Start();
  const ProcessResult text =
      Pith({"get", (folder_ / "docs/bridge.txt").string(), "-c", "notes"});
  EXPECT_THAT(text.out, HasSubstr("The old bridge"));
  const ProcessResult unreachable = Search();
  EXPECT_NE(unreachable.exit_code, 0);
  EXPECT_THAT(unreachable.err, HasSubstr("MODEL_UNREACHABLE"));

  // Once it is back, so is the collection.
  mode_ = Mode::kWell;
  EXPECT_EQ(Search().exit_code, 0);
  log += Stop();

  mode_ = Mode::kAnotherModel;
  Start();
  const ProcessResult mismatch = Search();
  EXPECT_NE(mismatch.exit_code, 0);
  EXPECT_THAT(mismatch.err, HasSubstr("MODEL_MISMATCH"));
  EXPECT_THAT(mismatch.err, HasSubstr("12 probe texts"));
  log += Stop();

  EXPECT_THAT(log, HasSubstr("unencrypted"));
  EXPECT_THAT(log, Not(HasSubstr(kKey)));
  for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
    if (entry.is_regular_file()) {
      EXPECT_THAT(ReadFile(entry.path()).value(), Not(HasSubstr(kKey)))
          << entry.path();
    }
  }
}

TEST_F(RemoteDaemonTest, WithoutItsServerNoCollectionIsMade) {
  Start();
  mode_ = Mode::kAway;
  const ProcessResult away =
      Pith({"collection", "create", "notes", "--model", "far-away"});
  EXPECT_NE(away.exit_code, 0);
  EXPECT_THAT(away.err, HasSubstr("status 503"));
  EXPECT_EQ(json::parse(Pith({"collection", "list", "--json"}).out)
                .value("collections", json::array())
                .size(),
            0);
}

// What is downloaded must not send texts and keys anywhere.
TEST_F(RemoteDaemonTest, DownloadsAreNoRemoteModels) {
  const fs::path repository =
      folder_ / ".cache/huggingface/hub/models--evil--model";
  Write(repository / "refs/main", "abc");
  fs::create_directories(repository / "snapshots/abc");
  fs::copy_file(folder_ / ".local/share/pith/models/far-away/remote.json",
                repository / "snapshots/abc/remote.json");
  Start();
  const ProcessResult refused =
      Pith({"collection", "create", "notes", "--model", "evil/model"});
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.err, HasSubstr("came with a download"));
  EXPECT_EQ(server_.requests().size(), 0);
}

}  // namespace
}  // namespace pith
