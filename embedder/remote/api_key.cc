#include "embedder/remote/api_key.h"

#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"

#include "core/base/file.h"
#include "core/base/secret.h"

namespace pith {

absl::StatusOr<std::string> ReadApiKey(const ApiKeySource& source) {
  if (source.empty()) {
    return std::string();
  }
  const auto refuse = [&](absl::string_view fault) {
    return absl::FailedPreconditionError(
        absl::StrCat("API key from ", source.Shown(), ": ", fault));
  };
  std::string key;
  if (!source.environment_variable.empty()) {
    // Nothing in the daemon sets variables once threads run.
    const char* value = std::getenv(  // NOLINT(concurrency-mt-unsafe)
        source.environment_variable.c_str());
    if (value == nullptr) {
      return refuse("the daemon's environment has no such variable");
    }
    key = value;
  } else {
    absl::StatusOr<std::string> content =
        ReadFile(source.file, kMaxSecretBytes);
    if (!content.ok()) {
      return refuse(content.status().message());
    }
    key = *std::move(content);
  }
  absl::StatusOr<std::string> secret = ParseSecret(std::move(key));
  return secret.ok() ? secret : refuse(secret.status().message());
}

}  // namespace pith
