// Reads any bytes as tokenizer.json. What loads cuts text into tokens that it
// says it has, as many as it counts.

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <memory>
#include <string_view>

#include "glog/logging.h"

#include "embedder/tokenizer.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

void Use(const Tokenizer& tokenizer, std::string_view text) {
  const Encoding encoding = tokenizer.Encode(text, 1 << 20);
  CHECK_EQ(encoding.truncated_tokens, 0);
  CHECK_EQ(encoding.ids.size(),
           static_cast<size_t>(tokenizer.Count(text)) +
               static_cast<size_t>(tokenizer.special_tokens()));
  for (const int32_t id : encoding.ids) {
    CHECK_GE(id, 0);
    CHECK_LT(id, tokenizer.vocab_size());
  }
}

}  // namespace
}  // namespace pith

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const pith::TempDirectory directory;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::ofstream(directory.path() / "tokenizer.json", std::ios::binary) << bytes;
  const auto tokenizer = pith::Tokenizer::Load(directory.path());
  if (tokenizer.ok()) {
    pith::Use(**tokenizer,
              "the  caf\u00e9, it's 12 \uff21\u0301 <mask>\u2603\n");
    pith::Use(**tokenizer, bytes.substr(0, 256));
  }
  return 0;
}
