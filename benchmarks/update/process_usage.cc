#include "benchmarks/update/process_usage.h"

#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"

#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kWatchInterval = absl::Milliseconds(20);

// The number behind "name:" in a file of such lines.
absl::StatusOr<uint64_t> ReadNumber(const fs::path& path,
                                    std::string_view name) {
  PITH_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(": \t"), absl::SkipEmpty());
    uint64_t number = 0;
    if (words.size() >= 2 && StdView(words[0]) == name &&
        absl::SimpleAtoi(words[1], &number)) {
      return number;
    }
  }
  return absl::InternalError(absl::StrCat("read ", path.string(), ": no \"",
                                          AbslView(name), "\" in it"));
}

absl::StatusOr<uint64_t> StatusBytes(std::string_view name) {
  PITH_ASSIGN_OR_RETURN(const uint64_t kibibytes,
                        ReadNumber("/proc/self/status", name));
  return kibibytes << 10;
}

size_t OpenFiles() {
  std::error_code error;
  size_t count = 0;
  for (fs::directory_iterator entry("/proc/self/fd", error);
       !error && entry != fs::directory_iterator(); entry.increment(error)) {
    ++count;
  }
  return count;
}

}  // namespace

absl::StatusOr<uint64_t> WrittenBytes() {
  PITH_ASSIGN_OR_RETURN(const uint64_t written,
                        ReadNumber("/proc/self/io", "write_bytes"));
  PITH_ASSIGN_OR_RETURN(const uint64_t cancelled,
                        ReadNumber("/proc/self/io", "cancelled_write_bytes"));
  return written - std::min(written, cancelled);
}

absl::StatusOr<uint64_t> ResidentBytes() {
  return StatusBytes("VmRSS");
}

absl::StatusOr<uint64_t> PeakResidentBytes() {
  return StatusBytes("VmHWM");
}

absl::Status ResetPeakMemory() {
  std::ofstream file("/proc/self/clear_refs");
  if (!(file << "5" << std::flush)) {
    return absl::InternalError("write /proc/self/clear_refs: failed");
  }
  return absl::OkStatus();
}

absl::Duration ProcessorTime() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return absl::DurationFromTimeval(usage.ru_utime) +
         absl::DurationFromTimeval(usage.ru_stime);
}

OpenFileWatch::OpenFileWatch()
    : watcher_([this](const std::stop_token& stop) {
        while (!stop.stop_requested()) {
          peak_ = std::max(peak_.load(), OpenFiles());
          absl::SleepFor(kWatchInterval);
        }
      }) {}

}  // namespace pith
