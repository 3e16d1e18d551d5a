#include "worker/model/weight_source.h"

#include <algorithm>
#include <cstring>
#include <utility>

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

bool Before(const Span& a, const Span& b) { return a.begin < b.begin; }

}  // namespace

absl::Status StackedRows::Append(const std::string& tensor, Span rows) {
  ASSIGN_OR_RETURN(const TensorInfo* info, FindWeight(checkpoint_, tensor, 2));
  if (rows_ > 0 && (*info->dtype != dtype_ || info->shape[1] != cols_)) {
    return absl::InvalidArgumentError(absl::StrCat(
        checkpoint_.FileOf(tensor), ": tensor ", tensor, " is ", info->stored_type, " ",
        ShapeString(info->shape), "; the matrices beside it are ", std::string(DTypeName(dtype_)),
        " with ", cols_, " columns. Convert the checkpoint to one number format"));
  }
  dtype_ = *info->dtype;
  cols_ = info->shape[1];
  rows_ += rows.size();
  // Neighbours are read in one piece.
  if (!parts_.empty() && parts_.back().tensor == tensor &&
      parts_.back().first + parts_.back().rows == rows.begin) {
    parts_.back().rows += rows.size();
  } else {
    parts_.push_back({tensor, rows.begin, rows.size()});
  }
  return absl::OkStatus();
}

absl::Status StackedRows::Read(int64_t first, int64_t count, std::span<std::byte> out) const {
  int64_t part_begin = 0;
  for (const Part& part : parts_) {
    const int64_t begin = std::max(first, part_begin);
    const int64_t end = std::min(first + count, part_begin + part.rows);
    if (begin < end) {
      const auto at = static_cast<size_t>((begin - first) * row_bytes());
      const auto bytes = static_cast<size_t>((end - begin) * row_bytes());
      RETURN_IF_ERROR(checkpoint_.ReadRows(part.tensor, part.first + begin - part_begin,
                                           end - begin, out.subspan(at, bytes)));
    }
    part_begin += part.rows;
  }
  return absl::OkStatus();
}

PickedColumns::PickedColumns(const Checkpoint& checkpoint, std::string tensor,
                             std::vector<Span> columns, const TensorInfo& info)
    : checkpoint_(checkpoint),
      tensor_(std::move(tensor)),
      columns_(std::move(columns)),
      dtype_(*info.dtype),
      rows_(info.shape[0]),
      tensor_cols_(info.shape[1]) {
  for (const Span& span : columns_) cols_ += span.size();
}

absl::StatusOr<PickedColumns> PickedColumns::Create(const Checkpoint& checkpoint,
                                                    const std::string& tensor,
                                                    std::vector<Span> columns) {
  ASSIGN_OR_RETURN(const TensorInfo* info, FindWeight(checkpoint, tensor, 2));
  return PickedColumns(checkpoint, tensor, std::move(columns), *info);
}

absl::Status PickedColumns::Read(int64_t first, int64_t count, std::span<std::byte> out) const {
  // All columns of one rank alone, in their order: the rows as they are.
  if (cols_ == tensor_cols_ && std::is_sorted(columns_.begin(), columns_.end(), Before)) {
    return checkpoint_.ReadRows(tensor_, first, count, out);
  }
  const int64_t element = DTypeBytes(dtype_);
  const int64_t row_stride = tensor_cols_ * element;
  std::vector<std::byte> whole(static_cast<size_t>(count * row_stride));
  RETURN_IF_ERROR(checkpoint_.ReadRows(tensor_, first, count, whole));
  std::byte* to = out.data();
  for (int64_t row = 0; row < count; ++row) {
    const std::byte* from = whole.data() + row * row_stride;
    for (const Span& span : columns_) {
      const auto bytes = static_cast<size_t>(span.size() * element);
      if (bytes == 0) continue;  // `to` may be null
      std::memcpy(to, from + span.begin * element, bytes);
      to += bytes;
    }
  }
  return absl::OkStatus();
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
