#include "core/source/ignore_rules.h"

#include <cstddef>
#include <optional>
#include <span>
#include <utility>

namespace pith {
namespace {

using Byte = unsigned char;

bool InClass(std::string_view name, Byte c) {
  const bool lower = c >= 'a' && c <= 'z';
  const bool upper = c >= 'A' && c <= 'Z';
  const bool digit = c >= '0' && c <= '9';
  const bool graph = c > ' ' && c < 0x7F;
  if (name == "alnum") {
    return lower || upper || digit;
  }
  if (name == "alpha") {
    return lower || upper;
  }
  if (name == "blank") {
    return c == ' ' || c == '\t';
  }
  if (name == "cntrl") {
    return c < ' ' || c == 0x7F;
  }
  if (name == "digit") {
    return digit;
  }
  if (name == "graph") {
    return graph;
  }
  if (name == "lower") {
    return lower;
  }
  if (name == "print") {
    return graph || c == ' ';
  }
  if (name == "punct") {
    return graph && !lower && !upper && !digit;
  }
  if (name == "space") {
    return c == ' ' || (c >= '\t' && c <= '\r');
  }
  if (name == "upper") {
    return upper;
  }
  return name == "xdigit" &&
         (digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'));
}

struct BracketMatch {
  bool matches = false;
  // Of the pattern, with both brackets.
  size_t length = 0;
};

// `pattern` starts with '['. Nothing if no ']' closes it.
std::optional<BracketMatch> MatchBracket(std::string_view pattern, Byte c) {
  size_t i = 1;
  const bool negated =
      i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^');
  i += negated ? 1 : 0;
  bool found = false;
  for (const size_t first = i; i < pattern.size(); ++i) {
    if (pattern[i] == ']' && i > first) {
      return BracketMatch{.matches = found != negated, .length = i + 1};
    }
    if (pattern.substr(i, 2) == "[:") {
      const size_t close = pattern.find(']', i + 2);
      if (close == pattern.npos) {
        return std::nullopt;
      }
      if (close > i + 2 && pattern[close - 1] == ':') {
        found |= InClass(pattern.substr(i + 2, close - i - 3), c);
        i = close;
        continue;
      }
    }
    const auto take = [&]() -> Byte {
      if (pattern[i] == '\\' && i + 1 < pattern.size()) {
        ++i;
      }
      return static_cast<Byte>(pattern[i]);
    };
    const Byte low = take();
    Byte high = low;
    if (i + 2 < pattern.size() && pattern[i + 1] == '-' &&
        pattern[i + 2] != ']') {
      i += 2;
      high = take();
    }
    found |= low <= c && c <= high;
  }
  return std::nullopt;
}

// Matches the bytes of one name. A star that has matched enough never needs to
// match more once a later star is reached, so one point to return to suffices.
bool MatchName(std::string_view pattern, std::string_view name) {
  size_t p = 0;
  size_t n = 0;
  size_t star = pattern.npos;
  size_t star_name = 0;
  while (n < name.size()) {
    const auto c = static_cast<Byte>(name[n]);
    size_t taken = 0;
    if (p < pattern.size()) {
      if (pattern[p] == '*') {
        star = ++p;
        star_name = n;
        continue;
      }
      if (pattern[p] == '?') {
        taken = 1;
      } else if (pattern[p] == '[') {
        const std::optional<BracketMatch> bracket =
            MatchBracket(pattern.substr(p), c);
        taken = bracket.has_value() && bracket->matches ? bracket->length : 0;
      } else if (pattern[p] == '\\') {
        taken = p + 1 < pattern.size() && pattern[p + 1] == name[n] ? 2 : 0;
      } else {
        taken = pattern[p] == name[n] ? 1 : 0;
      }
    }
    if (taken > 0) {
      p += taken;
      ++n;
    } else if (star != pattern.npos) {
      p = star;
      n = ++star_name;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') {
    ++p;
  }
  return p == pattern.size();
}

bool IsDoubleStar(std::string_view segment) {
  return segment.size() >= 2 &&
         segment.find_first_not_of('*') == std::string_view::npos;
}

std::vector<std::string_view> Split(std::string_view path) {
  std::vector<std::string_view> segments;
  while (true) {
    const size_t slash = path.find('/');
    segments.push_back(path.substr(0, slash));
    if (slash == path.npos) {
      return segments;
    }
    path.remove_prefix(slash + 1);
  }
}

// As MatchName, with segments for bytes and "**" for the star: any number of
// segments, at the end of the pattern at least one.
bool MatchPath(std::span<const std::string> pattern,
               std::span<const std::string_view> path) {
  size_t p = 0;
  size_t n = 0;
  std::optional<size_t> star;
  size_t star_path = 0;
  while (n < path.size()) {
    if (p < pattern.size() && IsDoubleStar(pattern[p])) {
      star = ++p;
      star_path = n;
    } else if (p < pattern.size() && MatchName(pattern[p], path[n])) {
      ++p;
      ++n;
    } else if (star.has_value()) {
      p = *star;
      n = ++star_path;
    } else {
      return false;
    }
  }
  return p == pattern.size();
}

// `line` without spaces at its end, unless a backslash quotes them.
std::string_view TrimSpaces(std::string_view line) {
  size_t end = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\\' && i + 1 < line.size()) {
      end = ++i + 1;
    } else if (line[i] != ' ') {
      end = i + 1;
    }
  }
  return line.substr(0, end);
}

std::optional<IgnoreRules::Rule> ParseRule(std::string_view line) {
  if (line.starts_with('#')) {
    return std::nullopt;
  }
  line = TrimSpaces(line);
  IgnoreRules::Rule rule;
  rule.text = std::string(line);
  if (line.starts_with('!')) {
    rule.negated = true;
    line.remove_prefix(1);
  }
  if (line.ends_with('/')) {
    rule.directory_only = true;
    line.remove_suffix(1);
  }
  rule.anchored = line.find('/') != line.npos;
  if (line.starts_with('/')) {
    line.remove_prefix(1);
  }
  if (line.empty()) {
    return std::nullopt;
  }
  for (const std::string_view segment : Split(line)) {
    rule.segments.emplace_back(segment);
  }
  return rule;
}

}  // namespace

IgnoreRules IgnoreRules::Parse(std::string_view content) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (content.starts_with(kByteOrderMark)) {
    content.remove_prefix(kByteOrderMark.size());
  }
  IgnoreRules rules;
  for (int line_number = 1; !content.empty(); ++line_number) {
    const size_t newline = content.find('\n');
    std::string_view line = content.substr(0, newline);
    content.remove_prefix(newline == content.npos ? content.size()
                                                  : newline + 1);
    if (line.ends_with('\r')) {
      line.remove_suffix(1);
    }
    if (std::optional<Rule> rule = ParseRule(line)) {
      rule->line = line_number;
      rules.rules_.push_back(*std::move(rule));
    }
  }
  return rules;
}

const IgnoreRules::Rule* IgnoreRules::Match(std::string_view path,
                                            bool is_directory) const {
  const std::vector<std::string_view> segments = Split(path);
  for (auto rule = rules_.rbegin(); rule != rules_.rend(); ++rule) {
    if (rule->directory_only && !is_directory) {
      continue;
    }
    if (rule->anchored ? MatchPath(rule->segments, segments)
                       : MatchName(rule->segments[0], segments.back())) {
      return &*rule;
    }
  }
  return nullptr;
}

}  // namespace pith
