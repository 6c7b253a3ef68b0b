#include "core/source/skipped_files.h"

#include <utility>

#include "core/source/path_order.h"
#include "core/source/reconcile.h"

namespace pith {

void SkippedFiles::Add(std::string path, Entry entry) {
  if (entries_.size() >= kMaxEntries && !entries_.contains(path)) {
    ++unlisted_[entry.reason];
    return;
  }
  entries_.insert_or_assign(std::move(path), std::move(entry));
}

const SkippedFiles::Entry* SkippedFiles::FindUnchanged(
    const std::string& path, const FileStamp& stamp) const {
  const auto found = entries_.find(path);
  return found != entries_.end() && found->second.stamp &&
                 IsUnchanged(*found->second.stamp, stamp)
             ? &found->second
             : nullptr;
}

void SkippedFiles::Replace(std::span<const std::string> tops,
                           SkippedFiles found) {
  for (const std::string& top : tops) {
    entries_.erase(top);
    const std::string below = PrefixBelow(top);
    auto end = entries_.lower_bound(below);
    const auto begin = end;
    while (end != entries_.end() && end->first.starts_with(below)) {
      ++end;
    }
    entries_.erase(begin, end);
  }
  for (auto& [path, entry] : found.entries_) {
    Add(path, std::move(entry));
  }
  for (const auto& [reason, count] : found.unlisted_) {
    unlisted_[reason] += count;
  }
}

size_t SkippedFiles::count() const {
  size_t count = entries_.size();
  for (const auto& [reason, more] : unlisted_) {
    count += more;
  }
  return count;
}

std::vector<SkippedFiles::Group> SkippedFiles::Groups() const {
  std::map<std::string, Group> groups;
  for (const auto& [path, entry] : entries_) {
    Group& group = groups[entry.reason];
    if (group.count++ == 0) {
      group.reason = entry.reason;
      group.example = path;
      group.detail = entry.detail;
    }
  }
  for (const auto& [reason, count] : unlisted_) {
    Group& group = groups[reason];
    group.reason = reason;
    group.count += count;
  }
  std::vector<Group> result;
  for (auto& [reason, group] : groups) {
    result.push_back(std::move(group));
  }
  return result;
}

}  // namespace pith
