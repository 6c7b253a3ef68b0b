#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"

#include "core/base/file.h"
#include "embedder/worker_main.h"

// A worker without LibTorch: same flags, same service, and vectors that are
// sums of one fixed random vector per token, so that texts with common words
// have similar vectors. Tests steer it by environment variables:
//
// PITH_FAKE_LOAD_ERROR   loading fails with this message (kDataLoss)
// PITH_FAKE_CRASH_TOKEN  a batch with this token id kills the process
// PITH_FAKE_NAN_TOKEN    the vector of a text with this token id is no number
// PITH_FAKE_NORM         the norm of every vector, instead of 1
// PITH_FAKE_GATE         prefix of FIFOs; batch N of the process, from 0, first
//                        opens PREFIX.N, if there is one, for reading and waits
//                        until whoever opened it for writing closes it

namespace pith {
namespace {

// A value in [-1, 1) that depends on its arguments alone.
float RandomValue(int32_t token, int column) {
  uint64_t state =
      (static_cast<uint64_t>(token) << 32) + static_cast<uint64_t>(column) + 1;
  // The finaliser of SplitMix64.
  state *= 0x9e3779b97f4a7c15;
  state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9;
  state = (state ^ (state >> 27)) * 0x94d049bb133111eb;
  state ^= state >> 31;
  return static_cast<float>(static_cast<int64_t>(state)) * 0x1p-63F;
}

class FakeEngine : public Engine {
 public:
  explicit FakeEngine(int dimension) : dimension_(dimension) {}

  int dimension() const override { return dimension_; }

  absl::StatusOr<Matrix> Embed(const PackedTokens& tokens) override {
    if (warm_) {
      WaitAtGate();
    }
    warm_ = true;
    if (const char* crash = std::getenv("PITH_FAKE_CRASH_TOKEN");
        crash != nullptr &&
        std::ranges::find(tokens.ids, std::atoi(crash)) != tokens.ids.end()) {
      raise(SIGKILL);
    }
    Matrix vectors(tokens.size(), static_cast<size_t>(dimension_));
    for (size_t i = 0; i < tokens.size(); ++i) {
      // All texts have the special tokens at their ends in common; leave them
      // out unless there is nothing else.
      int begin = tokens.offsets[i];
      int end = tokens.offsets[i + 1];
      if (end - begin > 2) {
        ++begin;
        --end;
      }
      const std::span<float> row = vectors.row(i);
      float squares = 0;
      for (size_t column = 0; column < row.size(); ++column) {
        for (int token = begin; token < end; ++token) {
          row[column] += RandomValue(tokens.ids[static_cast<size_t>(token)],
                                     static_cast<int>(column));
        }
        squares += row[column] * row[column];
      }
      if (const char* nan = std::getenv("PITH_FAKE_NAN_TOKEN");
          nan != nullptr &&
          std::find(tokens.ids.begin() + begin, tokens.ids.begin() + end,
                    std::atoi(nan)) != tokens.ids.begin() + end) {
        squares = std::numeric_limits<float>::quiet_NaN();
      }
      const char* norm = std::getenv("PITH_FAKE_NORM");
      const float scale = norm == nullptr ? 1 : std::strtof(norm, nullptr);
      for (float& value : row) {
        value *= scale / std::sqrt(squares);
      }
    }
    return vectors;
  }

 private:
  void WaitAtGate() {
    const char* prefix = std::getenv("PITH_FAKE_GATE");
    if (prefix == nullptr) {
      return;
    }
    const std::string gate = absl::StrCat(prefix, ".", batch_++);
    const UniqueFd fd(open(gate.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) {
      return;
    }
    char byte = 0;
    while (read(fd.get(), &byte, 1) > 0) {
    }
  }

  const int dimension_;
  bool warm_ = false;
  int batch_ = 0;
};

absl::StatusOr<LoadedEngine> Load(const ModelSpec& spec) {
  if (const char* error = std::getenv("PITH_FAKE_LOAD_ERROR");
      error != nullptr) {
    return absl::DataLossError(error);
  }
  return LoadedEngine{std::make_unique<FakeEngine>(spec.encoder.hidden_size),
                      "cpu"};
}

}  // namespace
}  // namespace pith

int main(int argc, char** argv) {
  std::string ignored;
  return pith::WorkerMain(
      argc, argv, "Stands in for a model in tests.",
      [&](CLI::App& app) {
        app.add_option("--threads", ignored);
        app.add_option("--device", ignored);
        app.add_option("--cache", ignored);
      },
      [](const pith::ModelSpec& spec, std::optional<pith::Precision>) {
        return pith::Load(spec);
      });
}
