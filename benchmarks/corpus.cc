#include "benchmarks/corpus.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

#include "core/base/status_macros.h"
#include "core/base/string_view.h"

namespace pith {
namespace {

constexpr size_t kMinSentenceBytes = 20;

constexpr std::string_view kSentences = "/sentences";

struct PoolPart {
  std::string_view dataset;
  size_t texts;
};
constexpr std::array<PoolPart, 5> kPool = {{{"squad_dev", SIZE_MAX},
                                            {"cosqa_code", SIZE_MAX},
                                            {"til_notes", SIZE_MAX},
                                            {"cranfield", SIZE_MAX},
                                            {"arxiv_200k", 20'000}}};
}  // namespace

std::vector<std::string> SplitSentences(std::string_view text) {
  std::vector<std::string> sentences;
  size_t begin = 0;
  const auto take = [&](size_t end) {
    const absl::string_view sentence =
        absl::StripAsciiWhitespace(AbslView(text.substr(begin, end - begin)));
    if (!sentence.empty()) {
      sentences.emplace_back(sentence);
    }
    begin = end;
  };
  for (size_t i = 0; i + 2 < text.size(); ++i) {
    const bool ends = text[i] == '.' || text[i] == '?' || text[i] == '!';
    if (ends && absl::ascii_isspace(static_cast<unsigned char>(text[i + 1])) &&
        absl::ascii_isupper(static_cast<unsigned char>(text[i + 2])) &&
        i + 1 - begin >= kMinSentenceBytes) {
      take(i + 1);
    }
  }
  take(text.size());
  return sentences;
}

absl::StatusOr<Pool> ReadPool(const std::filesystem::path& data_directory,
                              size_t max_queries) {
  Pool pool;
  Dataset& pooled = pool.dataset;
  for (const PoolPart& part : kPool) {
    PITH_ASSIGN_OR_RETURN(Dataset dataset,
                          ReadDataset(data_directory / part.dataset));
    const auto first = static_cast<uint32_t>(pooled.corpus.size());
    dataset.corpus.resize(std::min(part.texts, dataset.corpus.size()));
    for (Dataset::Text& text : dataset.corpus) {
      text.id = absl::StrCat(AbslView(part.dataset), "/", text.id);
      pooled.corpus.push_back(std::move(text));
    }
    const size_t begin = pooled.queries.size();
    dataset.queries.resize(std::min(max_queries, dataset.queries.size()));
    for (Dataset::Query& query : dataset.queries) {
      std::erase_if(query.relevant, [&](uint32_t text) {
        return text >= dataset.corpus.size();
      });
      for (uint32_t& text : query.relevant) {
        text += first;
      }
      pooled.queries.push_back(std::move(query));
    }
    pool.query_sets.push_back({.dataset = part.dataset,
                               .begin = begin,
                               .end = pooled.queries.size()});
  }
  return pool;
}

absl::StatusOr<Corpus> ReadCorpus(const std::filesystem::path& data_directory,
                                  std::string_view name, size_t n) {
  Dataset dataset;
  const bool sentences = name.ends_with(kSentences);
  if (name == "pool") {
    PITH_ASSIGN_OR_RETURN(Pool pool, ReadPool(data_directory, kPoolQueries));
    dataset = std::move(pool.dataset);
  } else {
    std::string_view dataset_name = name;
    dataset_name.remove_suffix(sentences ? kSentences.size() : 0);
    PITH_ASSIGN_OR_RETURN(dataset, ReadDataset(data_directory / dataset_name));
  }
  Corpus corpus;
  for (Dataset::Text& text : dataset.corpus) {
    if (n != 0 && corpus.passages.size() >= n) {
      break;
    }
    if (sentences) {
      for (std::string& sentence : SplitSentences(text.text)) {
        corpus.passages.push_back(std::move(sentence));
      }
    } else {
      corpus.passages.push_back(std::move(text.text));
    }
  }
  for (Dataset::Query& query : dataset.queries) {
    corpus.queries.push_back(std::move(query.text));
  }
  if (corpus.passages.size() < n) {
    return absl::InvalidArgumentError(
        absl::StrCat(AbslView(name), " has ", corpus.passages.size(),
                     " passages, fewer than ", n));
  }
  if (n != 0) {
    corpus.passages.resize(n);
  }
  return corpus;
}

}  // namespace pith
