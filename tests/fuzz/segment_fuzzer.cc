// Reads any bytes as each thing that lies on disk beside the store. What
// decodes is written again byte for byte, and all of it may be used.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "glog/logging.h"

#include "core/base/coding.h"
#include "core/base/crc32.h"
#include "core/codes/codebook.h"
#include "core/graph/packed_graph.h"
#include "core/index/manifest.h"
#include "core/index/passage_ids.h"
#include "core/index/segment_file.h"

namespace pith {
namespace {

void PutCrc(size_t at, std::string_view covered, std::string& bytes) {
  std::string crc;
  PutFixed32(Crc32(covered), crc);
  bytes.replace(at, crc.size(), crc);
}

// `bytes`, a segment, with the CRCs that it should have; a mutation would
// never get past them.
std::string WithSegmentCrcs(std::string bytes) {
  constexpr size_t kEntryBytes = 16;
  Decoder decoder(bytes);
  decoder.Bytes(12);
  const size_t count = decoder.Fixed32();
  const size_t table = 16;
  if (!decoder.ok() || count > decoder.remaining() / kEntryBytes) {
    return bytes;
  }
  const size_t table_end = table + count * kEntryBytes;
  if (table_end + 4 > bytes.size()) {
    return bytes;
  }
  size_t section = table_end + 4;
  for (size_t entry = table; entry < table_end; entry += kEntryBytes) {
    const uint64_t length =
        Decoder(std::string_view(bytes).substr(entry + 8)).Fixed64();
    if (length > bytes.size() - section) {
      break;
    }
    PutCrc(entry + 4, std::string_view(bytes).substr(section, length), bytes);
    section += length;
  }
  PutCrc(table_end, std::string_view(bytes).substr(0, table_end), bytes);
  return bytes;
}

// As WithSegmentCrcs, for a codebook: its header, of 24 bytes, implies where
// its sections end.
std::string WithCodebookCrcs(std::string bytes) {
  Decoder decoder(bytes);
  decoder.Bytes(12);
  const size_t dimension = decoder.Fixed32();
  const size_t subquantizers = decoder.Fixed32();
  const size_t bits = decoder.Fixed32();
  if (!decoder.ok() || dimension == 0 || dimension > 256 ||
      subquantizers == 0 || subquantizers > 256 || bits > 8) {
    return bytes;
  }
  const size_t padded =
      (dimension + subquantizers - 1) / subquantizers * subquantizers;
  size_t at = 0;
  for (const size_t length : {size_t{24}, 4 * dimension * padded,
                              4 * padded << bits, size_t{1024}, size_t{8}}) {
    if (at + length + 4 > bytes.size()) {
      break;
    }
    PutCrc(at + length, std::string_view(bytes).substr(at, length), bytes);
    at += length + 4;
  }
  return bytes;
}

void UseIds(const PassageIds& ids) {
  uint64_t sum = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    sum += static_cast<uint64_t>(ids[NodeId{static_cast<uint32_t>(i)}]);
  }
  // The sum is nothing; that it was made is.
  CHECK(ids.size() > 0 || sum == 0);
}

void ReadGraph(std::string_view bytes, size_t node_count) {
  const auto graph = PackedGraph::Parse(bytes, node_count);
  if (!graph.ok()) {
    return;
  }
  CHECK_EQ(graph->node_count(), node_count);
  NeighborBuffer buffer;
  NeighborBuffer other;
  for (size_t i = 0; i < node_count; ++i) {
    const NodeId node{static_cast<uint32_t>(i)};
    for (const NodeId neighbor : graph->Neighbors(node, buffer)) {
      CHECK_LT(static_cast<size_t>(neighbor), node_count);
      const auto back = graph->Neighbors(neighbor, other);
      CHECK(std::binary_search(back.begin(), back.end(), node));
    }
  }
  for (const NodeId node : graph->entry_points()) {
    CHECK_LT(static_cast<size_t>(node), node_count);
  }
  CHECK(graph->Serialize() == bytes);
}

void ReadIds(std::string_view bytes) {
  const auto ids = PassageIds::Decode(bytes);
  if (ids.ok()) {
    UseIds(*ids);
    CHECK(ids->Encode() == bytes);
  }
}

void ReadSegment(std::string_view bytes) {
  const auto segment = DecodeSegment(bytes, "fuzzed");
  if (segment.ok()) {
    UseIds(segment->passages);
    CHECK(EncodeSegment(*segment) == bytes);
    if (segment->graph.has_value()) {
      ReadGraph(*segment->graph, segment->passages.size());
    }
  }
}

void ReadCodebook(std::string_view bytes) {
  const auto parsed = Codebook::Parse(bytes);
  if (!parsed.ok()) {
    return;
  }
  const Codebook& codebook = **parsed;
  CHECK(codebook.Serialize() == bytes);
  std::vector<float> vector(static_cast<size_t>(codebook.dimension()));
  vector.back() = 1;
  std::vector<uint8_t> codes(2 * codebook.code_bytes(), 0xff);
  const std::span<uint8_t> code = std::span(codes).first(codebook.code_bytes());
  codebook.Encode(vector, code);
  (void)codebook.ErrorOf(code);
  const auto query = codebook.Prepare(vector);
  std::vector<float> scanned(2);
  query->Scan(codebook.ToBlocks(codes), scanned);
  std::vector<float> scored(2);
  query->Score(codes, std::vector<uint32_t>{0, 1}, scored);
  CHECK_EQ(std::memcmp(scanned.data(), scored.data(), 2 * sizeof(float)), 0);
  codebook.Decode(code, vector);
}

void ReadManifest(std::string_view bytes) {
  const auto manifest = DecodeManifest(bytes);
  if (manifest.ok()) {
    CHECK(EncodeManifest(*manifest) == bytes);
  }
}

}  // namespace
}  // namespace pith

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  pith::ReadIds(bytes);
  if (size > 0) {
    pith::ReadGraph(bytes.substr(1), data[0]);
  }
  pith::ReadManifest(bytes);
  pith::ReadCodebook(bytes);
  pith::ReadCodebook(pith::WithCodebookCrcs(std::string(bytes)));
  pith::ReadSegment(bytes);
  pith::ReadSegment(pith::WithSegmentCrcs(std::string(bytes)));
  return 0;
}
