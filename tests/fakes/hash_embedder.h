#ifndef PITH_TESTS_FAKES_HASH_EMBEDDER_H_
#define PITH_TESTS_FAKES_HASH_EMBEDDER_H_

#include <cmath>
#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

#include "core/base/matrix.h"
#include "core/base/mutex.h"
#include "core/index/embedder.h"

namespace pith {

// An Embedder without a model: a text's vector is the normalised sum of one
// fixed random vector per word, so that texts with common words are near.
// A word is a token.
class HashEmbedder : public Embedder {
 public:
  explicit HashEmbedder(std::string fingerprint = "hash-embedder",
                        int dimension = 96, int max_tokens = 64)
      : identity_{.name = "hash",
                  .fingerprint = std::move(fingerprint),
                  .dimension = dimension},
        max_tokens_(max_tokens) {}

  const ModelIdentity& identity() const override { return identity_; }
  int max_tokens() const override { return max_tokens_; }
  int CountTokens(std::string_view text) const override {
    return static_cast<int>(Words(text).size());
  }

  absl::StatusOr<Matrix> Embed(std::span<const std::string_view> texts,
                               TextRole role,
                               const RequestContext& context) override {
    if (absl::Status status = CheckAlive(context); !status.ok()) {
      return status;
    }
    {
      MutexLock lock(mutex_);
      while (held_ && context.priority == EmbedPriority::kIngest) {
        if (context.cancelled()) {
          return absl::CancelledError("cancelled while held");
        }
        released_.WaitFor(mutex_, absl::Milliseconds(1));
      }
      if (failure_) {
        if (absl::Status status = failure_(texts); !status.ok()) {
          return status;
        }
      }
    }
    Matrix vectors(texts.size(), static_cast<size_t>(identity_.dimension));
    for (size_t i = 0; i < texts.size(); ++i) {
      const std::vector<std::string> words = Words(texts[i]);
      if (words.empty()) {
        return absl::InvalidArgumentError(
            absl::StrCat("text ", i, " is empty"));
      }
      if (role == TextRole::kQuery &&
          words.size() > static_cast<size_t>(max_tokens_)) {
        return absl::InvalidArgumentError(
            absl::StrCat("query of ", words.size(), " tokens is over the ",
                         max_tokens_, " that the model takes"));
      }
      FillVector(words, vectors.row(i));
    }
    MutexLock lock(mutex_);
    (role == TextRole::kPassage && context.priority == EmbedPriority::kIngest
         ? ingested_
         : searched_) += texts.size();
    return vectors;
  }

  // Called with each batch; what it returns, Embed does. Null: no failure.
  void set_failure(
      std::function<absl::Status(std::span<const std::string_view>)> failure) {
    MutexLock lock(mutex_);
    failure_ = std::move(failure);
  }

  // While held, ingest waits.
  void Hold() {
    MutexLock lock(mutex_);
    held_ = true;
  }
  void Release() {
    MutexLock lock(mutex_);
    held_ = false;
    released_.SignalAll();
  }

  // Texts embedded to be stored, and for searches.
  size_t ingested() const {
    MutexLock lock(mutex_);
    return ingested_;
  }
  size_t searched() const {
    MutexLock lock(mutex_);
    return searched_;
  }

 private:
  static std::vector<std::string> Words(std::string_view text) {
    std::vector<std::string> words;
    std::string word;
    for (const char c : text) {
      if (absl::ascii_isspace(static_cast<unsigned char>(c))) {
        if (!word.empty()) {
          words.push_back(std::exchange(word, ""));
        }
      } else {
        word.push_back(absl::ascii_tolower(static_cast<unsigned char>(c)));
      }
    }
    if (!word.empty()) {
      words.push_back(word);
    }
    return words;
  }

  static uint32_t Seed(std::string_view word) {
    // FNV-1a: the same in every process, unlike absl::Hash.
    uint32_t hash = 2166136261u;
    for (const char c : word) {
      hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
    }
    return hash;
  }

  void FillVector(std::span<const std::string> words,
                  std::span<float> row) const {
    for (size_t i = 0; i < words.size() && i < static_cast<size_t>(max_tokens_);
         ++i) {
      std::minstd_rand random(Seed(words[i]));
      for (float& value : row) {
        value += static_cast<float>(random() % 2001) / 1000.0F - 1.0F;
      }
    }
    double squares = 0;
    for (const float value : row) {
      squares += double{value} * double{value};
    }
    for (float& value : row) {
      value = static_cast<float>(double{value} / std::sqrt(squares));
    }
  }

  const ModelIdentity identity_;
  const int max_tokens_;
  mutable Mutex mutex_;
  CondVar released_;
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
  std::function<absl::Status(std::span<const std::string_view>)> failure_
      ABSL_GUARDED_BY(mutex_);
  size_t ingested_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t searched_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace pith

#endif  // PITH_TESTS_FAKES_HASH_EMBEDDER_H_
