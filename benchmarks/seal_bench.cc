// What sealing takes of the CPU under a bound: wall and CPU time, the cores
// that it used in all and in the second in which it used most, and how long a
// thread goes on at most without asking whether it may. --json prints one
// object.

#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "nlohmann/json.hpp"

#include "benchmarks/report.h"
#include "core/base/status_macros.h"
#include "core/base/thread_time.h"
#include "core/codes/rotated_code.h"
#include "core/index/codebook_choice.h"
#include "core/index/collection.h"
#include "core/index/seal_throttle.h"
#include "core/index/sealing.h"

namespace pith {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(20);
constexpr size_t kPhases = static_cast<size_t>(SealPhase::kWriting) + 1;

struct Flags {
  std::string vectors;
  int dimension = 384;
  size_t n = 200'000;
  int threads = 2;
  double percent = 100;
  bool json = false;
};

absl::StatusOr<CodedPassages> Load(const Flags& flags) {
  auto codec = std::make_shared<const RotatedCodec>(flags.dimension);
  CodedPassages coded = {.codec = codec};
  const size_t bytes = codec->code_bytes();
  coded.codes.resize(flags.n * bytes);
  std::vector<float> row(static_cast<size_t>(flags.dimension));
  std::ifstream file(flags.vectors, std::ios::binary);
  for (size_t i = 0; i < flags.n; ++i) {
    if (!file.read(reinterpret_cast<char*>(row.data()),
                   static_cast<std::streamsize>(row.size() * sizeof(float)))) {
      return absl::InvalidArgumentError(
          absl::StrCat("reading ", flags.vectors, ": fewer than ", flags.n,
                       " rows of ", flags.dimension, " floats"));
    }
    codec->Encode(row, std::span(coded.codes).subspan(i * bytes, bytes));
    coded.passages.push_back(PassageId{i});
  }
  return coded;
}

absl::Duration ProcessTime() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return absl::DurationFromTimespec(now);
}

// The CPU time of the process at every tick, while it lives.
class Sampler {
 public:
  Sampler()
      : thread_([this](const std::stop_token& stop) {
          while (!stop.stop_requested()) {
            used_.emplace_back(absl::Now(), ProcessTime());
            absl::SleepFor(kTick);
          }
        }) {}

  // CPU time over time, in the second in which that was most.
  double MostInASecond() {
    thread_ = {};
    double most = 0;
    size_t begin = 0;
    for (const auto& [end_time, end_used] : used_) {
      while (used_[begin + 1].first <= end_time - absl::Seconds(1)) {
        ++begin;
      }
      const auto& [time, used] = used_[begin];
      if (time <= end_time - absl::Seconds(1)) {
        most = std::max(most,
                        absl::FDivDuration(end_used - used, end_time - time));
      }
    }
    return most;
  }

 private:
  std::vector<std::pair<absl::Time, absl::Duration>> used_;
  std::jthread thread_;
};

absl::StatusOr<nlohmann::ordered_json> Run(const Flags& flags) {
  PITH_ASSIGN_OR_RETURN(CodedPassages coded, Load(flags));
  SealThrottle throttle({.cpu_share = flags.percent / 100});
  std::atomic<size_t> phase = 0;
  std::atomic<int64_t> longest[kPhases] = {};
  const SealControl control = {
      .threads = flags.threads,
      .pace =
          [&] {
            thread_local absl::Duration asked = absl::ZeroDuration();
            thread_local size_t asked_in = phase;
            const absl::Duration now = ThreadTime();
            const int64_t used = absl::ToInt64Microseconds(now - asked);
            std::atomic<int64_t>& most = longest[asked_in];
            int64_t before = most;
            while (used > before && !most.compare_exchange_weak(before, used)) {
            }
            asked = now;
            asked_in = phase;
            throttle.Wait([] { return false; });
          },
      .progress = [&](SealPhase now) { phase = static_cast<size_t>(now); }};
  // Loading is not sealing.
  control.pace();
  for (std::atomic<int64_t>& most : longest) {
    most = 0;
  }
  absl::SleepFor(absl::Seconds(1));

  const absl::Time start = absl::Now();
  const absl::Duration before = ProcessTime();
  Sampler sampler;
  PITH_ASSIGN_OR_RETURN(
      auto codebook,
      TrainFromCodes(coded, ShapeOf(CodeProfile::kBalanced, flags.dimension),
                     /*seed=*/1, control));
  const absl::Time trained = absl::Now();
  std::vector<CodedPassages> parts;
  parts.push_back(std::move(coded));
  PITH_RETURN_IF_ERROR(BuildSegment(std::move(parts), codebook,
                                    Collection::kMinGraphPassages, /*seed=*/1,
                                    control)
                           .status());
  control.pace();
  const double wall = absl::ToDoubleSeconds(absl::Now() - start);
  const double cpu = absl::ToDoubleSeconds(ProcessTime() - before);
  const auto milliseconds = [&](SealPhase of) {
    return static_cast<double>(longest[static_cast<size_t>(of)]) / 1e3;
  };
  return nlohmann::ordered_json{
      {"n", flags.n},
      {"threads", flags.threads},
      {"cpu_share_percent", flags.percent},
      {"cores_allowed", flags.percent / 100 * SealThrottle::Options().cores},
      {"seconds", wall},
      {"training_seconds", absl::ToDoubleSeconds(trained - start)},
      {"cpu_seconds", cpu},
      {"cores", cpu / wall},
      {"most_cores_in_a_second", sampler.MostInASecond()},
      {"longest_milliseconds_without_asking",
       {{"training", milliseconds(SealPhase::kTraining)},
        {"encoding", milliseconds(SealPhase::kEncoding)},
        {"building", milliseconds(SealPhase::kBuilding)},
        {"writing", milliseconds(SealPhase::kWriting)}}}};
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Measures the CPU time that sealing takes under a bound.");
  app.add_flag("--json", flags.json, "print one JSON object");
  app.add_option("--vectors", flags.vectors,
                 "file of raw little-endian float rows, of unit norm")
      ->required();
  app.add_option("--dimension", flags.dimension)->check(CLI::Range(1, 8192));
  app.add_option("--n", flags.n)->check(CLI::PositiveNumber);
  app.add_option("--threads", flags.threads)->check(CLI::PositiveNumber);
  app.add_option("--cpu-share", flags.percent,
                 "as pithd --compaction-cpu-share")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  const absl::StatusOr<nlohmann::ordered_json> row = Run(flags);
  if (!row.ok()) {
    std::cerr << "seal_bench: " << row.status() << "\n";
    return EXIT_FAILURE;
  }
  std::cout << (flags.json ? Report("seal_bench", {*row}) : *row).dump()
            << "\n";
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace pith

int main(int argc, char** argv) {
  return pith::Main(argc, argv);
}
