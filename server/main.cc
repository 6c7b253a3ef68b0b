// pithd: parses flags, chooses back ends, serves until it is told to stop.

#include <signal.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "glog/logging.h"

#include "core/base/file.h"
#include "core/base/paths.h"
#include "core/base/reason.h"
#include "core/base/status_macros.h"
#include "core/storage/rocksdb_store.h"
#include "embedder/worker.h"
#include "embedder/worker_protocol.h"
#include "embedder/worker_token.h"
#include "server/local_models.h"
#include "server/server.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

// Another process owns the data directory or the socket.
constexpr int kExitAlreadyRunning = 3;

struct Flags {
  std::string data_directory;
  std::string socket;
  std::string default_model = "all-MiniLM-L6-v2";
  std::string worker;
  std::string engine = "onednn";
  std::string precision = "auto";
  std::string device = "auto";
  std::optional<int> workers;
  std::vector<std::string> remote_workers;
  std::string remote_worker_token_file;
  std::string remote_worker_ca;
  int threads =
      std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  int idle_unload_seconds = 600;
  int vector_cache_mb = 16;
  int request_threads = 4;
  size_t seal_passages = Collection::Options().seal_passages;
  int compaction_cpu_percent = 50;
  int compaction_max_load_percent = 50;
  bool compaction_on_battery = false;
  int reconcile_seconds = 300;
  std::optional<size_t> max_watches;
};

std::string Environment(const char* name) {
  // Read before any thread starts.
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return value == nullptr ? "" : value;
}

fs::path HubCache() {
  if (const std::string cache = Environment("HF_HUB_CACHE"); !cache.empty()) {
    return cache;
  }
  if (const std::string home = Environment("HF_HOME"); !home.empty()) {
    return fs::path(home) / "hub";
  }
  return fs::path(Environment("HOME")) / ".cache" / "huggingface" / "hub";
}

absl::StatusOr<fs::path> WorkerPath(const Flags& flags) {
  if (!flags.worker.empty()) {
    return fs::absolute(flags.worker);
  }
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  if (error) {
    return ErrnoStatus(error.value(), "read", "/proc/self/exe");
  }
  return self.parent_path() /
         (flags.engine == "torch" ? "pith-embedder-torch" : "pith-embedder");
}

// One worker a core, each with one thread; or as --engine torch wants them.
// None for --workers 0.
absl::StatusOr<std::vector<WorkerPool::Command>> WorkerCommands(
    const Flags& flags, const fs::path& data_directory) {
  PITH_ASSIGN_OR_RETURN(const fs::path executable, WorkerPath(flags));
  const std::vector<std::string> precision = {"--precision", flags.precision};
  std::vector<WorkerPool::Command> commands;
  const auto add = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), precision.begin(), precision.end());
    commands.push_back({executable, std::move(arguments)});
  };
  if (flags.engine == "torch" && flags.precision == "int8") {
    return absl::InvalidArgumentError(
        "--precision int8: --engine torch has f32 and bf16");
  }
  if (flags.engine == "torch") {
    // One a device; on the CPU, one with all the threads.
    for (const absl::string_view device :
         absl::StrSplit(AbslView(flags.device), ',')) {
      for (int i = 0; i < flags.workers.value_or(1); ++i) {
        add({"--device", std::string(device), "--threads",
             absl::StrCat(flags.threads)});
      }
    }
    return commands;
  }
  if (flags.device != "auto" && flags.device != "cpu") {
    return absl::InvalidArgumentError(absl::StrCat(
        "--device ", flags.device,
        ": --engine onednn runs on the CPU, --engine torch on ", "others"));
  }
  for (int i = 0; i < flags.workers.value_or(flags.threads); ++i) {
    add({"--cache", (data_directory / "precision.json").string()});
  }
  return commands;
}

// All with one token and one set of root certificates.
absl::StatusOr<std::vector<RemoteWorker>> RemoteWorkers(const Flags& flags) {
  std::vector<RemoteWorker> workers;
  if (flags.remote_workers.empty()) {
    return workers;
  }
  PITH_ASSIGN_OR_RETURN(const std::string token,
                        ReadWorkerToken(flags.remote_worker_token_file));
  std::string root_certificates;
  if (!flags.remote_worker_ca.empty()) {
    PITH_ASSIGN_OR_RETURN(root_certificates,
                          ReadFile(flags.remote_worker_ca, kMaxPemBytes));
    // Which would mean no TLS.
    if (root_certificates.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--remote-worker-ca ", flags.remote_worker_ca, ": it is empty"));
    }
  }
  for (const std::string& address : flags.remote_workers) {
    workers.push_back({.address = address,
                       .token = token,
                       .root_certificates = root_certificates});
    PITH_RETURN_IF_ERROR(CheckRemoteWorker(workers.back()));
  }
  return workers;
}

