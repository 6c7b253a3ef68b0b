#include "embedder/onednn/encoder_kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "glog/logging.h"

#include "core/base/random.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "embedder/onednn/encoder_kernels.cc"
// clang-format off: foreach_target.h includes this file again for each target.
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::CappedTag<float, kLaneMultiple>;
using Ints = hn::RebindToSigned<Floats>;
using Float = hn::Vec<Floats>;

// 2^x for x <= 0, relative error 1e-7; 2^-120 below that, which stands for
// zero. The minimax polynomial of degree 5 on [-1/2, 1/2].
HWY_INLINE Float Exp2(Float x) {
  const Floats d;
  const Ints di;
  x = hn::Max(x, hn::Set(d, -120.0f));
  const auto whole = hn::NearestInt(x);
  const Float f = hn::Sub(x, hn::ConvertTo(d, whole));
  Float p = hn::Set(d, 0.0013276466799977658f);
  p = hn::MulAdd(p, f, hn::Set(d, 0.009675541293018185f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.05550713289560286f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.24022119724871513f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.6931469670549255f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0000000716543656f));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(whole)));
}

// x times the normal distribution function at x, which is 1/2 + x Q(x^2) with a
// polynomial Q of degree 12, minimax on [-5, 5] for the function's absolute
// error; 3e-7 in all. Beyond, the function is as good as 0 or 1.
HWY_INLINE Float Gelu(Float x) {
  const Floats d;
  constexpr float kBound = 5.0f;
  constexpr float kQ[] = {
      0.14136378467082977f,    -0.0702962800860405f,   0.05152052268385887f,
      -0.040442608296871185f,  0.03144216910004616f,   -0.02326865680515766f,
      0.016402192413806915f,   -0.011164328083395958f, 0.006410473491996527f,
      -0.0026855873875319958f, 0.001722834538668394f,  -0.0016132602468132973f,
      0.0006087148212827742f};
  const Float c = hn::Min(hn::Max(x, hn::Set(d, -kBound)), hn::Set(d, kBound));
  const Float u = hn::MulAdd(hn::Mul(c, c), hn::Set(d, 2 / (kBound * kBound)),
                             hn::Set(d, -1.0f));
  Float q = hn::Set(d, kQ[std::size(kQ) - 1]);
  for (size_t i = std::size(kQ) - 1; i-- > 0;) {
    q = hn::MulAdd(q, u, hn::Set(d, kQ[i]));
  }
  return hn::Mul(x, hn::MulAdd(c, q, hn::Set(d, 0.5f)));
}

// x / (1 + e^(-2 t)) with t = sqrt(2 / pi) (x + 0.044715 x^3): the usual
// approximation of GELU by tanh, written without it.
HWY_INLINE Float GeluTanh(Float x) {
  const Floats d;
  constexpr float kSqrt2OverPi = 0.7978845608028654f;
  constexpr float kTwoLog2E = 2.8853900817779268f;
  const Float cube = hn::Mul(hn::Mul(x, x), x);
  const Float t = hn::Mul(hn::MulAdd(cube, hn::Set(d, 0.044715f), x),
                          hn::Set(d, kTwoLog2E * kSqrt2OverPi));
  // The power of -|t|, which cannot overflow: 1 / (1 + e^-t) is that of |t|,
  // mirrored for negative x.
  const Float power = Exp2(hn::Neg(hn::Abs(t)));
  const Float one = hn::Set(d, 1.0f);
  const Float numerator = hn::IfThenElse(hn::Lt(t, hn::Zero(d)), power, one);
  return hn::Div(hn::Mul(x, numerator), hn::Add(one, power));
}

template <typename Function>
HWY_INLINE void ActivateWith(float scale, const float* HWY_RESTRICT bias,
                             float* HWY_RESTRICT values, size_t size,
                             const Function& function) {
  const Floats d;
  const Float s = hn::Set(d, scale);
  for (size_t i = 0; i < size; i += hn::Lanes(d)) {
    hn::StoreU(function(hn::MulAdd(hn::LoadU(d, values + i), s,
                                   hn::LoadU(d, bias + i))),
               d, values + i);
  }
}

