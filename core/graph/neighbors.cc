#include "core/graph/neighbors.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "glog/logging.h"

#include "core/base/mutex.h"
#include "core/base/status_macros.h"
#include "core/graph/random.h"

namespace pith {
namespace {

constexpr size_t kMostLeaders = 1000;
// Rows that are compared with a level's leaders at a time.
constexpr size_t kRows = 128;

// The best neighbours found so far of every place from some first on. What it
// holds in the end does not depend on the order of Offer: the best under a
// total order.
class Reservoirs {
 public:
  Reservoirs(size_t first, size_t places, size_t capacity)
      : first_(first),
        capacity_(capacity),
        sizes_(places, 0),
        places_(places * capacity),
        similarities_(places * capacity) {}

  // similarities[i] is that of `place` and candidates[i]. Which of several
  // equal ones stay is random, and another choice for each place: were it the
  // same, copies of one vector would all choose the same few of them.
  // Thread-safe.
  void Offer(uint32_t place, std::span<const uint32_t> candidates,
             std::span<const float> similarities) {
    const size_t own = place - first_;
    MutexLock lock(locks_[own % kLocks]);
    uint32_t size = sizes_[own];
    uint32_t* const ids = &places_[own * capacity_];
    float* const values = &similarities_[own * capacity_];
    for (size_t i = 0; i < candidates.size(); ++i) {
      const float value = similarities[i];
      if (size == capacity_ && value < values[size - 1]) {
        continue;
      }
      const uint32_t id = candidates[i];
      if (id == place) {
        continue;
      }
      // Where it goes: after all that are better.
      size_t at = size;
      while (at > 0 && (values[at - 1] < value ||
                        (values[at - 1] == value &&
                         Tie(place, ids[at - 1]) > Tie(place, id)))) {
        --at;
      }
      if (at == capacity_ ||
          (at > 0 && values[at - 1] == value && ids[at - 1] == id)) {
        continue;
      }
      size = std::min<uint32_t>(size + 1, static_cast<uint32_t>(capacity_));
      std::copy_backward(ids + at, ids + size - 1, ids + size);
      std::copy_backward(values + at, values + size - 1, values + size);
      ids[at] = id;
      values[at] = value;
    }
    sizes_[own] = size;
  }

  // The neighbours as nodes of each place in order; the reservoirs are spent.
  AdjacencyLists Take(std::span<const NodeId> nodes) {
    // Assigning {} would keep the memory.
    std::vector<float>().swap(similarities_);
    AdjacencyLists result;
    result.offsets.reserve(sizes_.size() + 1);
    result.neighbors.reserve(
        std::accumulate(sizes_.begin(), sizes_.end(), size_t{0}));
    for (size_t own = 0; own < sizes_.size(); ++own) {
      for (size_t i = 0; i < sizes_[own]; ++i) {
        result.neighbors.push_back(nodes[places_[own * capacity_ + i]]);
      }
      result.offsets.push_back(result.neighbors.size());
    }
    return result;
  }

 private:
  static constexpr size_t kLocks = 1024;

  // Different for different ids.
  static uint64_t Tie(uint32_t place, uint32_t id) {
    return MixBits(uint64_t{place} << 32 | id);
  }

  const size_t first_;
  const size_t capacity_;
  std::vector<uint32_t> sizes_;
  std::vector<uint32_t> places_;
  std::vector<float> similarities_;
  std::array<Mutex, kLocks> locks_;
};

class Carver {
 public:
  Carver(std::span<const NodeId> nodes, size_t first, Similarities similarities,
         const NeighborOptions& options)
      : nodes_(nodes),
        first_(first),
        similarities_(similarities),
        options_(options) {}

  absl::StatusOr<AdjacencyLists> Run(const BuildControl& control) {
    if (first_ == nodes_.size()) {
      return AdjacencyLists();
    }
    std::vector<uint32_t> all(nodes_.size());
    std::iota(all.begin(), all.end(), 0);
    if (all.size() <= options_.leaf_size) {
      reservoirs_.emplace(first_, nodes_.size() - first_, options_.neighbors);
      CompareLeaf(all);
      return reservoirs_->Take(nodes_);
    }
    PITH_ASSIGN_OR_RETURN(
        std::vector<std::vector<uint32_t>> clusters,
        Divide(all, options_.first_fanout, options_.seed, control));
    std::vector<uint32_t>().swap(all);
    // Not before, when dividing has its own peak of memory.
    reservoirs_.emplace(first_, nodes_.size() - first_, options_.neighbors);
    std::atomic<size_t> done = 0;
    PITH_RETURN_IF_ERROR(
        ParallelFor(control, clusters.size(), 1,
                    [&](size_t worker, size_t begin, size_t /*end*/) {
                      Carve(std::exchange(clusters[begin], {}),
                            MixBits(options_.seed ^ MixBits(begin)), control);
                      const size_t finished = ++done;
                      if (worker == 0) {
                        control.progress(static_cast<double>(finished) /
                                         static_cast<double>(clusters.size()));
                      }
                    }));
    return reservoirs_->Take(nodes_);
  }

 private:
  size_t LeaderCount(size_t size, size_t fanout) const {
    // Clusters differ in size: the average is well below the bound.
    const size_t wanted = 2 * size * fanout / options_.leaf_size + 2;
    return std::min({wanted, kMostLeaders, size});
  }

