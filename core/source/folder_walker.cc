#include "core/source/folder_walker.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"
#include "core/source/ignore_rules.h"
#include "core/source/path_order.h"
#include "core/source/reconcile.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxIgnoreFileBytes = uint64_t{16} << 20;

// In ascending precedence.
constexpr std::array<std::string_view, 2> kIgnoreFileNames = {".gitignore",
                                                              ".pithignore"};

std::string SystemMessage(int error_number) {
  return std::generic_category().message(error_number);
}

// An ignore file and, below it in precedence, those that came before.
struct IgnoreScope {
  std::string file_name;
  // Bytes of the absolute path of the file's directory, with a slash.
  size_t prefix_bytes = 0;
  IgnoreRules rules;
  std::shared_ptr<const IgnoreScope> outer;
};
using ScopePtr = std::shared_ptr<const IgnoreScope>;

struct Directory {
  std::string path;
  ScopePtr scope;
};

struct DirectoryEntry {
  std::string name;
  mode_t type = 0;
  FileStamp stamp;
  bool readable = false;
};

class DirectoryStream {
 public:
  explicit DirectoryStream(DIR* stream) : stream_(stream) {}
  DirectoryStream(const DirectoryStream&) = delete;
  DirectoryStream& operator=(const DirectoryStream&) = delete;
  ~DirectoryStream() { ::closedir(stream_); }
  DIR* get() const { return stream_; }

 private:
  DIR* const stream_;
};

class Walk {
 public:
  Walk(const FolderWalkOptions& options, const WalkVisitor& visitor)
      : options_(options), visitor_(visitor), start_(absl::Now()) {}

  absl::Status Run(const std::string& root) {
    PITH_ASSIGN_OR_RETURN(ScopePtr scope, ScopesAbove(root));
    return RunFrom({root, std::move(scope)}, /*is_root=*/true);
  }

  // As Run, restricted to the path whose parts below `root` are `names`, of
  // which there is one or more.
  absl::Status RunBelow(const std::string& root,
                        const std::vector<std::string>& names) {
    PITH_ASSIGN_OR_RETURN(ScopePtr above, ScopesAbove(root));
    Directory directory = {root, std::move(above)};
    for (size_t i = 0; i < names.size(); ++i) {
      absl::StatusOr<ScopePtr> scope =
          ScopeOf(directory.path, std::move(directory.scope));
      if (!scope.ok()) {
        return CannotEnter(directory.path, scope.status(), /*is_root=*/i == 0);
      }
      directory.scope = *std::move(scope);
      const std::string path = JoinPath(directory.path, names[i]);
      struct stat status {};
      if (::lstat(path.c_str(), &status) != 0) {
        if (errno != ENOENT && errno != ENOTDIR) {
          visitor_.skipped(path, SkipReason::kUnreadable, SystemMessage(errno));
        }
        return absl::OkStatus();
      }
      const DirectoryEntry entry =
          EntryOf(names[i], status, AT_FDCWD, path.c_str());
      if (SkipByName(path, entry, directory.scope.get())) {
        return absl::OkStatus();
      }
      directory.path = path;
      if (S_ISDIR(entry.type)) {
        continue;
      }
      if (S_ISREG(entry.type)) {
        return i + 1 == names.size() ? VisitFile(path, entry)
                                     : absl::OkStatus();
      }
      SkipByType(path, entry);
      return absl::OkStatus();
    }
    return RunFrom(std::move(directory), /*is_root=*/false);
  }

  DirectoryEntry EntryOf(std::string_view name, const struct stat& status,
                         int directory_fd, const char* path) const {
    return {.name = std::string(name),
            .type = status.st_mode & S_IFMT,
            .stamp = StampOf(status, start_),
            .readable = S_ISREG(status.st_mode) &&
                        ::faccessat(directory_fd, path, R_OK, AT_EACCESS) == 0};
  }

  absl::Status RunFrom(Directory top, bool is_root) {
    // One directory is open at a time, and none waits on the stack of calls.
    std::vector<Directory> pending;
    PITH_RETURN_IF_ERROR(Visit(top, &pending, is_root));
    while (!pending.empty()) {
      const Directory directory = std::move(pending.back());
      pending.pop_back();
      PITH_RETURN_IF_ERROR(Visit(directory, &pending, false));
    }
    return absl::OkStatus();
  }

  // Visits a file that may hold text; kCancelled if the visitor stops.
  absl::Status VisitFile(const std::string& path, const DirectoryEntry& file) {
    if (file.stamp.bytes == 0) {
      visitor_.skipped(path, SkipReason::kEmpty, "");
    } else if (file.stamp.bytes > options_.max_file_bytes) {
      visitor_.skipped(path, SkipReason::kTooLarge,
                       absl::StrCat(file.stamp.bytes, " bytes, the limit is ",
                                    options_.max_file_bytes));
    } else if (!file.readable) {
      visitor_.skipped(path, SkipReason::kUnreadable, SystemMessage(EACCES));
    } else if (!visitor_.file(path, file.stamp)) {
      return absl::CancelledError(
          absl::StrCat("walk stopped by its visitor at ", path));
    }
    return absl::OkStatus();
  }