void ActivateImpl(Activation activation, float scale, const float* bias,
                  float* values, size_t size) {
  switch (activation) {
    case Activation::kGelu:
      return ActivateWith(scale, bias, values, size,
                          [](Float x) HWY_ATTR { return Gelu(x); });
    case Activation::kGeluTanh:
      return ActivateWith(scale, bias, values, size,
                          [](Float x) HWY_ATTR { return GeluTanh(x); });
    case Activation::kRelu:
      return ActivateWith(scale, bias, values, size, [](Float x) HWY_ATTR {
        return hn::Max(x, hn::Zero(Floats()));
      });
  }
}

// Layer norm of `row`, whose sum is given by lane.
HWY_INLINE void Normalize(float* HWY_RESTRICT row, size_t size, Float sums,
                          const NormView& norm) {
  const Floats d;
  const float count = static_cast<float>(size);
  const float mean = hn::GetLane(hn::SumOfLanes(d, sums)) / count;
  const Float m = hn::Set(d, mean);
  Float squares = hn::Zero(d);
  for (size_t i = 0; i < size; i += hn::Lanes(d)) {
    const Float x = hn::Sub(hn::LoadU(d, row + i), m);
    squares = hn::MulAdd(x, x, squares);
  }
  const float variance = hn::GetLane(hn::SumOfLanes(d, squares)) / count;
  const Float s = hn::Set(d, 1.0f / std::sqrt(variance + norm.epsilon));
  for (size_t i = 0; i < size; i += hn::Lanes(d)) {
    const Float x = hn::Mul(hn::Sub(hn::LoadU(d, row + i), m), s);
    hn::StoreU(hn::MulAdd(x, hn::LoadU(d, norm.weight + i),
                          hn::LoadU(d, norm.bias + i)),
               d, row + i);
  }
}

void AddAndNormalizeImpl(float* HWY_RESTRICT row, size_t size,
                         const float* HWY_RESTRICT product, float scale,
                         const float* HWY_RESTRICT bias, const NormView& norm) {
  const Floats d;
  const Float s = hn::Set(d, scale);
  Float sums = hn::Zero(d);
  for (size_t i = 0; i < size; i += hn::Lanes(d)) {
    const Float x = hn::Add(
        hn::LoadU(d, row + i),
        hn::MulAdd(hn::LoadU(d, product + i), s, hn::LoadU(d, bias + i)));
    sums = hn::Add(sums, x);
    hn::StoreU(x, d, row + i);
  }
  Normalize(row, size, sums, norm);
}

void EmbedTokenImpl(const float* HWY_RESTRICT first,
                    const float* HWY_RESTRICT second, const NormView& norm,
                    float* HWY_RESTRICT out, size_t size) {
  const Floats d;
  Float sums = hn::Zero(d);
  for (size_t i = 0; i < size; i += hn::Lanes(d)) {
    const Float x = hn::Add(hn::LoadU(d, first + i), hn::LoadU(d, second + i));
    sums = hn::Add(sums, x);
    hn::StoreU(x, d, out + i);
  }
  Normalize(out, size, sums, norm);
}

// (a, b) becomes (a + b, a - b).
HWY_INLINE void Butterfly(Float& a, Float& b) {
  const Float sum = hn::Add(a, b);
  b = hn::Sub(a, b);
  a = sum;
}

// The butterflies between vectors that lie `stride`, 2 `stride`, ... floats
// apart, for kRadix of them (2, 4 or 8), over the whole row.
template <size_t kRadix>
HWY_INLINE void TransformAcross(float* HWY_RESTRICT row, size_t size,
                                size_t stride) {
  const Floats d;
  for (size_t start = 0; start < size; start += kRadix * stride) {
    for (size_t i = start; i < start + stride; i += hn::Lanes(d)) {
      Float v[kRadix];
      for (size_t j = 0; j < kRadix; ++j) {
        v[j] = hn::LoadU(d, row + i + j * stride);
      }
      for (size_t half = 1; half < kRadix; half *= 2) {
        for (size_t j = 0; j < kRadix; ++j) {
          if ((j & half) == 0) {
            Butterfly(v[j], v[j + half]);
          }
        }
      }
      for (size_t j = 0; j < kRadix; ++j) {
        hn::StoreU(v[j], d, row + i + j * stride);
      }
    }
  }
}

