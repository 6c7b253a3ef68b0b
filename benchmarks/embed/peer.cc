#include "benchmarks/embed/peer.h"

#include <stdio.h>
#include <stdlib.h>

#include <fstream>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "nlohmann/json.hpp"

#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace pith {
namespace {

// One word of a shell's command.
std::string Quoted(const std::filesystem::path& path) {
  return absl::StrCat("'", absl::StrReplaceAll(path.string(), {{"'", "'\\''"}}),
                      "'");
}

// What `command` prints on standard output.
absl::StatusOr<std::string> OutputOf(const std::string& command) {
  FILE* stream = popen(command.c_str(), "r");
  if (stream == nullptr) {
    return absl::InternalError(absl::StrCat("cannot run ", command));
  }
  std::string output;
  char part[4096];
  for (size_t size = 0; (size = fread(part, 1, sizeof(part), stream)) > 0;) {
    output.append(part, size);
  }
  const int status = pclose(stream);
  if (status != 0) {
    return absl::InternalError(
        absl::StrCat(command, " ended with status ", status));
  }
  return output;
}

}  // namespace

absl::StatusOr<std::vector<EmbedRow>> MeasurePeer(
    const std::filesystem::path& python, const std::filesystem::path& model,
    const std::map<std::string, TokenizedTexts>& texts,
    const std::vector<int>& threads, int repetitions) {
  std::string input =
      (std::filesystem::temp_directory_path() / "embed_bench-XXXXXX").string();
  const UniqueFd created(mkstemp(input.data()));
  if (!created.valid()) {
    return absl::InternalError(absl::StrCat("cannot create ", input));
  }
  std::ofstream(input) << nlohmann::json({{"model", model.string()},
                                          {"threads", threads},
                                          {"repetitions", repetitions},
                                          {"texts", texts}});
  const absl::StatusOr<std::string> output = OutputOf(absl::StrCat(
      Quoted(python), " ", Quoted(PITH_PEER_SCRIPT), " ", Quoted(input)));
  std::error_code ignored;
  std::filesystem::remove(input, ignored);
  PITH_RETURN_IF_ERROR(output.status());
  const auto parsed = nlohmann::json::parse(*output, nullptr, false);
  if (!parsed.is_array()) {
    return absl::InternalError(
        absl::StrCat("sentence-transformers' rows are no JSON: ", *output));
  }
  std::vector<EmbedRow> rows;
  for (const nlohmann::json& row : parsed) {
    rows.push_back({.engine = kPeerName,
                    .precision = row["precision"],
                    .tokens_per_text = row["tokens_per_text"],
                    .threads = row["threads"],
                    .tokens_per_second = row["tokens_per_second"],
                    .texts_per_second = row["texts_per_second"],
                    .cosine_mean = row["cosine_mean"],
                    .cosine_min = row["cosine_min"]});
  }
  return rows;
}

}  // namespace pith
