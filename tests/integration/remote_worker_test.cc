// Workers over TCP: pith-embedder --listen, pools that connect to it, and pithd
// in front of them.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

#include "core/base/file.h"
#include "core/base/reason.h"
#include "embedder/model_directory.h"
#include "embedder/worker_pool.h"
#include "proto/pith/v1/embedder.grpc.pb.h"
#include "tests/process.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"
#include "tests/worker_gates.h"

namespace pith {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::Not;
using State = WorkerPool::WorkerStatus::State;

const fs::path kModel = fs::path(PITH_TEST_DATA) / "tiny-bert";
constexpr int kDimension = 48;
constexpr char kToken[] = "s3cret-0123456789";

std::string FingerprintOf(const fs::path& model) {
  const absl::StatusOr<ModelSpec> spec = LoadModelSpec(model);
  CHECK(spec.ok()) << spec.status();
  return ModelFingerprint(*spec, "").value();
}

std::vector<int32_t> Text(int name, int length = 5) {
  return std::vector<int32_t>(static_cast<size_t>(length), name);
}

WorkerPool::Options PoolOptions(size_t processes,
                                const std::vector<RemoteWorker>& remote) {
  return {.name = "tiny-bert",
          .fingerprint = FingerprintOf(kModel),
          .dimension = kDimension,
          .workers = std::vector<WorkerPool::Command>(
              processes, {PITH_FAKE_WORKER, {"--model", kModel.string()}}),
          .remote_workers = remote};
}

// Of the last, which is a remote one.
WorkerPool::WorkerStatus RemoteStatus(const WorkerPool& pool) {
  return pool.status().workers.back();
}

std::future<absl::StatusOr<Matrix>> EmbedLater(
    WorkerPool& pool, std::vector<std::vector<int32_t>> texts) {
  return std::async(std::launch::async, [&pool, texts = std::move(texts)] {
    return pool.Embed(texts, {});
  });
}

// A key and a certificate for 127.0.0.1 that nobody but itself vouches for.
struct SelfSigned {
  fs::path certificate;
  fs::path key;

  SelfSigned(const fs::path& folder, const std::string& name)
      : certificate(folder / (name + ".crt")), key(folder / (name + ".key")) {
    const std::string command = absl::StrCat(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
        "-days 2 -subj /CN=pith-test -addext subjectAltName=IP:127.0.0.1 "
        "-keyout ",
        key.string(), " -out ", certificate.string(), " 2>/dev/null");
    CHECK_EQ(std::system(command.c_str()), 0);  // NOLINT(cert-env33-c)
  }
};

class RemoteWorkerTest : public testing::Test {
 protected:
  RemoteWorkerTest() {
    WriteFile(token_file_, absl::StrCat(kToken, "\n"));
    fs::permissions(token_file_,
                    fs::perms::owner_read | fs::perms::owner_write);
  }

  static void WriteFile(const fs::path& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
  }

  Process Spawn(const fs::path& program,
                const std::vector<std::string>& arguments) {
    ProcessOptions options = {
        .working_directory = folder_,
        .output = folder_ / absl::StrCat("process", processes_++),
        .environment = {},
        .descriptor = std::nullopt};
    for (char** entry = environ; *entry != nullptr; ++entry) {
      if (absl::StartsWith(*entry, "PITH_FAKE_") ||
          absl::StartsWith(*entry, "PITH_WORKER_TOKEN=")) {
        options.environment.emplace_back(*entry);
      }
    }
    return Process(program, arguments, options);
  }
  Process SpawnWorker(const std::vector<std::string>& arguments,
                      const std::string& address = "127.0.0.1:0",
                      const fs::path& program = PITH_FAKE_WORKER,
                      const fs::path& model = kModel) {
    std::vector<std::string> all = {"--model", model.string(), "--listen",
                                    address};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return Spawn(program, all);
  }
  // Where it listens, once it does.
  static std::string AddressOf(const Process& worker) {
    std::string text;
    CHECK(Eventually([&] {
      CHECK(worker.Runs()) << ReadFile(worker.Output(".err")).value_or("");
      text = ReadFile(worker.Output(".out")).value_or("");
      return absl::EndsWith(text, "\n");
    }));
    return std::string(
        absl::StripPrefix(absl::StripSuffix(text, "\n"), "listening on "));
  }

  // One that serves where another did. A connection may have the port for a
  // moment: then it is tried again.
  Process Successor(const std::string& address,
                    const fs::path& model = kModel) {
    std::optional<Process> worker;
    CHECK(Eventually([&] {
      if (!worker || !worker->Runs()) {
        worker.emplace(SpawnWorker({}, address, PITH_FAKE_WORKER, model));
      }
      return absl::EndsWith(ReadFile(worker->Output(".out")).value_or(""),
                            "\n");
    }));
    return *std::move(worker);
  }
  static std::vector<float> VectorOf(const std::vector<int32_t>& text) {
    WorkerPool pool(PoolOptions(1, {}));
    const absl::StatusOr<Matrix> vectors = pool.Embed({text}, {});
    CHECK(vectors.ok()) << vectors.status();
    return {vectors->row(0).begin(), vectors->row(0).end()};
  }
  // A copy of the model that means other vectors.
  fs::path OtherModel() const {
    const fs::path other = folder_ / "other";
    fs::copy(kModel, other, fs::copy_options::recursive);
    WriteFile(other / "pith.json", R"({"pooling": "cls"})");
    CHECK_NE(FingerprintOf(other), FingerprintOf(kModel));
    return other;
  }
  ProcessResult Refused(const std::vector<std::string>& arguments,
                        const std::string& address = "127.0.0.1:0") {
    ProcessResult result = Ended(SpawnWorker(arguments, address));
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_EQ(result.out, "");
    return result;
  }
  // Killed if it does not end by itself.
  static ProcessResult Ended(Process process) {
    if (!Eventually([&] { return !process.Runs(); })) {
      process.Signal(SIGKILL);
    }
    return process.Wait();
  }