// Signs, then the butterflies between the lanes of each vector.
HWY_INLINE void TransformWithin(const float* in, float* row, size_t size,
                                const float* HWY_RESTRICT signs) {
  const Floats d;
  constexpr size_t kLanes = hn::MaxLanes(Floats());
  constexpr size_t kStages = hwy::CeilLog2(kLanes);
  HWY_ALIGN int32_t partners[kStages + 1][kLanes];
  HWY_ALIGN float factors[kStages + 1][kLanes];
  for (size_t stage = 0; stage < kStages; ++stage) {
    const size_t half = size_t{1} << stage;
    for (size_t j = 0; j < kLanes; ++j) {
      partners[stage][j] = static_cast<int32_t>(j ^ half);
      factors[stage][j] = (j & half) == 0 ? 1.0f : -1.0f;
    }
  }
  for (size_t i = 0; i < size; i += kLanes) {
    Float x = hn::Mul(hn::LoadU(d, in + i), hn::LoadU(d, signs + i));
    for (size_t stage = 0; stage < kStages; ++stage) {
      x = hn::MulAdd(
          x, hn::Load(d, factors[stage]),
          hn::TableLookupLanes(x, hn::SetTableIndices(d, partners[stage])));
    }
    hn::StoreU(x, d, row + i);
  }
}

// The rotation but for its scale: block times what an orthogonal map gives, in
// squares.
HWY_INLINE void Transform(const float* in, float* row, size_t size,
                          size_t block, const float* HWY_RESTRICT signs) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  TransformWithin(in, row, size, signs);
  size_t stride = lanes;
  for (; stride * 8 <= block; stride *= 8) {
    TransformAcross<8>(row, size, stride);
  }
  if (stride * 4 <= block) {
    TransformAcross<4>(row, size, stride);
    stride *= 4;
  }
  if (stride * 2 <= block) {
    TransformAcross<2>(row, size, stride);
  }
  if (block == size) {
    return;
  }
  const Float factor =
      hn::Set(d, -2 * static_cast<float>(block) / static_cast<float>(size));
  for (size_t i = 0; i < block; i += lanes) {
    Float sum = hn::LoadU(d, row + i);
    for (size_t j = i + block; j < size; j += block) {
      sum = hn::Add(sum, hn::LoadU(d, row + j));
    }
    for (size_t j = i; j < size; j += block) {
      hn::StoreU(hn::MulAdd(sum, factor, hn::LoadU(d, row + j)), d, row + j);
    }
  }
}

void RotateImpl(float* row, size_t size, size_t block,
                const float* HWY_RESTRICT signs) {
  const Floats d;
  Transform(row, row, size, block, signs);
  const Float scale = hn::Set(d, 1.0f / std::sqrt(static_cast<float>(block)));
  for (size_t i = 0; i < size; i += hn::Lanes(d)) {
    hn::StoreU(hn::Mul(hn::LoadU(d, row + i), scale), d, row + i);
  }
}

float RotateAndQuantizeImpl(const float* in, float* HWY_RESTRICT row,
                            size_t size, size_t block,
                            const float* HWY_RESTRICT signs,
                            int8_t* HWY_RESTRICT out) {
  const Floats d;
  const hn::Rebind<int8_t, Floats> d8;
  Transform(in, row, size, block, signs);
  Float bound = hn::Zero(d);
  for (size_t i = 0; i < size; i += hn::Lanes(d)) {
    bound = hn::Max(bound, hn::Abs(hn::LoadU(d, row + i)));
  }
  const float largest = hn::GetLane(hn::MaxOfLanes(d, bound));
  // A row of zeros is one at any scale.
  const Float inverse = hn::Set(d, largest > 0 ? 127.0f / largest : 0.0f);
  for (size_t i = 0; i < size; i += hn::Lanes(d)) {
    hn::StoreU(hn::DemoteTo(
                   d8, hn::NearestInt(hn::Mul(hn::LoadU(d, row + i), inverse))),
               d8, out + i);
  }
  return largest / (127.0f * std::sqrt(static_cast<float>(block)));
}

