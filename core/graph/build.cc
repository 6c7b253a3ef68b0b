#include "core/graph/build.h"

#include <algorithm>
#include <chrono>
#include <utility>

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

}  // namespace

absl::StatusOr<BuiltGraph> BuildGraph(size_t node_count,
                                      Similarities similarities,
                                      const GraphOptions& options,
                                      const BuildControl& control) {
  BuildStatistics statistics;
  StopWatch watch;

  AdjacencyLists candidates;
  {
    std::vector<NodeId> all(node_count);
    for (size_t i = 0; i < node_count; ++i) {
      all[i] = NodeId{static_cast<uint32_t>(i)};
    }
    NeighborOptions neighbor_options = options.neighbors;
    neighbor_options.seed = options.seed;
    PITH_ASSIGN_OR_RETURN(candidates,
                          FindNeighbors(all, similarities, neighbor_options,
                                        Stage(control, 0, 0.6)));
  }
  statistics.neighbors_seconds = watch.Lap();

  PITH_ASSIGN_OR_RETURN(PrunedGraph pruned,
                        Prune(std::move(candidates), similarities,
                              options.prune, Stage(control, 0.6, 0.7)));
  statistics.prune = pruned.statistics;
  AdjacencyLists lists = std::move(pruned.lists);
  statistics.prune_seconds = watch.Lap();

  PITH_ASSIGN_OR_RETURN(
      std::vector<NodeId> entry_points,
      ChooseEntryPoints(node_count, similarities, options.entry_points,
                        options.seed, control));
  PITH_ASSIGN_OR_RETURN(
      statistics.connect,
      Connect(entry_points, similarities, kMaxDegree, control, lists));
  statistics.connect_seconds = watch.Lap();
  statistics.edges = lists.neighbors.size() / 2;

  PITH_ASSIGN_OR_RETURN(std::vector<NodeId> new_numbers,
                        OrderNodes(lists, Stage(control, 0.7, 1)));
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

}  // namespace pith