  const TempDirectory directory_;
  const fs::path folder_ = fs::canonical(directory_.path());
  const fs::path token_file_ = folder_ / "token";
  int processes_ = 0;
};

TEST_F(RemoteWorkerTest, ItsVectorsAreThoseOfAProcessHere) {
  const std::vector<std::string> f32 = {"--precision", "f32"};
  const Process worker = SpawnWorker(f32, "127.0.0.1:0", PITH_WORKER);
  WorkerPool far(PoolOptions(0, {{.address = AddressOf(worker)}}));
  WorkerPool::Options options = PoolOptions(0, {});
  options.workers = {
      {PITH_WORKER, {"--model", kModel.string(), "--precision", "f32"}}};
  WorkerPool near(std::move(options));
  std::vector<std::vector<int32_t>> texts;
  for (int name = 1; name <= 20; ++name) {
    texts.push_back(Text(name, name));
    texts.back().back() = 3;
  }
  const absl::StatusOr<Matrix> expected = near.Embed(texts, {});
  const absl::StatusOr<Matrix> vectors = far.Embed(texts, {});
  ASSERT_OK(expected);
  ASSERT_OK(vectors);
  for (size_t i = 0; i < texts.size(); ++i) {
    for (size_t column = 0; column < kDimension; ++column) {
      ASSERT_NEAR(vectors->row(i)[column], expected->row(i)[column], 1e-5);
    }
  }
  EXPECT_EQ(RemoteStatus(far).embedded_texts, 20);
  EXPECT_EQ(RemoteStatus(far).state, State::kReady);
  EXPECT_EQ(RemoteStatus(far).address, AddressOf(worker));
  EXPECT_EQ(RemoteStatus(far).pid, 0);
  EXPECT_EQ(RemoteStatus(far).device, "cpu");
  EXPECT_EQ(RemoteStatus(far).precision, "f32");
}

TEST_F(RemoteWorkerTest, TokenAndTlsProtectIt) {
  const SelfSigned identity(folder_, "worker");
  const SelfSigned stranger(folder_, "stranger");
  const std::string roots = ReadFile(identity.certificate).value();
  const Process worker = SpawnWorker(
      {"--token-file", token_file_.string(), "--tls-cert",
       identity.certificate.string(), "--tls-key", identity.key.string()},
      // Reached by its loopback address.
      "0.0.0.0:0");
  const std::string address = absl::StrCat(
      "127.0.0.1", absl::StripPrefix(AddressOf(worker), "0.0.0.0"));
  const auto error_of = [&](const RemoteWorker& remote) {
    WorkerPool pool(PoolOptions(0, {remote}));
    const absl::Status status = pool.Embed({Text(1)}, {}).status();
    EXPECT_EQ(ReasonOf(status), kModelUnreachableReason);
    EXPECT_EQ(RemoteStatus(pool).embedded_texts, 0);
    EXPECT_EQ(RemoteStatus(pool).last_error, status.message());
    return std::string(status.message());
  };
  EXPECT_THAT(error_of({.address = address, .root_certificates = roots}),
              AllOf(HasSubstr("refuses this daemon"), HasSubstr("token")));
  EXPECT_THAT(
      error_of(
          {.address = address, .token = "s3cret", .root_certificates = roots}),
      AllOf(HasSubstr("wrong token"), Not(HasSubstr("s3cret"))));
  EXPECT_THAT(
      error_of({.address = address,
                .token = kToken,
                .root_certificates = ReadFile(stranger.certificate).value()}),
      HasSubstr("cannot be reached"));
  EXPECT_THAT(error_of({.address = address, .token = kToken}),
              HasSubstr("cannot be reached"));
  WorkerPool pool(PoolOptions(
      0, {{.address = address, .token = kToken, .root_certificates = roots}}));
  const absl::StatusOr<Matrix> vectors = pool.Embed({Text(1)}, {});
  ASSERT_OK(vectors);
  EXPECT_THAT(vectors->row(0), ElementsAreArray(VectorOf(Text(1))));
  EXPECT_THAT(ReadFile(worker.Output(".err")).value(), Not(HasSubstr(kToken)));
}

TEST_F(RemoteWorkerTest, TheTokenMayComeFromTheEnvironment) {
  const ScopedVariable variable("PITH_WORKER_TOKEN", kToken);
  const Process worker = SpawnWorker({});
  WorkerPool without(PoolOptions(0, {{.address = AddressOf(worker)}}));
  EXPECT_THAT(without.Embed({Text(1)}, {}),
              StatusIs(absl::StatusCode::kUnavailable, "wants a token"));
  WorkerPool with(
      PoolOptions(0, {{.address = AddressOf(worker), .token = kToken}}));
  EXPECT_OK(with.Embed({Text(1)}, {}));
}

TEST_F(RemoteWorkerTest, OpenToOthersItNeedsTokenAndTls) {
  const SelfSigned identity(folder_, "worker");
  const std::vector<std::string> token = {"--token-file", token_file_.string()};
  const std::vector<std::string> tls = {"--tls-cert",
                                        identity.certificate.string(),
                                        "--tls-key", identity.key.string()};
  for (const std::string address : {"0.0.0.0:0", "[::]:0", "192.0.2.1:7070"}) {
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>(), token, tls}) {
      EXPECT_THAT(Refused(arguments, address).err,
                  HasSubstr("a token and TLS are needed"));
    }
  }
  EXPECT_THAT(Refused({}, "localhost:0").err, HasSubstr("an IP address"));
  EXPECT_THAT(Refused({}, "127.0.0.1").err, HasSubstr("and a port"));
  EXPECT_THAT(
      Refused({"--tls-cert", identity.certificate.string()}, "127.0.0.1:0").err,
      HasSubstr("only one of them"));
  EXPECT_THAT(Refused({"--tls-cert", token_file_.string(), "--tls-key",
                       token_file_.string()})
                  .err,
              HasSubstr("or the certificate"));
}

