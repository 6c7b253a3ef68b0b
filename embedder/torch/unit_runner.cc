#include "embedder/torch/unit_runner.h"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

#include "core/base/status_macros.h"

namespace pith {

TextPacking UnitRunner::Packing() const {
  TextPacking packing = packing_;
  packing.unit_rows = unit_rows_;
  return packing;
}

void UnitRunner::CountWorked(int64_t units) {
  units_worked_ += units;
  if (unit_rows_ < packing_.unit_rows && units_worked_ >= kUnitsBeforeGrowth) {
    unit_rows_ = std::min(packing_.unit_rows, 2 * unit_rows_);
    units_worked_ = 0;
  }
}

absl::Status UnitRunner::Run(const PackedTokens& tokens, Compute compute) {
  std::vector<size_t> texts(tokens.size());
  std::iota(texts.begin(), texts.end(), size_t{0});
  const std::vector<TextUnit> units = MakeUnits(tokens, texts, Packing());
  std::vector<absl::Status> statuses(units.size());
  std::atomic<size_t> next = 0;
  const auto run_lane = [&](int lane) {
    for (size_t i = next++; i < units.size(); i = next++) {
      statuses[i] = compute(lane, units[i]);
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (int lane = 1; lane < std::min(lanes_, static_cast<int>(units.size()));
         ++lane) {
      helpers.emplace_back(run_lane, lane);
    }
    run_lane(0);
  }

  std::vector<size_t> left;
  for (size_t i = 0; i < units.size(); ++i) {
    if (absl::IsResourceExhausted(statuses[i])) {
      left.insert(left.end(), units[i].texts.begin(), units[i].texts.end());
    } else {
      PITH_RETURN_IF_ERROR(statuses[i]);
    }
  }
  if (left.empty()) {
    CountWorked(static_cast<int64_t>(units.size()));
    return absl::OkStatus();
  }
  // The lanes together had too much, whatever the size of the one that failed.
  unit_rows_ = std::max<int64_t>(1, unit_rows_ / 2);
  units_worked_ = 0;
  return RunAlone(tokens, std::move(left), compute);
}

absl::Status UnitRunner::RunAlone(const PackedTokens& tokens,
                                  std::vector<size_t> texts, Compute compute) {
  while (!texts.empty()) {
    const std::vector<TextUnit> units = MakeUnits(tokens, texts, Packing());
    texts.clear();
    for (const TextUnit& unit : units) {
      if (!texts.empty()) {
        texts.insert(texts.end(), unit.texts.begin(), unit.texts.end());
        continue;
      }
      const absl::Status status = compute(0, unit);
      if (!absl::IsResourceExhausted(status)) {
        PITH_RETURN_IF_ERROR(status);
        continue;
      }
      if (unit.texts.size() == 1) {
        const size_t text = unit.texts.front();
        return absl::ResourceExhaustedError(
            absl::StrCat("text ", text, " of ",
                         tokens.offsets[text + 1] - tokens.offsets[text],
                         " tokens, alone: ", status.message()));
      }
      unit_rows_ = std::max<int64_t>(1, std::min(unit_rows_, unit.rows()) / 2);
      texts = unit.texts;
    }
  }
  return absl::OkStatus();
}

}  // namespace pith
