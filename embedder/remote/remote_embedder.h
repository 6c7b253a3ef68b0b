#ifndef PITH_EMBEDDER_REMOTE_REMOTE_EMBEDDER_H_
#define PITH_EMBEDDER_REMOTE_REMOTE_EMBEDDER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "core/base/matrix.h"
#include "core/base/mutex.h"
#include "core/index/embedder.h"
#include "embedder/remote/remote_backend.h"
#include "embedder/remote/remote_model_spec.h"
#include "embedder/remote/request_gate.h"
#include "embedder/remote/retry_policy.h"
#include "embedder/tokenizer.h"

namespace pith {

// One model that a server runs. A call's texts go out in batches, one after the
// other; as many requests as the spec allows run for all callers together.
// Starts no thread and connects only for texts.
class RemoteEmbedder : public Embedder {
 public:
  struct Options {
    RetryLimits retry;
    // Requests that wait for their turn; beyond, calls are refused.
    int max_waiting = 256;
  };

  struct Status {
    int64_t embedded_texts = 0;
    // As CountTokens counts them, without special tokens.
    int64_t embedded_tokens = 0;
    // Requests that got no vectors.
    int64_t failed_requests = 0;
    // Why the last one that got none did not; empty if none did.
    std::string last_error;
  };

  // Loads the directory's tokenizer.json if there is one, to count tokens with.
  // LoadRemoteModelSpec's and Tokenizer::Load's errors; kInvalidArgument if a
  // prompt leaves no room for text. Whether the server is there shows with the
  // first texts.
  static absl::StatusOr<std::unique_ptr<RemoteEmbedder>> Open(
      const RemoteModelSpec& spec);
  // With a backend of the caller's, and without a tokenizer if it is null.
  static absl::StatusOr<std::unique_ptr<RemoteEmbedder>> Create(
      const RemoteModelSpec& spec, std::unique_ptr<const Tokenizer> tokenizer,
      std::unique_ptr<RemoteBackend> backend, const Options& options);

  // As the interface says, and: kFailedPrecondition if there is no key where
  // the spec says, or the server refuses it, lacks the model, or gives vectors
  // of another dimension; kInternal if a vector is zero or not finite. Failures
  // that may pass are tried again as the options say. Without a tokenizer,
  // passages are cut by estimate and long queries are left to the server.
  absl::StatusOr<Matrix> Embed(std::span<const std::string_view> texts,
                               TextRole role,
                               const RequestContext& context) override;

  const ModelIdentity& identity() const override { return identity_; }
  // The server's affair; probes are compared instead.
  std::string precision() const override { return "remote"; }
  bool recompute_is_costly() const override { return true; }
  bool needs_probes() const override { return true; }
  int CountTokens(std::string_view text) const override;
  int max_tokens() const override;

  Status status() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Requests that wait for their turn.
  int waiting_requests() const { return gate_.waiting(); }

 private:
  // What is sent for some texts, and its tokens.
  struct Inputs {
    std::vector<std::string> texts;
    std::vector<int> tokens;
  };

  RemoteEmbedder(const RemoteModelSpec& spec,
                 std::unique_ptr<const Tokenizer> tokenizer,
                 std::unique_ptr<RemoteBackend> backend,
                 const Options& options);

  // Tokens of a text that one input holds beside `prompt`.
  int RoomBeside(const std::string& prompt) const;
  absl::StatusOr<Inputs> Prepare(std::span<const std::string_view> texts,
                                 TextRole role,
                                 const RequestContext& context) const;
  absl::StatusOr<Matrix> EmbedBatch(const BackendRequest& request,
                                    const RequestContext& context);
  BackendAnswer Try(BackendRequest request, const RequestContext& context);
  // Waits until the server wants to be asked again, if that is soon.
  absl::Status WaitOutPause(const RequestContext& context)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void NoteFailure(const BackendAnswer& answer) ABSL_LOCKS_EXCLUDED(mutex_);

  // Immutable.
  const RemoteModelSpec spec_;
  const ModelIdentity identity_;
  const std::unique_ptr<const Tokenizer> tokenizer_;
  const Options options_;
  const std::unique_ptr<RemoteBackend> backend_;

  // With locks of their own, or none.
  RequestGate gate_;
  std::atomic<uint64_t> random_;

  mutable Mutex mutex_;
  Status status_ ABSL_GUARDED_BY(mutex_);
  // Until when the server asked to be left alone, and how it said so.
  absl::Time pause_end_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  absl::Status pause_reason_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace pith

#endif  // PITH_EMBEDDER_REMOTE_REMOTE_EMBEDDER_H_
