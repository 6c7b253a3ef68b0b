#ifndef PITH_CORE_INDEX_PROBED_EMBEDDER_H_
#define PITH_CORE_INDEX_PROBED_EMBEDDER_H_

#include <atomic>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "core/base/matrix.h"
#include "core/base/mutex.h"
#include "core/index/embedder.h"

namespace pith {

// Texts of several languages, kinds and lengths whose vectors tell one model
// from another. Collections keep their vectors: texts may be appended, never
// changed.
std::span<const std::string_view> ProbeTexts();

// The vectors of ProbeTexts() as passages, row by row. Embed's errors.
absl::StatusOr<Matrix> EmbedProbes(Embedder& embedder,
                                   const RequestContext& context);

// Cosines of the vectors of the same texts at two times. At least
// kMinMeanProbeCosine on average and kMinProbeCosine each are the same model,
// maybe on another machine or in bf16; docs/models.md has what was measured.
inline constexpr double kMinMeanProbeCosine = 0.999;
inline constexpr double kMinProbeCosine = 0.99;
struct ProbeAgreement {
  double mean = 0;
  double min = 0;
  // The text that has the least.
  size_t worst = 0;

  bool same_model() const {
    return mean >= kMinMeanProbeCosine && min >= kMinProbeCosine;
  }
};
// Rows are unit vectors, `expected` has at least one and no more than `now`.
ProbeAgreement CompareProbes(const Matrix& expected, const Matrix& now);

// An embedder for which Embedder::needs_probes, as one collection uses it:
// before the first texts it embeds the probes and compares them with those that
// the collection was made with. A success holds as long as the object, a
// mismatch for kRecheckInterval. Thread-safe.
class ProbedEmbedder : public Embedder {
 public:
  static constexpr absl::Duration kRecheckInterval = absl::Minutes(1);

  // `embedder` outlives this; `expected` are vectors of the first ProbeTexts().
  ProbedEmbedder(Embedder& embedder, Matrix expected)
      : embedder_(embedder), expected_(std::move(expected)) {}

  // As the interface says, and kFailedPrecondition with reason MODEL_MISMATCH
  // and the cosines if the probes differ.
  absl::StatusOr<Matrix> Embed(std::span<const std::string_view> texts,
                               TextRole role,
                               const RequestContext& context) override;

  const ModelIdentity& identity() const override {
    return embedder_.identity();
  }
  std::string precision() const override { return embedder_.precision(); }
  bool recompute_is_costly() const override {
    return embedder_.recompute_is_costly();
  }
  bool needs_probes() const override { return true; }
  int CountTokens(std::string_view text) const override {
    return embedder_.CountTokens(text);
  }
  int max_tokens() const override { return embedder_.max_tokens(); }

 private:
  absl::Status Check(const RequestContext& context) ABSL_LOCKS_EXCLUDED(mutex_);

  Embedder& embedder_;
  const Matrix expected_;
  // Threads that come before the first check has ended check as well.
  std::atomic<bool> same_ = false;

  Mutex mutex_;
  absl::Status mismatch_ ABSL_GUARDED_BY(mutex_);
  absl::Time mismatch_end_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
};

}  // namespace pith

#endif  // PITH_CORE_INDEX_PROBED_EMBEDDER_H_
