// Gives every file below the directories that it is called with to the fuzzer's
// entry function, with every prefix and every flipped bit of it; no libFuzzer
// needed.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>

#include "core/base/file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

void Run(const std::string& bytes) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()),
                         bytes.size());
}

}  // namespace

int main(int argc, char** argv) {
  size_t files = 0;
  for (int i = 1; i < argc; ++i) {
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(argv[i])) {
      if (!entry.is_regular_file()) {
        continue;
      }
      const auto content = pith::ReadFile(entry.path());
      if (!content.ok()) {
        std::fprintf(stderr, "%s\n", content.status().ToString().c_str());
        return 1;
      }
      ++files;
      Run(*content);
      for (size_t size = 0; size < content->size(); ++size) {
        Run(content->substr(0, size));
      }
      std::string flipped = *content;
      for (size_t bit = 0; bit < 8 * flipped.size(); ++bit) {
        const char mask = static_cast<char>(1 << bit % 8);
        flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ mask);
        Run(flipped);
        flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ mask);
      }
    }
  }
  if (files == 0) {
    std::fprintf(stderr, "no files\n");
    return 1;
  }
  std::printf("%zu files\n", files);
  return 0;
}
