#include <iostream>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"

#include "clients/cli/commands.h"
#include "clients/cli/json.h"
#include "core/base/status_macros.h"
#include "proto/pith/v1/search.grpc.pb.h"

namespace pith::cli {

namespace {

constexpr int kSnippetLines = 3;
constexpr char kIndent[] = "    ";

std::string Styled(std::string_view text, const char* style,
                   const Terminal& terminal) {
  return terminal.stdout_is_terminal
             ? absl::StrCat("\033[", style, "m", std::string(text), "\033[0m")
             : std::string(text);
}

std::string HitText(int rank, const v1::SearchHit& hit,
                    const SearchOptions& options,
                    const Invocation& invocation) {
  const Terminal& terminal = invocation.terminal;
  std::string place =
      DisplayId(hit.document_id(), invocation.working_directory);
  if (hit.first_line() > 0) {
    absl::StrAppend(&place, ":", hit.first_line(), "-", hit.last_line());
  }
  std::string text = absl::StrFormat("%2d  %.4f  %s\n", rank, hit.score(),
                                     Styled(place, "1", terminal));
  const int columns = terminal.columns - static_cast<int>(sizeof kIndent - 1);
  // The outermost heading is the title as a rule.
  const std::string& heading =
      hit.heading_path().empty() ? hit.title() : hit.heading_path();
  if (!heading.empty()) {
    absl::StrAppend(&text, kIndent, CutToWidth(PrintableLine(heading), columns),
                    "\n");
  }
  for (const std::string& line :
       Snippet(hit.text(), options.query, columns, kSnippetLines,
               terminal.stdout_is_terminal)) {
    absl::StrAppend(&text, kIndent, line, "\n");
  }
  return text;
}

std::string StatsText(const v1::SearchStats& stats) {
  const absl::Duration total = absl::Seconds(stats.total_time().seconds()) +
                               absl::Nanoseconds(stats.total_time().nanos());
  std::string text =
      absl::StrCat(FormatCount(stats.passages_recomputed()), " of ",
                   Plural(stats.candidates_scored(), "passage"), " recomputed");
  if (stats.cache_hits() > 0) {
    absl::StrAppend(&text, ", ", FormatCount(stats.cache_hits()), " cached");
  }
  if (stats.vectors_read() > 0) {
    absl::StrAppend(&text, ", ", FormatCount(stats.vectors_read()), " read");
  }
  absl::StrAppend(&text, ", ", FormatSeconds(total));
  return text;
}

std::string PendingText(const v1::SearchStats& stats) {
  return stats.pending_passages() == 0
             ? ""
             : absl::StrCat("results are incomplete: ",
                            Plural(stats.pending_passages(), "passage"),
                            " not embedded yet");
}

}  // namespace

absl::StatusOr<Outcome> Search(const Invocation& invocation,
                               const SearchOptions& options) {
  PITH_ASSIGN_OR_RETURN(const auto channel, Connect(invocation.daemon));
  v1::SearchService::Stub stub(channel);
  v1::SearchRequest request;
  request.set_collection(invocation.collection);
  request.set_text(options.query);
  if (options.count.has_value()) {
    request.set_k(*options.count);
  }
  if (options.rerank.has_value()) {
    request.set_rerank_count(*options.rerank);
  }
  if (options.recall.has_value()) {
    request.set_recall_target(*options.recall);
  }
  if (!options.mode.empty()) {
    request.set_mode(options.mode == "two-level" ? v1::SEARCH_MODE_TWO_LEVEL
                                                 : v1::SEARCH_MODE_CODES);
  }
  if (options.beam.has_value()) {
    request.set_beam(*options.beam);
  }
  const auto response =
      Call<v1::SearchResponse>(stub, &v1::SearchService::Stub::Search, request);
  if (!response.ok()) {
    return OfCollection(response.status(), invocation.collection);
  }
  const Outcome outcome =
      response->hits().empty() ? Outcome::kNothingFound : Outcome::kDone;
  if (invocation.json) {
    std::cout << JsonText(ToJson(*response));
    return outcome;
  }
  int rank = 0;
  for (const v1::SearchHit& hit : response->hits()) {
    std::cout << HitText(++rank, hit, options, invocation) << "\n";
  }
  if (response->hits().empty()) {
    std::cout << "nothing found\n";
  }
  const std::string pending = PendingText(response->stats());
  std::cout << Styled(absl::StrCat(StatsText(response->stats()),
                                   pending.empty() ? "" : "; ", pending),
                      "2", invocation.terminal)
            << "\n";
  return outcome;
}

}  // namespace pith::cli
