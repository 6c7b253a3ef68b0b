// Prints the token ids of texts, for comparison with other tokenizers:
//
//   tokenize_lines MODEL_DIRECTORY MAX_TOKENS < texts > ids
//
// Each line of input is a JSON string; each line of output has the text's own
// tokens, how many of them were cut off, and the ids.

#include <charconv>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"

#include "embedder/tokenizer.h"

int main(int argc, char** argv) {
  int max_tokens = 0;
  if (argc == 3) {
    const std::string_view argument = argv[2];
    std::from_chars(argument.data(), argument.data() + argument.size(),
                    max_tokens);
  }
  if (max_tokens <= 0) {
    std::cerr << "usage: tokenize_lines MODEL_DIRECTORY MAX_TOKENS\n";
    return 2;
  }
  const absl::StatusOr<std::unique_ptr<pith::Tokenizer>> tokenizer =
      pith::Tokenizer::Load(argv[1]);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status() << "\n";
    return 1;
  }
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);) {
    const auto text = nlohmann::json::parse(line, nullptr, false);
    if (!text.is_string()) {
      std::cerr << "not a JSON string: " << line << "\n";
      return 1;
    }
    const auto& utf8 = text.get_ref<const std::string&>();
    const pith::Encoding encoding = (*tokenizer)->Encode(utf8, max_tokens);
    std::cout << absl::StrCat((*tokenizer)->Count(utf8), " ",
                              encoding.truncated_tokens, " ",
                              absl::StrJoin(encoding.ids, " "), "\n");
  }
}
