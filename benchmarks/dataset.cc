#include "benchmarks/dataset.h"

#include <zstd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"

#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"

namespace pith {
namespace {

using nlohmann::json;

absl::StatusOr<std::string> ReadZstd(const std::filesystem::path& path) {
  PITH_ASSIGN_OR_RETURN(const std::string compressed, ReadFile(path));
  const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(
      ZSTD_createDCtx(), &ZSTD_freeDCtx);
  std::string text;
  ZSTD_inBuffer input{compressed.data(), compressed.size(), 0};
  // Zero once a frame is complete.
  size_t left = 0;
  bool output_full = false;
  while (input.pos < input.size || (left != 0 && output_full)) {
    const size_t size = text.size();
    text.resize(size + ZSTD_DStreamOutSize());
    ZSTD_outBuffer output{text.data() + size, text.size() - size, 0};
    left = ZSTD_decompressStream(context.get(), &output, &input);
    if (ZSTD_isError(left) != 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "decompress ", path.string(), ": ", ZSTD_getErrorName(left)));
    }
    output_full = output.pos == output.size;
    text.resize(size + output.pos);
  }
  if (left != 0) {
    return absl::InvalidArgumentError(absl::StrCat("decompress ", path.string(),
                                                   ": ", compressed.size(),
                                                   " bytes end amid a frame"));
  }
  return text;
}

// Calls `line` with each line that is not empty, until it returns a message
// about what is wrong with one.
absl::Status ForEachLine(
    const std::filesystem::path& path,
    const std::function<std::optional<std::string>(std::string_view)>& line) {
  PITH_ASSIGN_OR_RETURN(const std::string text, ReadZstd(path));
  int number = 0;
  for (const absl::string_view content : absl::StrSplit(text, '\n')) {
    ++number;
    if (content.empty()) {
      continue;
    }
    if (const auto error = line(StdView(content))) {
      return absl::InvalidArgumentError(
          absl::StrCat(path.string(), ":", number, ": ", *error));
    }
  }
  return absl::OkStatus();
}

std::optional<std::string> StringField(const json& object, const char* name) {
  const auto field = object.find(name);
  if (field == object.end() || !field->is_string()) {
    return std::nullopt;
  }
  return field->get<std::string>();
}

// The objects of a JSON Lines file that each have an id and a text.
absl::Status ForEachText(const std::filesystem::path& path,
                         const std::function<void(Dataset::Text)>& text) {
  return ForEachLine(
      path, [&](std::string_view line) -> std::optional<std::string> {
        const json object = json::parse(line, nullptr, false);
        if (!object.is_object()) {
          return "no JSON object";
        }
        auto id = StringField(object, "id");
        auto content = StringField(object, "text");
        if (!id || !content) {
          return "no string \"id\" or no string \"text\"";
        }
        text({*std::move(id), StringField(object, "title").value_or(""),
              *std::move(content)});
        return std::nullopt;
      });
}

}  // namespace

absl::StatusOr<Dataset> ReadDataset(const std::filesystem::path& directory) {
  Dataset dataset;
  absl::flat_hash_map<std::string, uint32_t> text_by_id;
  PITH_RETURN_IF_ERROR(
      ForEachText(directory / "corpus.jsonl.zst", [&](Dataset::Text text) {
        text_by_id.emplace(text.id,
                           static_cast<uint32_t>(dataset.corpus.size()));
        dataset.corpus.push_back(std::move(text));
      }));
  absl::flat_hash_map<std::string, size_t> query_by_id;
  PITH_RETURN_IF_ERROR(
      ForEachText(directory / "queries.jsonl.zst", [&](Dataset::Text query) {
        query_by_id.emplace(query.id, dataset.queries.size());
        dataset.queries.push_back(
            {std::move(query.id), std::move(query.text), {}});
      }));

  bool header = true;
  PITH_RETURN_IF_ERROR(ForEachLine(
      directory / "qrels.tsv.zst",
      [&](std::string_view line) -> std::optional<std::string> {
        if (std::exchange(header, false)) {
          return std::nullopt;
        }
        const std::vector<absl::string_view> fields =
            absl::StrSplit(AbslView(line), '\t');
        int label = 0;
        if (fields.size() != 3 || !absl::SimpleAtoi(fields[2], &label)) {
          return "not query-id, corpus-id and score between tabs";
        }
        const auto query = query_by_id.find(fields[0]);
        if (query == query_by_id.end()) {
          return absl::StrCat("unknown query \"", fields[0], "\"");
        }
        const auto text = text_by_id.find(fields[1]);
        if (text == text_by_id.end()) {
          return absl::StrCat("unknown text \"", fields[1], "\"");
        }
        if (label > 0) {
          dataset.queries[query->second].relevant.push_back(text->second);
        }
        return std::nullopt;
      }));
  std::erase_if(dataset.queries, [](const Dataset::Query& query) {
    return query.relevant.empty();
  });
  for (Dataset::Query& query : dataset.queries) {
    std::sort(query.relevant.begin(), query.relevant.end());
    query.relevant.erase(
        std::unique(query.relevant.begin(), query.relevant.end()),
        query.relevant.end());
  }
  return dataset;
}

}  // namespace pith
