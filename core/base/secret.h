#ifndef PITH_CORE_BASE_SECRET_H_
#define PITH_CORE_BASE_SECRET_H_

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace pith {

inline constexpr size_t kMaxSecretBytes = 16 << 10;

// `text` without white space around it. kFailedPrecondition, which shows
// nothing of it, if it is empty, too long or has bytes that no HTTP header may
// have.
absl::StatusOr<std::string> ParseSecret(std::string text);

// ParseSecret of the file at `path`, which ReadPrivateFile reads. Errors name
// the file.
absl::StatusOr<std::string> ReadPrivateSecret(
    const std::filesystem::path& path);

// Whether the two are equal, in a time that does not depend on where they
// differ.
bool SecretsEqual(std::string_view a, std::string_view b);

}  // namespace pith

#endif  // PITH_CORE_BASE_SECRET_H_