  // The clusters of random leaders of `places`; each place joins its nearest
  // `fanout`.
  absl::StatusOr<std::vector<std::vector<uint32_t>>> Divide(
      std::span<const uint32_t> places, size_t fanout, uint64_t seed,
      const BuildControl& control) const {
    std::vector<NodeId> of_places(places.size());
    for (size_t i = 0; i < places.size(); ++i) {
      of_places[i] = nodes_[places[i]];
    }
    const std::vector<NodeId> leaders =
        Sample(of_places, LeaderCount(places.size(), fanout), seed);
    fanout = std::min(fanout, leaders.size());
    std::vector<uint16_t> nearest(places.size() * fanout);
    PITH_RETURN_IF_ERROR(ParallelFor(
        control, places.size(), kRows,
        [&](size_t /*worker*/, size_t begin, size_t end) {
          std::vector<float> similarities((end - begin) * leaders.size());
          similarities_(std::span(of_places).subspan(begin, end - begin),
                        leaders, similarities);
          for (size_t i = begin; i < end; ++i) {
            const std::span row =
                std::span(similarities)
                    .subspan((i - begin) * leaders.size(), leaders.size());
            NearestLeaders(row, std::span(nearest).subspan(i * fanout, fanout));
          }
        }));

    std::vector<size_t> sizes(leaders.size(), 0);
    for (const uint16_t leader : nearest) {
      ++sizes[leader];
    }
    std::vector<std::vector<uint32_t>> clusters(leaders.size());
    for (size_t i = 0; i < clusters.size(); ++i) {
      clusters[i].reserve(sizes[i]);
    }
    for (size_t i = 0; i < nearest.size(); ++i) {
      clusters[nearest[i]].push_back(places[i / fanout]);
    }
    return clusters;
  }

  static void NearestLeaders(std::span<const float> similarities,
                             std::span<uint16_t> nearest) {
    size_t count = 0;
    for (size_t leader = 0; leader < similarities.size(); ++leader) {
      const float value = similarities[leader];
      if (count == nearest.size() &&
          value <= similarities[nearest[count - 1]]) {
        continue;
      }
      size_t at = count < nearest.size() ? count++ : count - 1;
      for (; at > 0 && similarities[nearest[at - 1]] < value; --at) {
        nearest[at] = nearest[at - 1];
      }
      nearest[at] = static_cast<uint16_t>(leader);
    }
  }

  // Those of ascending `places` whose neighbours are asked for.
  std::span<const uint32_t> Wanted(std::span<const uint32_t> places) const {
    return places.subspan(static_cast<size_t>(
        std::lower_bound(places.begin(), places.end(), first_) -
        places.begin()));
  }

  // `places` are ascending.
  void Carve(std::vector<uint32_t> places, uint64_t seed,
             const BuildControl& control) {
    if (Wanted(places).empty()) {
      return;
    }
    // It may have to wait; who calls heeds the answer.
    (void)control.cancelled();
    if (places.size() <= options_.leaf_size) {
      CompareLeaf(places);
      return;
    }
    const size_t size = places.size();
    auto clusters =
        Divide(places, options_.second_fanout, seed, BuildControl());
    CHECK(clusters.ok()) << clusters.status();
    std::vector<uint32_t>().swap(places);
    for (size_t i = 0; i < clusters->size(); ++i) {
      std::vector<uint32_t> cluster = std::exchange((*clusters)[i], {});
      if (cluster.size() > size / 2 + size / 4) {
        // Copies of one vector, or nearly: leaders do not tell them apart.
        const std::span all = cluster;
        for (size_t at = 0; at < all.size(); at += options_.leaf_size / 2) {
          CompareLeaf(
              all.subspan(at, std::min(options_.leaf_size, all.size() - at)));
        }
      } else {
        Carve(std::move(cluster), MixBits(seed ^ MixBits(i)), control);
      }
    }
  }

  void CompareLeaf(std::span<const uint32_t> places) {
    std::vector<NodeId> nodes(places.size());
    for (size_t i = 0; i < places.size(); ++i) {
      nodes[i] = nodes_[places[i]];
    }
    const std::span<const uint32_t> rows = Wanted(places);
    std::vector<float> similarities(rows.size() * places.size());
    similarities_(std::span(nodes).last(rows.size()), nodes, similarities);
    for (size_t i = 0; i < rows.size(); ++i) {
      reservoirs_->Offer(rows[i], places,
                         std::span<const float>(similarities)
                             .subspan(i * places.size(), places.size()));
    }
  }

  std::span<const NodeId> nodes_;
  // Neighbours are asked for from this place on.
  const size_t first_;
  Similarities similarities_;
  const NeighborOptions& options_;
  std::optional<Reservoirs> reservoirs_;
};

}  // namespace

absl::StatusOr<AdjacencyLists> FindNeighbors(std::span<const NodeId> nodes,
                                             Similarities similarities,
                                             const NeighborOptions& options,
                                             const BuildControl& control,
                                             size_t first) {
  CHECK_LE(first, nodes.size());
  CHECK_GE(options.neighbors, 1u);
  CHECK_GE(options.leaf_size, 2u);
  CHECK_GE(options.first_fanout, 1u);
  CHECK_GE(options.second_fanout, 1u);
  return Carver(nodes, first, similarities, options).Run(control);
}

}  // namespace pith
