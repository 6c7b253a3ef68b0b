// What a segment's graph costs to build, how many bytes it takes and what walks
// over it find: seconds by stage, peak memory, bytes a node, recall and code
// evaluations by beam, and the CPU time of a walk over the packed graph, with
// the preparation of its query, beside one over plain lists. With --rounds: the
// same of a graph from which nodes are removed and to which others are added,
// again and again, of its walk through tombstones before, and of a graph built
// from nothing. --json prints one object, else one row a line.

#include <malloc.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <functional>
#include <iostream>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

#include "benchmarks/ranking_metrics.h"
#include "benchmarks/recall/inner_products.h"
#include "benchmarks/recall/truth.h"
#include "benchmarks/report.h"
#include "core/base/thread_time.h"
#include "core/base/matrix.h"
#include "core/base/status_macros.h"
#include "core/codes/byte_vectors.h"
#include "core/codes/codebook.h"
#include "core/codes/codebook_training.h"
#include "core/graph/build.h"
#include "core/graph/walk.h"

namespace pith {
namespace {

constexpr size_t kTop = 10;
constexpr size_t kChunk = 4096;
constexpr size_t kSpareRounds = 50;

struct Flags {
  std::string vectors;
  std::string queries;
  int dimension = 384;
  size_t n = 100'000;
  size_t query_count = 500;
  size_t threads = 2;
  // Bytes of the codes that the graph is built from and walked on; 0: neither.
  int code_bytes = 49;
  size_t recompute = 30;
  std::vector<size_t> beams = {32, 64, 96, 128, 192, 256, 384};
  GraphOptions graph;
  // Rounds of extending, each with so much of n removed and added.
  size_t rounds = 0;
  double removed = 0;
  double added = 0;
  // A build from nothing stands beside every so many-th round, and the last.
  size_t compared = 1;
  bool json = false;
};

// Rows of unit norm, from a file of raw floats or made up: a mixture of
// Gaussians of low rank, so that there are neighbours.
class Rows {
 public:
  Rows(const std::string& path, size_t count, const Flags& flags, uint64_t seed)
      : path_(path), count_(count), flags_(flags), seed_(seed) {}

  // Calls `use` with chunks of rows, in order, and the first one's number.
  absl::Status ForEach(
      const std::function<void(size_t, const Matrix&)>& use) const {
    std::ifstream file;
    if (!path_.empty()) {
      file.open(path_, std::ios::binary);
    }
    const auto columns = static_cast<size_t>(flags_.dimension);
    for (size_t begin = 0; begin < count_; begin += kChunk) {
      Matrix chunk(std::min(kChunk, count_ - begin), columns);
      if (path_.empty()) {
        for (size_t i = 0; i < chunk.rows(); ++i) {
          MakeUp(begin + i, chunk.row(i));
        }
      } else if (!file.read(reinterpret_cast<char*>(chunk.values().data()),
                            static_cast<std::streamsize>(
                                chunk.values().size_bytes()))) {
        return absl::InvalidArgumentError(
            absl::StrCat("reading ", path_, ": fewer than ", count_,
                         " rows of ", columns, " floats"));
      }
      use(begin, chunk);
    }
    return absl::OkStatus();
  }

 private:
  static constexpr size_t kRank = 24;
  static constexpr size_t kClusters = 200;

  // The same basis for all rows.
  void MakeUp(size_t number, std::span<float> row) const {
    static const std::vector<float> basis = [&] {
      std::mt19937 random(1);
      std::normal_distribution<float> normal;
      std::vector<float> values((kRank + kClusters) * row.size());
      std::generate(values.begin(), values.end(),
                    [&] { return normal(random); });
      return values;
    }();
    std::mt19937_64 random(seed_ + number * 2);
    std::normal_distribution<float> normal;
    const float* center = &basis[(kRank + random() % kClusters) * row.size()];
    std::copy_n(center, row.size(), row.begin());
    for (size_t j = 0; j < kRank; ++j) {
      const float factor = 0.5f * normal(random);
      for (size_t i = 0; i < row.size(); ++i) {
        row[i] += factor * basis[j * row.size() + i];
      }
    }
    float square = 0;
    for (float& value : row) {
      value += 0.3f * normal(random);
      square += value * value;
    }
    for (float& value : row) {
      value /= std::sqrt(square);
    }
  }