TEST_F(RemoteWorkerTest, ATokenThatOthersCanReadIsRefused) {
  fs::permissions(token_file_, fs::perms::others_read, fs::perm_options::add);
  EXPECT_THAT(Refused({"--token-file", token_file_.string()}).err,
              AllOf(HasSubstr("its mode is 604"), Not(HasSubstr("s3cret"))));
}

TEST_F(RemoteWorkerTest, AKeyThatOthersCanReadIsRefused) {
  const SelfSigned identity(folder_, "worker");
  fs::permissions(identity.key, fs::perms::owner_read | fs::perms::group_read);
  EXPECT_THAT(
      Refused({"--tls-cert", identity.certificate.string(), "--tls-key",
               identity.key.string()})
          .err,
      AllOf(HasSubstr(identity.key.string()), HasSubstr("its mode is 440")));
}

TEST_F(RemoteWorkerTest, TwoWorkersDoNotShareAnAddress) {
  const Process worker = SpawnWorker({});
  EXPECT_THAT(Refused({}, AddressOf(worker)).err, HasSubstr("may be taken"));
}

TEST_F(RemoteWorkerTest, SigtermEndsItCleanly) {
  Process worker = SpawnWorker({});
  WorkerPool pool(PoolOptions(0, {{.address = AddressOf(worker)}}));
  ASSERT_OK(pool.Embed({Text(1)}, {}));
  worker.Signal(SIGTERM);
  EXPECT_EQ(Ended(std::move(worker)).exit_code, 0);
}

TEST(RemoteWorker, OnAnotherMachineItNeedsTls) {
  EXPECT_OK(CheckRemoteWorker({.address = "127.0.0.1:7070"}));
  EXPECT_OK(CheckRemoteWorker({.address = "localhost:7070"}));
  EXPECT_OK(CheckRemoteWorker(
      {.address = "gpu.example:7070", .root_certificates = "PEM"}));
  EXPECT_THAT(
      CheckRemoteWorker({.address = "gpu.example:7070", .token = "s3cret"}),
      StatusIs(absl::StatusCode::kInvalidArgument, "gpu.example:7070"));
  for (const std::string address : {"", "127.0.0.1", "127.0.0.1:0", "unix:1x",
                                    "http://127.0.0.1:1", "127.0.0.1:70700"}) {
    EXPECT_THAT(CheckRemoteWorker({.address = address}),
                StatusIs(absl::StatusCode::kInvalidArgument, "not HOST:PORT"))
        << address;
  }
}

TEST_F(RemoteWorkerTest, AnotherModelsIsNotUsedAndStatusSaysWhy) {
  const fs::path other = OtherModel();
  const Process worker =
      SpawnWorker({}, "127.0.0.1:0", PITH_FAKE_WORKER, other);
  const auto names_both = AllOf(HasSubstr(AddressOf(worker)),
                                HasSubstr(FingerprintOf(kModel).substr(0, 12)),
                                HasSubstr(FingerprintOf(other).substr(0, 12)));
  WorkerPool alone(PoolOptions(0, {{.address = AddressOf(worker)}}));
  const absl::Status status = alone.Embed({Text(1)}, {}).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition, ""));
  EXPECT_THAT(status.message(), names_both);

  // It is tried while the process has a batch before it.
  const Gates gates(1);
  WorkerPool pool(PoolOptions(1, {{.address = AddressOf(worker)}}));
  auto first = EmbedLater(pool, {Text(1)});
  UniqueFd gate = gates.Await(0);
  auto second = EmbedLater(pool, {Text(2)});
  EXPECT_TRUE(
      Eventually([&] { return !RemoteStatus(pool).last_error.empty(); }));
  gate = UniqueFd();
  EXPECT_OK(first.get());
  EXPECT_OK(second.get());
  EXPECT_THAT(RemoteStatus(pool).last_error, names_both);
  EXPECT_EQ(RemoteStatus(pool).embedded_texts, 0);
}

