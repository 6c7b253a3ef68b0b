#ifndef PITH_CORE_INDEX_PASSAGE_SET_H_
#define PITH_CORE_INDEX_PASSAGE_SET_H_

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "absl/container/flat_hash_set.h"

#include "core/base/ids.h"

namespace pith {

// A set of passages that is cheap to extend while others read it: layers, each
// more than twice the size of the next, shared between a set and those made
// from it. Adding copies an element O(log size) times in all. Immutable.
class PassageSet {
 public:
  PassageSet() = default;
  explicit PassageSet(absl::flat_hash_set<PassageId> passages);

  size_t size() const { return size_; }
  bool Contains(PassageId passage) const {
    for (const auto& layer : layers_) {
      if (layer->contains(passage)) {
        return true;
      }
    }
    return false;
  }

  // This set with `added`, none of which it has.
  PassageSet With(std::span<const PassageId> added) const;
  // This set without `removed`, in time linear in its size.
  PassageSet Without(std::span<const PassageId> removed) const;

  size_t memory_bytes() const;

 private:
  using Layer = absl::flat_hash_set<PassageId>;

  // Largest first.
  std::vector<std::shared_ptr<const Layer>> layers_;
  size_t size_ = 0;
};

}  // namespace pith

#endif  // PITH_CORE_INDEX_PASSAGE_SET_H_
