#include "worker/model/weight_source.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace headgate {
namespace {

absl::StatusOr<const TensorInfo*> FindWeight(const Checkpoint& checkpoint,
                                             const std::string& tensor, size_t rank) {
  const TensorInfo* info = checkpoint.Find(tensor);
  if (info == nullptr) {
    return absl::NotFoundError(absl::StrCat(checkpoint.model_dir(), " lacks tensor ", tensor));
  }
  if (!info->dtype.has_value() || info->shape.size() != rank) {
    return absl::FailedPreconditionError(
        absl::StrCat(checkpoint.FileOf(tensor), ": tensor ", tensor, " is ", info->stored_type, " ",
                     ShapeString(info->shape), ", not a weight of ", rank, " dimensions"));
  }
  return info;
}

float ToFloat(const std::byte* data, DType dtype) {
  if (dtype == DType::kF32) {
    float value;
    std::memcpy(&value, data, sizeof(value));
    return value;
  }
  if (dtype == DType::kF16) {
    _Float16 value;
    std::memcpy(&value, data, sizeof(value));
    return static_cast<float>(value);
  }
  uint16_t high;  // bf16 is the upper half of fp32
  std::memcpy(&high, data, sizeof(high));
  const uint32_t bits = static_cast<uint32_t>(high) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

}  // namespace

absl::Status StackedRows::Append(const std::string& tensor, Span rows) {
  ASSIGN_OR_RETURN(const TensorInfo* info, FindWeight(checkpoint_, tensor, 2));
  if (rows_ > 0 && (*info->dtype != dtype_ || info->shape[1] != cols_)) {
    return absl::InvalidArgumentError(absl::StrCat(
        checkpoint_.FileOf(tensor), ": tensor ", tensor, " is ", info->stored_type, " ",
        ShapeString(info->shape), "; the matrices beside it are ", std::string(DTypeName(dtype_)),
        " with ", cols_, " columns. Convert the checkpoint to one number format"));
  }
  ASSIGN_OR_RETURN(const TensorBytes read, checkpoint_.ReadRows(tensor, rows.begin, rows.size()));
  bytes_.insert(bytes_.end(), read.bytes().begin(), read.bytes().end());
  dtype_ = *info->dtype;
  cols_ = info->shape[1];
  rows_ += rows.size();
  return absl::OkStatus();
}

HostMatrix StackedRows::matrix() const { return {bytes_.data(), dtype_, rows_, cols_, cols_}; }

absl::StatusOr<PickedColumns> ReadColumns(const Checkpoint& checkpoint, const std::string& tensor,
                                          const std::vector<Span>& columns) {
  ASSIGN_OR_RETURN(const TensorInfo* info, FindWeight(checkpoint, tensor, 2));
  ASSIGN_OR_RETURN(const TensorBytes read, checkpoint.Read(tensor));
  const int64_t rows = info->shape[0];
  const int64_t element = DTypeBytes(*info->dtype);
  int64_t cols = 0;
  for (const Span& span : columns) cols += span.size();
  PickedColumns picked;
  picked.bytes.resize(static_cast<size_t>(rows * cols * element));
  std::byte* to = picked.bytes.data();
  for (int64_t row = 0; row < rows; ++row) {
    const std::byte* from = read.data() + row * info->shape[1] * element;
    for (const Span& span : columns) {
      const size_t bytes = static_cast<size_t>(span.size() * element);
      std::memcpy(to, from + span.begin * element, bytes);
      to += bytes;
    }
  }
  picked.matrix = {picked.bytes.data(), *info->dtype, rows, cols, cols};
  return picked;
}

absl::StatusOr<std::vector<float>> ReadFloats(const Checkpoint& checkpoint,
                                              const std::string& tensor) {
  ASSIGN_OR_RETURN(const TensorInfo* info, FindWeight(checkpoint, tensor, 1));
  ASSIGN_OR_RETURN(const TensorBytes read, checkpoint.Read(tensor));
  std::vector<float> values(static_cast<size_t>(info->shape[0]));
  const int64_t element = DTypeBytes(*info->dtype);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = ToFloat(read.data() + static_cast<int64_t>(i) * element, *info->dtype);
  }
  return values;
}

}  // namespace headgate