TEST_F(RemoteWorkerTest, OneThatComesBackWithAnotherModelIsNotUsed) {
  std::optional<Process> worker = SpawnWorker({});
  const std::string address = AddressOf(*worker);
  WorkerPool pool(PoolOptions(0, {{.address = address}}));
  ASSERT_OK(pool.Embed({Text(1)}, {}));
  worker->Kill();
  worker.emplace(Successor(address, OtherModel()));
  EXPECT_THAT(
      pool.Embed({Text(1)}, {}),
      StatusIs(absl::StatusCode::kFailedPrecondition, "with fingerprint"));
  EXPECT_EQ(RemoteStatus(pool).embedded_texts, 1);
}

TEST_F(RemoteWorkerTest, OneThatIsAwayKeepsNobodyFromWorkingAndIsUsedLater) {
  std::optional<Process> worker = SpawnWorker({});
  const std::string address = AddressOf(*worker);
  worker.reset();

  WorkerPool pool(PoolOptions(1, {{.address = address}}));
  for (int name = 1; name <= 20; ++name) {
    EXPECT_OK(pool.Embed({Text(name), Text(name + 20, 200)}, {}));
  }
  WorkerPool alone(PoolOptions(0, {{.address = address}}));
  const absl::Status status = alone.Embed({Text(1)}, {}).status();
  EXPECT_THAT(status,
              StatusIs(absl::StatusCode::kUnavailable, "cannot be reached"));
  EXPECT_EQ(ReasonOf(status), kModelUnreachableReason);
  EXPECT_EQ(RemoteStatus(alone).state, State::kStopped);
  EXPECT_EQ(RemoteStatus(alone).lost, 0);

  worker.emplace(Successor(address));
  EXPECT_TRUE(Eventually([&] { return alone.Embed({Text(1)}, {}).ok(); }));
}

TEST_F(RemoteWorkerTest, NothingIsLostWhenOneDiesUnderLoad) {
  const Gates gates(1);
  Process worker = SpawnWorker({});
  const std::string address = AddressOf(worker);
  // Processes that are started here find no gate.
  unsetenv("PITH_FAKE_GATE");
  WorkerPool pool(PoolOptions(1, {{.address = address}}));
  std::vector<std::future<absl::StatusOr<Matrix>>> calls;
  for (int name = 1; name <= 30; ++name) {
    calls.push_back(EmbedLater(pool, {Text(name, 100), Text(name + 30, 100)}));
  }
  const UniqueFd gate = gates.Await(0);
  worker.Kill();
  for (size_t i = 0; i < calls.size(); ++i) {
    EXPECT_OK(calls[i].get()) << i;
  }
  EXPECT_EQ(RemoteStatus(pool).lost, 1);
  EXPECT_THAT(RemoteStatus(pool).last_error, HasSubstr("cannot be reached"));
}

TEST_F(RemoteWorkerTest, WhenTheOnlyOneDiesCallersAreToldAndNoTextIsBlamed) {
  const Gates gates(1);
  Process worker = SpawnWorker({});
  WorkerPool pool(PoolOptions(0, {{.address = AddressOf(worker)}}));
  auto call = EmbedLater(pool, {Text(1)});
  const UniqueFd gate = gates.Await(0);
  worker.Kill();
  const absl::Status status = call.get().status();
  EXPECT_THAT(status,
              StatusIs(absl::StatusCode::kUnavailable, "cannot be reached"));
  EXPECT_EQ(ReasonOf(status), kModelUnreachableReason);
  EXPECT_THAT(status.message(), Not(HasSubstr("text 0")));
}

TEST_F(RemoteWorkerTest, ATextThatKillsTheOnlyOneIsNamedAndOthersAreEmbedded) {
  constexpr int kPoison = 900;
  const ScopedVariable crash("PITH_FAKE_CRASH_TOKEN", absl::StrCat(kPoison));
  std::optional<Process> worker = SpawnWorker({});
  const std::string address = AddressOf(*worker);
  WorkerPool pool(PoolOptions(0, {{.address = address}}));
  std::vector<std::vector<int32_t>> texts;
  for (int name = 1; name <= 8; ++name) {
    texts.push_back(Text(name));
  }
  texts[3] = Text(kPoison);
  // Callers come again, as the indexer does, and somebody starts the worker
  // again.
  int crashes = 0;
  const auto embed = [&](const std::vector<std::vector<int32_t>>& wanted) {
    absl::Status status;
    CHECK(Eventually([&] {
      status =
          pool.Embed(wanted, {.priority = EmbedPriority::kIngest}).status();
      if (!worker->Runs()) {
        worker.emplace(Successor(address));
        ++crashes;
      }
      return ReasonOf(status) != kModelUnreachableReason || crashes > 9;
    }));
    return status;
  };
  const auto is_named = StatusIs(absl::StatusCode::kUnavailable, "text 3: ");
  EXPECT_THAT(embed(texts), is_named);
  EXPECT_EQ(crashes, 3);
  // It is known from now on.
  for (int i = 0; i < 10; ++i) {
    EXPECT_THAT(embed(texts), is_named);
  }
  EXPECT_THAT(embed({Text(kPoison)}),
              StatusIs(absl::StatusCode::kUnavailable, "text 0: "));
  texts.erase(texts.begin() + 3);
  EXPECT_OK(embed(texts));
  EXPECT_EQ(crashes, 3);
  EXPECT_EQ(RemoteStatus(pool).lost, 3);
}

