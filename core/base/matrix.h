#ifndef PITH_CORE_BASE_MATRIX_H_
#define PITH_CORE_BASE_MATRIX_H_

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace pith {

// Dense row-major matrix of floats; one vector a row.
class Matrix {
 public:
  Matrix() = default;
  Matrix(size_t rows, size_t columns)
      : rows_(rows), columns_(columns), values_(rows * columns) {}
  // `values` are rows * columns.
  Matrix(size_t rows, size_t columns, std::vector<float> values)
      : rows_(rows), columns_(columns), values_(std::move(values)) {}

  size_t rows() const { return rows_; }
  size_t columns() const { return columns_; }
  std::span<const float> row(size_t i) const {
    return {values_.data() + i * columns_, columns_};
  }
  std::span<float> row(size_t i) {
    return {values_.data() + i * columns_, columns_};
  }
  std::span<const float> values() const { return values_; }
  std::span<float> values() { return values_; }

 private:
  size_t rows_ = 0;
  size_t columns_ = 0;
  std::vector<float> values_;
};

}  // namespace pith

#endif  // PITH_CORE_BASE_MATRIX_H_
