#ifndef PITH_BENCHMARKS_UPDATE_EDITS_H_
#define PITH_BENCHMARKS_UPDATE_EDITS_H_

#include <cstddef>
#include <filesystem>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

#include "benchmarks/update/live_collection.h"
#include "benchmarks/update/searches.h"
#include "benchmarks/update/texts.h"
#include "core/index/embedder.h"

namespace pith {

struct EditsOptions {
  std::filesystem::path directory;
  LiveCollection::Options live;
  // Sentences that are there before, each a document.
  size_t passages = 40'000;
  // Sentences of a paragraph, about as many as a passage takes.
  size_t paragraph_sentences = 7;
  size_t large_document_paragraphs = 1000;
  // Of each kind.
  size_t edits = 30;
  SearchesOptions searches = {.searches = 100, .embedder = "model"};
};

// With the model itself: how long a changed document takes from acknowledged to
// searchable, how many passages each kind of change embeds, and search latency
// beside adding and merging. `sentences` has more than options.passages: of the
// rest paragraphs are made. The model's workers are to be warm.
absl::StatusOr<std::vector<nlohmann::ordered_json>> MeasureEdits(
    const EditsOptions& options, const VectorTexts& sentences, Embedder& model);

}  // namespace pith

#endif  // PITH_BENCHMARKS_UPDATE_EDITS_H_
