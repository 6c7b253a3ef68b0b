// pith, the command line: parses, picks the command, turns its outcome into the
// exit code: 0 found or done, 1 nothing found, 2 error.

#include <locale.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <iostream>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

#include "clients/cli/commands.h"
#include "clients/cli/rpc_status.h"
#include "clients/cli/text.h"
#include "core/base/paths.h"

namespace pith::cli {
namespace {
namespace fs = std::filesystem;

constexpr int kExitError = 2;
constexpr char kHelpHint[] =
    "pith --help lists the commands, pith COMMAND --help the options of one";

using Command = std::function<absl::StatusOr<Outcome>(const Invocation&)>;

// What the arguments ask for. CLI11 writes into it while it parses.
struct CommandLine {
  CLI::Option* collection = nullptr;
  std::string data_directory;
  std::string socket;
  bool no_start = false;
  Invocation invocation;
  std::vector<std::string> words;
  std::string argument;
  AddOptions add;
  SearchOptions search;
  CreateCollectionOptions create;
  bool recompute = false;
  std::string restored_name;
  std::string prefix;
  // A path.
  std::string snapshot;
  Command command;
};

// A subcommand that runs `command`.
CLI::App* AddCommand(CLI::App& parent, CommandLine& line, const char* name,
                     const char* description, Command command) {
  CLI::App* app = parent.add_subcommand(name, description);
  app->callback(
      [&line, command = std::move(command)] { line.command = command; });
  return app;
}

// One that is not of a collection, or names it itself.
CLI::App* AddGeneralCommand(CLI::App& parent, CommandLine& line,
                            const char* name, const char* description,
                            Command command) {
  return AddCommand(parent, line, name, description,
                    [command = std::move(command),
                     name](const Invocation& call) -> absl::StatusOr<Outcome> {
                      if (call.collection_given) {
                        return WithHint(absl::InvalidArgumentError(absl::StrCat(
                                            "--collection ", call.collection,
                                            " does not apply to ", name)),
                                        kHelpHint);
                      }
                      return command(call);
                    });
}

CLI::App* AddGroup(CLI::App& parent, const char* name,
                   const char* description) {
  return parent.add_subcommand(name, description);
}

// The arguments of add and watch.
void DefineAdd(CLI::App* command, AddOptions& add, const char* what) {
  command->add_option("PATH", add.paths, what)->required();
  command->add_option("--model", add.model,
                      "Model of the default collection, if it is created now");
  command
      ->add_option("--profile", add.profile,
                   "Profile of the default collection, if it is created now "
                   "(pith collection create --help)")
      ->check(CLI::IsMember({"minimal", "balanced", "fast"}));
  command->add_flag("-v,--verbose", add.verbose,
                    "Name all files that were skipped");
}

void Define(CLI::App& app, CommandLine& line) {
  app.fallthrough();
  app.set_version_flag("--version", "pith " PITH_VERSION);
  line.collection =
      app.add_option("-c,--collection", line.invocation.collection,
                     "Collection to work on (default: default)");
  app.add_option("--data-dir", line.data_directory,
                 "Data directory (default: $XDG_DATA_HOME/pith)");
  app.add_option("--socket", line.socket,
                 "The daemon's socket (default: $XDG_RUNTIME_DIR/pith/"
                 "pith.sock; with --data-dir, run/pith.sock in that)");
  app.add_flag("--json", line.invocation.json,
               "Print one JSON object; errors as JSON on standard error");
  app.add_flag("--no-start", line.no_start, "Fail rather than start a daemon");
  app.footer("Exit code: 0 found or done, 1 nothing found, 2 error.");

  DefineAdd(
      AddCommand(
          app, line, "add", "Index files and folders, or bring them up to date",
          [&line](const Invocation& call) { return Add(call, line.add); }),
      line.add, "Files and folders");
  DefineAdd(
      AddCommand(app, line, "watch",
                 "Index folders and keep them up to date from now on, over "
                 "restarts of the daemon",
                 [&line](const Invocation& call) {
                   AddOptions options = line.add;
                   options.watch = true;
                   return Add(call, options);
                 }),
      line.add, "Folders");
  AddCommand(
      app, line, "unwatch",
      "Keep folders up to date no longer; their documents stay",
      [&line](const Invocation& call) { return Unwatch(call, line.words); })
      ->add_option("PATH", line.words, "Watched folders")
      ->required();
  AddCommand(app, line, "sources",
             "Show the folders that are watched: what is indexed, skipped, "
             "failed, and how they are watched; with --collection, of one",
             Sources);

  CLI::App* search = AddCommand(app, line, "search", "Find passages by meaning",
                                [&line](const Invocation& call) {
                                  line.search.query =
                                      absl::StrJoin(line.words, " ");
                                  return Search(call, line.search);
                                });
  search->add_option("QUERY", line.words, "What to look for")->required();
  search->add_option("-k,--count", line.search.count,
                     "How many passages, 1 to 1,000 (default: 10)");
  search->add_option("--recall", line.search.recall,
                     "Share of the true best to find on average, 0.5 to 0.999: "
                     "as many candidates are embedded again as that takes "
                     "(default: 0.95)");
  search->add_option("--rerank", line.search.rerank,
                     "How many candidates are embedded again, up to 2,000; "
                     "with --recall, at most as many");
  search
      ->add_option("--mode", line.search.mode,
                   "What finds candidates. codes: codes alone (default); "
                   "two-level: embedding passages on the way, where there is "
                   "a graph; slower, for models whose codes are poor")
      ->check(CLI::IsMember({"codes", "two-level"}));
  search->add_option("--beam", line.search.beam,
                     "Nodes that a walk over a graph keeps, 1 to 10,000 "
                     "(default: 1,024, more for a recall target above 0.95)");

  AddCommand(
      app, line, "get",
      "Print a document's text without control characters; --json has "
      "it as it was added",
      [&line](const Invocation& call) { return Get(call, line.argument); })
      ->add_option("ID", line.argument, "A document's id or path")
      ->required();
  CLI::App* remove =
      AddCommand(app, line, "rm",
                 "Remove documents from the index; exit code 1 if one of them "
                 "is not in it",
                 [&line](const Invocation& call) {
                   return Remove(call, line.words, line.prefix);
                 });
  CLI::Option* removed =
      remove->add_option("ID", line.words, "Documents' ids or paths");
  remove
      ->add_option("--prefix", line.prefix,
                   "Every document whose id, or path, starts with this")
      ->excludes(removed);
  AddCommand(
      app, line, "ls", "List documents",
      [&line](const Invocation& call) { return List(call, line.argument); })
      ->add_option("PREFIX", line.argument,
                   "Only ids, or paths, that start with this");
  AddCommand(app, line, "export",
             "Print every document as a line of JSON: id, title, text, "
             "metadata",
             Export);
  AddCommand(
      app, line, "import",
      "Add documents from lines of JSON as `pith export` prints them",
      [&line](const Invocation& call) { return Import(call, line.argument); })
      ->add_option("FILE", line.argument, "A file, or - for standard input")
      ->required();
  AddGeneralCommand(app, line, "status", "Show what is stored and what runs",
                    Status);
  CLI::App* compact = AddCommand(
      app, line, "compact",
      "Seal all passages of a collection: the fewest bytes, the fastest "
      "searches",
      [&line](const Invocation& call) {
        return Compact(call, line.recompute);
      });
  compact
      ->add_option("COLLECTION", line.invocation.collection, "As --collection")
      ->excludes(line.collection);
  compact->add_flag(
      "--recompute", line.recompute,
      "Make codes from recomputed vectors, with one new codebook: "
      "as much work as adding everything");

  AddCommand(
      app, line, "snapshot",
      "Copy a collection as it is now to a new folder, while it is used; "
      "SHA256SUMS in it has the checksums",
      [&line](const Invocation& call) { return Snapshot(call, line.argument); })
      ->add_option("PATH", line.argument, "A folder that does not exist")
      ->required();
  CLI::App* restore =
      AddCommand(app, line, "restore", "Make a collection from a snapshot",
                 [&line](const Invocation& call) {
                   return Restore(call, line.argument,
                                  call.collection_given ? call.collection
                                                        : line.restored_name);
                 });
  restore->add_option("PATH", line.argument, "A snapshot's folder")->required();
  restore
      ->add_option("NAME", line.restored_name,
                   "The new collection's name, as --collection (default: that "
                   "of the one that the snapshot is of)")
      ->excludes(line.collection);
  CLI::App* verify = AddCommand(
      app, line, "verify",
      "Read every byte of a collection, and compare its parts with each other",
      [&line](const Invocation& call) { return Verify(call, line.snapshot); });
  CLI::Option* verified = verify->add_option(
      "COLLECTION", line.invocation.collection, "As --collection");
  verified->excludes(line.collection);
  verify
      ->add_option("--snapshot", line.snapshot,
                   "Verify the snapshot in this folder instead")
      ->excludes(verified)
      ->excludes(line.collection);
  AddCommand(app, line, "repair",
             "Verify a collection, and mend what can be made again from its "
             "texts",
             Repair)
      ->add_option("COLLECTION", line.invocation.collection, "As --collection")
      ->excludes(line.collection);

  CLI::App* collection =
      AddGroup(app, "collection", "Create, list and delete collections");
  CLI::App* create = AddGeneralCommand(
      *collection, line, "create", "Create an empty collection",
      [&line](const Invocation& call) {
        return CreateCollection(call, line.create);
      });
  create->add_option("NAME", line.create.name, "Its name")->required();
  create->add_option("--model", line.create.model,
                     "A model's name, org/name or folder");
  create
      ->add_option("--chunking", line.create.chunking,
                   "structure: cut at headings and paragraphs (default); "
                   "none: a document is one passage")
      ->check(CLI::IsMember({"structure", "none"}));
  create->add_option("--target-tokens", line.create.target_tokens,
                     "Size of a passage in the model's tokens (default: 200)");
  create->add_flag("--no-context", line.create.no_context,
                   "Embed passages without their headings");
  create
      ->add_option("--profile", line.create.profile,
                   "What a sealed passage costs. minimal: 33 bytes, more to "
                   "embed again a search; balanced: 49 bytes (default); fast: "
                   "97 bytes, half as much to embed again")
      ->check(CLI::IsMember({"minimal", "balanced", "fast"}));
  create
      ->add_option(
          "--vectors", line.create.vectors,
          "Where exact vectors come from. recompute: the model, "
          "nothing is stored (default, unless recomputing costs "
          "money); f16, i8: stored, two or one bytes a dimension and "
          "passage; hubs: stored for 2 % of a segment's passages, from "
          "200,000 on")
      ->check(CLI::IsMember({"recompute", "f16", "i8", "hubs"}));
  AddGeneralCommand(*collection, line, "list", "List collections",
                    ListCollections);
  AddGeneralCommand(*collection, line, "delete",
                    "Delete a collection and its documents, for good",
                    [&line](const Invocation& call) {
                      return DeleteCollection(call, line.argument);
                    })
      ->add_option("NAME", line.argument, "Its name")
      ->required();

  CLI::App* model = AddGroup(app, "model", "Show models");
  AddGeneralCommand(*model, line, "list",
                    "List the models that are found by name", ListModels);
  AddGeneralCommand(*model, line, "info", "Check and describe a model",
                    [&line](const Invocation& call) {
                      return ModelInfo(call, line.argument);
                    })
      ->add_option("MODEL", line.argument,
                   "A model's name, org/name or folder (default: the daemon's "
                   "default)");

  CLI::App* daemon = AddGroup(app, "daemon", "Start and stop the daemon");
  AddGeneralCommand(*daemon, line, "start", "Start it, if none runs",
                    [&line](const Invocation& call) {
                      Invocation with_arguments = call;
                      with_arguments.daemon.arguments = line.words;
                      return DaemonStart(with_arguments);
                    })
      ->add_option("ARGUMENT", line.words,
                   "Given to pithd; put -- before the first");
  AddGeneralCommand(*daemon, line, "stop",
                    "Stop it and wait until it has ended", DaemonStop);
  AddGeneralCommand(*daemon, line, "status",
                    "Say whether one runs; exit code 1 if not", DaemonStatus);
}

std::string Environment(const char* name) {
  const char* value = ::getenv(name);
  return value == nullptr ? "" : value;
}

// Where this program lies, then the folders of PATH.
std::vector<fs::path> ProgramDirectories() {
  std::vector<fs::path> directories;
  std::error_code error;
  if (fs::path self = fs::read_symlink("/proc/self/exe", error); !error) {
    directories.push_back(self.parent_path());
  }
  for (const auto& directory :
       absl::StrSplit(Environment("PATH"), ':', absl::SkipEmpty())) {
    directories.emplace_back(std::string(directory));
  }
  return directories;
}

Terminal FindTerminal() {
  Terminal terminal;
  terminal.stdout_is_terminal = ::isatty(STDOUT_FILENO) == 1;
  terminal.stderr_is_terminal = ::isatty(STDERR_FILENO) == 1;
  winsize size = {};
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) {
    if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
      terminal.columns = size.ws_col;
      break;
    }
  }
  return terminal;
}

