#ifndef PITH_CORE_BASE_PATHS_H_
#define PITH_CORE_BASE_PATHS_H_

#include <cstddef>
#include <filesystem>
#include <string>

#include "absl/status/statusor.h"

namespace pith {

// Bytes that a Unix socket's path may have: sun_path without its NUL.
inline constexpr size_t kMaxSocketPathBytes = 107;

// What decides where things lie. The caller reads its environment and flags;
// an empty value is one that is not set.
struct PathInputs {
  std::string home;             // $HOME
  std::string xdg_data_home;    // $XDG_DATA_HOME
  std::string xdg_runtime_dir;  // $XDG_RUNTIME_DIR
  std::string data_directory;   // --data-dir
  std::string socket;           // --socket
  // What relative flags are relative to.
  std::filesystem::path working_directory;
};

// Where a daemon and its clients find each other. All paths are absolute and
// lexically normal.
struct StandardPaths {
  // --data-dir, else $XDG_DATA_HOME/pith, else ~/.local/share/pith.
  std::filesystem::path data_directory;
  // --socket, else run/pith.sock in the data directory if that was given or
  // there is no $XDG_RUNTIME_DIR, else $XDG_RUNTIME_DIR/pith/pith.sock.
  std::filesystem::path socket;
  // The daemon's FileLock, and what it prints when a client started it.
  std::filesystem::path lock;
  std::filesystem::path log;
  // models/ in the default data directory, whatever --data-dir says, so that
  // daemons share models; in the data directory if there is no default.
  std::filesystem::path models_directory;
};

// Variables that are not absolute paths are ignored, as the XDG specification
// asks. kInvalidArgument if the data directory is given neither by flag nor by
// the environment, or the socket's path is longer than kMaxSocketPathBytes.
absl::StatusOr<StandardPaths> ResolveStandardPaths(const PathInputs& inputs);

}  // namespace pith

#endif  // PITH_CORE_BASE_PATHS_H_
