#ifndef PITH_CORE_INDEX_EMBEDDER_H_
#define PITH_CORE_INDEX_EMBEDDER_H_

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "core/base/matrix.h"
#include "core/text/token_counter.h"

namespace pith {

// Queries and passages may be embedded with different prompts.
enum class TextRole { kQuery, kPassage };

// What is waiting: a person, or a background job that yields to people.
enum class EmbedPriority { kSearch, kIngest };

// What bounds one request: when to give up, and whether anyone still waits.
struct RequestContext {
  absl::Time deadline = absl::InfiniteFuture();
  std::function<bool()> cancelled = [] { return false; };
  EmbedPriority priority = EmbedPriority::kSearch;
};

// kDeadlineExceeded or kCancelled if `context` says so at `now`, else OK.
absl::Status CheckAlive(const RequestContext& context,
                        absl::Time now = absl::Now());

struct ModelIdentity {
  std::string name;
  // Covers what changes the meaning of a vector: weights, tokenizer, pooling,
  // prompts, maximum tokens.
  std::string fingerprint;
  int dimension = 0;
};

// Reason (core/base/reason.h) of a kUnavailable or kResourceExhausted in which
// the texts have no part: the model's server cannot be reached, or is busy.
inline constexpr char kModelUnreachableReason[] = "MODEL_UNREACHABLE";

// Turns text into vectors. Thread-safe: any number of threads may call Embed.
class Embedder : public TokenCounter {
 public:
  virtual const ModelIdentity& identity() const = 0;

  // What vectors are computed in, such as "f32" or "bf16": a label for those
  // that are kept. Vectors of one model are alike at any precision, and more so
  // at one. Empty until a first text was embedded, if that decides; does not
  // change after that while workers are alike.
  virtual std::string precision() const { return "f32"; }

  // Whether embedding a text again costs what is better spent on a disk, such
  // as money: new collections then store vectors unless told otherwise.
  virtual bool recompute_is_costly() const { return false; }

  // Whether the fingerprint leaves out the weights, since a server has them and
  // may change them: collections then keep the vectors of probe texts
  // (ProbedEmbedder).
  virtual bool needs_probes() const { return false; }

  // Row i of the result is the unit-norm embedding of texts[i]. Text beyond the
  // model's limit is an error for a query and cut off for a passage (a
  // collection that takes documents as single passages counts those).
  //
  // All or nothing: kInvalidArgument if any text is empty or a query exceeds
  // the model's limit, kResourceExhausted if the queue is full,
  // kDeadlineExceeded or kCancelled as `context` says, kUnavailable if the
  // model's process died and could not be restarted or its server fails,
  // kInternal if the model fails.
  virtual absl::StatusOr<Matrix> Embed(std::span<const std::string_view> texts,
                                       TextRole role,
                                       const RequestContext& context) = 0;
};

}  // namespace pith

#endif  // PITH_CORE_INDEX_EMBEDDER_H_
