// Conversion of weights to panels, one panel per work item.
#include "worker/cpu/packed_panels.h"

#include <atomic>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/cpu/float_formats.h"
#include "worker/cpu/quantize.h"

namespace headgate {
namespace {

PanelFormat FormatOf(const HostMatrix& matrix, WeightFormat format) {
  switch (format) {
    case WeightFormat::kAsStored:
      return matrix.dtype == DType::kF32 ? PanelFormat::kF32 : PanelFormat::kBF16;
    case WeightFormat::kF32:
      return PanelFormat::kF32;
    case WeightFormat::kBF16:
      return PanelFormat::kBF16;
    case WeightFormat::kInt8:
      return PanelFormat::kInt8;
    case WeightFormat::kInt4:
      return PanelFormat::kInt4;
  }
  return PanelFormat::kF32;
}

PanelView LayOut(const HostMatrix& matrix, PanelFormat format) {
  PanelView view;
  view.format = format;
  view.outputs = matrix.rows;
  view.inputs = matrix.cols;
  view.groups = (matrix.cols + kGroupInputs - 1) / kGroupInputs;
  const int64_t scale_bytes = view.groups * kPanelOutputs * 2;
  int64_t bytes = 0;
  switch (format) {
    case PanelFormat::kF32:
      bytes = view.inputs * kPanelOutputs * 4;
      break;
    case PanelFormat::kBF16:
      bytes = view.groups * kGroupInputs * kPanelOutputs * 2;
      break;
    case PanelFormat::kInt8:
      view.scales_begin = view.groups * kGroupInputs * kPanelOutputs;
      bytes = view.scales_begin + scale_bytes;
      break;
    case PanelFormat::kInt4:
      view.scales_begin = view.groups * kGroupInputs * kPanelOutputs / 2;
      view.minima_begin = view.scales_begin + scale_bytes;
      bytes = view.minima_begin + scale_bytes;
      break;
  }
  view.stride = (bytes + 63) / 64 * 64;
  return view;
}

absl::Status Validate(const HostMatrix& matrix, PanelFormat format) {
  constexpr int64_t kLargest = int64_t{1} << 31;
  if (matrix.data == nullptr || !(matrix.rows > 0 && matrix.rows <= kLargest) ||
      !(matrix.cols > 0 && matrix.cols <= kLargest) || !(matrix.row_stride >= matrix.cols)) {
    return absl::InvalidArgumentError(absl::StrCat("cpu: cannot pack a weight matrix of ",
                                                   matrix.rows, " x ", matrix.cols, ", stride ",
                                                   matrix.row_stride));
  }
  const bool grouped = format == PanelFormat::kInt8 || format == PanelFormat::kInt4;
  if (grouped && matrix.cols % kGroupInputs != 0) {
    return absl::InvalidArgumentError(absl::StrCat("cpu: int4 and int8 weights need a multiple of ",
                                                   kGroupInputs, " inputs, this matrix has ",
                                                   matrix.cols, ": keep it as stored"));
  }
  return absl::OkStatus();
}

float Element(const HostMatrix& matrix, int64_t row, int64_t col) {
  const std::byte* at = matrix.data + (row * matrix.row_stride + col) * DTypeBytes(matrix.dtype);
  if (matrix.dtype == DType::kF32) {
    float value;
    std::memcpy(&value, at, sizeof(value));
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, at, sizeof(bits));
  return matrix.dtype == DType::kF16 ? F16ToFloat(bits) : Bf16ToFloat(bits);
}

void PackF32(const std::vector<float>& row, int64_t lane, std::byte* panel) {
  float* to = reinterpret_cast<float*>(panel) + lane;
  for (size_t k = 0; k < row.size(); ++k) to[k * 16] = row[k];
}

void PackBf16(const std::vector<float>& row, int64_t lane, std::byte* panel) {
  uint16_t* to = reinterpret_cast<uint16_t*>(panel) + lane * 2;
  for (size_t k = 0; k < row.size(); ++k) to[k / 2 * 32 + k % 2] = FloatToBf16(row[k]);
}

bool PackInt8(const std::vector<float>& row, const PanelView& view, int64_t lane,
              std::byte* panel) {
  int8_t* q = reinterpret_cast<int8_t*>(panel);
  uint16_t* scales = reinterpret_cast<uint16_t*>(panel + view.scales_begin);
  for (int64_t g = 0; g < view.groups; ++g) {
    Int8Group group;
    const std::span<const float, 32> w(row.data() + g * kGroupInputs, 32);
    if (!QuantizeInt8(w, group)) return false;
    scales[g * 16 + lane] = group.scale;
    for (int64_t k = 0; k < 32; ++k) q[(g * 32 + k) * 16 + lane] = group.q[k];
  }
  return true;
}

int NibbleShift(int64_t k) { return static_cast<int>(k % 8 / 2 * 4 + k % 2 * 16); }

bool PackInt4(const std::vector<float>& row, const PanelView& view, int64_t lane,
              std::byte* panel) {
  uint32_t* words = reinterpret_cast<uint32_t*>(panel);
  uint16_t* scales = reinterpret_cast<uint16_t*>(panel + view.scales_begin);
  uint16_t* minima = reinterpret_cast<uint16_t*>(panel + view.minima_begin);
  for (int64_t g = 0; g < view.groups; ++g) {
    Int4Group group;
    const std::span<const float, 32> w(row.data() + g * kGroupInputs, 32);
    if (!QuantizeInt4(w, group)) return false;
    scales[g * 16 + lane] = group.scale;
    minima[g * 16 + lane] = group.minimum;
    for (int64_t k = 0; k < 32; ++k) {
      words[(g * 4 + k / 8) * 16 + lane] |= static_cast<uint32_t>(group.q[k]) << NibbleShift(k);
    }
  }
  return true;
}

bool PackRow(const std::vector<float>& row, const PanelView& view, int64_t lane, std::byte* panel) {
  switch (view.format) {
    case PanelFormat::kF32:
      PackF32(row, lane, panel);
      return true;
    case PanelFormat::kBF16:
      PackBf16(row, lane, panel);
      return true;
    case PanelFormat::kInt8:
      return PackInt8(row, view, lane, panel);
    case PanelFormat::kInt4:
      return PackInt4(row, view, lane, panel);
  }
  return false;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PackedPanels>> PackedPanels::Create(const HostMatrix& matrix,
                                                                   WeightFormat format,
                                                                   ThreadPool& pool,
                                                                   WeightMemory& memory) {
  const PanelFormat panel_format = FormatOf(matrix, format);
  RETURN_IF_ERROR(Validate(matrix, panel_format));
  PanelView view = LayOut(matrix, panel_format);
  if (view.stride > INT64_MAX / 2 / view.panels()) {
    return absl::InvalidArgumentError("cpu: weight matrix is too large");
  }
  ASSIGN_OR_RETURN(std::shared_ptr<std::byte> bytes, memory.Take(view.stride * view.panels()));
  view.data = bytes.get();
  std::atomic<bool> ok{true};
  pool.Run(view.panels(), [&](int64_t panel, int) {
    std::vector<float> row(static_cast<size_t>(view.inputs));
    std::byte* to = bytes.get() + panel * view.stride;
    for (int64_t lane = 0; lane < 16 && panel * 16 + lane < view.outputs; ++lane) {
      for (int64_t k = 0; k < view.inputs; ++k) {
        row[static_cast<size_t>(k)] = Element(matrix, panel * 16 + lane, k);
      }
      if (!PackRow(row, view, lane, to)) ok.store(false, std::memory_order_relaxed);
    }
  });
  if (!ok.load(std::memory_order_relaxed)) {
    return absl::InvalidArgumentError(
        "cpu: a weight is not finite or too large for int4 or int8 groups: keep it as stored");
  }
  return std::unique_ptr<PackedPanels>(new PackedPanels(std::move(bytes), view));
}

void PackedPanels::ReadRow(int64_t row, std::span<float> out) const {
  const int64_t lane = row % kPanelOutputs;
  const std::byte* panel = view_.data + row / kPanelOutputs * view_.stride;
  const uint16_t* scales = reinterpret_cast<const uint16_t*>(panel + view_.scales_begin);
  const uint16_t* minima = reinterpret_cast<const uint16_t*>(panel + view_.minima_begin);
  for (int64_t k = 0; k < view_.inputs; ++k) {
    const int64_t scale_at = k / kGroupInputs * 16 + lane;
    float& to = out[static_cast<size_t>(k)];
    switch (view_.format) {
      case PanelFormat::kF32:
        to = reinterpret_cast<const float*>(panel)[k * 16 + lane];
        break;
      case PanelFormat::kBF16:
        to = Bf16ToFloat(reinterpret_cast<const uint16_t*>(panel)[k / 2 * 32 + lane * 2 + k % 2]);
        break;
      case PanelFormat::kInt8:
        to = F16ToFloat(scales[scale_at]) *
             static_cast<float>(reinterpret_cast<const int8_t*>(panel)[k * 16 + lane]);
        break;
      case PanelFormat::kInt4: {
        const uint32_t word = reinterpret_cast<const uint32_t*>(panel)[k / 8 * 16 + lane];
        const float q = static_cast<float>(word >> NibbleShift(k) & 15);
        to = F16ToFloat(scales[scale_at]) * q + F16ToFloat(minima[scale_at]);
        break;
      }
    }
  }
}

}  // namespace headgate