absl::Status Run(const Flags& flags) {
  PITH_ASSIGN_OR_RETURN(
      const StandardPaths paths,
      ResolveStandardPaths({.home = Environment("HOME"),
                            .xdg_data_home = Environment("XDG_DATA_HOME"),
                            .xdg_runtime_dir = Environment("XDG_RUNTIME_DIR"),
                            .data_directory = flags.data_directory,
                            .socket = flags.socket,
                            .working_directory = fs::current_path()}));
  PITH_ASSIGN_OR_RETURN(std::vector<WorkerPool::Command> workers,
                        WorkerCommands(flags, paths.data_directory));
  PITH_ASSIGN_OR_RETURN(std::vector<RemoteWorker> remote_workers,
                        RemoteWorkers(flags));
  if (workers.empty() && remote_workers.empty()) {
    return absl::InvalidArgumentError(
        "--workers 0: there is no --remote-worker either");
  }
  const std::string workers_shown =
      absl::StrCat(workers.size(), " workers ",
                   workers.empty() ? "" : workers.front().executable.string(),
                   remote_workers.empty() ? "" : " and ",
                   absl::StrJoin(flags.remote_workers, ", "));

  // Blocked in every thread; the main thread waits for them below.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  const int inherited = sd_listen_fds(/*unset_environment=*/1);
  if (inherited < 0 || inherited > 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the service manager passed ", inherited, " sockets, not one"));
  }
  std::optional<UniqueFd> inherited_socket;
  if (inherited == 1) {
    inherited_socket.emplace(SD_LISTEN_FDS_START);
  }

  LocalModels models(
      {.search = {.models = paths.models_directory, .hub_cache = HubCache()},
       .default_model = flags.default_model,
       .fingerprint_cache = paths.data_directory / "fingerprints.json",
       .pool = {.workers = std::move(workers),
                .remote_workers = std::move(remote_workers),
                .idle_unload = absl::Seconds(flags.idle_unload_seconds),
                // A GPU wants large batches.
                .max_search_batch_tokens =
                    flags.engine == "torch" && flags.device != "cpu" ? 16384
                                                                     : 512}});
  RocksDbShared shared({});
  // A share of all is no bound, and no load is above all.
  const auto below_all = [](int percent) {
    return percent < 100 ? std::optional(percent / 100.0) : std::nullopt;
  };
  SealThrottle throttle(
      {.cpu_share = below_all(flags.compaction_cpu_percent),
       .max_load = below_all(flags.compaction_max_load_percent),
       .pause_on_battery = !flags.compaction_on_battery});
  const auto open_store =
      [](absl::StatusOr<std::unique_ptr<RocksDbStore>> store)
      -> absl::StatusOr<StoreBackend::OpenStore> {
    PITH_RETURN_IF_ERROR(store.status());
    std::string configuration = (*store)->configuration();
    return StoreBackend::OpenStore{.configuration = std::move(configuration),
                                   .store = *std::move(store)};
  };
  const StoreBackend stores = {
      .create =
          [&](const fs::path& directory, std::string_view configuration) {
            return open_store(
                RocksDbStore::Create(directory, configuration, shared));
          },
      .open =
          [&](const fs::path& directory) {
            return open_store(RocksDbStore::Open(directory, shared));
          },
      .open_read_only =
          [&](const fs::path& directory) {
            return open_store(RocksDbStore::OpenReadOnly(directory, shared));
          }};
  const ServerConfig config = {
      .data_directory = paths.data_directory,
      .socket = paths.socket,
      .request_threads = flags.request_threads,
      .collection = {.seal_passages = flags.seal_passages,
                     .seal_threads = flags.threads,
                     .throttle = &throttle},
      .sources = {.reconcile_interval = absl::Seconds(flags.reconcile_seconds),
                  .max_watches = flags.max_watches},
      .vector_cache_bytes = static_cast<size_t>(flags.vector_cache_mb) << 20};
  LOG(INFO) << "pithd " << PITH_VERSION << ": data " << paths.data_directory
            << ", socket " << paths.socket << ", models "
            << paths.models_directory << ", default model \""
            << flags.default_model << "\", " << workers_shown << ", "
            << flags.precision << " on " << flags.device << ", sealing from "
            << flags.seal_passages << " passages on with "
            << flags.compaction_cpu_percent << " % of the CPU";
  PITH_ASSIGN_OR_RETURN(
      const std::unique_ptr<Server> server,
      Server::Start(config, stores, models, std::move(inherited_socket)));
  LOG(INFO) << "ready";
  sd_notify(0, "READY=1");

  int received = 0;
  sigwait(&signals, &received);
  LOG(INFO) << "stopping on signal " << received;
  sd_notify(0, "STOPPING=1");
  server->Shutdown();
  LOG(INFO) << "stopped";
  return absl::OkStatus();
}

}  // namespace
}  // namespace pith

