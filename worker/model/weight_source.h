// Pieces of a checkpoint's matrices put together as a rank packs them. Nothing is read before the
// device asks for it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/format/checkpoint.h"
#include "worker/model/shard.h"
#include "worker/row_source.h"

namespace headgate {

// Rows of one or more tensors, stacked: q, k and v of some heads, gate and up of some columns.
// Thread safe once it is made.
class StackedRows final : public RowSource {
 public:
  // `checkpoint` outlives this.
  explicit StackedRows(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  // Appends rows [rows.begin, rows.end) of a matrix. INVALID_ARGUMENT when its number format is not
  // that of the rows before it.
  absl::Status Append(const std::string& tensor, Span rows);

  DType dtype() const override { return dtype_; }
  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  absl::Status Read(int64_t first, int64_t count, std::span<std::byte> out) const override;

 private:
  struct Part {
    std::string tensor;
    int64_t first = 0;  // in the tensor
    int64_t rows = 0;
  };

  const Checkpoint& checkpoint_;
  std::vector<Part> parts_;
  DType dtype_ = DType::kF32;
  int64_t rows_ = 0;
  int64_t cols_ = 0;
};

// Some column spans of a matrix, side by side. Thread safe.
class PickedColumns final : public RowSource {
 public:
  // REQUIRES: the spans lie within the matrix. `checkpoint` outlives the result.
  static absl::StatusOr<PickedColumns> Create(const Checkpoint& checkpoint,
                                              const std::string& tensor, std::vector<Span> columns);

  DType dtype() const override { return dtype_; }
  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  absl::Status Read(int64_t first, int64_t count, std::span<std::byte> out) const override;

 private:
  PickedColumns(const Checkpoint& checkpoint, std::string tensor, std::vector<Span> columns,
                const TensorInfo& info);

  const Checkpoint& checkpoint_;
  const std::string tensor_;
  const std::vector<Span> columns_;
  const DType dtype_;
  const int64_t rows_;
  const int64_t tensor_cols_;
  int64_t cols_ = 0;
};

// A vector (norm weight, bias) as fp32.
absl::StatusOr<std::vector<float>> ReadFloats(const Checkpoint& checkpoint,
                                              const std::string& tensor);

}  // namespace headgate
