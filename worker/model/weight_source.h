// Pieces of a checkpoint's matrices put together in host memory, as a rank packs them. Used by the
// loader's one thread.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/dtype.h"
#include "worker/backend.h"
#include "worker/format/checkpoint.h"
#include "worker/model/shard.h"

namespace headgate {

// Rows of one or more tensors, stacked: q, k and v of some heads, gate and up of some columns.
class StackedRows {
 public:
  explicit StackedRows(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  // Appends rows [rows.begin, rows.end) of a matrix. INVALID_ARGUMENT when its number format is not
  // that of the rows before it.
  absl::Status Append(const std::string& tensor, Span rows);

  HostMatrix matrix() const;

 private:
  const Checkpoint& checkpoint_;
  std::vector<std::byte> bytes_;
  DType dtype_ = DType::kF32;
  int64_t rows_ = 0;
  int64_t cols_ = 0;
};

// Some column spans of a matrix, side by side. The spans lie within it.
struct PickedColumns {
  std::vector<std::byte> bytes;
  HostMatrix matrix;  // a view of `bytes`
};
absl::StatusOr<PickedColumns> ReadColumns(const Checkpoint& checkpoint, const std::string& tensor,
                                          const std::vector<Span>& columns);

// A vector (norm weight, bias) as fp32.
absl::StatusOr<std::vector<float>> ReadFloats(const Checkpoint& checkpoint,
                                              const std::string& tensor);

}  // namespace headgate