void RoundToBf16Impl(const float* HWY_RESTRICT values, size_t size,
                     uint16_t* HWY_RESTRICT out) {
  const Floats d;
  const hn::RebindToUnsigned<Floats> du;
  const hn::RebindToSigned<Floats> di;
  const hn::Rebind<uint16_t, Floats> d16;
  for (size_t i = 0; i < size; i += hn::Lanes(d)) {
    const auto bits = hn::BitCast(du, hn::LoadU(d, values + i));
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
    const auto rounded =
        hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7FFF))));
    hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di, rounded)), d16, out + i);
  }
}

// One head's inputs, unpacked. `padded` is the text's length rounded up to
// whole steps of keys.
struct Head {
  // head_size rows of `padded`, zeros behind the text.
  const float* keys;
  // `length` rows of value_stride.
  const float* values;
  // `length` rows of head_size.
  const float* queries;
  size_t length;
  size_t padded;
  size_t head_size;
  size_t value_stride;
};

constexpr size_t kQueryRows = 6;

// weights[r] = queries[r] . keys, for kRows queries from `row` on and kVectors
// vectors of keys from `key` on.
template <size_t kRows, size_t kVectors>
HWY_INLINE void ScoreKeys(const Head& head, size_t row, size_t key,
                          float* HWY_RESTRICT weights) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  const float* HWY_RESTRICT queries = head.queries + row * head.head_size;
  const float* HWY_RESTRICT keys = head.keys + key;
  Float sums[kRows][kVectors];
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t v = 0; v < kVectors; ++v) {
      sums[r][v] = hn::Zero(d);
    }
  }
  for (size_t i = 0; i < head.head_size; ++i, keys += head.padded) {
    Float column[kVectors];
    for (size_t v = 0; v < kVectors; ++v) {
      column[v] = hn::LoadU(d, keys + v * lanes);
    }
    for (size_t r = 0; r < kRows; ++r) {
      const Float query = hn::Set(d, queries[r * head.head_size + i]);
      for (size_t v = 0; v < kVectors; ++v) {
        sums[r][v] = hn::MulAdd(query, column[v], sums[r][v]);
      }
    }
  }
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t v = 0; v < kVectors; ++v) {
      hn::StoreU(sums[r][v], d, weights + r * head.padded + key + v * lanes);
    }
  }
}

// Makes scores (in units of log 2) weights that add up to what is returned.
HWY_INLINE float Softmax(float* HWY_RESTRICT scores, size_t length) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  const size_t whole = length / lanes * lanes;
  Float largest = hn::Set(d, scores[0]);
  for (size_t i = 0; i < whole; i += lanes) {
    largest = hn::Max(largest, hn::LoadU(d, scores + i));
  }
  const auto rest = hn::FirstN(d, length - whole);
  if (whole < length) {
    largest = hn::Max(
        largest, hn::IfThenElse(rest, hn::LoadU(d, scores + whole), largest));
  }
  const Float bound = hn::MaxOfLanes(d, largest);
  Float sums = hn::Zero(d);
  for (size_t i = 0; i < whole; i += lanes) {
    const Float weight = Exp2(hn::Sub(hn::LoadU(d, scores + i), bound));
    sums = hn::Add(sums, weight);
    hn::StoreU(weight, d, scores + i);
  }
  if (whole < length) {
    const Float weight = hn::IfThenElseZero(
        rest, Exp2(hn::Sub(hn::LoadU(d, scores + whole), bound)));
    sums = hn::Add(sums, weight);
    hn::StoreU(weight, d, scores + whole);
  }
  return hn::GetLane(hn::SumOfLanes(d, sums));
}

