#include "clients/cli/progress.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "clients/cli/text.h"

namespace pith::cli {

namespace {

constexpr absl::Duration kWindow = absl::Seconds(15);
constexpr absl::Duration kLeastWindow = absl::Seconds(2);
constexpr int kBarColumns = 20;

}  // namespace

void ProgressMeter::Update(const v1::AddSourceProgress& progress,
                           absl::Time now) {
  progress_ = progress;
  Advance(now);
}

void ProgressMeter::Advance(absl::Time now) {
  samples_.push_back({now, progress_.passages_embedded()});
  // One sample older than the window stays, to measure the whole window by.
  while (samples_.size() > 2 && samples_[1].time <= now - kWindow) {
    samples_.pop_front();
  }
}

double ProgressMeter::ExpectedPassages() const {
  const auto known = static_cast<double>(progress_.passages_to_embed());
  if (progress_.phase() != v1::AddSourceProgress::PHASE_READING ||
      progress_.files_read() == 0) {
    return known;
  }
  return known * std::max(1.0, static_cast<double>(progress_.files_found()) /
                                   static_cast<double>(progress_.files_read()));
}

double ProgressMeter::Fraction() const {
  const double expected = ExpectedPassages();
  double done = 0;
  switch (progress_.phase()) {
    case v1::AddSourceProgress::PHASE_READING:
    case v1::AddSourceProgress::PHASE_EMBEDDING:
      if (expected > 0) {
        done = static_cast<double>(progress_.passages_embedded()) / expected;
      } else if (progress_.files_found() > 0) {
        done = static_cast<double>(progress_.files_read()) /
               static_cast<double>(progress_.files_found());
      }
      break;
    case v1::AddSourceProgress::PHASE_DONE:
      return 1;
    default:
      break;
  }
  return std::clamp(done, 0.0, 1.0);
}

std::optional<double> ProgressMeter::PassagesPerSecond() const {
  if (samples_.empty()) {
    return std::nullopt;
  }
  const absl::Duration span = samples_.back().time - samples_.front().time;
  if (span < kLeastWindow) {
    return std::nullopt;
  }
  return static_cast<double>(samples_.back().passages_embedded -
                             samples_.front().passages_embedded) /
         absl::ToDoubleSeconds(span);
}

std::optional<absl::Duration> ProgressMeter::Remaining() const {
  const auto rate = PassagesPerSecond();
  const double left =
      ExpectedPassages() - static_cast<double>(progress_.passages_embedded());
  if (!rate.has_value() || *rate <= 0 || left <= 0) {
    return std::nullopt;
  }
  return absl::Seconds(left / *rate);
}

std::string ProgressMeter::Work() const {
  if (progress_.phase() == v1::AddSourceProgress::PHASE_SCANNING ||
      progress_.phase() == v1::AddSourceProgress::PHASE_UNSPECIFIED) {
    return absl::StrCat("scanning, ", Plural(progress_.files_found(), "file"),
                        " found");
  }
  std::string work;
  if (progress_.phase() == v1::AddSourceProgress::PHASE_READING) {
    absl::StrAppend(&work, "reading ", FormatCount(progress_.files_read()), "/",
                    FormatCount(progress_.files_found()), " files");
  } else {
    absl::StrAppend(&work, "embedding ",
                    FormatCount(progress_.passages_embedded()), "/",
                    FormatCount(progress_.passages_to_embed()), " passages");
  }
  if (const auto rate = PassagesPerSecond(); rate.has_value() && *rate > 0) {
    absl::StrAppend(&work, "  ",
                    *rate < 10 ? absl::StrFormat("%.1f", *rate)
                               : FormatCount(std::llround(*rate)),
                    " passages/s");
  }
  if (const auto remaining = Remaining()) {
    absl::StrAppend(&work, "  ", FormatRemaining(*remaining), " left");
  }
  return work;
}

std::string ProgressMeter::Bar(int columns) const {
  const double fraction = Fraction();
  const auto filled = static_cast<size_t>(fraction * kBarColumns);
  return CutToWidth(
      absl::StrFormat("[%s%s] %3.0f %%  %s", std::string(filled, '#'),
                      std::string(kBarColumns - filled, '-'),
                      std::floor(fraction * 100), Work()),
      columns);
}

std::string ProgressMeter::Line() const {
  return absl::StrFormat("%.0f %%  %s", std::floor(Fraction() * 100), Work());
}

std::string CompactText(const v1::CompactProgress& progress) {
  const std::string passages = Plural(progress.passages(), "passage");
  switch (progress.phase()) {
    case v1::CompactProgress::PHASE_RECOMPUTING:
      return absl::StrCat("recomputing ",
                          FormatCount(progress.recomputed_passages()), " of ",
                          passages);
    case v1::CompactProgress::PHASE_TRAINING:
      return absl::StrCat("training a codebook for ", passages);
    case v1::CompactProgress::PHASE_ENCODING:
      return absl::StrCat("encoding ", passages);
    case v1::CompactProgress::PHASE_BUILDING:
      return absl::StrCat("building the graph of ", passages);
    case v1::CompactProgress::PHASE_WRITING:
      return absl::StrCat("writing ", passages);
    case v1::CompactProgress::PHASE_DONE:
      return "done";
    default:
      return "waiting";
  }
}

std::optional<std::string> WorkText(const v1::Operation& operation) {
  const auto copied = [](const v1::CopyProgress& progress) -> std::string {
    return progress.total_bytes() == 0
               ? "preparing"
               : absl::StrCat(FormatBytes(progress.bytes()), " of ",
                              FormatBytes(progress.total_bytes()));
  };
  const auto checked = [](const v1::CheckProgress& progress) -> std::string {
    return progress.documents_checked() == 0 ||
                   progress.bytes() < progress.total_bytes()
               ? absl::StrCat("checksums of ", FormatBytes(progress.bytes()),
                              " of ", FormatBytes(progress.total_bytes()))
               : absl::StrCat(FormatCount(progress.documents_checked()), " of ",
                              Plural(progress.documents(), "document"));
  };
  switch (operation.progress_case()) {
    case v1::Operation::kCompact:
      return CompactText(operation.compact());
    case v1::Operation::kCreateSnapshot:
      return copied(operation.create_snapshot());
    case v1::Operation::kRestoreSnapshot:
      return copied(operation.restore_snapshot());
    case v1::Operation::kVerify:
      return checked(operation.verify());
    case v1::Operation::kRepair:
      return checked(operation.repair());
    default:
      return std::nullopt;
  }
}

}  // namespace pith::cli
