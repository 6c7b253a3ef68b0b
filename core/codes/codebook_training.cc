#include "core/codes/codebook_training.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"

#include "Eigen/Eigenvalues"
#include "core/base/parallel.h"
#include "core/base/random.h"
#include "core/base/status_macros.h"
#include "core/base/vector_math.h"
#include "core/codes/dense_kernels.h"

namespace pith {
namespace {

// Rows that stay in the second-level cache together.
constexpr size_t kCachedRows = 256;
// Rows or columns that a thread takes at a time.
constexpr size_t kTaskRows = 512;
constexpr size_t kTaskColumns = 32;
constexpr size_t kTaskSubquantizers = 8;

// Calls f(i) for every i below `count`, on several threads. `control` never
// cancels.
template <typename F>
void ForEach(const BuildControl& control, size_t count, const F& f) {
  const absl::Status done =
      ParallelFor(control, count, 1,
                  [&f](size_t /*worker*/, size_t i, size_t /*end*/) { f(i); });
  CHECK(done.ok()) << "nobody cancels: " << done;
}

// Rows that end in zeros up to a multiple of kFloatLanes, as the kernels want
// them.
struct PaddedRows {
  PaddedRows(size_t row_count, size_t column_count)
      : rows(row_count),
        columns(column_count),
        stride(RoundUpToLanes(column_count)),
        values(rows * stride) {}

  float* row(size_t i) { return &values[i * stride]; }
  const float* row(size_t i) const { return &values[i * stride]; }

  size_t rows;
  size_t columns;
  size_t stride;
  std::vector<float> values;
};

// a * b.
PaddedRows Product(const PaddedRows& a, const PaddedRows& b,
                   const BuildControl& control) {
  PaddedRows c(a.rows, b.columns);
  ForEach(control, (a.rows + kTaskRows - 1) / kTaskRows, [&](size_t task) {
    const size_t first = task * kTaskRows;
    AddProduct(a.row(first), a.stride, 1, std::min(kTaskRows, a.rows - first),
               a.columns, b.values.data(), b.stride, c.row(first));
  });
  return c;
}

// The sum of x x^T over rows x.
PaddedRows Covariance(const PaddedRows& vectors, const BuildControl& control) {
  PaddedRows sum(vectors.columns, vectors.columns);
  const size_t tasks = (vectors.columns + kTaskColumns - 1) / kTaskColumns;
  ForEach(control, tasks, [&](size_t task) {
    const size_t column = task * kTaskColumns;
    for (size_t first = 0; first < vectors.rows; first += kCachedRows) {
      AddProduct(vectors.row(first) + column, 1, vectors.stride,
                 std::min(kTaskColumns, vectors.columns - column),
                 std::min(kCachedRows, vectors.rows - first),
                 vectors.row(first), vectors.stride, sum.row(column));
    }
  });
  return sum;
}

// Deals principal components, greatest variance first, to the sub-quantiser
// with room whose product of variances is least so far. Rows are inputs.
PaddedRows BalancedComponents(const PaddedRows& vectors, size_t subquantizers,
                              size_t padded_dimension,
                              const BuildControl& control) {
  const size_t dimension = vectors.columns;
  const PaddedRows covariance = Covariance(vectors, control);
  const auto size = static_cast<Eigen::Index>(dimension);
  Eigen::MatrixXd symmetric(size, size);
  for (Eigen::Index i = 0; i < size; ++i) {
    for (Eigen::Index j = 0; j < size; ++j) {
      symmetric(i, j) = static_cast<double>(
          covariance.row(static_cast<size_t>(i))[static_cast<size_t>(j)]);
    }
  }
  // Ascending; only their lower triangle is read.
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(symmetric);
  const double least = std::max(solver.eigenvalues()(size - 1) * 1e-6, 1e-30);

  PaddedRows rotation(dimension, padded_dimension);
  const size_t room = padded_dimension / subquantizers;
  std::vector<size_t> dealt(subquantizers);
  std::vector<double> log_products(subquantizers);
  for (Eigen::Index component = size - 1; component >= 0; --component) {
    size_t winner = subquantizers;
    for (size_t m = 0; m < subquantizers; ++m) {
      if (dealt[m] < room &&
          (winner == subquantizers || log_products[m] < log_products[winner])) {
        winner = m;
      }
    }
    const double variance = solver.eigenvalues()(component);
    log_products[winner] += std::log(std::max(variance, least) / least);
    const size_t column = winner * room + dealt[winner]++;
    for (size_t i = 0; i < dimension; ++i) {
      rotation.row(i)[column] = static_cast<float>(
          solver.eigenvectors()(static_cast<Eigen::Index>(i), component));
    }
  }
  return rotation;
}

// Centroids and the cells of the rotated training vectors.
class Quantizer {
 public:
  Quantizer(const CodeShape& shape, const PaddedRows& rotated, uint64_t& random)
      : subquantizers_(static_cast<size_t>(shape.subquantizers)),
        count_(shape.centroid_count()),
        part_(rotated.columns / subquantizers_),
        centroids_(rotated.columns * count_),
        half_norms_(subquantizers_ * count_),
        cells_(subquantizers_ * rotated.rows) {
    const std::vector<size_t> rows =
        RandomPositions(rotated.rows, count_, random);
    for (size_t j = 0; j < rotated.columns; ++j) {
      for (size_t k = 0; k < count_; ++k) {
        centroids_[j * count_ + k] = rotated.row(rows[k])[j];
      }
    }
  }