// out[r] = weights[r] . values / sums[r], kVectors vectors of it from column
// `column` on. Rows of `out` are out_stride apart; columns from the head's size
// on are not written.
template <size_t kRows, size_t kVectors>
HWY_INLINE void AverageValues(const Head& head,
                              const float* HWY_RESTRICT weights,
                              const float* sums, size_t column, float* out,
                              size_t out_stride) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  Float totals[kRows][kVectors];
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t v = 0; v < kVectors; ++v) {
      totals[r][v] = hn::Zero(d);
    }
  }
  const float* HWY_RESTRICT values = head.values + column;
  for (size_t j = 0; j < head.length; ++j, values += head.value_stride) {
    Float value[kVectors];
    for (size_t v = 0; v < kVectors; ++v) {
      value[v] = hn::LoadU(d, values + v * lanes);
    }
    for (size_t r = 0; r < kRows; ++r) {
      const Float weight = hn::Set(d, weights[r * head.padded + j]);
      for (size_t v = 0; v < kVectors; ++v) {
        totals[r][v] = hn::MulAdd(weight, value[v], totals[r][v]);
      }
    }
  }
  for (size_t r = 0; r < kRows; ++r) {
    const Float scale = hn::Set(d, 1.0f / sums[r]);
    for (size_t v = 0; v < kVectors; ++v) {
      const size_t at = column + v * lanes;
      const Float average = hn::Mul(totals[r][v], scale);
      float* row = out + r * out_stride + at;
      if (at + lanes <= head.head_size) {
        hn::StoreU(average, d, row);
      } else if (at < head.head_size) {
        HWY_ALIGN float part[kLaneMultiple];
        hn::Store(average, d, part);
        std::copy_n(part, head.head_size - at, row);
      }
    }
  }
}

template <size_t kRows>
HWY_INLINE void AttendRows(const Head& head, size_t row,
                           float* HWY_RESTRICT weights, float* out,
                           size_t out_stride) {
  const size_t lanes = hn::Lanes(Floats());
  size_t key = 0;
  for (; key + 4 * lanes <= head.padded; key += 4 * lanes) {
    ScoreKeys<kRows, 4>(head, row, key, weights);
  }
  for (; key + 2 * lanes <= head.padded; key += 2 * lanes) {
    ScoreKeys<kRows, 2>(head, row, key, weights);
  }
  for (; key < head.padded; key += lanes) {
    ScoreKeys<kRows, 1>(head, row, key, weights);
  }
  float sums[kRows];
  for (size_t r = 0; r < kRows; ++r) {
    sums[r] = Softmax(weights + r * head.padded, head.length);
  }
  size_t column = 0;
  for (; column + 4 * lanes <= head.value_stride; column += 4 * lanes) {
    AverageValues<kRows, 4>(head, weights, sums, column, out, out_stride);
  }
  for (; column + 2 * lanes <= head.value_stride; column += 2 * lanes) {
    AverageValues<kRows, 2>(head, weights, sums, column, out, out_stride);
  }
  for (; column < head.value_stride; column += lanes) {
    AverageValues<kRows, 1>(head, weights, sums, column, out, out_stride);
  }
}

// Unpacks `size` values of a token: part = scale * product + bias, times
// `factor`. `size` may be less than a vector's lanes or no multiple of them.
HWY_INLINE void UnpackPart(const float* HWY_RESTRICT product, float scale,
                           const float* HWY_RESTRICT bias, float factor,
                           size_t size, float* HWY_RESTRICT part) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  const Float s = hn::Set(d, scale);
  const Float f = hn::Set(d, factor);
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    hn::StoreU(hn::Mul(hn::MulAdd(hn::LoadU(d, product + i), s,
                                  hn::LoadU(d, bias + i)),
                       f),
               d, part + i);
  }
  for (; i < size; ++i) {
    part[i] = (product[i] * scale + bias[i]) * factor;
  }
}

