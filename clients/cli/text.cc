#include "clients/cli/text.h"

#include <limits.h>
#include <wchar.h>
#include <wctype.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "core/base/string_view.h"

namespace pith::cli {
namespace fs = std::filesystem;

namespace {

constexpr wchar_t kReplacement = L'\uFFFD';
constexpr wchar_t kEllipsis = L'\u2026';
constexpr std::string_view kBold = "\033[1m";
constexpr std::string_view kPlain = "\033[0m";

// Decodes and drops control characters.
std::wstring Widen(std::string_view text) {
  std::wstring wide;
  wide.reserve(text.size());
  mbstate_t state = {};
  while (!text.empty()) {
    wchar_t c = 0;
    size_t length = mbrtowc(&c, text.data(), text.size(), &state);
    if (length == 0) {
      length = 1;  // A NUL, dropped below.
    } else if (length > text.size()) {
      state = {};
      c = kReplacement;
      length = 1;
    }
    text.remove_prefix(length);
    if (iswcntrl(static_cast<wint_t>(c)) == 0 || c == L'\n' || c == L'\t') {
      wide += c;
    }
  }
  return wide;
}

void AppendNarrow(std::wstring_view wide, std::string& text) {
  std::array<char, MB_LEN_MAX> buffer;
  for (const wchar_t c : wide) {
    mbstate_t state = {};
    const size_t length = wcrtomb(buffer.data(), c, &state);
    if (length <= buffer.size()) {
      text.append(buffer.data(), length);
    }
  }
}

std::string Narrow(std::wstring_view wide) {
  std::string text;
  AppendNarrow(wide, text);
  return text;
}

int Columns(wchar_t c) {
  return std::max(wcwidth(c), 0);
}

int Columns(std::wstring_view text) {
  int columns = 0;
  for (const wchar_t c : text) {
    columns += Columns(c);
  }
  return columns;
}

// The longest prefix of `text` that fits `columns`, but at least a character.
size_t FittingPrefix(std::wstring_view text, int columns) {
  size_t end = 0;
  for (int used = 0; end < text.size(); ++end) {
    used += Columns(text[end]);
    if (used > columns && end > 0) {
      break;
    }
  }
  return end;
}

std::wstring Lower(std::wstring_view text) {
  std::wstring lower(text);
  for (wchar_t& c : lower) {
    c = static_cast<wchar_t>(towlower(static_cast<wint_t>(c)));
  }
  return lower;
}

bool IsWordCharacter(wchar_t c) {
  return iswalnum(static_cast<wint_t>(c)) != 0;
}

// Calls use(first, last) for the range of each word in `text`.
template <typename Use>
void ForEachWord(std::wstring_view text, const Use& use) {
  size_t begin = 0;
  while (begin < text.size()) {
    if (!IsWordCharacter(text[begin])) {
      ++begin;
      continue;
    }
    size_t end = begin;
    while (end < text.size() && IsWordCharacter(text[end])) {
      ++end;
    }
    use(begin, end);
    begin = end;
  }
}

// The query's words that a snippet is chosen by.
class QueryWords {
 public:
  static constexpr size_t kMaxWords = 64;

  explicit QueryWords(std::string_view query) {
    const std::wstring lower = Lower(Widen(query));
    ForEachWord(lower, [&](size_t begin, size_t end) {
      std::wstring word = lower.substr(begin, end - begin);
      if (words_.size() < kMaxWords &&
          std::find(words_.begin(), words_.end(), word) == words_.end()) {
        words_.push_back(std::move(word));
      }
    });
  }

  // One bit per query word that `word` is or, for words of four letters and
  // more, begins with.
  uint64_t Match(std::wstring_view word) const {
    const std::wstring lower = Lower(word);
    uint64_t matched = 0;
    for (size_t i = 0; i < words_.size(); ++i) {
      if (lower == words_[i] ||
          (words_[i].size() >= 4 && lower.starts_with(words_[i]))) {
        matched |= uint64_t{1} << i;
      }
    }
    return matched;
  }

  size_t Weight(uint64_t matched) const {
    size_t weight = 0;
    for (size_t i = 0; i < words_.size(); ++i) {
      if ((matched >> i & 1) != 0) {
        weight += words_[i].size();
      }
    }
    return weight;
  }