absl::Status Complete(CommandLine& line) {
  std::error_code error;
  const fs::path working_directory = fs::current_path(error);
  if (error) {
    return absl::FailedPreconditionError("find the working directory: " +
                                         error.message());
  }
  auto paths =
      ResolveStandardPaths({.home = Environment("HOME"),
                            .xdg_data_home = Environment("XDG_DATA_HOME"),
                            .xdg_runtime_dir = Environment("XDG_RUNTIME_DIR"),
                            .data_directory = line.data_directory,
                            .socket = line.socket,
                            .working_directory = working_directory});
  if (!paths.ok()) {
    return paths.status();
  }
  Invocation& invocation = line.invocation;
  invocation.collection_given = line.collection->count() > 0;
  invocation.daemon.paths = *std::move(paths);
  invocation.daemon.may_start = !line.no_start;
  invocation.daemon.program_directories = ProgramDirectories();
  invocation.terminal = FindTerminal();
  invocation.working_directory = working_directory;
  return absl::OkStatus();
}

// What is not UTF-8 is neither text nor in the daemon's messages.
absl::Status CheckUtf8(std::span<char*> arguments) {
  for (const char* argument : arguments) {
    if (!IsUtf8(argument)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "argument \"", PrintableLine(argument), "\" is not UTF-8"));
    }
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  ::setlocale(LC_CTYPE, "C.UTF-8");
  CommandLine line;
  CLI::App app("Search your files by meaning, on your own machine.", "pith");
  Define(app, line);
  absl::Status status;
  try {
    app.parse(argc, argv);
    status = CheckUtf8({argv + std::min(argc, 1), argv + argc});
    if (status.ok()) {
      // CLI11's own check would hide which word is no command.
      status = line.command
                   ? Complete(line)
                   : WithHint(absl::InvalidArgumentError("no command is given"),
                              kHelpHint);
    }
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      return app.exit(error);
    }
    status = WithHint(absl::InvalidArgumentError(error.what()), kHelpHint);
    // The flag is not set yet where parsing failed.
    line.invocation.json =
        std::find(argv, argv + argc, std::string_view("--json")) != argv + argc;
  }
  absl::StatusOr<Outcome> outcome = status.ok()
                                        ? line.command(line.invocation)
                                        : absl::StatusOr<Outcome>(status);
  if (!std::cout.flush() && outcome.ok()) {
    outcome = absl::DataLossError("write to standard output: failed");
  }
  if (!outcome.ok()) {
    std::cerr << ErrorText(outcome.status(), line.invocation.json);
    return kExitError;
  }
  return static_cast<int>(*outcome);
}

}  // namespace
}  // namespace pith::cli

int main(int argc, char** argv) {
  return pith::cli::Main(argc, argv);
}
