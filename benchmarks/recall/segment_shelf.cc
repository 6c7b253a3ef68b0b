#include "benchmarks/recall/segment_shelf.h"

#include <limits>
#include <span>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "core/base/ids.h"
#include "core/base/status_macros.h"
#include "core/codes/codebook_training.h"
#include "core/index/codebook_choice.h"
#include "core/index/segment_file.h"

namespace pith {

std::string ShapeName(const CodeShape& shape) {
  return absl::StrCat("opq", shape.subquantizers, "x", shape.bits);
}

std::vector<uint8_t> EncodeRows(const Codec& codec, const Matrix& vectors,
                                int threads) {
  const size_t code_bytes = codec.code_bytes();
  std::vector<uint8_t> codes(vectors.rows() * code_bytes);
  const auto pieces = static_cast<size_t>(threads);
  std::vector<std::jthread> running;
  for (size_t t = 0; t < pieces; ++t) {
    running.emplace_back([&, begin = vectors.rows() * t / pieces,
                          end = vectors.rows() * (t + 1) / pieces] {
      for (size_t i = begin; i < end; ++i) {
        codec.Encode(vectors.row(i),
                     std::span(codes).subspan(i * code_bytes, code_bytes));
      }
    });
  }
  running.clear();
  return codes;
}

absl::StatusOr<const SegmentShelf::Coded*> SegmentShelf::Encode(
    const RecallInput& input, const RecallOptions& options,
    const CodeShape& shape) {
  const std::string name = ShapeName(shape);
  if (const auto found = coded_.find(name); found != coded_.end()) {
    return &found->second;
  }
  const absl::Time start = absl::Now();
  Coded coded;
  std::vector<PassageId> ids;
  for (size_t i = 0; i < input.passages.rows(); ++i) {
    ids.push_back(MakePassageId(DocumentNumber{i}, 0));
  }
  if (options.from_exact) {
    PITH_ASSIGN_OR_RETURN(
        coded.codebook,
        TrainCodebook(input.passages,
                      {.shape = shape, .threads = options.threads}));
    coded.passages = {
        .codec = coded.codebook,
        .passages = std::move(ids),
        .codes = EncodeRows(*coded.codebook, input.passages, options.threads)};
  } else {
    const auto delta = std::make_shared<RotatedCodec>(
        static_cast<int>(input.passages.columns()));
    coded.passages = {
        .codec = delta,
        .passages = std::move(ids),
        .codes = EncodeRows(*delta, input.passages, options.threads)};
    PITH_ASSIGN_OR_RETURN(coded.codebook,
                          TrainFromCodes(coded.passages, shape, /*seed=*/0,
                                         {.threads = options.threads}));
  }
  coded.seconds = absl::ToDoubleSeconds(absl::Now() - start);
  return &coded_.emplace(name, std::move(coded)).first->second;
}

absl::StatusOr<const SealedPassages*> SegmentShelf::Get(
    const RecallInput& input, const RecallOptions& options,
    const CodeShape& shape, bool with_graph) {
  const auto key = std::pair(ShapeName(shape), with_graph);
  if (const auto found = sealed_.find(key); found != sealed_.end()) {
    return &found->second;
  }
  PITH_ASSIGN_OR_RETURN(const Coded* coded, Encode(input, options, shape));
  const absl::Time start = absl::Now();
  PITH_ASSIGN_OR_RETURN(
      SegmentContent content,
      BuildSegment({coded->passages}, coded->codebook,
                   with_graph ? 0 : std::numeric_limits<size_t>::max(),
                   /*seed=*/0, {.threads = options.threads}));
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);

  const auto n = static_cast<double>(input.passages.rows());
  const auto codes = static_cast<double>(content.codes.size());
  const auto graph =
      static_cast<double>(content.graph ? content.graph->size() : 0);
  const auto ids = static_cast<double>(content.passages.Encode().size());
  const auto total = static_cast<double>(EncodeSegment(content).size());
  SealedPassages sealed{
      .facts = {.code_bytes = content.code_bytes,
                .bytes = {.codes = codes / n,
                          .graph = graph / n,
                          .ids = ids / n,
                          .other = (total - codes - graph - ids) / n,
                          .codebook = static_cast<double>(
                                          coded->codebook->Serialize().size()) /
                                      n},
                .build_seconds = coded->seconds + seconds}};
  PITH_ASSIGN_OR_RETURN(
      sealed.segment,
      Segment::Make(/*number=*/1, std::move(content), coded->codebook));
  sealed.facts.memory_bytes_per_passage =
      static_cast<double>(sealed.segment->memory_bytes()) / n;
  return &sealed_.emplace(key, std::move(sealed)).first->second;
}

}  // namespace pith