 private:
  std::vector<std::wstring> words_;
};

// The lines of `text` that are not blank, broken at spaces where they are too
// wide.
std::vector<std::wstring> WrapLines(std::wstring_view text, int columns) {
  std::vector<std::wstring> lines;
  while (!text.empty()) {
    const size_t newline = std::min(text.find(L'\n'), text.size());
    const std::wstring_view raw = text.substr(0, newline);
    text.remove_prefix(std::min(newline + 1, text.size()));
    std::wstring line;
    for (const wchar_t c : raw) {
      line.append(c == L'\t' ? 2 : 1, c == L'\t' ? L' ' : c);
    }
    // A deep indent leaves no room for the text.
    const size_t indent = std::min(line.find_first_not_of(L' '), line.size());
    line.erase(0, indent - std::min(indent, static_cast<size_t>(columns) / 2));
    std::wstring_view rest = line;
    while (true) {
      const size_t last = rest.find_last_not_of(L' ');
      if (last == std::wstring_view::npos) {
        break;
      }
      rest = rest.substr(0, last + 1);
      size_t end = FittingPrefix(rest, columns);
      size_t next = end;
      if (end < rest.size()) {
        const size_t space = rest.rfind(L' ', end);
        if (space != std::wstring_view::npos &&
            space > rest.find_first_not_of(L' ')) {
          end = space;
          next = rest.find_first_not_of(L' ', space);
        }
      }
      lines.emplace_back(rest.substr(0, end));
      rest.remove_prefix(next);
    }
  }
  return lines;
}

std::string Highlighted(std::wstring_view line, const QueryWords& words) {
  std::string text;
  size_t done = 0;
  ForEachWord(line, [&](size_t begin, size_t end) {
    if (words.Match(line.substr(begin, end - begin)) == 0) {
      return;
    }
    AppendNarrow(line.substr(done, begin - done), text);
    text.append(kBold);
    AppendNarrow(line.substr(begin, end - begin), text);
    text.append(kPlain);
    done = end;
  });
  AppendNarrow(line.substr(done), text);
  return text;
}

}  // namespace

// By hand: mbrtowc of a UTF-8 locale takes more than Unicode has.
bool IsUtf8(std::string_view text) {
  // By the number of bytes.
  constexpr std::array<uint32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  while (!text.empty()) {
    const auto lead = static_cast<unsigned char>(text[0]);
    size_t length = 1;
    uint32_t c = lead;
    if (lead >= 0x80) {
      length = static_cast<size_t>(std::countl_one(lead));
      if (length < 2 || length > 4 || length > text.size()) {
        return false;
      }
      c = lead & (0x7Fu >> length);
      for (const char next : text.substr(1, length - 1)) {
        const auto byte = static_cast<unsigned char>(next);
        if (byte >> 6 != 2) {
          return false;
        }
        c = c << 6 | (byte & 0x3Fu);
      }
    }
    if (c < kLeast[length] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) {
      return false;
    }
    text.remove_prefix(length);
  }
  return true;
}

std::string Printable(std::string_view text) {
  return Narrow(Widen(text));
}

std::string PrintableLine(std::string_view text) {
  std::string line = Printable(text);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\n' || c == '\t'; },
      ' ');
  return line;
}

std::vector<std::string> Snippet(std::string_view text, std::string_view query,
                                 int columns, int max_lines, bool highlight) {
  // Room for an ellipsis at both ends.
  std::vector<std::wstring> lines =
      WrapLines(Widen(text), std::max(columns - 4, 8));
  const QueryWords words(query);
  std::vector<uint64_t> matches;
  matches.reserve(lines.size());
  for (const std::wstring& line : lines) {
    uint64_t matched = 0;
    ForEachWord(line, [&](size_t begin, size_t end) {
      matched |=
          words.Match(std::wstring_view(line).substr(begin, end - begin));
    });
    matches.push_back(matched);
  }
  const size_t count = std::min(lines.size(), static_cast<size_t>(max_lines));
  size_t best = 0;
  size_t best_weight = 0;
  for (size_t first = 0; first + count <= lines.size(); ++first) {
    uint64_t matched = 0;
    for (size_t i = 0; i < count; ++i) {
      matched |= matches[first + i];
    }
    if (const size_t weight = words.Weight(matched); weight > best_weight) {
      best = first;
      best_weight = weight;
    }
  }
  std::vector<std::string> snippet;
  for (size_t i = best; i < best + count; ++i) {
    std::wstring& line = lines[i];
    if (i == best && best > 0) {
      line = std::wstring({kEllipsis, L' '}) +
             line.substr(line.find_first_not_of(L' '));
    }
    if (i + 1 == best + count && i + 1 < lines.size()) {
      line += {L' ', kEllipsis};
    }
    snippet.push_back(highlight ? Highlighted(line, words) : Narrow(line));
  }
  return snippet;
}

