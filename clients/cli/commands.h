#ifndef PITH_CLIENTS_CLI_COMMANDS_H_
#define PITH_CLIENTS_CLI_COMMANDS_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "google/rpc/status.pb.h"

#include "clients/cli/daemon.h"
#include "clients/cli/text.h"
#include "proto/pith/v1/collections.pb.h"
#include "proto/pith/v1/sources.pb.h"

// The commands. Each prints its result to standard output, as text or as one
// JSON object, and returns what the process's exit code says; what fails is
// returned as a status.
namespace pith::cli {

enum class Outcome {
  kDone = 0,
  kNothingFound = 1,
};

// The collection that `pith add` creates by itself.
inline constexpr char kDefaultCollection[] = "default";

// What all commands share.
struct Invocation {
  DaemonOptions daemon;
  std::string collection = kDefaultCollection;
  // By --collection.
  bool collection_given = false;
  bool json = false;
  Terminal terminal;
  std::filesystem::path working_directory;
};

struct AddOptions {
  std::vector<std::string> paths;
  // For the default collection, if it has to be created. The profile is as in
  // CreateCollectionOptions.
  std::string model;
  std::string profile;
  // Names all files that were skipped.
  bool verbose = false;
  // The paths are folders, to be kept up to date from now on.
  bool watch = false;
};
absl::StatusOr<Outcome> Add(const Invocation& invocation,
                            const AddOptions& options);

absl::StatusOr<Outcome> Unwatch(const Invocation& invocation,
                                const std::vector<std::string>& paths);
absl::StatusOr<Outcome> Sources(const Invocation& invocation);

struct SearchOptions {
  std::string query;
  std::optional<int32_t> count;
  std::optional<int32_t> rerank;
  std::optional<double> recall;
  // "codes" or "two-level"; empty: the daemon's default.
  std::string mode;
  std::optional<int32_t> beam;
};
absl::StatusOr<Outcome> Search(const Invocation& invocation,
                               const SearchOptions& options);

absl::StatusOr<Outcome> Get(const Invocation& invocation,
                            const std::string& id);
absl::StatusOr<Outcome> Remove(const Invocation& invocation,
                               const std::vector<std::string>& ids,
                               const std::string& prefix);
absl::StatusOr<Outcome> List(const Invocation& invocation,
                             const std::string& prefix);

// Every document as a line of JSON: id, title, text, metadata; what Import
// reads.
absl::StatusOr<Outcome> Export(const Invocation& invocation);
// Adds the documents of a file, or of standard input for "-", and waits until
// they are found. kInvalidArgument, when what can be stored is, if some are
// refused or a line is no document: those before it are stored.
absl::StatusOr<Outcome> Import(const Invocation& invocation,
                               const std::string& file);

absl::StatusOr<Outcome> Status(const Invocation& invocation);

struct CreateCollectionOptions {
  std::string name;
  std::string model;
  // "structure" or "none"; empty: the daemon's default.
  std::string chunking;
  std::optional<int32_t> target_tokens;
  // Embeds passages without their heading path or title.
  bool no_context = false;
  // "minimal", "balanced" or "fast"; empty: the daemon's default.
  std::string profile;
  // "recompute", "f16", "i8" or "hubs"; empty: the daemon's default.
  std::string vectors;
};
absl::StatusOr<Outcome> CreateCollection(
    const Invocation& invocation, const CreateCollectionOptions& options);
absl::StatusOr<Outcome> ListCollections(const Invocation& invocation);
absl::StatusOr<Outcome> DeleteCollection(const Invocation& invocation,
                                         const std::string& name);

// Seals all passages of the collection: into one segment for each codebook, or
// with `recompute` into one with a new codebook.
absl::StatusOr<Outcome> Compact(const Invocation& invocation, bool recompute);

// A snapshot of the collection at `path`, which must not exist.
absl::StatusOr<Outcome> Snapshot(const Invocation& invocation,
                                 const std::string& path);
// A new collection from a snapshot; an empty name is that of the one it is of.
absl::StatusOr<Outcome> Restore(const Invocation& invocation,
                                const std::string& path,
                                const std::string& name);
// Of the collection, or of a snapshot if its path is not empty. kDataLoss if
// problems are found.
absl::StatusOr<Outcome> Verify(const Invocation& invocation,
                               const std::string& snapshot);
// kDataLoss if a problem cannot be mended.
absl::StatusOr<Outcome> Repair(const Invocation& invocation);

absl::StatusOr<Outcome> ListModels(const Invocation& invocation);
absl::StatusOr<Outcome> ModelInfo(const Invocation& invocation,
                                  const std::string& model);

absl::StatusOr<Outcome> DaemonStart(const Invocation& invocation);
absl::StatusOr<Outcome> DaemonStop(const Invocation& invocation);
absl::StatusOr<Outcome> DaemonStatus(const Invocation& invocation);

// What `pith status` says of a source: one line.
std::string SourceLine(const v1::Source& source);

// "NOT_FOUND: message" for a status within a response.
std::string ReasonText(const google::rpc::Status& status);

// A model as the daemon is to find it: a name as it is, a path of an existing
// folder made absolute.
std::string ModelArgument(const std::string& model,
                          const std::filesystem::path& working_directory);

// A profile and what it is called: "minimal", "balanced" or "fast"; an empty
// name is no choice.
v1::CodeProfile ProfileArgument(const std::string& name);
std::string ProfileName(v1::CodeProfile profile);

// `status` of a call on `collection`, with what to do about a collection that
// does not exist.
absl::Status OfCollection(absl::Status status, const std::string& collection);

}  // namespace pith::cli

#endif  // PITH_CLIENTS_CLI_COMMANDS_H_
