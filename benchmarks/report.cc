#include "benchmarks/report.h"

#include <fstream>
#include <string>
#include <thread>
#include <utility>

#include "benchmarks/commit.h"

namespace pith {
namespace {

std::string CpuName() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (const size_t colon = line.find(": ");
        line.starts_with("model name") && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "unknown";
}

}  // namespace

nlohmann::ordered_json Report(std::string_view benchmark,
                              std::vector<nlohmann::ordered_json> rows) {
  return {
      {"benchmark", benchmark},
      {"commit", kCommit},
      {"machine",
       {{"cpu", CpuName()}, {"cores", std::thread::hardware_concurrency()}}},
      {"rows", std::move(rows)}};
}

}  // namespace pith