 private:
  // Nothing of a directory that cannot be entered is visited; without `root`
  // there is nothing at all.
  absl::Status CannotEnter(const std::string& directory,
                           const absl::Status& why, bool is_root) {
    if (is_root) {
      return why;
    }
    visitor_.skipped(directory, SkipReason::kUnreadable,
                     StdView(why.message()));
    return absl::OkStatus();
  }

  // `outer` with the ignore files of `directory` in front. An error if one of
  // them cannot be read: what it keeps out is not known.
  static absl::StatusOr<ScopePtr> ScopeOf(const std::string& directory,
                                          ScopePtr outer) {
    for (const std::string_view name : kIgnoreFileNames) {
      const std::string path = JoinPath(directory, name);
      // As git does, a link is not taken for an ignore file.
      struct stat status {};
      if (::lstat(path.c_str(), &status) != 0) {
        if (errno != ENOENT && errno != ENOTDIR) {
          return ErrnoStatus(errno, "stat", path);
        }
        continue;
      }
      if (!S_ISREG(status.st_mode)) {
        continue;
      }
      const absl::StatusOr<std::string> content =
          ReadFile(path, kMaxIgnoreFileBytes);
      if (absl::IsNotFound(content.status())) {
        continue;
      }
      PITH_RETURN_IF_ERROR(content.status());
      IgnoreRules rules = IgnoreRules::Parse(*content);
      if (!rules.empty()) {
        outer = std::make_shared<const IgnoreScope>(
            IgnoreScope{.file_name = path,
                        .prefix_bytes = path.size() - name.size(),
                        .rules = std::move(rules),
                        .outer = std::move(outer)});
      }
    }
    return outer;
  }

  // Of the directories from the one that holds .git down to the parent of
  // `root`; null if none holds it.
  static absl::StatusOr<ScopePtr> ScopesAbove(const std::string& root) {
    std::vector<std::string> directories;
    bool in_repository = false;
    for (fs::path directory = root;; directory = directory.parent_path()) {
      if (directory != root) {
        directories.push_back(directory.string());
      }
      struct stat status {};
      if (::lstat((directory / ".git").c_str(), &status) == 0) {
        in_repository = true;
        break;
      }
      if (!directory.has_relative_path()) {
        break;
      }
    }
    ScopePtr scope;
    if (in_repository) {
      for (auto it = directories.rbegin(); it != directories.rend(); ++it) {
        PITH_ASSIGN_OR_RETURN(scope, ScopeOf(*it, std::move(scope)));
      }
    }
    return scope;
  }

  static const IgnoreRules::Rule* Decide(const IgnoreScope* scope,
                                         const std::string& path,
                                         bool is_directory,
                                         const IgnoreScope** decider) {
    for (; scope != nullptr; scope = scope->outer.get()) {
      if (const IgnoreRules::Rule* rule = scope->rules.Match(
              std::string_view(path).substr(scope->prefix_bytes),
              is_directory)) {
        *decider = scope;
        return rule;
      }
    }
    return nullptr;
  }

  // True, and said to the visitor, if the name or a rule keeps `path` out.
  bool SkipByName(const std::string& path, const DirectoryEntry& entry,
                  const IgnoreScope* scope) {
    if (entry.name.starts_with('.')) {
      visitor_.skipped(path, SkipReason::kHidden, "");
      return true;
    }
    const IgnoreScope* decider = nullptr;
    const IgnoreRules::Rule* rule =
        Decide(scope, path, S_ISDIR(entry.type), &decider);
    if (rule == nullptr || rule->negated) {
      return false;
    }
    visitor_.skipped(
        path, SkipReason::kIgnored,
        absl::StrCat(decider->file_name, ":", rule->line, ": ", rule->text));
    return true;
  }

