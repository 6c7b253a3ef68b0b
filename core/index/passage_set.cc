#include "core/index/passage_set.h"

#include <utility>

#include "glog/logging.h"

namespace pith {

PassageSet::PassageSet(absl::flat_hash_set<PassageId> passages)
    : size_(passages.size()) {
  if (!passages.empty()) {
    layers_.push_back(std::make_shared<const Layer>(std::move(passages)));
  }
}

PassageSet PassageSet::With(std::span<const PassageId> added) const {
  Layer layer(added.begin(), added.end());
  CHECK_EQ(layer.size(), added.size()) << "a passage twice";
  PassageSet set = *this;
  set.size_ += layer.size();
  while (!set.layers_.empty() &&
         set.layers_.back()->size() <= 2 * layer.size()) {
    layer.insert(set.layers_.back()->begin(), set.layers_.back()->end());
    set.layers_.pop_back();
  }
  if (!layer.empty()) {
    set.layers_.push_back(std::make_shared<const Layer>(std::move(layer)));
  }
  return set;
}

PassageSet PassageSet::Without(std::span<const PassageId> removed) const {
  const Layer gone(removed.begin(), removed.end());
  Layer kept;
  for (const auto& layer : layers_) {
    for (const PassageId passage : *layer) {
      if (!gone.contains(passage)) {
        kept.insert(passage);
      }
    }
  }
  return PassageSet(std::move(kept));
}

size_t PassageSet::memory_bytes() const {
  size_t bytes = layers_.capacity() * sizeof(layers_[0]);
  for (const auto& layer : layers_) {
    // Slots and their control bytes.
    bytes += sizeof(Layer) + layer->capacity() * (sizeof(PassageId) + 1);
  }
  return bytes;
}

}  // namespace pith
