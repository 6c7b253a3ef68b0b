#include "core/storage/snapshot.h"

#include <algorithm>
#include <optional>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#include "core/base/file.h"
#include "core/base/hash.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"

namespace pith {
namespace fs = std::filesystem;

namespace {

constexpr char kSums[] = "SHA256SUMS";
// Of a few hundred thousand files.
constexpr uint64_t kMaxSumsBytes = uint64_t{32} << 20;
constexpr size_t kDigits = 64;

struct SnapshotFile {
  // Relative to the snapshot.
  std::string name;
  // Lower-case hexadecimal.
  std::string sha256;
  uint64_t bytes = 0;
};

// Counts what is read of all files.
class Meter {
 public:
  Meter(const std::vector<SnapshotFile>& files, const WorkControl& control)
      : control_(control) {
    for (const SnapshotFile& file : files) {
      total_ += file.bytes;
    }
  }

  uint64_t total() const { return total_; }

  absl::Status Add(uint64_t bytes) {
    bytes_ += bytes;
    control_.progress(bytes_, total_);
    return control_.cancelled() ? absl::CancelledError("cancelled")
                                : absl::OkStatus();
  }

 private:
  const WorkControl& control_;
  uint64_t bytes_ = 0;
  uint64_t total_ = 0;
};

// The SHA-256 of the file in hexadecimal; `use` gets its bytes, too.
absl::StatusOr<std::string> HashFile(
    const fs::path& path, Meter& meter,
    absl::FunctionRef<absl::Status(std::string_view)> use) {
  Sha256 hash;
  const absl::Status visited =
      VisitFile(path, [&](std::string_view bytes) -> absl::Status {
        hash.Update(bytes);
        PITH_RETURN_IF_ERROR(use(bytes));
        return meter.Add(bytes.size());
      });
  PITH_RETURN_IF_ERROR(visited);
  return ToHex(hash.Finish());
}

absl::Status Ignore(std::string_view /*bytes*/) {
  return absl::OkStatus();
}

absl::StatusOr<std::vector<SnapshotFile>> ListFiles(const fs::path& directory) {
  std::vector<SnapshotFile> files;
  std::error_code error;
  fs::recursive_directory_iterator it(directory, error);
  for (; !error && it != fs::recursive_directory_iterator();
       it.increment(error)) {
    if (it->is_regular_file(error) && !error) {
      const std::string name = it->path().lexically_relative(directory);
      files.push_back({.name = name, .bytes = it->file_size(error)});
    }
    if (error) {
      break;
    }
  }
  if (error) {
    return ErrnoStatus(error.value(), "list", directory);
  }
  std::sort(files.begin(), files.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return files;
}

// A name that leads nowhere but into the snapshot.
bool IsInside(const std::string& name) {
  const fs::path path(name);
  return !name.empty() && path.is_relative() && path.has_filename() &&
         name.find('\0') == std::string::npos &&
         std::none_of(path.begin(), path.end(), [](const fs::path& part) {
           return part == ".." || part == ".";
         });
}

absl::StatusOr<std::vector<SnapshotFile>> ReadSums(const fs::path& directory) {
  PITH_RETURN_IF_ERROR(CheckFinished(directory));
  PITH_ASSIGN_OR_RETURN(const std::string sums,
                        ReadFile(directory / kSums, kMaxSumsBytes));
  std::vector<SnapshotFile> files;
  std::set<std::string> names;
  for (const absl::string_view line :
       absl::StrSplit(sums, '\n', absl::SkipEmpty())) {
    SnapshotFile file;
    const bool has_name =
        line.size() > kDigits + 2 && line.substr(kDigits, 2) == "  ";
    if (has_name) {
      file.sha256 = std::string(line.substr(0, kDigits));
      file.name = std::string(line.substr(kDigits + 2));
    }
    if (!has_name || !IsInside(file.name) || !names.insert(file.name).second) {
      return absl::DataLossError(
          absl::StrCat("read ", (directory / kSums).string(), ": line ",
                       files.size() + 1, " names no file of a snapshot"));
    }
    std::error_code error;
    file.bytes = fs::file_size(directory / file.name, error);
    if (error) {
      return absl::DataLossError(
          absl::StrCat("read ", (directory / file.name).string(), ": ",
                       error.message(), ", but ", kSums, " names it"));
    }
    files.push_back(std::move(file));
  }
  PITH_ASSIGN_OR_RETURN(const std::vector<SnapshotFile> present,
                        ListFiles(directory));
  for (const SnapshotFile& file : present) {
    if (file.name != kSums && !names.contains(file.name)) {
      return absl::DataLossError(
          absl::StrCat("read ", (directory / file.name).string(), ": ", kSums,
                       " does not name it"));
    }
  }
  return files;
}

absl::Status CheckSum(const fs::path& path, const SnapshotFile& file,
                      const std::string& actual) {
  if (actual == file.sha256) {
    return absl::OkStatus();
  }
  return absl::DataLossError(
      absl::StrCat("read ", path.string(), ": the SHA-256 of its bytes is ",
                   actual, ", ", kSums, " says ", file.sha256));
}

// Copies `files` and asks `check` about each and its SHA-256.
absl::Status CopyFiles(
    const fs::path& directory, const fs::path& to,
    const std::vector<SnapshotFile>& files, const WorkControl& control,
    absl::FunctionRef<absl::Status(const fs::path&, const SnapshotFile&,
                                   const std::string& hash)>
        check) {
  Meter meter(files, control);
  PITH_RETURN_IF_ERROR(CreatePrivateDirectories(to));
  std::set<fs::path> directories = {to};
  for (const SnapshotFile& file : files) {
    const fs::path from = directory / file.name;
    const fs::path copy = to / file.name;
    PITH_RETURN_IF_ERROR(CreatePrivateDirectories(copy.parent_path()));
    directories.insert(copy.parent_path());
    PITH_ASSIGN_OR_RETURN(NewFile written, NewFile::Create(copy));
    PITH_ASSIGN_OR_RETURN(const std::string hash,
                          HashFile(from, meter, [&](std::string_view bytes) {
                            return written.Write(bytes);
                          }));
    PITH_RETURN_IF_ERROR(check(from, file, hash));
    PITH_RETURN_IF_ERROR(written.Sync());
  }
  for (const fs::path& path : directories) {
    PITH_RETURN_IF_ERROR(SyncPath(path));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<uint64_t> FinishSnapshot(const fs::path& directory,
                                        const WorkControl& control) {
  PITH_ASSIGN_OR_RETURN(const std::vector<SnapshotFile> files,
                        ListFiles(directory));
  Meter meter(files, control);
  std::string sums;
  std::set<fs::path> directories = {directory};
  for (const SnapshotFile& file : files) {
    const fs::path path = directory / file.name;
    PITH_RETURN_IF_ERROR(SyncPath(path));
    PITH_ASSIGN_OR_RETURN(const std::string hash,
                          HashFile(path, meter, Ignore));
    absl::StrAppend(&sums, hash, "  ", file.name, "\n");
    directories.insert(path.parent_path());
  }
  for (const fs::path& path : directories) {
    PITH_RETURN_IF_ERROR(SyncPath(path));
  }
  PITH_RETURN_IF_ERROR(WriteFileAtomically(directory / kSums, sums));
  return meter.total() + sums.size();
}

absl::Status CheckFinished(const fs::path& directory) {
  std::error_code error;
  if (fs::exists(directory / kSums, error)) {
    return absl::OkStatus();
  }
  if (error) {
    return ErrnoStatus(error.value(), "read", directory / kSums);
  }
  return absl::NotFoundError(absl::StrCat(
      directory.string(), " is no finished snapshot: it has no ", kSums));
}

absl::Status CheckSnapshot(const fs::path& directory,
                           const WorkControl& control) {
  PITH_ASSIGN_OR_RETURN(const std::vector<SnapshotFile> files,
                        ReadSums(directory));
  Meter meter(files, control);
  for (const SnapshotFile& file : files) {
    const fs::path path = directory / file.name;
    PITH_ASSIGN_OR_RETURN(const std::string hash,
                          HashFile(path, meter, Ignore));
    PITH_RETURN_IF_ERROR(CheckSum(path, file, hash));
  }
  return absl::OkStatus();
}

absl::Status CopySnapshot(const fs::path& directory, const fs::path& to,
                          const WorkControl& control) {
  PITH_ASSIGN_OR_RETURN(const std::vector<SnapshotFile> files,
                        ReadSums(directory));
  return CopyFiles(
      directory, to, files, control,
      [](const fs::path& from, const SnapshotFile& file,
         const std::string& hash) { return CheckSum(from, file, hash); });
}

absl::Status CopyTree(const fs::path& directory, const fs::path& to,
                      const WorkControl& control) {
  PITH_ASSIGN_OR_RETURN(const std::vector<SnapshotFile> files,
                        ListFiles(directory));
  return CopyFiles(
      directory, to, files, control,
      [](const fs::path& /*from*/, const SnapshotFile& /*file*/,
         const std::string& /*hash*/) { return absl::OkStatus(); });
}

}  // namespace pith
