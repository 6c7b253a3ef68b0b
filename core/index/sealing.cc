#include "core/index/sealing.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "core/base/status_macros.h"
#include "core/codes/byte_vectors.h"
#include "core/codes/score_slope.h"
#include "core/graph/build.h"

namespace pith {
namespace {

// Codes that a thread takes at a time.
constexpr size_t kGrain = 256;

// Appends `part`, with its codes as `codebook` makes them, to `all`.
absl::Status Append(const CodedPassages& part,
                    const std::shared_ptr<const Codebook>& codebook,
                    const SealControl& control, CodedPassages& all) {
  all.passages.insert(all.passages.end(), part.passages.begin(),
                      part.passages.end());
  if (part.codec == codebook) {
    all.codes.insert(all.codes.end(), part.codes.begin(), part.codes.end());
    return absl::OkStatus();
  }
  const size_t bytes = codebook->code_bytes();
  const size_t first = all.codes.size();
  all.codes.resize(first + part.passages.size() * bytes);
  return ParallelFor(
      control.build(), part.passages.size(), kGrain,
      [&](size_t /*worker*/, size_t begin, size_t end) {
        std::vector<float> vector(static_cast<size_t>(codebook->dimension()));
        for (size_t i = begin; i < end; ++i) {
          part.codec->Decode(part.code(i), vector);
          codebook->Encode(
              vector, std::span(all.codes).subspan(first + i * bytes, bytes));
        }
      });
}

// The same passages and codes, element i from place order[i].
CodedPassages Reordered(const CodedPassages& passages,
                        const std::vector<size_t>& order) {
  CodedPassages result{.codec = passages.codec};
  result.passages.reserve(order.size());
  result.codes.reserve(passages.codes.size());
  for (const size_t i : order) {
    result.passages.push_back(passages.passages[i]);
    const std::span<const uint8_t> code = passages.code(i);
    result.codes.insert(result.codes.end(), code.begin(), code.end());
  }
  return result;
}

// A graph that is extended.
struct Base {
  std::shared_ptr<const Segment> segment;
  std::vector<bool> gone;
  size_t kept;
  // Since it was built from nothing, once it is extended.
  size_t changed_nodes;
};

// The largest of the graphs in `parts` that may be extended to `count` nodes
// with codes of `codebook`, whose part comes first then; nullopt if there is
// none.
std::optional<Base> TakeBase(const std::shared_ptr<const Codebook>& codebook,
                             size_t count, std::vector<CodedPassages>& parts) {
  std::optional<Base> base;
  for (CodedPassages& part : parts) {
    const size_t kept = part.passages.size();
    if (part.segment == nullptr || part.codec != codebook ||
        (base && kept <= base->kept)) {
      continue;
    }
    const size_t changed = part.segment->changed_nodes() +
                           (part.segment->size() - kept) + (count - kept);
    if (static_cast<double>(changed) <=
        kMaxChangedShare * static_cast<double>(count)) {
      base = Base{part.segment, std::move(part.gone), kept, changed};
      std::swap(parts.front(), part);
    }
  }
  return base;
}

// The graph of `all`, of which what is left of `base` comes first.
absl::StatusOr<BuiltGraph> GraphOf(const CodedPassages& all,
                                   const std::optional<Base>& base,
                                   uint64_t seed, const BuildControl& control) {
  const size_t count = all.passages.size();
  ByteVectors vectors(count, all.codec->dimension());
  PITH_RETURN_IF_ERROR(ParallelFor(
      control, count, kGrain, [&](size_t /*worker*/, size_t begin, size_t end) {
        std::vector<float> vector(static_cast<size_t>(vectors.dimension()));
        for (size_t i = begin; i < end; ++i) {
          all.codec->Decode(all.code(i), vector);
          vectors.Set(i, vector);
        }
      }));
  const auto similarities =
      [&vectors](std::span<const NodeId> rows, std::span<const NodeId> columns,
                 std::span<float> out) { vectors.Dot(rows, columns, out); };
  const GraphOptions options = {.seed = seed};
  return base ? ExtendGraph(*base->segment->graph(), base->gone, count,
                            similarities, options, control)
              : BuildGraph(count, similarities, options, control);
}

}  // namespace

absl::StatusOr<SegmentContent> BuildSegment(
    std::vector<CodedPassages> parts,
    const std::shared_ptr<const Codebook>& codebook, size_t min_graph_passages,
    uint64_t seed, const SealControl& control) {
  control.progress(SealPhase::kEncoding);
  size_t count = 0;
  for (const CodedPassages& part : parts) {
    count += part.passages.size();
  }
  const bool has_graph = count >= min_graph_passages;
  std::optional<Base> base;
  if (has_graph) {
    base = TakeBase(codebook, count, parts);
  }
  CodedPassages all{.codec = codebook};
  for (CodedPassages& part : parts) {
    PITH_RETURN_IF_ERROR(Append(part, codebook, control, all));
    part = {};
  }
  std::vector<PassageId> sorted = all.passages;
  std::sort(sorted.begin(), sorted.end());
  const auto repeated = std::adjacent_find(sorted.begin(), sorted.end());
  if (repeated != sorted.end()) {
    return absl::DataLossError(absl::StrCat(
        "passage ", static_cast<uint64_t>(*repeated), " is sealed twice"));
  }
  std::vector<PassageId>().swap(sorted);
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin() + static_cast<ptrdiff_t>(base ? base->kept : 0),
            order.end(), [&all](size_t a, size_t b) {
              return all.passages[a] < all.passages[b];
            });
  all = Reordered(all, order);

  SegmentContent content{.codebook = codebook->hash(),
                         .code_bytes = codebook->code_bytes()};
  if (has_graph) {
    control.progress(SealPhase::kBuilding);
    PITH_ASSIGN_OR_RETURN(const BuiltGraph built,
                          GraphOf(all, base, seed, control.build()));
    for (size_t i = 0; i < count; ++i) {
      order[static_cast<size_t>(built.new_numbers[i])] = i;
    }
    all = Reordered(all, order);
    content.graph = built.graph.Serialize();
    content.changed_nodes =
        base ? static_cast<uint32_t>(base->changed_nodes) : 0;
  }
  PITH_ASSIGN_OR_RETURN(
      content.score_slope,
      MeasureScoreSlope(*codebook, all.codes, control.build()));
  content.passages = PassageIds(all.passages);
  content.codes = std::move(all.codes);
  control.progress(SealPhase::kWriting);
  return content;
}

}  // namespace pith
