#ifndef PITH_TESTS_WORKER_GATES_H_
#define PITH_TESTS_WORKER_GATES_H_

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "glog/logging.h"
#include "gtest/gtest.h"

#include "core/base/file.h"
#include "tests/temp_directory.h"

namespace pith {

// Sets an environment variable, which workers started meanwhile inherit.
class ScopedVariable {
 public:
  ScopedVariable(std::string name, const std::string& value)
      : name_(std::move(name)) {
    setenv(name_.c_str(), value.c_str(), 1);
  }
  ~ScopedVariable() { unsetenv(name_.c_str()); }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;

 private:
  const std::string name_;
};

// Polls until `condition` holds. False if it does not within a minute.
template <typename Condition>
bool Eventually(const Condition& condition) {
  const absl::Time deadline = absl::Now() + absl::Minutes(1);
  while (!condition()) {
    if (absl::Now() > deadline) {
      return false;
    }
    std::this_thread::yield();
  }
  return true;
}

// Holds back the first `count` batches of every fake worker started while it
// lives.
class Gates {
 public:
  explicit Gates(int count)
      : variable_("PITH_FAKE_GATE", (directory_.path() / "gate").string()) {
    for (int batch = 0; batch < count; ++batch) {
      PCHECK(mkfifo(Path(batch).c_str(), 0600) == 0);
    }
  }

  // Waits until a worker has batch number `batch` before it. The batch runs
  // when the result is destroyed.
  UniqueFd Await(int batch) const {
    UniqueFd fd;
    EXPECT_TRUE(Eventually([&] {
      fd = UniqueFd(
          open(Path(batch).c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
      return fd.valid();
    })) << "batch "
        << batch;
    return fd;
  }

  // Whether worker `pid` has batch number `batch` before it.
  bool IsAt(pid_t pid, int batch) const {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(
             absl::StrCat("/proc/", pid, "/fd"), error)) {
      if (std::filesystem::read_symlink(entry.path(), error) == Path(batch)) {
        return true;
      }
    }
    return false;
  }

 private:
  std::string Path(int batch) const {
    return absl::StrCat((directory_.path() / "gate").string(), ".", batch);
  }

  const TempDirectory directory_;
  const ScopedVariable variable_;
};

}  // namespace pith

#endif  // PITH_TESTS_WORKER_GATES_H_