int main(int argc, char** argv) {
  FLAGS_logtostderr = true;
  google::InitGoogleLogging(argv[0]);

  pith::Flags flags;
  CLI::App app("pithd: semantic-search daemon that stores no embeddings");
  app.set_version_flag("--version", PITH_VERSION);
  app.add_option("--data-dir", flags.data_directory,
                 "Directory of collections [$XDG_DATA_HOME/pith]");
  app.add_option("--socket", flags.socket,
                 "Unix socket to listen on [$XDG_RUNTIME_DIR/pith/pith.sock, "
                 "or run/pith.sock in the data directory]");
  app.add_option("--default-model", flags.default_model,
                 "Model of collections that name none: a path, a name in the "
                 "models directory, or org/name in the Hugging Face cache")
      ->capture_default_str();
  app.add_option("--worker", flags.worker,
                 "Worker executable [the engine's, beside pithd]");
  app.add_option("--engine", flags.engine,
                 "What runs models: onednn (CPU) or torch (CUDA, or CPU)")
      ->check(CLI::IsMember({"onednn", "torch"}))
      ->capture_default_str();
  app.add_option("--precision", flags.precision,
                 "Of the model: auto, f32, bf16, int8 (onednn). auto is the "
                 "fastest that the machine has and that keeps the model's "
                 "vectors")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "int8"}))
      ->capture_default_str();
  app.add_option("--device", flags.device,
                 "auto, cpu or cuda:N; several with commas between them")
      ->capture_default_str();
  app.add_option(
         "--workers", flags.workers,
         "Model processes [one a thread]; with --engine torch, for each "
         "device [1]; 0 with --remote-worker alone")
      ->check(CLI::Range(0, 1024));
  CLI::Option* const remote_worker = app.add_option(
      "--remote-worker", flags.remote_workers,
      "HOST:PORT of a pith-embedder --listen that shall embed, too; may be "
      "given several times");
  app.add_option("--remote-worker-token-file", flags.remote_worker_token_file,
                 "File with the token of the remote workers, mode 600 "
                 "[$PITH_WORKER_TOKEN]")
      ->needs(remote_worker);
  app.add_option("--remote-worker-ca", flags.remote_worker_ca,
                 "PEM file of the root certificates that vouch for them; "
                 "without it no TLS, on this machine only")
      ->needs(remote_worker);
  app.add_option("--threads", flags.threads,
                 "Threads that seal, and of the model")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--idle-unload", flags.idle_unload_seconds,
                 "Seconds without work after which the model's process ends")
      ->check(CLI::Range(1, 1 << 30))
      ->capture_default_str();
  app.add_option("--vector-cache-mb", flags.vector_cache_mb,
                 "Memory for exact vectors that searches ask for often")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  app.add_option("--request-threads", flags.request_threads,
                 "Threads that run requests")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--seal-passages", flags.seal_passages,
                 "Passages that a collection gathers before they are sealed "
                 "into a segment; a codebook takes 1,024 at least")
      ->check(CLI::Range(size_t{1}, size_t{1} << 30))
      ->capture_default_str();
  app.add_option("--compaction-cpu-share", flags.compaction_cpu_percent,
                 "Percent of the CPU, all cores being 100, that sealing and "
                 "compaction take at most")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_option("--compaction-max-load", flags.compaction_max_load_percent,
                 "Percent of the CPU in use by other than niced work above "
                 "which sealing pauses that nobody asked for; 100: it never "
                 "does")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_flag("--compaction-on-battery", flags.compaction_on_battery,
               "Do not pause while the machine runs on battery");
  app.add_option("--reconcile-interval", flags.reconcile_seconds,
                 "Seconds between two complete comparisons of a watched folder "
                 "with its documents")
      ->check(CLI::Range(1, 1 << 30))
      ->capture_default_str();
  app.add_option("--max-watches", flags.max_watches,
                 "Folders that inotify is asked to watch; beyond them changes "
                 "are found by comparing [as many as the system allows]");
  CLI11_PARSE(app, argc, argv);

  const absl::Status status = pith::Run(flags);
  if (!status.ok()) {
    std::cerr << "pithd: " << status.message() << "\n";
    return pith::ReasonOf(status) == pith::kAlreadyRunningReason
               ? pith::kExitAlreadyRunning
               : 1;
  }
  return 0;
}
