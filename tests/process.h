#ifndef PITH_TESTS_PROCESS_H_
#define PITH_TESTS_PROCESS_H_

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/types.h>
#include <sys/wait.h>

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"

#include "core/base/file.h"

namespace pith {

struct ProcessResult {
  // -1 if a signal ended the process.
  int exit_code = -1;
  std::string out;
  std::string err;
};

struct ProcessOptions {
  std::filesystem::path working_directory;
  // Where its output goes: to this path with ".out" and ".err" behind it.
  std::filesystem::path output;
  // Beside HOME, the working directory. No PATH: only what lies beside the
  // program is found.
  std::vector<std::string> environment;
  // Becomes descriptor 3 of the process.
  std::optional<int> descriptor;
};

// A program that runs. One that nobody has waited for is killed with its owner.
class Process {
 public:
  Process(const std::filesystem::path& program,
          const std::vector<std::string>& arguments,
          const ProcessOptions& options)
      : output_(options.output) {
    std::vector<std::string> words = {program.string()};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<std::string> environment = options.environment;
    environment.push_back(
        absl::StrCat("HOME=", options.working_directory.string()));
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, 1, Output(".out").c_str(),
                                       O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ::posix_spawn_file_actions_addopen(&actions, 2, Output(".err").c_str(),
                                       O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (options.descriptor) {
      ::posix_spawn_file_actions_adddup2(&actions, *options.descriptor, 3);
    }
    ::posix_spawn_file_actions_addchdir_np(&actions,
                                           options.working_directory.c_str());
    CHECK_EQ(
        ::posix_spawn(&pid_, program.c_str(), &actions, nullptr,
                      Pointers(words).data(), Pointers(environment).data()),
        0);
    ::posix_spawn_file_actions_destroy(&actions);
  }
  Process(Process&& other) noexcept
      : output_(std::move(other.output_)), pid_(std::exchange(other.pid_, 0)) {}
  Process& operator=(Process&&) = delete;
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (pid_ != 0) {
      Kill();
    }
  }

  pid_t pid() const { return pid_; }
  std::string Output(const std::string& extension) const {
    return output_.string() + extension;
  }

  bool Runs() const {
    siginfo_t info = {};
    CHECK_EQ(::waitid(P_PID, static_cast<id_t>(pid_), &info,
                      WEXITED | WNOHANG | WNOWAIT),
             0);
    return info.si_pid == 0;
  }

  void Signal(int signal) const { CHECK_EQ(::kill(pid_, signal), 0); }

  ProcessResult Wait() {
    int status = 0;
    CHECK_EQ(::waitpid(pid_, &status, 0), pid_);
    pid_ = 0;
    return {.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
            .out = ReadFile(Output(".out")).value_or("unread"),
            .err = ReadFile(Output(".err")).value_or("unread")};
  }

  // Returns when the process is gone.
  void Kill() {
    Signal(SIGKILL);
    Wait();
  }

 private:
  static std::vector<char*> Pointers(std::vector<std::string>& strings) {
    std::vector<char*> pointers;
    for (std::string& string : strings) {
      pointers.push_back(string.data());
    }
    pointers.push_back(nullptr);
    return pointers;
  }

  std::filesystem::path output_;
  pid_t pid_ = 0;
};

}  // namespace pith

#endif  // PITH_TESTS_PROCESS_H_
