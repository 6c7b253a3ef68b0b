#ifndef PITH_BENCHMARKS_EMBED_ROW_H_
#define PITH_BENCHMARKS_EMBED_ROW_H_

#include <optional>
#include <string>

namespace pith {

// One of embed_bench's measurements.
struct EmbedRow {
  std::string engine;
  std::string precision;
  std::string device = "cpu";
  std::string tokens_per_text;
  int threads = 0;
  double tokens_per_second = 0;
  double texts_per_second = 0;
  double cosine_mean = 0;
  double cosine_min = 0;
  std::optional<double> recall_at_10_vs_f32;
  std::optional<double> gemm_bound_share;
};

}  // namespace pith

#endif  // PITH_BENCHMARKS_EMBED_ROW_H_
