// A weight matrix on its way to a device: the device reads its rows when and where it wants them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "absl/status/status.h"
#include "base/dtype.h"

namespace headgate {

// [rows = outputs, cols = inputs], in the number format of the checkpoint. Thread safe.
class RowSource {
 public:
  virtual ~RowSource() = default;
  virtual DType dtype() const = 0;
  virtual int64_t rows() const = 0;
  virtual int64_t cols() const = 0;
  // Rows [first, first + count) without gaps. REQUIRES: they exist, and `out` has their size.
  // Errors: the file's.
  virtual absl::Status Read(int64_t first, int64_t count, std::span<std::byte> out) const = 0;

  int64_t row_bytes() const { return cols() * DTypeBytes(dtype()); }
};

// A matrix in host memory.
struct HostMatrix {
  const std::byte* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t row_stride = 0;  // elements between rows; >= cols (a column slice of a larger matrix)
};

// The same as a source. Does not own the memory.
class HostRows final : public RowSource {
 public:
  explicit HostRows(const HostMatrix& matrix) : matrix_(matrix) {}

  DType dtype() const override { return matrix_.dtype; }
  int64_t rows() const override { return matrix_.rows; }
  int64_t cols() const override { return matrix_.cols; }
  absl::Status Read(int64_t first, int64_t count, std::span<std::byte> out) const override {
    const int64_t stride = matrix_.row_stride * DTypeBytes(matrix_.dtype);
    for (int64_t row = 0; row < count; ++row) {
      std::memcpy(out.data() + row * row_bytes(), matrix_.data + (first + row) * stride,
                  static_cast<size_t>(row_bytes()));
    }
    return absl::OkStatus();
  }

 private:
  const HostMatrix matrix_;
};

}  // namespace headgate
