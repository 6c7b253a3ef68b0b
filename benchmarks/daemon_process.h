#ifndef PITH_BENCHMARKS_DAEMON_PROCESS_H_
#define PITH_BENCHMARKS_DAEMON_PROCESS_H_

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "grpcpp/channel.h"

namespace pith {

// A pithd of one's own on an empty data directory below the system's temporary
// directory. Destruction stops it and removes the directory; it dies with this
// process too.
class DaemonProcess {
 public:
  struct Options {
    std::filesystem::path executable;
    // --default-model.
    std::string model;
    // --precision.
    std::string precision = "f32";
    // --vector-cache-mb.
    int vector_cache_mb = 0;
  };

  // Returns once the daemon takes connections. kNotFound if there is no such
  // executable, kUnavailable if the daemon exits or does not listen in 30
  // seconds; it says why on standard error.
  static absl::StatusOr<std::unique_ptr<DaemonProcess>> Start(
      const Options& options);
  ~DaemonProcess();
  DaemonProcess(const DaemonProcess&) = delete;
  DaemonProcess& operator=(const DaemonProcess&) = delete;

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

 private:
  explicit DaemonProcess(std::filesystem::path directory);

  absl::Status Spawn(const Options& options);
  absl::Status Connect();

  const std::filesystem::path directory_;
  // 0 until started, and again once it was waited for.
  pid_t pid_ = 0;
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace pith

#endif  // PITH_BENCHMARKS_DAEMON_PROCESS_H_
