#ifndef PITH_EMBEDDER_TOKEN_MODEL_H_
#define PITH_EMBEDDER_TOKEN_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace pith {

// The first `limit` of the ids that are added.
class LimitedIds {
 public:
  explicit LimitedIds(size_t limit) : limit_(limit) {}

  void Add(int32_t id) {
    if (ids_.size() < limit_) {
      ids_.push_back(id);
    }
    ++added_;
  }
  // Takes back all but the first `added`.
  void Rewind(size_t added) {
    added_ = added;
    if (ids_.size() > added) {
      ids_.resize(added);
    }
  }
  // How many were added, those beyond the limit included.
  size_t added() const { return added_; }
  std::vector<int32_t>& ids() { return ids_; }

 private:
  const size_t limit_;
  size_t added_ = 0;
  std::vector<int32_t> ids_;
};

// How a pre-tokenizer and a model of `tokenizers` together cut text into
// tokens. Immutable, thread-safe.
class TokenModel {
 public:
  virtual ~TokenModel() = default;

  // Adds the tokens of `text`, which is normalised UTF-8 and not empty.
  // `begins_input`: nothing of what is tokenised comes before it.
  virtual void Tokenize(std::string_view text, bool begins_input,
                        LimitedIds& ids) const = 0;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_TOKEN_MODEL_H_
