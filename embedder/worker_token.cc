#include "embedder/worker_token.h"

#include <cstdlib>

#include "absl/strings/str_cat.h"

#include "core/base/secret.h"
#include "core/base/status_macros.h"

namespace pith {
namespace {

constexpr char kVariable[] = "PITH_WORKER_TOKEN";

}  // namespace

absl::StatusOr<std::string> ReadWorkerToken(const std::filesystem::path& file) {
  if (!file.empty()) {
    return ReadPrivateSecret(file);
  }
  const char* value = std::getenv(kVariable);  // NOLINT(concurrency-mt-unsafe)
  if (value == nullptr) {
    return std::string();
  }
  return Annotate(ParseSecret(value), absl::StrCat("read $", kVariable));
}

}  // namespace pith
