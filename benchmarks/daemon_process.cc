#include "benchmarks/daemon_process.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <limits>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"

#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace pith {
namespace {

constexpr absl::Duration kStartLimit = absl::Seconds(30);

}  // namespace

absl::StatusOr<std::unique_ptr<DaemonProcess>> DaemonProcess::Start(
    const Options& options) {
  if (access(options.executable.c_str(), X_OK) != 0) {
    return ErrnoStatus(errno, "execute", options.executable);
  }
  std::string directory =
      (std::filesystem::temp_directory_path() / "pith-bench-XXXXXX").string();
  if (mkdtemp(directory.data()) == nullptr) {
    return ErrnoStatus(errno, "create", directory);
  }
  std::unique_ptr<DaemonProcess> daemon(new DaemonProcess(directory));
  PITH_RETURN_IF_ERROR(daemon->Spawn(options));
  PITH_RETURN_IF_ERROR(daemon->Connect());
  return daemon;
}

DaemonProcess::DaemonProcess(std::filesystem::path directory)
    : directory_(std::move(directory)) {}

DaemonProcess::~DaemonProcess() {
  channel_ = nullptr;
  if (pid_ > 0) {
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

absl::Status DaemonProcess::Spawn(const Options& options) {
  std::vector<std::string> arguments = {options.executable.string(),
                                        "--data-dir",
                                        (directory_ / "data").string(),
                                        "--socket",
                                        (directory_ / "pith.sock").string(),
                                        "--default-model",
                                        options.model,
                                        "--precision",
                                        options.precision,
                                        "--vector-cache-mb",
                                        absl::StrCat(options.vector_cache_mb)};
  std::vector<char*> argv;
  for (std::string& argument : arguments) {
    argv.push_back(argument.data());
  }
  argv.push_back(nullptr);

  const pid_t pid = fork();
  if (pid < 0) {
    return ErrnoStatus(errno, "fork for", options.executable);
  }
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    execv(argv[0], argv.data());
    _exit(127);
  }
  pid_ = pid;
  return absl::OkStatus();
}

absl::Status DaemonProcess::Connect() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(std::numeric_limits<int>::max());
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 100);
  channel_ = grpc::CreateCustomChannel(
      absl::StrCat("unix:", (directory_ / "pith.sock").string()),
      grpc::InsecureChannelCredentials(), arguments);
  const absl::Time deadline = absl::Now() + kStartLimit;
  while (!channel_->WaitForConnected(
      absl::ToChronoTime(absl::Now() + absl::Milliseconds(200)))) {
    if (waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = 0;
      return absl::UnavailableError("pithd exited at once");
    }
    if (absl::Now() > deadline) {
      return absl::UnavailableError(absl::StrCat(
          "pithd does not listen after ", absl::FormatDuration(kStartLimit)));
    }
  }
  return absl::OkStatus();
}

}  // namespace pith
