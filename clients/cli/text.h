#ifndef PITH_CLIENTS_CLI_TEXT_H_
#define PITH_CLIENTS_CLI_TEXT_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

// What people read. The functions that take text of documents need a UTF-8
// LC_CTYPE, which main sets.
namespace pith::cli {

// What the output streams are.
struct Terminal {
  bool stdout_is_terminal = false;
  bool stderr_is_terminal = false;
  int columns = 100;
};

// Whether protobuf takes `text` as a string.
bool IsUtf8(std::string_view text);

// `text` without control characters other than newlines and tabs, so that a
// document cannot steer a terminal. Bytes that are no UTF-8 become U+FFFD.
std::string Printable(std::string_view text);

// Printable text on one line: newlines and tabs become spaces.
std::string PrintableLine(std::string_view text);

// Up to `max_lines` lines of `text`, none wider than `columns`: those next to
// each other that hold the most of the query's words, weighed by length; the
// first such if several do. An ellipsis marks what is left out before and
// after. With `highlight` the query's words are bold.
std::vector<std::string> Snippet(std::string_view text, std::string_view query,
                                 int columns, int max_lines, bool highlight);

// `line` cut to `columns`, with an ellipsis if something is missing.
std::string CutToWidth(std::string_view line, int columns);

// How a document is shown: a path below `working_directory` relative to that,
// anything else as it is; on one line, printable.
std::string DisplayId(std::string_view id,
                      const std::filesystem::path& working_directory);

// What a user's `argument` may stand for as a document's id, likeliest first:
// itself, and if it is not absolute, the path it names as written and with
// symbolic links resolved. The path need not exist; one that is not UTF-8 names
// no document.
std::vector<std::string> IdCandidates(
    std::string_view argument, const std::filesystem::path& working_directory);

std::string FormatCount(int64_t count);            // 1,234,567
std::string FormatBytes(int64_t bytes);            // 999 B, 1.2 kB, 34.5 MB
std::string FormatSeconds(absl::Duration time);    // 85 ms, 4.2 s, 12:05 min
std::string FormatRemaining(absl::Duration time);  // 0:07, 12:05, 1:02:03

// "1 file", "2 files".
std::string Plural(int64_t count, std::string_view noun);

// Rows as columns two spaces apart; the first column is aligned left, those
// after it right.
std::string Table(const std::vector<std::vector<std::string>>& rows);

// "3 renamed, ", or nothing for 0, which is the rule.
std::string RenamedText(int64_t renamed);

}  // namespace pith::cli

#endif  // PITH_CLIENTS_CLI_TEXT_H_