TEST_F(RemoteWorkerTest, StartedAgainTwiceWithItsBatchesItBlamesNoText) {
  std::optional<Gates> gates(1);
  std::optional<Process> worker = SpawnWorker({});
  const std::string address = AddressOf(*worker);
  WorkerPool pool(PoolOptions(0, {{.address = address}}));
  // Comes again until it is told something else than that nobody is there.
  auto call = std::async(std::launch::async, [&] {
    absl::Status status;
    EXPECT_TRUE(Eventually([&] {
      status = pool.Embed({Text(1), Text(2), Text(3)}, {}).status();
      return ReasonOf(status) != kModelUnreachableReason;
    }));
    return status;
  });
  for (int restart = 1; restart <= 2; ++restart) {
    const UniqueFd gate = gates->Await(0);
    if (restart == 2) {
      gates.reset();
    }
    worker->Kill();
    worker.emplace(Successor(address));
  }
  EXPECT_OK(call.get());
  EXPECT_EQ(RemoteStatus(pool).lost, 2);
  // Together, and then one by one.
  EXPECT_EQ(pool.status().batches.batches, 1 + 1 + 3);
}

TEST_F(RemoteWorkerTest, KilledAtRandomUnderLoadTheyLoseNothing) {
  constexpr int kClients = 4;
  constexpr int kKills = 20;
  std::vector<std::optional<Process>> workers(2);
  std::vector<RemoteWorker> remote;
  for (std::optional<Process>& worker : workers) {
    worker.emplace(SpawnWorker({}));
    remote.push_back({.address = AddressOf(*worker)});
  }
  WorkerPool pool(PoolOptions(1, remote));
  std::map<int, std::vector<float>> expected;
  for (int name = 1; name <= 40; ++name) {
    const absl::StatusOr<Matrix> vector = pool.Embed({Text(name, name)}, {});
    ASSERT_OK(vector);
    expected[name].assign(vector->row(0).begin(), vector->row(0).end());
  }
  std::atomic<bool> over = false;
  std::atomic<int> answered = 0;
  std::atomic<int> unavailable = 0;
  std::vector<std::jthread> clients;
  for (int client = 0; client < kClients; ++client) {
    clients.emplace_back([&, client] {
      std::mt19937 random(static_cast<uint32_t>(client));
      while (!over) {
        std::vector<std::vector<int32_t>> texts;
        std::vector<int> names;
        for (size_t count = 1 + random() % 8; count > 0; --count) {
          names.push_back(1 + static_cast<int>(random() % 40));
          texts.push_back(Text(names.back(), names.back()));
        }
        const absl::StatusOr<Matrix> vectors = pool.Embed(
            texts, {.priority = client % 2 == 0 ? EmbedPriority::kSearch
                                                : EmbedPriority::kIngest});
        if (!vectors.ok()) {
          // Two connections were lost with it.
          EXPECT_THAT(vectors, StatusIs(absl::StatusCode::kUnavailable,
                                        "cannot be reached"));
          EXPECT_EQ(ReasonOf(vectors.status()), kModelUnreachableReason);
          ++unavailable;
          continue;
        }
        ++answered;
        for (size_t row = 0; row < names.size(); ++row) {
          ASSERT_THAT(vectors->row(row),
                      ElementsAreArray(expected[names[row]]));
        }
      }
    });
  }
  for (int kill = 0; kill < kKills; ++kill) {
    const size_t victim = static_cast<size_t>(kill) % workers.size();
    workers[victim]->Kill();
    workers[victim].emplace(Successor(remote[victim].address));
  }
  over = true;
  clients.clear();
  EXPECT_GT(answered, 10 * unavailable);
  const WorkerPool::Status status = pool.status();
  EXPECT_EQ(status.search_tokens + status.ingest_tokens, 0);
}

TEST_F(RemoteWorkerTest, SeveralPoolsShareOne) {
  const Process worker = SpawnWorker({});
  WorkerPool first(PoolOptions(0, {{.address = AddressOf(worker)}}));
  WorkerPool second(PoolOptions(0, {{.address = AddressOf(worker)}}));
  const std::vector<float> expected = VectorOf(Text(7));
  std::vector<std::jthread> clients;
  for (WorkerPool* pool : {&first, &second, &first, &second}) {
    clients.emplace_back([&expected, pool] {
      for (int i = 0; i < 50; ++i) {
        const absl::StatusOr<Matrix> vectors =
            pool->Embed({Text(7), Text(100 + i)}, {});
        ASSERT_OK(vectors);
        ASSERT_THAT(vectors->row(0), ElementsAreArray(expected));
      }
    });
  }
  clients.clear();
  EXPECT_EQ(RemoteStatus(first).lost + RemoteStatus(second).lost, 0);
}

TEST_F(RemoteWorkerTest, APoolEndsWithoutWaitingForItsBatch) {
  const Gates gates(1);
  const Process worker = SpawnWorker({});
  WorkerPool::Options options =
      PoolOptions(0, {{.address = AddressOf(worker)}});
  options.batch_timeout = absl::Seconds(20);
  auto pool = std::make_unique<WorkerPool>(options);
  std::atomic<bool> cancelled = false;
  auto call = std::async(std::launch::async, [&] {
    return pool->Embed({Text(1)}, {.cancelled = [&] { return !!cancelled; }});
  });
  const UniqueFd gate = gates.Await(0);
  cancelled = true;
  EXPECT_THAT(call.get(), StatusIs(absl::StatusCode::kCancelled, ""));
  const absl::Time begin = absl::Now();
  pool.reset();
  EXPECT_LT(absl::Now() - begin, options.batch_timeout / 2);
}

