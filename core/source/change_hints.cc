#include "core/source/change_hints.h"

#include <algorithm>

#include "core/source/path_order.h"

namespace pith {

void ChangeHints::Heard(Hint& hint, absl::Time now) const {
  hint.last = now;
  if (!hint.first) {
    hint.first = now;
    hint.rest = now < hint.rests_until
                    ? std::min(2 * hint.rest, limits_.max_rest)
                    : limits_.min_rest;
  }
}

absl::Time ChangeHints::DueTimeOf(const Hint& hint) const {
  if (!hint.first) {
    return absl::InfiniteFuture();
  }
  return std::max(
      std::min(hint.last + limits_.quiet, *hint.first + limits_.max_wait),
      hint.rests_until);
}

void ChangeHints::TakeHint(Hint& hint, absl::Time now) const {
  hint.first.reset();
  hint.rests_until = now + hint.rest;
}

void ChangeHints::Forget(absl::Time now) {
  std::erase_if(paths_, [now](const auto& path_and_hint) {
    const Hint& hint = path_and_hint.second;
    return !hint.first && hint.rests_until <= now;
  });
}

void ChangeHints::Add(const std::string& path, absl::Time now) {
  if (everything_.first) {
    everything_.last = now;
    return;
  }
  auto found = paths_.find(path);
  if (found == paths_.end()) {
    if (paths_.size() >= limits_.max_paths) {
      Forget(now);
    }
    if (paths_.size() >= limits_.max_paths) {
      AddEverything(now);
      return;
    }
    found = paths_.try_emplace(path).first;
  }
  Heard(found->second, now);
}

void ChangeHints::AddEverything(absl::Time now) {
  Heard(everything_, now);
  paths_.clear();
}

absl::Time ChangeHints::DueTime() const {
  absl::Time due = DueTimeOf(everything_);
  for (const auto& [path, hint] : paths_) {
    due = std::min(due, DueTimeOf(hint));
  }
  return due;
}

ChangeHints::Due ChangeHints::Take(absl::Time now) {
  Due due;
  if (DueTimeOf(everything_) <= now) {
    TakeHint(everything_, now);
    paths_.clear();
    due.everything = true;
    return due;
  }
  for (auto& [path, hint] : paths_) {
    if (DueTimeOf(hint) <= now) {
      TakeHint(hint, now);
      due.paths.push_back(path);
    }
  }
  // In byte order a path comes before those below it, but not next to them.
  std::vector<std::string> tops;
  for (const std::string& path : due.paths) {
    if (std::none_of(tops.begin(), tops.end(), [&](const std::string& top) {
          return IsAtOrBelow(path, top);
        })) {
      tops.push_back(path);
    }
  }
  due.paths = std::move(tops);
  Forget(now);
  return due;
}

size_t ChangeHints::waiting() const {
  return (everything_.first ? 1u : 0u) +
         static_cast<size_t>(std::count_if(
             paths_.begin(), paths_.end(), [](const auto& path_and_hint) {
               return path_and_hint.second.first.has_value();
             }));
}

}  // namespace pith
