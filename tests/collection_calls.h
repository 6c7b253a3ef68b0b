#ifndef PITH_TESTS_COLLECTION_CALLS_H_
#define PITH_TESTS_COLLECTION_CALLS_H_

#include <future>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

#include "core/index/collection.h"

namespace pith {

// Collection's calls, waited for.

inline absl::StatusOr<PutResult> PutAndWait(Collection& collection,
                                            DocumentInput input) {
  std::promise<absl::StatusOr<PutResult>> promise;
  auto future = promise.get_future();
  collection.Put(std::move(input), [&](absl::StatusOr<PutResult> result) {
    promise.set_value(std::move(result));
  });
  return future.get();
}

inline absl::StatusOr<uint64_t> WaitSearchable(Collection& collection) {
  std::promise<absl::StatusOr<uint64_t>> promise;
  auto future = promise.get_future();
  collection.WhenSearchable([&](absl::StatusOr<uint64_t> result) {
    promise.set_value(std::move(result));
  });
  return future.get();
}

}  // namespace pith

#endif  // PITH_TESTS_COLLECTION_CALLS_H_