  // One of Lloyd's iterations.
  void Iterate(const PaddedRows& rotated, const BuildControl& control) {
    AssignAll(rotated, control);
    ForEach(control,
            (subquantizers_ + kTaskSubquantizers - 1) / kTaskSubquantizers,
            [&](size_t task) {
              const size_t first = task * kTaskSubquantizers;
              Update(rotated, first,
                     std::min(first + kTaskSubquantizers, subquantizers_));
            });
  }

  // Rows stay in the second-level cache from one sub-quantiser to the next.
  void AssignAll(const PaddedRows& rotated, const BuildControl& control) {
    std::fill(half_norms_.begin(), half_norms_.end(), 0.0f);
    for (size_t j = 0; j < rotated.columns; ++j) {
      float* const norms = &half_norms_[j / part_ * count_];
      for (size_t k = 0; k < count_; ++k) {
        const float value = centroids_[j * count_ + k];
        norms[k] += 0.5f * (value * value);
      }
    }
    ForEach(control, (rotated.rows + kCachedRows - 1) / kCachedRows,
            [&](size_t task) {
              const size_t first = task * kCachedRows;
              for (size_t m = 0; m < subquantizers_; ++m) {
                FindNearest(rotated.row(first) + m * part_, rotated.stride,
                            std::min(kCachedRows, rotated.rows - first), part_,
                            &centroids_[m * part_ * count_],
                            &half_norms_[m * count_], count_,
                            &cells_[first * subquantizers_ + m],
                            subquantizers_);
              }
            });
  }

  // Row i of the quantised vectors.
  void Decode(size_t i, float* out) const {
    const uint8_t* const cells = &cells_[i * subquantizers_];
    for (size_t m = 0; m < subquantizers_; ++m) {
      for (size_t j = m * part_; j < (m + 1) * part_; ++j) {
        out[j] = centroids_[j * count_ + cells[m]];
      }
    }
  }

  const std::vector<float>& centroids() const { return centroids_; }

 private:
  // Moves centroids of sub-quantisers [first, end) to their cells' means, and
  // those of empty cells beside the centroid of the fullest.
  void Update(const PaddedRows& rotated, size_t first, size_t end) {
    std::vector<float> sums((end - first) * count_ * part_);
    std::vector<size_t> sizes((end - first) * count_);
    for (size_t i = 0; i < rotated.rows; ++i) {
      for (size_t m = first; m < end; ++m) {
        const size_t cell =
            (m - first) * count_ + cells_[i * subquantizers_ + m];
        const float* const x = rotated.row(i) + m * part_;
        float* const sum = &sums[cell * part_];
        ++sizes[cell];
        for (size_t j = 0; j < part_; ++j) {
          sum[j] += x[j];
        }
      }
    }
    for (size_t m = first; m < end; ++m) {
      const std::span<size_t> cell_sizes =
          std::span(sizes).subspan((m - first) * count_, count_);
      for (size_t k = 0; k < count_; ++k) {
        const float* const sum = &sums[((m - first) * count_ + k) * part_];
        for (size_t j = 0; cell_sizes[k] > 0 && j < part_; ++j) {
          centroids_[(m * part_ + j) * count_ + k] =
              sum[j] / static_cast<float>(cell_sizes[k]);
        }
      }
      FillEmptyCells(m, cell_sizes);
    }
  }