std::string CutToWidth(std::string_view line, int columns) {
  const std::wstring wide = Widen(line);
  if (Columns(wide) <= columns) {
    return Narrow(wide);
  }
  return Narrow(wide.substr(0, FittingPrefix(wide, columns - 1)) + kEllipsis);
}

std::string DisplayId(std::string_view id, const fs::path& working_directory) {
  std::string prefix = working_directory.string();
  if (!prefix.ends_with('/')) {
    prefix += '/';
  }
  if (id.size() > prefix.size() && id.starts_with(prefix)) {
    id.remove_prefix(prefix.size());
  }
  return PrintableLine(id);
}

std::vector<std::string> IdCandidates(std::string_view argument,
                                      const fs::path& working_directory) {
  std::vector<std::string> candidates = {std::string(argument)};
  const auto add = [&](const fs::path& path) {
    if (IsUtf8(path.native()) && std::find(candidates.begin(), candidates.end(),
                                           path.string()) == candidates.end()) {
      candidates.push_back(path.string());
    }
  };
  if (argument.empty()) {
    return candidates;
  }
  const fs::path absolute = working_directory / argument;
  add(absolute.lexically_normal());
  std::error_code error;
  fs::path resolved = fs::weakly_canonical(absolute, error);
  if (!error) {
    if (!absolute.has_filename() && resolved.has_filename()) {
      resolved /= "";
    }
    add(resolved);
  }
  return candidates;
}

std::string FormatCount(int64_t count) {
  std::string digits = absl::StrCat(count);
  const size_t first = digits[0] == '-' ? 1 : 0;
  for (size_t i = digits.size(); i > first + 3;) {
    i -= 3;
    digits.insert(i, 1, ',');
  }
  return digits;
}

std::string FormatBytes(int64_t bytes) {
  constexpr std::array kUnits = {"B", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  // 999.95 would print as 1000.0.
  for (; value >= 999.95 && unit + 1 < kUnits.size(); ++unit) {
    value /= 1000;
  }
  return unit == 0 ? absl::StrCat(bytes, " B")
                   : absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

std::string FormatSeconds(absl::Duration time) {
  const double seconds = absl::ToDoubleSeconds(time);
  if (seconds < 0.9995) {
    return absl::StrFormat("%.0f ms", seconds * 1000);
  }
  return seconds < 99.95 ? absl::StrFormat("%.1f s", seconds)
                         : absl::StrCat(FormatRemaining(time),
                                        time < absl::Hours(1) ? " min" : " h");
}

std::string FormatRemaining(absl::Duration time) {
  const int64_t seconds = absl::ToInt64Seconds(time + absl::Milliseconds(500));
  if (seconds < 3600) {
    return absl::StrFormat("%d:%02d", seconds / 60, seconds % 60);
  }
  return absl::StrFormat("%d:%02d:%02d", seconds / 3600, seconds / 60 % 60,
                         seconds % 60);
}

std::string Plural(int64_t count, std::string_view noun) {
  return absl::StrCat(FormatCount(count), " ", AbslView(noun),
                      count == 1 ? "" : "s");
}

std::string Table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<int> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], Columns(Widen(row[i])));
    }
  }
  std::string table;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string padding(
          static_cast<size_t>(widths[i] - Columns(Widen(row[i]))), ' ');
      if (i == 0) {
        absl::StrAppend(&table, row[i], row.size() > 1 ? padding : "");
      } else {
        absl::StrAppend(&table, "  ", padding, row[i]);
      }
    }
    table += '\n';
  }
  return table;
}

std::string RenamedText(int64_t renamed) {
  return renamed == 0 ? "" : absl::StrCat(FormatCount(renamed), " renamed, ");
}

}  // namespace pith::cli
