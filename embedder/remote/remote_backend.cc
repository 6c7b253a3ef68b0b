#include "embedder/remote/remote_backend.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "nlohmann/json.hpp"

namespace pith {

absl::Status WrongDimension(const RemoteModelSpec& spec, size_t dimension) {
  return absl::FailedPreconditionError(absl::StrCat(
      spec.url, " gives vectors of ", dimension, " elements, ",
      (spec.directory / kRemoteModelFile).string(), " says ", spec.dimension));
}

std::string KeyRefusal(const RemoteModelSpec& spec) {
  if (spec.api_key.empty()) {
    return absl::StrCat("a key is wanted, and ",
                        (spec.directory / kRemoteModelFile).string(),
                        " has neither api_key_env nor api_key_file");
  }
  return absl::StrCat("the key from ", spec.api_key.Shown(), " is refused");
}

std::string ServerWords(std::string_view words, const std::string& api_key) {
  constexpr size_t kMaxBytes = 300;
  std::string text(words);
  if (!api_key.empty()) {
    absl::StrReplaceAll({{api_key, "[API key]"}}, &text);
  }
  if (text.size() > kMaxBytes) {
    text.resize(kMaxBytes);
    text += "...";
  }
  // As a JSON string: escapes what is no text, and replaces what is no UTF-8.
  return nlohmann::json(text).dump(-1, ' ', /*ensure_ascii=*/false,
                                   nlohmann::json::error_handler_t::replace);
}

}  // namespace pith