// A port that takes connections and never says anything.
class SilentPort {
 public:
  SilentPort() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    PCHECK(::bind(socket_.get(), generic, size) == 0);
    PCHECK(::listen(socket_.get(), 64) == 0);
    PCHECK(::getsockname(socket_.get(), generic, &size) == 0);
    address_ = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
  }

  const std::string& address() const { return address_; }

 private:
  UniqueFd socket_;
  std::string address_;
};

TEST(RemoteWorker, NoQueryWaitsForOneThatDoesNotAnswer) {
  const SilentPort port;
  // Whichever of the two is thought of first.
  for (int i = 0; i < 20; ++i) {
    WorkerPool pool(PoolOptions(1, {{.address = port.address()}}));
    EXPECT_OK(pool.Embed({Text(1)}, {}));
    EXPECT_EQ(RemoteStatus(pool).last_error, "");
  }
}

TEST(RemoteWorker, OneThatDoesNotAnswerIsGivenUp) {
  const SilentPort port;
  WorkerPool::Options options = PoolOptions(0, {{.address = port.address()}});
  options.connect_timeout = absl::Milliseconds(100);
  WorkerPool pool(options);
  EXPECT_THAT(pool.Embed({Text(1)}, {}),
              StatusIs(absl::StatusCode::kUnavailable, "cannot be reached"));
}

// A worker that answers as the test says: gRPC and what lies between have
// errors that no process can be made to give.
class ScriptedWorker : public v1::EmbedderService::Service {
 public:
  using Answer = std::function<grpc::Status(grpc::ServerContext&,
                                            const v1::EmbedTokensRequest&)>;

  // What it says that it is on connection number n, from 1; empty: nothing.
  using Instance = std::function<std::string(int)>;

  explicit ScriptedWorker(
      Answer answer, Instance instance = [](int) { return ""; })
      : answer_(std::move(answer)), instance_(std::move(instance)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~ScriptedWorker() override { server_->Shutdown(); }

  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }
  // GetModel begins each.
  int connections() const { return connections_; }

  grpc::Status GetModel(grpc::ServerContext* context,
                        const v1::GetModelRequest*,
                        v1::GetModelResponse* response) override {
    response->set_dimension(kDimension);
    response->set_fingerprint(fingerprint_);
    if (const std::string instance = instance_(++connections_);
        !instance.empty()) {
      context->AddTrailingMetadata("pith-instance", instance);
    }
    return grpc::Status::OK;
  }
  grpc::Status EmbedTokens(grpc::ServerContext* context,
                           const v1::EmbedTokensRequest* request,
                           v1::EmbedTokensResponse* response) override {
    EXPECT_EQ(request->fingerprint(), fingerprint_);
    std::vector<float> vector(kDimension);
    vector[0] = 1;
    for (int i = 0; i < request->text_lengths_size(); ++i) {
      response->mutable_vectors()->append(
          reinterpret_cast<const char*>(vector.data()),  // NOLINT(*-cast)
          vector.size() * sizeof(float));
    }
    return answer_(*context, *request);
  }

