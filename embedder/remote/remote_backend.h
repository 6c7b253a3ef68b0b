#ifndef PITH_EMBEDDER_REMOTE_REMOTE_BACKEND_H_
#define PITH_EMBEDDER_REMOTE_REMOTE_BACKEND_H_

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "core/base/matrix.h"
#include "core/index/embedder.h"
#include "embedder/remote/remote_model_spec.h"

namespace pith {

// What came of one request to a server.
struct BackendAnswer {
  // Row i is the vector of input i, of the dimension asked for, its values as
  // the server gave them.
  absl::StatusOr<Matrix> vectors;
  // If there are none: whether the same request may succeed later, and how long
  // the server asked to wait.
  bool transient = false;
  std::optional<absl::Duration> retry_after;
};

struct BackendRequest {
  std::span<const std::string> inputs;
  // Whether the server may cut off what its model does not take, or shall
  // refuse it (where its API has the choice).
  bool truncate = false;
  std::string api_key;
};

// One request at a time to one server, no retries. Thread-safe.
class RemoteBackend {
 public:
  virtual ~RemoteBackend() = default;

  // Failures have the code that Embedder::Embed gives them: kInvalidArgument if
  // the server refuses the inputs, kFailedPrecondition if it refuses the key or
  // does not have the model, kResourceExhausted if it is asked too often,
  // kUnavailable if it cannot be reached, fails, or gives no vectors for the
  // inputs; kDeadlineExceeded and kCancelled as `context` says.
  virtual BackendAnswer Embed(const BackendRequest& request,
                              const RequestContext& context) = 0;
};

// kFailedPrecondition: a server's vectors have not the dimension that `spec`
// says.
absl::Status WrongDimension(const RemoteModelSpec& spec, size_t dimension);

// What to say when a server refuses the key. Not the server's words: they may
// repeat parts of it.
std::string KeyRefusal(const RemoteModelSpec& spec);

// A server's words in a message: quoted, on one line, cut short, without
// `api_key`.
std::string ServerWords(std::string_view words, const std::string& api_key);

}  // namespace pith

#endif  // PITH_EMBEDDER_REMOTE_REMOTE_BACKEND_H_
