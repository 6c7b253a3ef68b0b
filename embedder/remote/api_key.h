#ifndef PITH_EMBEDDER_REMOTE_API_KEY_H_
#define PITH_EMBEDDER_REMOTE_API_KEY_H_

#include <string>

#include "absl/status/statusor.h"

#include "embedder/remote/remote_model_spec.h"

namespace pith {

// The key that `source` names, without white space around it; empty if it names
// none. Read anew each time, so that a key can be replaced while the daemon
// runs. kFailedPrecondition, which names the source but nothing of what it
// holds, if there is no key or it has bytes that no HTTP header may have.
absl::StatusOr<std::string> ReadApiKey(const ApiKeySource& source);

}  // namespace pith

#endif  // PITH_EMBEDDER_REMOTE_API_KEY_H_