 private:
  const Answer answer_;
  const Instance instance_;
  const std::string fingerprint_ = FingerprintOf(kModel);
  std::atomic<int> connections_ = 0;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

TEST(RemoteWorker, WhatIsNotTheModelsErrorIsNoEvidenceAgainstAText) {
  for (const grpc::StatusCode code :
       {grpc::StatusCode::UNAVAILABLE, grpc::StatusCode::INTERNAL,
        grpc::StatusCode::CANCELLED, grpc::StatusCode::UNKNOWN,
        grpc::StatusCode::INVALID_ARGUMENT, grpc::StatusCode::UNIMPLEMENTED,
        grpc::StatusCode::DEADLINE_EXCEEDED,
        grpc::StatusCode::FAILED_PRECONDITION,
        grpc::StatusCode::PERMISSION_DENIED,
        grpc::StatusCode::UNAUTHENTICATED}) {
    SCOPED_TRACE(code);
    std::atomic<int> calls = 0;
    ScriptedWorker worker(
        [&](grpc::ServerContext&, const v1::EmbedTokensRequest& request) {
          EXPECT_EQ(request.text_lengths_size(), 2);
          ++calls;
          return grpc::Status(code, "stream reset");
        });
    WorkerPool pool(PoolOptions(0, {{.address = worker.address()}}));
    const absl::Status status = pool.Embed({Text(1), Text(2)}, {}).status();
    EXPECT_THAT(status,
                StatusIs(absl::StatusCode::kUnavailable, "stream reset"));
    EXPECT_EQ(ReasonOf(status), kModelUnreachableReason);
    EXPECT_THAT(status.message(), Not(HasSubstr("text ")));
    EXPECT_EQ(calls, 2);
    EXPECT_EQ(RemoteStatus(pool).lost, 2);
  }
}

TEST(RemoteWorker, OnlyAnotherProcessBehindItsAddressIsEvidence) {
  const auto lose_poison = [](grpc::ServerContext&,
                              const v1::EmbedTokensRequest& request) {
    return std::ranges::find(request.token_ids(), 900) ==
                   request.token_ids().end()
               ? grpc::Status::OK
               : grpc::Status(grpc::StatusCode::UNAVAILABLE, "stream reset");
  };
  const auto embed = [](WorkerPool& pool) {
    return pool.Embed({Text(1), Text(900)}, {}).status();
  };
  // One process; and one that does not say which it is.
  for (const std::string instance : {"one", ""}) {
    ScriptedWorker worker(lose_poison, [&](int) { return instance; });
    WorkerPool pool(PoolOptions(0, {{.address = worker.address()}}));
    for (int call = 0; call < 3; ++call) {
      EXPECT_EQ(ReasonOf(embed(pool)), kModelUnreachableReason);
    }
    EXPECT_EQ(RemoteStatus(pool).lost, 6);
    EXPECT_EQ(RemoteStatus(pool).embedded_texts, 0);
  }
  ScriptedWorker worker(lose_poison, [](int n) { return absl::StrCat(n); });
  WorkerPool pool(PoolOptions(0, {{.address = worker.address()}}));
  EXPECT_EQ(ReasonOf(embed(pool)), kModelUnreachableReason);
  const absl::Status named = embed(pool);
  EXPECT_THAT(named, StatusIs(absl::StatusCode::kUnavailable,
                              "text 1: model workers died 2 times"));
  EXPECT_NE(ReasonOf(named), kModelUnreachableReason);
  EXPECT_EQ(embed(pool), named);
  EXPECT_EQ(RemoteStatus(pool).lost, 3);
  EXPECT_EQ(RemoteStatus(pool).embedded_texts, 2);
}

TEST(RemoteWorker, TheModelsErrorIsTracedToItsText) {
  ScriptedWorker worker(
      [](grpc::ServerContext& context, const v1::EmbedTokensRequest& request) {
        if (std::ranges::find(request.token_ids(), 900) ==
            request.token_ids().end()) {
          return grpc::Status::OK;
        }
        context.AddTrailingMetadata("pith-model-error", "");
        return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "no memory");
      });
  WorkerPool pool(PoolOptions(0, {{.address = worker.address()}}));
  EXPECT_THAT(
      pool.Embed({Text(1), Text(900)}, {}),
      StatusIs(absl::StatusCode::kResourceExhausted, "text 1: no memory"));
  EXPECT_OK(pool.Embed({Text(1)}, {}));
  EXPECT_EQ(RemoteStatus(pool).lost, 0);
}

TEST(RemoteWorker, ABusyOneIsAskedAgainAndNotBroken) {
  std::atomic<int> calls = 0;
  ScriptedWorker worker(
      [&](grpc::ServerContext&, const v1::EmbedTokensRequest& request) {
        EXPECT_EQ(request.text_lengths_size(), 2);
        return ++calls <= 4
                   ? grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "busy")
                   : grpc::Status::OK;
      });
  WorkerPool pool(PoolOptions(0, {{.address = worker.address()}}));
  EXPECT_OK(pool.Embed({Text(1), Text(2)}, {}));
  EXPECT_EQ(calls, 5);
  EXPECT_EQ(worker.connections(), 1);
  EXPECT_EQ(RemoteStatus(pool).lost, 0);
  EXPECT_EQ(RemoteStatus(pool).last_error, "");
}

TEST(RemoteWorker, WhileOneIsBusyAProcessWorks) {
  ScriptedWorker worker(
      [](grpc::ServerContext&, const v1::EmbedTokensRequest&) {
        return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "busy");
      });
  WorkerPool pool(PoolOptions(1, {{.address = worker.address()}}));
  for (int name = 1; name <= 20; ++name) {
    EXPECT_OK(pool.Embed({Text(name), Text(name + 20, 200)}, {}));
  }
}

TEST(RemoteWorker, ASlowOnesBatchesDoNotGrowWithAFastOnes) {
  std::atomic<int> largest = 0;
  ScriptedWorker slow(
      [&](grpc::ServerContext&, const v1::EmbedTokensRequest& request) {
        largest = std::max<int>(largest, request.token_ids_size());
        std::this_thread::sleep_for(request.token_ids_size() *
                                    std::chrono::microseconds(40));
        return grpc::Status::OK;
      });
  std::atomic<int> largest_fast = 0;
  ScriptedWorker fast(
      [&](grpc::ServerContext&, const v1::EmbedTokensRequest& request) {
        // Leaves some for the other.
        EXPECT_TRUE(Eventually([&] { return largest > 0; }));
        largest_fast = std::max<int>(largest_fast, request.token_ids_size());
        return grpc::Status::OK;
      });
  WorkerPool pool(PoolOptions(
      0, {{.address = slow.address()}, {.address = fast.address()}}));
  for (int round = 0; round < 5; ++round) {
    std::vector<std::vector<int32_t>> texts;
    for (int name = 1; name <= 4000; ++name) {
      texts.push_back(Text(name, 64));
    }
    ASSERT_OK(pool.Embed(texts, {.priority = EmbedPriority::kIngest}));
  }
  // In 25 ms it has time for 625.
  EXPECT_LE(largest, 1024);
  EXPECT_GT(largest_fast, 1024);
}

