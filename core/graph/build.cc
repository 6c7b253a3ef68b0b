#include "core/graph/build.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>

#include "glog/logging.h"

#include "core/base/status_macros.h"
#include "core/graph/entry_points.h"
#include "core/graph/order.h"

namespace pith {
namespace {

// Seconds since the last call.
class StopWatch {
 public:
  double Lap() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(now - std::exchange(last_, now))
        .count();
  }

 private:
  std::chrono::steady_clock::time_point last_ =
      std::chrono::steady_clock::now();
};

// `control` for a stage that takes the whole from `begin` to `end`.
BuildControl Stage(const BuildControl& control, double begin, double end) {
  BuildControl stage = control;
  stage.progress = [&control, begin, end](double done) {
    control.progress(begin + (end - begin) * done);
  };
  return stage;
}

std::vector<NodeId> AllNodes(size_t count) {
  std::vector<NodeId> all(count);
  for (size_t i = 0; i < count; ++i) {
    all[i] = NodeId{static_cast<uint32_t>(i)};
  }
  return all;
}

// The first `kept` nodes as they are, each other one behind the median of its
// neighbours of lower numbers.
std::vector<NodeId> StartOrder(const AdjacencyLists& lists, size_t kept) {
  // Behind which kept node each one goes.
  std::vector<uint32_t> places(lists.node_count());
  std::iota(places.begin(), places.begin() + static_cast<ptrdiff_t>(kept),
            uint32_t{0});
  std::vector<uint32_t> near;
  for (size_t i = kept; i < places.size(); ++i) {
    near.clear();
    for (const NodeId neighbor : lists[NodeId{static_cast<uint32_t>(i)}]) {
      if (static_cast<size_t>(neighbor) < i) {
        near.push_back(places[static_cast<size_t>(neighbor)]);
      }
    }
    const auto middle = near.begin() + static_cast<ptrdiff_t>(near.size() / 2);
    std::nth_element(near.begin(), middle, near.end());
    places[i] = near.empty() ? static_cast<uint32_t>(kept) : *middle;
  }
  std::vector<NodeId> order = AllNodes(lists.node_count());
  std::stable_sort(order.begin(), order.end(), [&](NodeId a, NodeId b) {
    return places[static_cast<size_t>(a)] < places[static_cast<size_t>(b)];
  });
  return order;
}

// What follows once the edges are chosen; `start` is where ordering begins.
absl::StatusOr<BuiltGraph> Finish(AdjacencyLists lists,
                                  std::vector<NodeId> start,
                                  Similarities similarities,
                                  const GraphOptions& options,
                                  const BuildControl& control,
                                  BuildStatistics statistics) {
  StopWatch watch;
  PITH_ASSIGN_OR_RETURN(
      std::vector<NodeId> entry_points,
      ChooseEntryPoints(lists.node_count(), similarities, options.entry_points,
                        options.seed, control));
  PITH_ASSIGN_OR_RETURN(
      statistics.connect,
      Connect(entry_points, similarities, kMaxDegree, control, lists));
  statistics.connect_seconds = watch.Lap();
  statistics.edges = lists.neighbors.size() / 2;

  PITH_ASSIGN_OR_RETURN(
      std::vector<NodeId> new_numbers,
      OrderNodes(lists, std::move(start), Stage(control, 0.7, 1)));
  lists = Renumber(lists, new_numbers);
  statistics.order_seconds = watch.Lap();

  for (NodeId& node : entry_points) {
    node = new_numbers[static_cast<size_t>(node)];
  }
  std::sort(entry_points.begin(), entry_points.end());
  PackedGraph graph(lists, std::move(entry_points));
  statistics.pack_seconds = watch.Lap();
  control.progress(1);
  return BuiltGraph{std::move(graph), std::move(new_numbers), statistics};
}

}  // namespace

absl::StatusOr<BuiltGraph> BuildGraph(size_t node_count,
                                      Similarities similarities,
                                      const GraphOptions& options,
                                      const BuildControl& control) {
  BuildStatistics statistics;
  StopWatch watch;
  NeighborOptions neighbor_options = options.neighbors;
  neighbor_options.seed = options.seed;
  PITH_ASSIGN_OR_RETURN(
      AdjacencyLists candidates,
      FindNeighbors(AllNodes(node_count), similarities, neighbor_options,
                    Stage(control, 0, 0.6)));
  statistics.neighbors_seconds = watch.Lap();

  PITH_ASSIGN_OR_RETURN(PrunedGraph pruned,
                        Prune(std::move(candidates), similarities,
                              options.prune, Stage(control, 0.6, 0.7)));
  statistics.prune = pruned.statistics;
  statistics.prune_seconds = watch.Lap();
  return Finish(std::move(pruned.lists), AllNodes(node_count), similarities,
                options, control, statistics);
}

absl::StatusOr<BuiltGraph> ExtendGraph(const PackedGraph& old,
                                       const std::vector<bool>& gone,
                                       size_t node_count,
                                       Similarities similarities,
                                       const GraphOptions& options,
                                       const BuildControl& control) {
  BuildStatistics statistics;
  StopWatch watch;
  PITH_ASSIGN_OR_RETURN(RepairedGraph repaired,
                        RemoveNodes(old, gone, similarities, options.prune,
                                    Stage(control, 0, 0.1)));
  statistics.repair = repaired.statistics;
  AdjacencyLists& lists = repaired.lists;
  const size_t kept = lists.node_count();
  CHECK_LE(kept, node_count);
  statistics.repair_seconds = watch.Lap();

  NeighborOptions neighbor_options = options.neighbors;
  neighbor_options.seed = options.seed;
  AdjacencyLists candidates;
  {
    PITH_ASSIGN_OR_RETURN(
        AdjacencyLists found,
        FindNeighbors(AllNodes(node_count), similarities, neighbor_options,
                      Stage(control, 0.1, 0.6), kept));
    candidates.offsets.resize(kept);
    candidates.offsets.insert(candidates.offsets.end(), found.offsets.begin(),
                              found.offsets.end());
    candidates.neighbors = std::move(found.neighbors);
  }
  statistics.neighbors_seconds = watch.Lap();

  std::vector<uint8_t> counts = NeighborsToChoose(candidates, options.prune);
  std::fill_n(counts.begin(), kept, uint8_t{0});
  lists.offsets.resize(node_count + 1, lists.offsets.back());
  PITH_ASSIGN_OR_RETURN(
      statistics.prune.dropped_edges,
      AddNeighbors(std::move(candidates), counts, similarities,
                   options.prune.max_degree, Stage(control, 0.6, 0.7), lists));
  statistics.prune_seconds = watch.Lap();
  std::vector<NodeId> start = StartOrder(lists, kept);
  return Finish(std::move(lists), std::move(start), similarities, options,
                control, statistics);
}

}  // namespace pith