void AttendWithinTextImpl(const AttentionInput& input,
                          AttentionScratch& scratch, float* out) {
  // Softmax works on powers of two.
  constexpr float kLog2E = 1.4426950408889634f;
  const size_t lanes = hn::Lanes(Floats());
  const size_t hidden = input.heads * input.head_size;
  const size_t size = input.head_size;
  const size_t padded = (input.length + lanes - 1) / lanes * lanes;
  const size_t stride = (size + lanes - 1) / lanes * lanes;
  scratch.keys.assign(size * padded, 0.0f);
  scratch.values.assign(input.length * stride, 0.0f);
  scratch.queries.resize(input.length * size);
  scratch.weights.resize(kQueryRows * padded);
  const Head head = {.keys = scratch.keys.data(),
                     .values = scratch.values.data(),
                     .queries = scratch.queries.data(),
                     .length = input.length,
                     .padded = padded,
                     .head_size = size,
                     .value_stride = stride};
  for (size_t h = 0; h < input.heads; ++h) {
    const float* HWY_RESTRICT bias = input.bias + h * size;
    for (size_t t = 0; t < input.length; ++t) {
      const float* HWY_RESTRICT row = input.product + t * 3 * hidden + h * size;
      const float scale = input.scales[t];
      UnpackPart(row, scale, bias, kLog2E, size, &scratch.queries[t * size]);
      UnpackPart(row + 2 * hidden, scale, bias + 2 * hidden, 1.0f, size,
                 &scratch.values[t * stride]);
      float* HWY_RESTRICT keys = &scratch.keys[t];
      for (size_t i = 0; i < size; ++i) {
        keys[i * padded] = row[hidden + i] * scale + bias[hidden + i];
      }
    }
    float* head_out = out + h * size;
    size_t row = 0;
    for (; row + kQueryRows <= input.length; row += kQueryRows) {
      AttendRows<kQueryRows>(head, row, scratch.weights.data(),
                             head_out + row * hidden, hidden);
    }
    for (; row + 2 <= input.length; row += 2) {
      AttendRows<2>(head, row, scratch.weights.data(), head_out + row * hidden,
                    hidden);
    }
    for (; row < input.length; ++row) {
      AttendRows<1>(head, row, scratch.weights.data(), head_out + row * hidden,
                    hidden);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith {

HWY_EXPORT(ActivateImpl);
HWY_EXPORT(AddAndNormalizeImpl);
HWY_EXPORT(AttendWithinTextImpl);
HWY_EXPORT(EmbedTokenImpl);
HWY_EXPORT(RotateAndQuantizeImpl);
HWY_EXPORT(RotateImpl);
HWY_EXPORT(RoundToBf16Impl);

InputRotation::InputRotation(size_t size)
    : block_(size & (~size + 1)), signs_(size) {
  CHECK(size > 0 && size % kLaneMultiple == 0) << size;
  uint64_t state = size;
  for (float& sign : signs_) {
    sign = NextRandom(state) >> 63 != 0 ? -1.0f : 1.0f;
  }
}

void Rotate(const InputRotation& rotation, std::span<float> row) {
  HWY_DYNAMIC_DISPATCH(RotateImpl)
  (row.data(), row.size(), rotation.block(), rotation.signs().data());
}

float RotateAndQuantize(const InputRotation& rotation, const float* in,
                        std::span<float> rotated, int8_t* out) {
  return HWY_DYNAMIC_DISPATCH(RotateAndQuantizeImpl)(
      in, rotated.data(), rotated.size(), rotation.block(),
      rotation.signs().data(), out);
}

void RoundToBf16(std::span<const float> values, uint16_t* out) {
  HWY_DYNAMIC_DISPATCH(RoundToBf16Impl)(values.data(), values.size(), out);
}

void AddAndNormalize(std::span<float> row, const float* product, float scale,
                     const float* bias, const NormView& norm) {
  HWY_DYNAMIC_DISPATCH(AddAndNormalizeImpl)
  (row.data(), row.size(), product, scale, bias, norm);
}

void EmbedToken(const float* first, const float* second, const NormView& norm,
                std::span<float> out) {
  HWY_DYNAMIC_DISPATCH(EmbedTokenImpl)
  (first, second, norm, out.data(), out.size());
}

void Activate(Activation activation, float scale, const float* bias,
              std::span<float> values) {
  HWY_DYNAMIC_DISPATCH(ActivateImpl)
  (activation, scale, bias, values.data(), values.size());
}

void AttendWithinText(const AttentionInput& input, AttentionScratch& scratch,
                      float* out) {
  HWY_DYNAMIC_DISPATCH(AttendWithinTextImpl)(input, scratch, out);
}

}  // namespace pith
#endif  // HWY_ONCE
