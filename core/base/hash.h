#ifndef PITH_CORE_BASE_HASH_H_
#define PITH_CORE_BASE_HASH_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace pith {

// First 128 bits of SHA-256. Equal hashes are taken to mean equal content: a
// cryptographic hash, since documents come from anywhere and a collision would
// make one passage answer with another's code.
struct ContentHash {
  std::array<uint8_t, 16> bytes{};

  friend bool operator==(const ContentHash&, const ContentHash&) = default;
  template <typename H>
  friend H AbslHashValue(H state, const ContentHash& hash) {
    return H::combine_contiguous(std::move(state), hash.bytes.data(),
                                 hash.bytes.size());
  }
};

// SHA-256 over pieces. Not thread-safe.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Update(std::string_view bytes);
  // The digest of everything given so far; no call may follow.
  std::array<uint8_t, 32> Finish();
  // The same, cut to a ContentHash.
  ContentHash FinishContent();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

// Lower-case hexadecimal.
std::string ToHex(std::span<const uint8_t> bytes);

}  // namespace pith

#endif  // PITH_CORE_BASE_HASH_H_
