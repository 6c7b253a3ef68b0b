#ifndef PITH_BENCHMARKS_CORPUS_H_
#define PITH_BENCHMARKS_CORPUS_H_

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "benchmarks/dataset.h"

namespace pith {

// Passages and queries that recall is measured with; labels play no part.
struct Corpus {
  std::vector<std::string> passages;
  std::vector<std::string> queries;
};

// Several datasets in one collection: the texts of squad_dev, cosqa_code,
// til_notes and cranfield and 20,000 of arxiv_200k, with queries of each.
struct Pool {
  // Ids of texts are DATASET/ID. A query is without `relevant` if what answers
  // it was left out.
  Dataset dataset;
  // Those of dataset.queries in [begin, end).
  struct QuerySet {
    std::string_view dataset;
    size_t begin;
    size_t end;
  };
  std::vector<QuerySet> query_sets;
};

inline constexpr size_t kPoolQueries = 500;

// At most `max_queries` of each dataset. Errors are ReadDataset's.
absl::StatusOr<Pool> ReadPool(const std::filesystem::path& data_directory,
                              size_t max_queries);

// The first `n` passages (all if 0) of
//
//   a dataset        its texts and all its queries
//   NAME/sentences   the sentences of its texts, in order, and all its queries
//   pool             ReadPool's texts and kPoolQueries of each dataset
//
// below `data_directory`. kInvalidArgument if there are fewer than `n`.
absl::StatusOr<Corpus> ReadCorpus(const std::filesystem::path& data_directory,
                                  std::string_view name, size_t n);

// The parts of `text` that end with a full stop, question or exclamation mark
// before white space and an upper-case letter; those under 20 bytes are joined
// to the next.
std::vector<std::string> SplitSentences(std::string_view text);

}  // namespace pith

#endif  // PITH_BENCHMARKS_CORPUS_H_