  // The entries of `directory` by name. What cannot be looked at is said to the
  // visitor.
  absl::StatusOr<std::vector<DirectoryEntry>> Read(const std::string& directory,
                                                   bool is_root) {
    UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC |
                                              (is_root ? 0 : O_NOFOLLOW)));
    if (!fd.valid()) {
      return ErrnoStatus(errno, "open", directory);
    }
    DIR* const opened = ::fdopendir(fd.get());
    if (opened == nullptr) {
      return ErrnoStatus(errno, "open", directory);
    }
    (void)fd.release();  // Closed with the stream.
    const DirectoryStream stream(opened);
    std::vector<DirectoryEntry> entries;
    while (true) {
      errno = 0;
      const dirent* next = ::readdir(stream.get());
      if (next == nullptr) {
        break;
      }
      const std::string_view name = next->d_name;
      if (name == "." || name == "..") {
        continue;
      }
      const int directory_fd = ::dirfd(stream.get());
      struct stat status {};
      if (::fstatat(directory_fd, next->d_name, &status, AT_SYMLINK_NOFOLLOW) !=
          0) {
        visitor_.skipped(JoinPath(directory, name), SkipReason::kUnreadable,
                         SystemMessage(errno));
        continue;
      }
      entries.push_back(EntryOf(name, status, directory_fd, next->d_name));
    }
    if (errno != 0) {
      visitor_.skipped(directory, SkipReason::kUnreadable,
                       SystemMessage(errno));
    }
    std::sort(entries.begin(), entries.end(),
              [](const DirectoryEntry& a, const DirectoryEntry& b) {
                return a.name < b.name;
              });
    return entries;
  }

  // Visits the files of `directory` and puts its subdirectories on `pending`,
  // the first on top.
  absl::Status Visit(const Directory& directory,
                     std::vector<Directory>* pending, bool is_root) {
    if (visitor_.directory != nullptr) {
      visitor_.directory(directory.path);
    }
    const absl::StatusOr<std::vector<DirectoryEntry>> entries =
        Read(directory.path, is_root);
    if (!entries.ok()) {
      return CannotEnter(directory.path, entries.status(), is_root);
    }
    const absl::StatusOr<ScopePtr> scope =
        ScopeOf(directory.path, directory.scope);
    if (!scope.ok()) {
      return CannotEnter(directory.path, scope.status(), is_root);
    }
    const size_t first = pending->size();
    for (const DirectoryEntry& entry : *entries) {
      const std::string path = JoinPath(directory.path, entry.name);
      if (SkipByName(path, entry, scope->get())) {
        continue;
      }
      if (S_ISREG(entry.type)) {
        PITH_RETURN_IF_ERROR(VisitFile(path, entry));
      } else if (S_ISDIR(entry.type)) {
        pending->push_back({path, *scope});
      } else {
        SkipByType(path, entry);
      }
    }
    std::reverse(pending->begin() + static_cast<std::ptrdiff_t>(first),
                 pending->end());
    return absl::OkStatus();
  }

  // Says that `path`, neither a file nor a directory, is skipped.
  void SkipByType(const std::string& path, const DirectoryEntry& entry) {
    visitor_.skipped(
        path,
        S_ISLNK(entry.type) ? SkipReason::kSymlink : SkipReason::kNotRegular,
        "");
  }

  const FolderWalkOptions& options_;
  const WalkVisitor& visitor_;
  const absl::Time start_;
};

}  // namespace

std::string_view SkipReasonName(SkipReason reason) {
  switch (reason) {
    case SkipReason::kHidden:
      return "hidden";
    case SkipReason::kIgnored:
      return "ignored";
    case SkipReason::kNotRegular:
      return "not_regular";
    case SkipReason::kSymlink:
      return "symlink";
    case SkipReason::kEmpty:
      return "empty";
    case SkipReason::kTooLarge:
      return "too_large";
    case SkipReason::kBinary:
      return "binary";
    case SkipReason::kNotUtf8:
      return "not_utf8";
    case SkipReason::kUnreadable:
      return "unreadable";
  }
  return "unknown";
}

absl::Status WalkFolder(const fs::path& root, const FolderWalkOptions& options,
                        const WalkVisitor& visitor) {
  return WalkBelow(root, root, options, visitor);
}

absl::Status WalkBelow(const fs::path& root, const fs::path& top,
                       const FolderWalkOptions& options,
                       const WalkVisitor& visitor) {
  if (!root.is_absolute() || root.lexically_normal() != root) {
    return absl::InvalidArgumentError(
        absl::StrCat("walk ", root.string(),
                     ": the path is not absolute or has . or .. in it"));
  }
  std::string path = root.string();
  if (path.size() > 1 && path.ends_with('/')) {
    path.pop_back();
  }
  std::vector<std::string> names;
  for (const fs::path& name : top.lexically_relative(path)) {
    names.push_back(name.string());
  }
  if (names.empty() || names[0] == "..") {
    return absl::InvalidArgumentError(
        absl::StrCat("walk ", top.string(), ": it does not lie below ", path));
  }
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    return ErrnoStatus(errno, "walk", path);
  }
  Walk walk(options, visitor);
  if (S_ISDIR(status.st_mode)) {
    return names[0] == "." ? walk.Run(path) : walk.RunBelow(path, names);
  }
  if (names[0] != ".") {
    return absl::OkStatus();
  }
  if (!S_ISREG(status.st_mode)) {
    visitor.skipped(path, SkipReason::kNotRegular, "");
    return absl::OkStatus();
  }
  if (::access(path.c_str(), R_OK) != 0) {
    return ErrnoStatus(errno, "read", path);
  }
  return walk.VisitFile(path, walk.EntryOf(root.filename().string(), status,
                                           AT_FDCWD, path.c_str()));
}

}  // namespace pith
