#ifndef PITH_EMBEDDER_SUSPECT_TEXTS_H_
#define PITH_EMBEDDER_SUSPECT_TEXTS_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"

namespace pith {

// Texts that remote workers may have died of. What is known of a text outlives
// the calls that want it, since they fail with the connection, until the text
// is embedded. A text is its token ids, of which only a hash is kept.
class SuspectTexts {
 public:
  using Ids = std::vector<int32_t>;

  // More than a batch has texts. Beyond, those that were lost longest ago are
  // forgotten.
  static constexpr size_t kMaxTexts = size_t{1} << 14;
  // With a text alone, before it is refused.
  static constexpr int kMaxDeathsAlone = 2;
  // After which a refused text is tried once more. What it was blamed for may
  // have been another's doing.
  static constexpr absl::Duration kRefusal = absl::Minutes(10);

  // A connection was lost with the text in a batch, which has a greater number
  // than those made before it; why is not known.
  void Lost(const Ids& text, uint64_t batch);
  // The worker that the text was lost with in that batch had died, and the text
  // was `alone` in it or not. Nothing if it was embedded since.
  void Died(const Ids& text, uint64_t batch, bool alone, absl::Time now);
  void Embedded(const Ids& text);

  // Whether a worker died with it.
  bool MustBeAlone(const Ids& text) const;
  bool IsRefused(const Ids& text, absl::Time now) const;

 private:
  struct Record {
    // By the order of losses.
    uint64_t number = 0;
    // Of the first loss since it was embedded.
    uint64_t first_batch = 0;
    bool has_died = false;
    int deaths_alone = 0;
    absl::Time refused_until = absl::InfinitePast();
  };

  // Null if nothing is known.
  const Record* Find(const Ids& text) const;

  absl::flat_hash_map<uint64_t, Record> records_;
  // Numbers of the records, and their keys.
  std::set<std::pair<uint64_t, uint64_t>> by_age_;
  uint64_t next_number_ = 0;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_SUSPECT_TEXTS_H_
