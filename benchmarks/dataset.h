#ifndef PITH_BENCHMARKS_DATASET_H_
#define PITH_BENCHMARKS_DATASET_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace pith {

// A retrieval test collection: texts, queries, and which texts answer which
// query.
struct Dataset {
  struct Text {
    std::string id;
    std::string title;
    std::string text;
  };
  struct Query {
    std::string id;
    std::string text;
    // Positions in `corpus` of the texts with a positive label, ascending; at
    // least one.
    std::vector<uint32_t> relevant;
  };
  std::vector<Text> corpus;
  // Those that have a positive label, in file order.
  std::vector<Query> queries;
};

// Reads corpus.jsonl.zst, queries.jsonl.zst and qrels.tsv.zst of `directory`.
// kNotFound if one does not exist; kInvalidArgument with file and line if one
// cannot be understood, or a label names an unknown query or text.
absl::StatusOr<Dataset> ReadDataset(const std::filesystem::path& directory);

}  // namespace pith

#endif  // PITH_BENCHMARKS_DATASET_H_