  std::string path_;
  size_t count_;
  const Flags& flags_;
  uint64_t seed_;
};

// The field of /proc/self/status, in bytes.
size_t ProcessBytes(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field + ":")) {
      return std::strtoull(line.c_str() + field.size() + 1, nullptr, 10) * 1024;
    }
  }
  return 0;
}

// Scores nodes by codes in their order.
struct CodeScorer {
  std::unique_ptr<CodeQuery> query;
  std::span<const uint8_t> codes;
  size_t code_bytes;
  std::vector<uint32_t> numbers = {};

  void Score(std::span<const NodeId> nodes, std::span<float> out) {
    numbers.clear();
    for (const NodeId node : nodes) {
      numbers.push_back(static_cast<uint32_t>(node));
    }
    query->Score(codes, numbers, out);
  }
  void Prefetch(NodeId node) const {
    __builtin_prefetch(&codes[static_cast<size_t>(node) * code_bytes]);
  }
};

// Scores nodes by the vectors that the graph was built from.
struct ByteScorer {
  const ByteVectors& vectors;
  uint32_t query;
  std::span<const uint32_t> old_numbers;
  std::vector<uint32_t> numbers = {};

  void Score(std::span<const NodeId> nodes, std::span<float> out) {
    numbers.clear();
    for (const NodeId node : nodes) {
      numbers.push_back(old_numbers[static_cast<size_t>(node)]);
    }
    vectors.Dot<uint32_t>(std::span(&query, 1), numbers, out);
  }
};

AdjacencyLists Unpacked(const PackedGraph& graph) {
  AdjacencyLists lists;
  NeighborBuffer buffer;
  for (size_t i = 0; i < graph.node_count(); ++i) {
    const auto list = graph.Neighbors(NodeId{static_cast<uint32_t>(i)}, buffer);
    lists.neighbors.insert(lists.neighbors.end(), list.begin(), list.end());
    lists.offsets.push_back(lists.neighbors.size());
  }
  return lists;
}

// Percentiles of `milliseconds`, as fields whose names begin with `prefix`.
void AddTimes(const std::string& prefix, std::vector<double> milliseconds,
              nlohmann::ordered_json& row) {
  for (const int percent : {50, 10, 90}) {
    row[absl::StrCat(prefix, "_p", percent)] =
        Percentile(milliseconds, percent);
  }
}

// Walks for every query over both forms of the graph, three times, and says
// how many of `truth` (old numbers) are among the best `kept`. Times are of all
// walks, with `make_scorer`.
template <typename MakeScorer>
absl::StatusOr<nlohmann::ordered_json> WalkRow(
    const PackedGraph& packed, const AdjacencyLists& plain,
    std::span<const uint32_t> old_numbers, const MakeScorer& make_scorer,
    const std::vector<std::vector<uint32_t>>& truth, size_t kept,
    const std::string& scorer_name, size_t beam) {
  WalkScratch scratch;
  const WalkOptions options{.beam = beam};
  size_t hits = 0;
  size_t evaluations = 0;
  size_t hops = 0;
  std::vector<double> packed_ms;
  std::vector<double> plain_ms;
  std::vector<std::vector<ScoredNode>> found(truth.size());
  // The two forms take turns pass by pass, so that neither finds in the caches
  // what the other has read.
  for (int pass = 0; pass < 6; ++pass) {
    for (size_t i = 0; i < truth.size(); ++i) {
      const double begin = ThreadMilliseconds();
      auto scorer = make_scorer(i);
      PITH_ASSIGN_OR_RETURN(
          WalkResult result,
          pass % 2 == 0
              ? Walk(packed, packed.entry_points(), scorer, options, scratch)
              : Walk(plain, packed.entry_points(), scorer, options, scratch));
      (pass % 2 == 0 ? packed_ms : plain_ms)
          .push_back(ThreadMilliseconds() - begin);
      if (pass > 0) {
        if (found[i] != result.candidates) {
          return absl::InternalError("packed and plain graph differ");
        }
        continue;
      }
      evaluations += result.evaluations;
      hops += result.hops;
      for (size_t j = 0; j < std::min(kept, result.candidates.size()); ++j) {
        hits += static_cast<size_t>(std::count(
            truth[i].begin(), truth[i].end(),
            old_numbers[static_cast<size_t>(result.candidates[j].node)]));
      }
      found[i] = std::move(result.candidates);
    }
  }
  const auto count = static_cast<double>(truth.size());
  nlohmann::ordered_json row{
      {"row", "walk"},
      {"scorer", scorer_name},
      {"beam", beam},
      {"candidates", kept},
      {"recall_at_10",
       static_cast<double>(hits) / count /
           static_cast<double>(std::min(kTop, packed.node_count()))},
      {"code_evaluations_per_query", static_cast<double>(evaluations) / count},
      {"hops_per_query", static_cast<double>(hops) / count}};
  AddTimes("walk_ms", packed_ms, row);
  AddTimes("plain_walk_ms", plain_ms, row);
  row["packed_over_plain"] =
      Percentile(packed_ms, 50) / Percentile(plain_ms, 50);
  return row;
}

