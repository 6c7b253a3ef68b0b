#include "core/base/paths.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace pith {
namespace fs = std::filesystem;

namespace {

fs::path AbsoluteOrEmpty(const std::string& variable) {
  fs::path path(variable);
  return path.is_absolute() ? path : fs::path();
}

fs::path FromFlag(const std::string& flag, const fs::path& working_directory) {
  fs::path path = (working_directory / flag).lexically_normal();
  // "data/" normalises to a path with an empty last name.
  return path.has_filename() || path == path.root_path() ? path
                                                         : path.parent_path();
}

}  // namespace

absl::StatusOr<StandardPaths> ResolveStandardPaths(const PathInputs& inputs) {
  const fs::path home = AbsoluteOrEmpty(inputs.home);
  const fs::path data_home = AbsoluteOrEmpty(inputs.xdg_data_home);
  const fs::path runtime = AbsoluteOrEmpty(inputs.xdg_runtime_dir);

  fs::path default_data;
  if (!data_home.empty()) {
    default_data = (data_home / "pith").lexically_normal();
  } else if (!home.empty()) {
    default_data = (home / ".local/share/pith").lexically_normal();
  }

  StandardPaths paths;
  paths.data_directory =
      inputs.data_directory.empty()
          ? default_data
          : FromFlag(inputs.data_directory, inputs.working_directory);
  if (paths.data_directory.empty()) {
    return absl::InvalidArgumentError(
        "find the data directory: neither --data-dir nor XDG_DATA_HOME nor "
        "HOME names an absolute path");
  }
  if (!inputs.socket.empty()) {
    paths.socket = FromFlag(inputs.socket, inputs.working_directory);
  } else if (runtime.empty() || !inputs.data_directory.empty()) {
    paths.socket = paths.data_directory / "run/pith.sock";
  } else {
    paths.socket = (runtime / "pith/pith.sock").lexically_normal();
  }
  if (paths.socket.native().size() > kMaxSocketPathBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "socket path ", paths.socket.string(), " has ",
        paths.socket.native().size(), " bytes, a Unix socket's may have ",
        kMaxSocketPathBytes, "; give a shorter one with --socket"));
  }
  paths.lock = paths.data_directory / "pithd.lock";
  paths.log = paths.data_directory / "pithd.log";
  paths.models_directory =
      (default_data.empty() ? paths.data_directory : default_data) / "models";
  return paths;
}

}  // namespace pith