  void FillEmptyCells(size_t m, std::span<size_t> sizes) {
    for (size_t k = 0; k < count_; ++k) {
      if (sizes[k] > 0) {
        continue;
      }
      const auto fullest = static_cast<size_t>(
          std::max_element(sizes.begin(), sizes.end()) - sizes.begin());
      for (size_t j = 0; j < part_; ++j) {
        float* const row = &centroids_[(m * part_ + j) * count_];
        row[k] = row[fullest] * (1 + 1e-3f);
        row[fullest] *= 1 - 1e-3f;
      }
      sizes[k] = sizes[fullest] / 2;
      sizes[fullest] -= sizes[k];
    }
  }

  size_t subquantizers_;
  size_t count_;
  size_t part_;
  // As CodebookParts has them.
  std::vector<float> centroids_;
  std::vector<float> half_norms_;
  // That of row i for sub-quantiser m at i * subquantizers_ + m.
  std::vector<uint8_t> cells_;
};

// A logarithmic scale over what training vectors need, with room for vectors
// that are quantised worse.
std::array<float, 256> MakeScales(const PaddedRows& rotated,
                                  const Quantizer& quantizer, int shrinkage) {
  double least = 1e30;
  double greatest = 0;
  std::vector<float> quantized(rotated.columns);
  for (size_t i = 0; i < rotated.rows; ++i) {
    quantizer.Decode(i, quantized.data());
    // Less is no estimate; a scale for it would make steps coarse.
    const double product = std::max(
        0.1, static_cast<double>(
                 Dot(std::span(rotated.row(i), rotated.columns), quantized)));
    const double cosine =
        std::min(1.0, product / static_cast<double>(Norm(quantized)));
    const double f = std::pow(cosine, 0.25 * shrinkage) / product;
    least = std::min(least, f);
    greatest = std::max(greatest, f);
  }
  least /= 1.05;
  greatest *= 1.25;
  std::array<float, 256> scales;
  for (size_t i = 0; i < scales.size(); ++i) {
    scales[i] = static_cast<float>(
        least * std::pow(greatest / least, static_cast<double>(i) / 255.0));
  }
  return scales;
}

// The nearest other rows of a row, nearest first.
struct Neighborhood {
  size_t query = 0;
  std::vector<uint32_t> nodes;
  std::vector<float> exact;
};

std::vector<Neighborhood> FindNeighborhoods(const PaddedRows& rows,
                                            const BuildControl& control) {
  constexpr size_t kQueries = 256;
  constexpr size_t kNeighbors = 32;
  std::vector<Neighborhood> result(std::min(kQueries, rows.rows));
  ForEach(control, result.size(), [&](size_t q) {
    const std::span<const float> query(rows.row(q), rows.columns);
    std::vector<std::pair<float, uint32_t>> nearest;
    for (size_t i = 0; i < rows.rows; ++i) {
      if (i != q) {
        nearest.emplace_back(-Dot(query, std::span(rows.row(i), rows.columns)),
                             static_cast<uint32_t>(i));
      }
    }
    const size_t count = std::min(kNeighbors, nearest.size());
    std::partial_sort(nearest.begin(),
                      nearest.begin() + static_cast<ptrdiff_t>(count),
                      nearest.end());
    result[q].query = q;
    for (size_t i = 0; i < count; ++i) {
      result[q].nodes.push_back(nearest[i].second);
      result[q].exact.push_back(-nearest[i].first);
    }
  });
  return result;
}

std::vector<uint8_t> EncodeAll(const Codebook& codebook, const PaddedRows& rows,
                               const BuildControl& control) {
  const size_t bytes = codebook.code_bytes();
  std::vector<uint8_t> codes(rows.rows * bytes);
  ForEach(control, (rows.rows + kTaskRows - 1) / kTaskRows, [&](size_t task) {
    const size_t first = task * kTaskRows;
    const size_t end = std::min(first + kTaskRows, rows.rows);
    for (size_t i = first; i < end; ++i) {
      codebook.Encode(std::span(rows.row(i), rows.columns),
                      std::span(codes).subspan(i * bytes, bytes));
    }
  });
  return codes;
}

// The mean of exact less estimated inner products of queries and their few
// nearest.
double MeanError(const Codebook& codebook, const PaddedRows& rows,
                 const std::vector<Neighborhood>& neighborhoods,
                 const BuildControl& control) {
  constexpr size_t kNearest = 8;
  const std::vector<uint8_t> codes = EncodeAll(codebook, rows, control);
  double sum = 0;
  size_t count = 0;
  for (const Neighborhood& neighborhood : neighborhoods) {
    const std::span<const uint32_t> nodes =
        std::span(neighborhood.nodes)
            .first(std::min(kNearest, neighborhood.nodes.size()));
    std::vector<float> estimates(nodes.size());
    codebook.Prepare(std::span(rows.row(neighborhood.query), rows.columns))
        ->Score(codes, nodes, estimates);
    for (size_t i = 0; i < nodes.size(); ++i) {
      sum += static_cast<double>(neighborhood.exact[i]) -
             static_cast<double>(estimates[i]);
      ++count;
    }
  }
  return sum / static_cast<double>(count);
}

// The slope between a query's few nearest and all of its neighbours, in the
// median over queries: of two scores, the number of neighbours above each, by
// logarithm, over their difference.
float ScoreSlope(const std::vector<Neighborhood>& neighborhoods) {
  constexpr size_t kNear = 3;
  constexpr float kLeastDifference = 1e-3f;
  std::vector<float> slopes;
  for (const Neighborhood& neighborhood : neighborhoods) {
    const size_t count = neighborhood.exact.size();
    if (count > kNear) {
      const float rarer =
          std::log(static_cast<float>(count) / static_cast<float>(kNear + 1));
      slopes.push_back(
          std::max(rarer, kLeastDifference) /
          std::max(neighborhood.exact[kNear] - neighborhood.exact[count - 1],
                   kLeastDifference));
    }
  }
  CHECK(!slopes.empty()) << "an eighth of the fewest rows is eight";
  const auto middle =
      slopes.begin() + static_cast<ptrdiff_t>(slopes.size() / 2);
  std::nth_element(slopes.begin(), middle, slopes.end());
  return *middle;
}

// Sets the factors of `parts` to mean and standard deviation of (error /
// tan(theta)), over pairs of a query and those that it finds nearest by code:
// what a search ranks high is there partly because it looks better than it is.
void CalibrateErrors(const Codebook& codebook, const PaddedRows& rows,
                     const std::vector<Neighborhood>& neighborhoods,
                     const BuildControl& control, CodebookParts& parts) {
  const size_t bytes = codebook.code_bytes();
  const std::vector<uint8_t> codes = EncodeAll(codebook, rows, control);
  const std::vector<uint8_t> blocks = codebook.ToBlocks(codes);
  struct Sums {
    double ratios = 0;
    double squares = 0;
    size_t count = 0;
  };
  std::vector<Sums> sums(neighborhoods.size());
  ForEach(control, neighborhoods.size(), [&](size_t n) {
    const size_t q = neighborhoods[n].query;
    const std::span<const float> query(rows.row(q), rows.columns);
    std::vector<float> estimates(rows.rows);
    codebook.Prepare(query)->Scan(blocks, estimates);
    std::vector<std::pair<float, size_t>> best;
    for (size_t i = 0; i < rows.rows; ++i) {
      if (i != q) {
        best.emplace_back(-estimates[i], i);
      }
    }
    const size_t count = neighborhoods[n].nodes.size();
    std::partial_sort(best.begin(),
                      best.begin() + static_cast<ptrdiff_t>(count), best.end());
    for (size_t rank = 0; rank < count; ++rank) {
      const size_t i = best[rank].second;
      const double error = static_cast<double>(Dot(
                               query, std::span(rows.row(i), rows.columns))) -
                           static_cast<double>(estimates[i]);
      const float tangent =
          codebook.Tangent(std::span(codes).subspan(i * bytes, bytes));
      const double ratio = error / std::max(static_cast<double>(tangent), 1e-2);
      sums[n].ratios += ratio;
      sums[n].squares += ratio * ratio;
    }
    sums[n].count = count;
  });
  Sums all;
  for (const Sums& one : sums) {
    all.ratios += one.ratios;
    all.squares += one.squares;
    all.count += one.count;
  }
  const double mean = all.ratios / static_cast<double>(all.count);
  const double variance =
      all.squares / static_cast<double>(all.count) - mean * mean;
  parts.bias_factor = static_cast<float>(mean);
  parts.score_slope = ScoreSlope(neighborhoods);
  parts.spread_factor = static_cast<float>(std::sqrt(std::max(variance, 1e-8)));
}

absl::Status CheckCancelled(const TrainingOptions& options) {
  return options.cancelled()
             ? absl::CancelledError("training of a codebook was cancelled")
             : absl::OkStatus();
}

PaddedRows TakeRows(const Matrix& vectors, std::span<const size_t> indices) {
  PaddedRows rows(indices.size(), vectors.columns());
  for (size_t i = 0; i < indices.size(); ++i) {
    const std::span<const float> row = vectors.row(indices[i]);
    std::copy(row.begin(), row.end(), rows.row(i));
  }
  return rows;
}

}  // namespace

size_t MinTrainingVectors(const CodeShape& shape) {
  return 4 * shape.centroid_count();
}

absl::StatusOr<std::shared_ptr<const Codebook>> TrainCodebook(
    const Matrix& vectors, const TrainingOptions& options) {
  CHECK_GE(options.threads, 1);
  PITH_RETURN_IF_ERROR(CheckCodeShape(
      options.shape,
      static_cast<int>(std::min<size_t>(vectors.columns(), 1 << 30))));
  const size_t fewest = MinTrainingVectors(options.shape);
  if (vectors.rows() < fewest) {
    return absl::InvalidArgumentError(absl::StrCat(
        "training a codebook of ", options.shape.centroid_count(),
        " centroids takes ", fewest, " vectors or more, not ", vectors.rows()));
  }
  for (size_t i = 0; i < vectors.rows(); ++i) {
    const float norm = Norm(vectors.row(i));
    if (!(norm > 0.99f && norm < 1.01f)) {
      return absl::InvalidArgumentError(
          absl::StrCat("training vector ", i, " has norm ", norm, ", not 1"));
    }
  }

  // An eighth, but no more than is needed, calibrates.
  uint64_t random = options.seed;
  const size_t held_out = std::min(vectors.rows() / 8, kCalibrationVectors);
  const size_t trained = std::min(vectors.rows() - held_out,
                                  std::max(options.max_vectors, fewest));
  const std::vector<size_t> order =
      RandomPositions(vectors.rows(), trained + held_out, random);
  const PaddedRows rows = TakeRows(vectors, std::span(order).first(trained));

  const auto subquantizers = static_cast<size_t>(options.shape.subquantizers);
  const size_t part = (vectors.columns() + subquantizers - 1) / subquantizers;
  const size_t padded_dimension = part * subquantizers;
  // Asks, but leaves the answer to CheckCancelled.
  const BuildControl control = {.threads = static_cast<size_t>(options.threads),
                                .cancelled = [&options] {
                                  (void)options.cancelled();
                                  return false;
                                }};
  PITH_RETURN_IF_ERROR(CheckCancelled(options));
  const PaddedRows rotation =
      BalancedComponents(rows, subquantizers, padded_dimension, control);
  const PaddedRows rotated = Product(rows, rotation, control);
  Quantizer quantizer(options.shape, rotated, random);
  for (int i = 0; i < options.iterations; ++i) {
    PITH_RETURN_IF_ERROR(CheckCancelled(options));
    quantizer.Iterate(rotated, control);
  }
  quantizer.AssignAll(rotated, control);

  CodebookParts parts{.dimension = static_cast<int>(vectors.columns()),
                      .shape = options.shape,
                      .centroids = quantizer.centroids(),
                      .spread_factor = 1,
                      .score_slope = 1};
  for (size_t i = 0; i < rotation.rows; ++i) {
    parts.rotation.insert(parts.rotation.end(), rotation.row(i),
                          rotation.row(i) + padded_dimension);
  }
  // The shrinkage that takes the mean error of the nearest closest to zero.
  const PaddedRows others =
      TakeRows(vectors, std::span(order).subspan(trained));
  const std::vector<Neighborhood> neighborhoods =
      FindNeighborhoods(others, control);
  CodebookParts best;
  double least = 0;
  for (int shrinkage = 0; shrinkage <= kMaxShrinkage; ++shrinkage) {
    PITH_RETURN_IF_ERROR(CheckCancelled(options));
    parts.shrinkage = shrinkage;
    parts.scales = MakeScales(rotated, quantizer, shrinkage);
    const double error = std::abs(
        MeanError(*Codebook::FromParts(parts), others, neighborhoods, control));
    if (shrinkage == 0 || error < least) {
      best = parts;
      least = error;
    }
  }
  CalibrateErrors(*Codebook::FromParts(best), others, neighborhoods, control,
                  best);
  return Codebook::FromParts(best);
}

}  // namespace pith
