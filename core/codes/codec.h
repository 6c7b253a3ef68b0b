#ifndef PITH_CORE_CODES_CODEC_H_
#define PITH_CORE_CODES_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace pith {

// How a code's estimate of an inner product errs, over queries and codes that a
// search would rank high: exact - estimate has this mean (negative: what looks
// best is partly what looks better than it is) and this standard deviation.
struct EstimateError {
  float bias = 0;
  float spread = 0;
};

// A query made ready for scoring the codes of one codec, which it outlives
// not. Immutable, thread-safe.
class CodeQuery {
 public:
  virtual ~CodeQuery() = default;

  // out[i] = estimate of <query, x> for the i-th of out.size() codes in
  // `blocks`, the result of Codec::ToBlocks for at least as many codes.
  virtual void Scan(std::span<const uint8_t> blocks,
                    std::span<float> out) const = 0;

  // out[i] = the same estimate, bit for bit, for code nodes[i] of `codes`,
  // which lie one after another, code_bytes() each.
  virtual void Score(std::span<const uint8_t> codes,
                     std::span<const uint32_t> nodes,
                     std::span<float> out) const = 0;
};

// Turns unit vectors into codes and estimates inner products with them. All
// codecs of one dimension estimate the same quantity, so that candidates from
// different ones merge by comparing estimates. Immutable, thread-safe.
class Codec {
 public:
  virtual ~Codec() = default;

  virtual int dimension() const = 0;
  virtual size_t code_bytes() const = 0;

  // `vector`: dimension() floats of unit norm, to within a hundredth, which
  // excludes zero and NaN; anything else is a bug of the caller. `code`:
  // code_bytes() bytes.
  virtual void Encode(std::span<const float> vector,
                      std::span<uint8_t> code) const = 0;

  // The unit vector that a code of Encode stands for.
  virtual void Decode(std::span<const uint8_t> code,
                      std::span<float> vector) const = 0;

  // `query`: dimension() finite floats, of unit norm.
  virtual std::unique_ptr<CodeQuery> Prepare(
      std::span<const float> query) const = 0;

  // Codes that lie one after another, as Scan wants them: block b holds codes
  // [b * kBlockCodes, (b + 1) * kBlockCodes) and begins at byte b * kBlockCodes
  // * code_bytes(). The last may be filled up.
  virtual std::vector<uint8_t> ToBlocks(
      std::span<const uint8_t> codes) const = 0;
  static constexpr size_t kBlockCodes = 64;

  // Takes code `index` out of the blocks; the inverse of ToBlocks. `code`:
  // code_bytes() bytes.
  virtual void CopyCode(std::span<const uint8_t> blocks, size_t index,
                        std::span<uint8_t> code) const = 0;

  // Calibrated, for this code.
  virtual EstimateError ErrorOf(std::span<const uint8_t> code) const = 0;
};

}  // namespace pith

#endif  // PITH_CORE_CODES_CODEC_H_
