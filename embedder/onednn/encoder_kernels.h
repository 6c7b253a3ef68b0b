#ifndef PITH_EMBEDDER_ONEDNN_ENCODER_KERNELS_H_
#define PITH_EMBEDDER_ONEDNN_ENCODER_KERNELS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "embedder/model_directory.h"

// What an encoder computes between its matrix products, vectorised for the CPU
// at run time. Rows are those of one token; all sizes are multiples of
// kLaneMultiple.
namespace pith {

// No vector of any target has more floats.
inline constexpr size_t kLaneMultiple = 16;

// A random orthogonal map of R^n onto itself, n a multiple of 16: random signs,
// a Walsh-Hadamard transform on each block of n's largest power of two as
// factor, then a Householder reflection that mixes the blocks. It spreads a
// row's outliers over all its values, so that one scale fits them (QuaRot,
// arXiv 2404.00456). Applied to a product's input and, once, to the rows of its
// weight, it leaves the product as it is.
class InputRotation {
 public:
  explicit InputRotation(size_t size);

  size_t size() const { return signs_.size(); }
  size_t block() const { return block_; }
  std::span<const float> signs() const { return signs_; }

 private:
  size_t block_;
  // +1 or -1.
  std::vector<float> signs_;
};

// Rotates `in` into `rotated` and rounds that to int8 of one scale, which is
// returned: rotated[i] is about scale * out[i], but for a factor that the scale
// leaves out.
float RotateAndQuantize(const InputRotation& rotation, const float* in,
                        std::span<float> rotated, int8_t* out);

// The exact rotation, for weights.
void Rotate(const InputRotation& rotation, std::span<float> row);

// Rounds to bf16, to nearest and ties to even.
void RoundToBf16(std::span<const float> values, uint16_t* out);

struct NormView {
  const float* weight;
  const float* bias;
  float epsilon;
};

// row = norm(row + scale * product + bias)
void AddAndNormalize(std::span<float> row, const float* product, float scale,
                     const float* bias, const NormView& norm);

// out = norm(first + second)
void EmbedToken(const float* first, const float* second, const NormView& norm,
                std::span<float> out);

// values = activation(scale * values + bias)
void Activate(Activation activation, float scale, const float* bias,
              std::span<float> values);

// What AttendWithinText works in, so that calls need not allocate.
struct AttentionScratch {
  std::vector<float> keys;
  std::vector<float> values;
  std::vector<float> queries;
  std::vector<float> weights;
};

// The queries, keys and values of one text as a product left them: row t is
// scales[t] * product[t] + bias, three parts of heads * head_size values each.
struct AttentionInput {
  const float* product;
  const float* scales;
  const float* bias;
  size_t length;
  size_t heads;
  size_t head_size;
};

// Row t of `out`, heads * head_size values, is the average of the values of all
// tokens, weighted by softmax(query of t . keys), head by head. Queries are
// scaled already.
void AttendWithinText(const AttentionInput& input, AttentionScratch& scratch,
                      float* out);

}  // namespace pith

#endif  // PITH_EMBEDDER_ONEDNN_ENCODER_KERNELS_H_
