#include "core/index/sealing.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "core/base/status_macros.h"
#include "core/codes/byte_vectors.h"
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

}  // namespace

absl::StatusOr<SegmentContent> BuildSegment(
    std::vector<CodedPassages> parts,
    const std::shared_ptr<const Codebook>& codebook, size_t min_graph_passages,
    uint64_t seed, const SealControl& control) {
  control.progress(SealPhase::kEncoding);
  CodedPassages all{.codec = codebook};
  for (CodedPassages& part : parts) {
    PITH_RETURN_IF_ERROR(Append(part, codebook, control, all));
    part = {};
  }
  const size_t count = all.passages.size();
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&all](size_t a, size_t b) {
    return all.passages[a] < all.passages[b];
  });
  all = Reordered(all, order);
  const auto repeated =
      std::adjacent_find(all.passages.begin(), all.passages.end());
  if (repeated != all.passages.end()) {
    return absl::DataLossError(absl::StrCat(
        "passage ", static_cast<uint64_t>(*repeated), " is sealed twice"));
  }

  SegmentContent content{.codebook = codebook->hash(),
                         .code_bytes = codebook->code_bytes()};
  if (count >= min_graph_passages) {
    control.progress(SealPhase::kBuilding);
    const BuildControl build_control = control.build();
    ByteVectors vectors(count, codebook->dimension());
    PITH_RETURN_IF_ERROR(ParallelFor(
        build_control, count, kGrain,
        [&](size_t /*worker*/, size_t begin, size_t end) {
          std::vector<float> vector(static_cast<size_t>(codebook->dimension()));
          for (size_t i = begin; i < end; ++i) {
            codebook->Decode(all.code(i), vector);
            vectors.Set(i, vector);
          }
        }));
    PITH_ASSIGN_OR_RETURN(
        const BuiltGraph built,
        BuildGraph(
            count,
            [&vectors](std::span<const NodeId> rows,
                       std::span<const NodeId> columns, std::span<float> out) {
              vectors.Dot(rows, columns, out);
            },
            GraphOptions{.seed = seed}, build_control));
    for (size_t i = 0; i < count; ++i) {
      order[static_cast<size_t>(built.new_numbers[i])] = i;
    }
    all = Reordered(all, order);
    content.graph = built.graph.Serialize();
  }
  content.passages = PassageIds(all.passages);
  content.codes = std::move(all.codes);
  control.progress(SealPhase::kWriting);
  return content;
}

}  // namespace pith
