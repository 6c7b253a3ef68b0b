#include "core/index/probed_embedder.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "core/base/reason.h"
#include "core/base/status_macros.h"
#include "core/base/vector_math.h"

namespace pith {

std::span<const std::string_view> ProbeTexts() {
  static constexpr std::array<std::string_view, 12> kTexts = {
      "horse",
      "The museum opens at nine and is closed on Mondays.",
      "How do I change the oil of a tractor?",
      "Large ships turn slowly. A loaded tanker that has to avoid a fishing "
      "boat begins to turn several kilometres before, because its rudder needs "
      "a long time to change the course of so much mass. Officers on watch "
      "therefore follow other vessels by radar and radio, agree early on who "
      "gives way, and write every change of course and speed into the log. "
      "Near ports a pilot who knows the currents comes aboard, and tugs help "
      "with the last few hundred metres to the quay.",
      "Der Bäcker verkauft morgens frische Brötchen und abends das Brot vom "
      "Vortag zum halben Preis.",
      "La lluvia de anoche dejó el camino cubierto de barro y hojas secas.",
      "Вечером поезд остановился на маленькой станции среди соснового леса.",
      "夏天的傍晚,孩子们在河边捉萤火虫。",
      "会議は来週の火曜日の午後三時から始まります。",
      "تقع المدينة القديمة على تل يطل على البحر.",
      "for (int i = 0; i < n; ++i) { total += price[i] * count[i]; }",
      "Invoice 2041-7: 3 x 14.95 = 44.85, due 2019-06-30 (net 30 days)"};
  return kTexts;
}

absl::StatusOr<Matrix> EmbedProbes(Embedder& embedder,
                                   const RequestContext& context) {
  return embedder.Embed(ProbeTexts(), TextRole::kPassage, context);
}

ProbeAgreement CompareProbes(const Matrix& expected, const Matrix& now) {
  ProbeAgreement agreement{.min = 2};
  for (size_t i = 0; i < expected.rows(); ++i) {
    const double cosine = Dot(expected.row(i), now.row(i));
    agreement.mean += cosine / static_cast<double>(expected.rows());
    if (cosine < agreement.min) {
      agreement.min = cosine;
      agreement.worst = i;
    }
  }
  return agreement;
}

absl::StatusOr<Matrix> ProbedEmbedder::Embed(
    std::span<const std::string_view> texts, TextRole role,
    const RequestContext& context) {
  if (!same_) {
    PITH_RETURN_IF_ERROR(Check(context));
  }
  return embedder_.Embed(texts, role, context);
}

absl::Status ProbedEmbedder::Check(const RequestContext& context) {
  {
    MutexLock lock(mutex_);
    if (absl::Now() < mismatch_end_) {
      return mismatch_;
    }
  }
  PITH_ASSIGN_OR_RETURN(const Matrix now,
                        embedder_.Embed(ProbeTexts().first(expected_.rows()),
                                        TextRole::kPassage, context));
  const ProbeAgreement agreement = CompareProbes(expected_, now);
  if (agreement.same_model()) {
    same_ = true;
    return absl::OkStatus();
  }
  MutexLock lock(mutex_);
  mismatch_ = WithReason(
      absl::FailedPreconditionError(absl::StrCat(
          "model \"", identity().name,
          "\" is no longer what the collection was made with: its server's "
          "vectors of ",
          expected_.rows(), " probe texts have a cosine of ", agreement.mean,
          " to those of then on average and ", agreement.min, " at least; ",
          kMinMeanProbeCosine, " and ", kMinProbeCosine, " are needed")),
      "MODEL_MISMATCH");
  mismatch_end_ = absl::Now() + kRecheckInterval;
  return mismatch_;
}

}  // namespace pith