struct Input {
  // Empty if the graph is not built from codes.
  std::shared_ptr<const Codebook> codebook;
  std::vector<uint8_t> codes;
  // The queries' rows follow the vectors'.
  ByteVectors vectors;
};

absl::StatusOr<std::shared_ptr<const Codebook>> Train(const Rows& rows,
                                                      const Flags& flags) {
  const size_t sample = std::min<size_t>(flags.n, 40'000);
  const size_t step = flags.n / sample;
  Matrix matrix(sample, static_cast<size_t>(flags.dimension));
  size_t next = 0;
  PITH_RETURN_IF_ERROR(rows.ForEach([&](size_t begin, const Matrix& chunk) {
    for (size_t i = 0; i < chunk.rows(); ++i) {
      if ((begin + i) % step == 0 && next < sample) {
        std::copy_n(chunk.row(i).begin(), chunk.columns(),
                    matrix.row(next++).begin());
      }
    }
  }));
  TrainingOptions options;
  options.shape.subquantizers = flags.code_bytes - 1;
  options.threads = static_cast<int>(flags.threads);
  return TrainCodebook(matrix, options);
}

absl::StatusOr<Input> Load(const Rows& rows, const Rows& queries,
                           const Flags& flags) {
  Input input{nullptr, {}, {flags.n + flags.query_count, flags.dimension}};
  size_t code_bytes = 0;
  if (flags.code_bytes > 0) {
    PITH_ASSIGN_OR_RETURN(input.codebook, Train(rows, flags));
    code_bytes = input.codebook->code_bytes();
    input.codes.resize(flags.n * code_bytes);
  }
  const BuildControl control{.threads = flags.threads};
  absl::Status status;
  PITH_RETURN_IF_ERROR(rows.ForEach([&](size_t begin, const Matrix& chunk) {
    status.Update(ParallelFor(
        control, chunk.rows(), 64, [&](size_t, size_t first, size_t last) {
          std::vector<float> decoded(chunk.columns());
          for (size_t i = first; i < last; ++i) {
            if (input.codebook == nullptr) {
              input.vectors.Set(begin + i, chunk.row(i));
              continue;
            }
            const std::span code =
                std::span(input.codes)
                    .subspan((begin + i) * code_bytes, code_bytes);
            input.codebook->Encode(chunk.row(i), code);
            input.codebook->Decode(code, decoded);
            input.vectors.Set(begin + i, decoded);
          }
        }));
  }));
  PITH_RETURN_IF_ERROR(status);
  PITH_RETURN_IF_ERROR(queries.ForEach([&](size_t begin, const Matrix& chunk) {
    for (size_t i = 0; i < chunk.rows(); ++i) {
      input.vectors.Set(flags.n + begin + i, chunk.row(i));
    }
  }));
  return input;
}

// For each query the numbers of the nearest vectors, by exact inner product.
absl::StatusOr<std::vector<std::vector<uint32_t>>> ExactNearest(
    const Rows& rows, const Matrix& queries) {
  std::vector<std::vector<ScoreKey>> best(queries.rows());
  std::vector<float> scores;
  PITH_RETURN_IF_ERROR(rows.ForEach([&](size_t begin, const Matrix& chunk) {
    scores.resize(chunk.rows());
    for (size_t q = 0; q < queries.rows(); ++q) {
      InnerProducts(queries.row(q), chunk, 0, scores);
      for (size_t i = 0; i < chunk.rows(); ++i) {
        best[q].emplace_back(NodeId{static_cast<uint32_t>(begin + i)},
                             scores[i]);
      }
      std::sort(best[q].begin(), best[q].end(), std::greater<>());
      best[q].erase(best[q].begin() +
                        static_cast<ptrdiff_t>(std::min(kTop, best[q].size())),
                    best[q].end());
    }
  }));
  std::vector<std::vector<uint32_t>> result;
  for (const std::vector<ScoreKey>& keys : best) {
    result.emplace_back();
    for (const ScoreKey key : keys) {
      result.back().push_back(static_cast<uint32_t>(key.node()));
    }
  }
  return result;
}

// A graph over some of the rows.
struct Living {
  PackedGraph graph;
  // By node.
  std::vector<uint32_t> rows;
};

double CpuSeconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

// The rows `rows`, renumbered as `built` is.
Living Renumbered(BuiltGraph built, std::span<const uint32_t> rows) {
  Living result{std::move(built.graph), std::vector<uint32_t>(rows.size())};
  for (size_t i = 0; i < rows.size(); ++i) {
    result.rows[static_cast<size_t>(built.new_numbers[i])] = rows[i];
  }
  return result;
}

// What the graph took and takes.
nlohmann::ordered_json GraphFields(const BuildStatistics& statistics,
                                   double cpu_seconds,
                                   const PackedGraph& graph) {
  const auto n = static_cast<double>(graph.node_count());
  return {
      {"n", graph.node_count()},
      {"cpu_seconds", cpu_seconds},
      {"seconds",
       {{"repair", statistics.repair_seconds},
        {"neighbors", statistics.neighbors_seconds},
        {"prune", statistics.prune_seconds},
        {"connect", statistics.connect_seconds},
        {"order", statistics.order_seconds},
        {"pack", statistics.pack_seconds}}},
      {"lost_neighbors", statistics.repair.lost_neighbors},
      {"gained_neighbors", statistics.repair.gained_neighbors},
      {"dropped_edges", statistics.prune.dropped_edges},
      {"unreached_nodes", statistics.connect.unreached_nodes},
      {"edges_per_node", static_cast<double>(statistics.edges) / n},
      {"disk_bytes_per_node",
       static_cast<double>(graph.Serialize().size()) / n},
      {"memory_bytes_per_node", static_cast<double>(graph.memory_bytes()) / n}};
}

// Recall of the 10 best by byte vectors, and evaluations, by beam; a node for
// which `dead` holds is walked through.
absl::StatusOr<nlohmann::ordered_json> WalkFields(
    const Living& living, const ByteVectors& vectors, size_t first_query,
    const Flags& flags, const std::vector<bool>& dead) {
  std::vector<std::vector<uint32_t>> truth;
  std::vector<float> scores(living.rows.size());
  for (size_t q = 0; q < flags.query_count; ++q) {
    const auto query = static_cast<uint32_t>(first_query + q);
    vectors.Dot<uint32_t>(std::span(&query, 1), living.rows, scores);
    for (size_t i = 0; i < dead.size(); ++i) {
      if (dead[i]) {
        scores[i] = std::numeric_limits<float>::lowest();
      }
    }
    truth.push_back(TopPositions(scores, kTop));
  }
  nlohmann::ordered_json fields;
  WalkScratch scratch;
  for (const size_t beam : flags.beams) {
    size_t hits = 0;
    size_t evaluations = 0;
    for (size_t q = 0; q < flags.query_count; ++q) {
      ByteScorer scorer{vectors, static_cast<uint32_t>(first_query + q),
                        living.rows};
      PITH_ASSIGN_OR_RETURN(
          const WalkResult result,
          Walk(living.graph, living.graph.entry_points(), scorer,
               WalkOptions{.beam = beam}, scratch, [&dead](NodeId node) {
                 return dead.empty() || !dead[static_cast<size_t>(node)];
               }));
      evaluations += result.evaluations;
      for (size_t j = 0; j < std::min(kTop, result.candidates.size()); ++j) {
        hits += static_cast<size_t>(
            std::count(truth[q].begin(), truth[q].end(),
                       static_cast<uint32_t>(result.candidates[j].node)));
      }
    }
    const auto count = static_cast<double>(flags.query_count);
    fields.push_back(
        {{"beam", beam},
         {"recall_at_10",
          static_cast<double>(hits) / count / static_cast<double>(kTop)},
         {"evaluations_per_query", static_cast<double>(evaluations) / count}});
  }
  return fields;
}

// Rounds of extending a graph, beside graphs built from nothing.
absl::Status RunRounds(
    const Flags& flags,
    const std::function<void(nlohmann::ordered_json)>& emit) {
  const auto n = static_cast<double>(flags.n);
  const auto added = static_cast<size_t>(flags.added * n);
  // After that many rounds, what was removed comes back.
  Flags all = flags;
  all.n = flags.n + std::min(flags.rounds, kSpareRounds) * added;
  PITH_ASSIGN_OR_RETURN(
      const Input input,
      Load(Rows(flags.vectors, all.n, flags, 1),
           Rows(flags.queries, flags.query_count, flags, 2), all));
  const BuildControl control{.threads = flags.threads};
  std::vector<uint32_t> rows(flags.n);
  std::iota(rows.begin(), rows.end(), 0);
  std::vector<uint32_t> spare(all.n - flags.n);
  std::iota(spare.begin(), spare.end(), static_cast<uint32_t>(flags.n));
  const auto similarities = [&](std::span<const NodeId> a,
                                std::span<const NodeId> b,
                                std::span<float> out) {
    const auto of_nodes = [&rows](std::span<const NodeId> nodes) {
      std::vector<uint32_t> result(nodes.size());
      std::transform(
          nodes.begin(), nodes.end(), result.begin(),
          [&rows](NodeId node) { return rows[static_cast<size_t>(node)]; });
      return result;
    };
    const std::vector<uint32_t> of_a = of_nodes(a);
    const std::vector<uint32_t> of_b = of_nodes(b);
    input.vectors.Dot<uint32_t>(of_a, of_b, out);
  };
  const auto report = [&](const std::string& name, size_t round,
                          nlohmann::ordered_json fields, const Living& living,
                          const std::vector<bool>& dead) -> absl::Status {
    nlohmann::ordered_json row = {{"row", name}, {"round", round}};
    row.update(fields);
    PITH_ASSIGN_OR_RETURN(
        row["walks"], WalkFields(living, input.vectors, all.n, flags, dead));
    emit(std::move(row));
    return absl::OkStatus();
  };

  PITH_ASSIGN_OR_RETURN(BuiltGraph first, BuildGraph(rows.size(), similarities,
                                                     flags.graph, control));
  Living living = Renumbered(std::move(first), rows);
  std::mt19937_64 random(1);
  for (size_t round = 1; round <= flags.rounds; ++round) {
    const bool compare = round % flags.compared == 0 || round == flags.rounds;
    std::vector<bool> gone(living.rows.size());
    std::vector<uint32_t> removed;
    rows.clear();
    for (size_t i = 0; i < gone.size(); ++i) {
      gone[i] = static_cast<double>(random() >> 11) * 0x1p-53 <
                flags.removed * n / static_cast<double>(gone.size());
      (gone[i] ? removed : rows).push_back(living.rows[i]);
    }
    if (compare) {
      PITH_RETURN_IF_ERROR(report("tombstones", round,
                                  {{"dead", removed.size()}}, living, gone));
    }
    const auto end =
        spare.begin() + static_cast<ptrdiff_t>(std::min(spare.size(), added));
    rows.insert(rows.end(), spare.begin(), end);
    spare.erase(spare.begin(), end);
    spare.insert(spare.end(), removed.begin(), removed.end());

    double cpu = CpuSeconds();
    PITH_ASSIGN_OR_RETURN(BuiltGraph built,
                          ExtendGraph(living.graph, gone, rows.size(),
                                      similarities, flags.graph, control));
    nlohmann::ordered_json fields =
        GraphFields(built.statistics, CpuSeconds() - cpu, built.graph);
    living = Renumbered(std::move(built), rows);
    if (!compare) {
      continue;
    }
    PITH_RETURN_IF_ERROR(
        report("extended", round, std::move(fields), living, {}));
    cpu = CpuSeconds();
    PITH_ASSIGN_OR_RETURN(
        BuiltGraph fresh,
        BuildGraph(rows.size(), similarities, flags.graph, control));
    fields = GraphFields(fresh.statistics, CpuSeconds() - cpu, fresh.graph);
    PITH_RETURN_IF_ERROR(report("built", round, std::move(fields),
                                Renumbered(std::move(fresh), rows), {}));
  }
  return absl::OkStatus();
}

absl::Status Run(const Flags& flags,
                 const std::function<void(nlohmann::ordered_json)>& emit) {
  const Rows rows(flags.vectors, flags.n, flags, 1);
  const Rows query_rows(flags.queries, flags.query_count, flags, 2);

  const size_t memory_before = ProcessBytes("VmRSS");
  PITH_ASSIGN_OR_RETURN(Input input, Load(rows, query_rows, flags));
  malloc_trim(0);
  // Makes VmHWM count from here: training is not part of a build.
  std::ofstream("/proc/self/clear_refs") << 5;
  const auto similarities =
      [&input](std::span<const NodeId> a, std::span<const NodeId> b,
               std::span<float> out) { input.vectors.Dot(a, b, out); };
  const std::clock_t cpu_before = std::clock();
  PITH_ASSIGN_OR_RETURN(const BuiltGraph built,
                        BuildGraph(flags.n, similarities, flags.graph,
                                   BuildControl{.threads = flags.threads}));
  const double cpu_seconds =
      static_cast<double>(std::clock() - cpu_before) / CLOCKS_PER_SEC;
  const size_t peak = ProcessBytes("VmHWM") - memory_before;

  const BuildStatistics& statistics = built.statistics;
  const auto n = static_cast<double>(flags.n);
  emit({{"row", "build"},
        {"n", flags.n},
        {"dimension", flags.dimension},
        {"threads", flags.threads},
        {"code_bytes", flags.code_bytes},
        {"degree", flags.graph.prune.degree},
        {"hub_degree", flags.graph.prune.hub_degree},
        {"hub_share", flags.graph.prune.hub_share},
        {"seconds",
         {{"neighbors", statistics.neighbors_seconds},
          {"prune", statistics.prune_seconds},
          {"connect", statistics.connect_seconds},
          {"order", statistics.order_seconds},
          {"pack", statistics.pack_seconds},
          {"total", statistics.neighbors_seconds + statistics.prune_seconds +
                        statistics.connect_seconds + statistics.order_seconds +
                        statistics.pack_seconds}}},
        {"cpu_seconds", cpu_seconds},
        {"peak_bytes_per_passage", static_cast<double>(peak) / n},
        {"edges_per_node", static_cast<double>(statistics.edges) / n},
        {"disk_bytes_per_node",
         static_cast<double>(built.graph.Serialize().size()) / n},
        {"memory_bytes_per_node",
         static_cast<double>(built.graph.memory_bytes()) / n},
        {"unreached_nodes", statistics.connect.unreached_nodes},
        {"added_edges", statistics.connect.added_edges}});

  std::vector<uint32_t> old_numbers(flags.n);
  for (size_t i = 0; i < flags.n; ++i) {
    old_numbers[static_cast<size_t>(built.new_numbers[i])] =
        static_cast<uint32_t>(i);
  }
  const AdjacencyLists plain = Unpacked(built.graph);

  std::vector<uint32_t> all(flags.n);
  std::iota(all.begin(), all.end(), 0);
  std::vector<std::vector<uint32_t>> truth;
  std::vector<float> scores(flags.n);
  for (size_t q = 0; q < flags.query_count; ++q) {
    const auto query = static_cast<uint32_t>(flags.n + q);
    input.vectors.Dot<uint32_t>(std::span(&query, 1), all, scores);
    truth.push_back(TopPositions(scores, kTop));
  }
  for (const size_t beam : flags.beams) {
    PITH_ASSIGN_OR_RETURN(nlohmann::ordered_json row,
                          WalkRow(
                              built.graph, plain, old_numbers,
                              [&](size_t q) {
                                return ByteScorer{
                                    input.vectors,
                                    static_cast<uint32_t>(flags.n + q),
                                    old_numbers};
                              },
                              truth, kTop, "int8", beam));
    emit(std::move(row));
  }
  if (input.codebook == nullptr) {
    return absl::OkStatus();
  }

  const size_t code_bytes = input.codebook->code_bytes();
  std::vector<uint8_t> codes(input.codes.size());
  for (size_t i = 0; i < flags.n; ++i) {
    std::copy_n(&input.codes[old_numbers[i] * code_bytes], code_bytes,
                &codes[i * code_bytes]);
  }
  Matrix queries(flags.query_count, static_cast<size_t>(flags.dimension));
  PITH_RETURN_IF_ERROR(
      query_rows.ForEach([&](size_t begin, const Matrix& chunk) {
        std::copy(chunk.values().begin(), chunk.values().end(),
                  queries.row(begin).begin());
      }));
  PITH_ASSIGN_OR_RETURN(truth, ExactNearest(rows, queries));
  size_t hits = 0;
  for (size_t q = 0; q < flags.query_count; ++q) {
    input.codebook->Prepare(queries.row(q))->Score(codes, all, scores);
    for (const uint32_t node : TopPositions(scores, flags.recompute)) {
      hits += static_cast<size_t>(
          std::count(truth[q].begin(), truth[q].end(), old_numbers[node]));
    }
  }
  const std::string name = absl::StrCat("code", code_bytes);
  emit({{"row", "flat"},
        {"scorer", name},
        {"candidates", flags.recompute},
        {"recall_at_10", static_cast<double>(hits) /
                             static_cast<double>(flags.query_count) /
                             static_cast<double>(std::min(kTop, flags.n))},
        {"code_evaluations_per_query", flags.n}});
  for (const size_t beam : flags.beams) {
    PITH_ASSIGN_OR_RETURN(nlohmann::ordered_json row,
                          WalkRow(
                              built.graph, plain, old_numbers,
                              [&](size_t q) {
                                return CodeScorer{
                                    input.codebook->Prepare(queries.row(q)),
                                    codes, code_bytes};
                              },
                              truth, flags.recompute, name, beam));
    emit(std::move(row));
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Measures a segment's graph.");
  app.add_flag("--json", flags.json, "print one JSON object");
  app.add_option("--vectors", flags.vectors,
                 "file of raw little-endian float rows (default: made up)");
  app.add_option("--queries", flags.queries, "the same, for queries");
  app.add_option("--dimension", flags.dimension)->check(CLI::Range(1, 8192));
  app.add_option("--n", flags.n)->check(CLI::PositiveNumber);
  app.add_option("--query-count", flags.query_count)
      ->check(CLI::PositiveNumber);
  app.add_option("--threads", flags.threads)->check(CLI::PositiveNumber);
  app.add_option("--code-bytes", flags.code_bytes,
                 "build from and walk on codes of so many bytes; 0: neither")
      ->check(CLI::Range(0, 257));
  app.add_option("--recompute", flags.recompute,
                 "candidates of a code walk that count")
      ->check(CLI::PositiveNumber);
  app.add_option("--beam", flags.beams)->delimiter(',');
  app.add_option("--neighbors", flags.graph.neighbors.neighbors);
  app.add_option("--leaf-size", flags.graph.neighbors.leaf_size);
  app.add_option("--first-fanout", flags.graph.neighbors.first_fanout);
  app.add_option("--degree", flags.graph.prune.degree);
  app.add_option("--hub-degree", flags.graph.prune.hub_degree);
  app.add_option("--hub-share", flags.graph.prune.hub_share);
  app.add_option("--entry-points", flags.graph.entry_points);
  app.add_option("--rounds", flags.rounds,
                 "extend the graph so often instead, beside graphs built from "
                 "nothing");
  app.add_option("--removed", flags.removed, "part of n removed in a round")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--added", flags.added, "part of n added in a round")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--compared", flags.compared,
                 "report every so many-th round, and the last")
      ->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);

  std::vector<nlohmann::ordered_json> printed;
  const std::function<void(nlohmann::ordered_json)> emit =
      [&](nlohmann::ordered_json row) {
        if (!flags.json) {
          std::cout << row.dump() << std::endl;
        }
        printed.push_back(std::move(row));
      };
  const absl::Status status =
      flags.rounds > 0 ? RunRounds(flags, emit) : Run(flags, emit);
  if (!status.ok()) {
    std::cerr << "graph_bench: " << status << "\n";
    return EXIT_FAILURE;
  }
  if (flags.json) {
    std::cout << Report("graph_bench", printed).dump() << "\n";
  }
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace pith

int main(int argc, char** argv) {
  return pith::Main(argc, argv);
}