TEST_F(RemoteWorkerTest, TheDaemonUsesItAndStatusShowsIt) {
  const Process worker = SpawnWorker({"--token-file", token_file_.string()});
  const fs::path data = folder_ / "data";
  const Process daemon =
      Spawn(PITH_DAEMON,
            {"--data-dir", data.string(), "--default-model", kModel.string(),
             "--workers", "0", "--remote-worker", AddressOf(worker),
             "--remote-worker-token-file", token_file_.string()});
  const auto pith = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(),
                     {"--data-dir", data.string(), "--no-start"});
    return Spawn(PITH_CLI, arguments).Wait();
  };
  ASSERT_TRUE(Eventually([&] { return pith({"status"}).exit_code == 0; }));
  fs::create_directory(folder_ / "docs");
  WriteFile(folder_ / "docs/fox.md", "quick brown fox");
  const ProcessResult added = pith({"add", (folder_ / "docs").string()});
  EXPECT_EQ(added.exit_code, 0) << added.err;
  const ProcessResult found = pith({"search", "brown fox"});
  EXPECT_EQ(found.exit_code, 0) << found.err;
  EXPECT_THAT(found.out, HasSubstr("fox.md"));
  const std::string shown = absl::StrCat("ready, at ", AddressOf(worker), ", ");
  EXPECT_THAT(pith({"status"}).out, HasSubstr(shown));
  EXPECT_THAT(pith({"status", "--json"}).out,
              HasSubstr(absl::StrCat("\"", AddressOf(worker), "\"")));
  EXPECT_THAT(ReadFile(daemon.Output(".err")).value(), Not(HasSubstr(kToken)));
}

TEST_F(RemoteWorkerTest, TheDaemonSetsAPassageAsideThatKillsIt) {
  const nlohmann::json tokenizer =
      nlohmann::json::parse(ReadFile(kModel / "tokenizer.json").value());
  const ScopedVariable crash("PITH_FAKE_CRASH_TOKEN",
                             tokenizer["model"]["vocab"]["dog"].dump());
  std::optional<Process> worker = SpawnWorker({});
  const std::string address = AddressOf(*worker);
  const fs::path data = folder_ / "data";
  const Process daemon =
      Spawn(PITH_DAEMON,
            {"--data-dir", data.string(), "--default-model", kModel.string(),
             "--workers", "0", "--remote-worker", address});
  const auto pith = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(),
                     {"--data-dir", data.string(), "--no-start"});
    return Spawn(PITH_CLI, arguments).Wait();
  };
  ASSERT_TRUE(Eventually([&] { return pith({"status"}).exit_code == 0; }));
  // More than the indexer embeds at a time.
  fs::create_directory(folder_ / "docs");
  for (int i = 0; i < 40; ++i) {
    WriteFile(folder_ / absl::StrCat("docs/fox", i, ".md"),
              i == 7 ? "lazy dog" : absl::StrCat("quick brown fox ", i));
  }
  const Process add =
      Spawn(PITH_CLI, {"add", (folder_ / "docs").string(), "--data-dir",
                       data.string(), "--no-start"});
  for (int death = 1; death <= 3; ++death) {
    ASSERT_TRUE(Eventually([&] { return !worker->Runs(); })) << death;
    worker.emplace(Successor(address));
  }
  std::string status;
  EXPECT_TRUE(Eventually([&] {
    status = pith({"status", "--json"}).out;
    return absl::StrContains(status, R"("failed_passages": 1,)");
  })) << status;
  EXPECT_THAT(status, AllOf(HasSubstr(R"("pending_passages": 1,)"),
                            HasSubstr("text 0: model workers died 2 times")));
  EXPECT_TRUE(worker->Runs());
  EXPECT_THAT(pith({"search", "brown fox 39"}).out, HasSubstr("fox39.md"));
}

TEST_F(RemoteWorkerTest, TheDaemonRefusesFlagsThatMakeNoSense) {
  const auto refused = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(),
                     {"--data-dir", (folder_ / "data").string()});
    const ProcessResult result = Ended(Spawn(PITH_DAEMON, arguments));
    EXPECT_NE(result.exit_code, 0);
    return result.err;
  };
  EXPECT_THAT(refused({"--workers", "0"}), HasSubstr("no --remote-worker"));
  EXPECT_THAT(refused({"--remote-worker", "192.0.2.1:7070"}),
              HasSubstr("TLS and its root certificates are needed"));
  EXPECT_THAT(refused({"--remote-worker", "nonsense"}),
              HasSubstr("not HOST:PORT"));
  EXPECT_THAT(refused({"--remote-worker-token-file", token_file_.string()}),
              HasSubstr("--remote-worker"));
  WriteFile(folder_ / "empty", "");
  EXPECT_THAT(refused({"--remote-worker", "127.0.0.1:7070",
                       "--remote-worker-ca", (folder_ / "empty").string()}),
              HasSubstr("it is empty"));
  fs::permissions(token_file_, fs::perms::group_read, fs::perm_options::add);
  EXPECT_THAT(refused({"--remote-worker", "127.0.0.1:7070",
                       "--remote-worker-token-file", token_file_.string()}),
              HasSubstr("its mode is 640"));
}

}  // namespace
}  // namespace pith
