#ifndef PITH_EMBEDDER_WORKER_TOKEN_H_
#define PITH_EMBEDDER_WORKER_TOKEN_H_

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"

namespace pith {

// The token that workers over TCP want from their callers: of `file`, which
// only its owner may have access to, or, if that is empty, of the environment's
// PITH_WORKER_TOKEN. Empty if there is neither. kFailedPrecondition, which
// shows nothing of it, if it is none. To be called before threads start.
absl::StatusOr<std::string> ReadWorkerToken(const std::filesystem::path& file);

}  // namespace pith

#endif  // PITH_EMBEDDER_WORKER_TOKEN_H_
