// How a packed weight matrix lies in memory: panels of 16 outputs, each one stretch that a kernel
// reads from front to back. Plain data.
#pragma once

#include <cstddef>
#include <cstdint>

namespace headgate {

inline constexpr int64_t kPanelOutputs = 16;
inline constexpr int64_t kGroupInputs = 32;

enum class PanelFormat : uint8_t { kF32, kBF16, kInt8, kInt4 };

// One panel, for G = groups:
//   kF32   float [inputs][16 outputs]
//   kBF16  bf16 [G][16 pairs of inputs][16 outputs][2]           inputs padded with 0
//   kInt8  int8 [G][32 inputs][16 outputs]; fp16 scales [G][16]
//   kInt4  word [G][4][16 outputs]; fp16 scales [G][16]; fp16 minima [G][16]
// A word of kInt4 holds inputs 8 v .. 8 v + 7 of its group (v = its second index): input 8 v + 2 i
// in bits 4 i .. 4 i + 3 and input 8 v + 2 i + 1 sixteen bits above. So the low and high half of a
// word shifted by 4 i are a pair of inputs, which is what AMX takes. Outputs are padded with 0.
struct PanelView {
  PanelFormat format = PanelFormat::kF32;
  const std::byte* data = nullptr;
  int64_t outputs = 0;
  int64_t inputs = 0;
  int64_t groups = 0;        // ceil(inputs / 32)
  int64_t stride = 0;        // bytes from panel to panel, a multiple of 64
  int64_t scales_begin = 0;  // bytes from a panel's front; kInt8, kInt4
  int64_t minima_begin = 0;  // kInt4

  int64_t panels() const { return (outputs + kPanelOutputs - 1) / kPanelOutputs; }
  bool grouped() const { return format == PanelFormat::kInt8 || format == PanelFormat::kInt4; }
};

}  // namespace headgate
