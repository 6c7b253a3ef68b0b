#ifndef PITH_BENCHMARKS_EMBED_PEER_H_
#define PITH_BENCHMARKS_EMBED_PEER_H_

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "benchmarks/embed/row.h"
#include "benchmarks/embed/texts.h"

namespace pith {

inline constexpr char kPeerName[] = "sentence-transformers";

// What sentence-transformers makes of the texts of each mix, in f32 and bf16,
// with each number of threads; rows as peer.py describes them. kInternal if
// `python` does not run it to the end; it says why on standard error.
absl::StatusOr<std::vector<EmbedRow>> MeasurePeer(
    const std::filesystem::path& python, const std::filesystem::path& model,
    const std::map<std::string, TokenizedTexts>& texts,
    const std::vector<int>& threads, int repetitions);

}  // namespace pith

#endif  // PITH_BENCHMARKS_EMBED_PEER_H_
