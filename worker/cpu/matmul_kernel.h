// out = x * w^T with fp32 multiply-adds, over the names of simd_scalar.h (S). Weights are decoded
// to fp32 in blocks that stay in the first-level cache.
//
// Arithmetic of one output n, the same for every row count and level:
//   fp32, bf16: acc = fma(x[k], w[k], acc), k rising
//   int8, int4: per group: t = fma(q[k], x[k], t), k rising; acc = fma(scale, t, acc);
//               int4 also acc = fma(minimum, sum of x over the group, acc)
// then + bias. Only included by the kernels_*.cc files.
#pragma once

#include <cstdint>

#include "worker/cpu/kernel_table.h"

namespace headgate {
namespace {

template <class S, int kShift>
[[gnu::always_inline]] inline void DecodeNibbles(typename S::Words words, float* to) {
  S::Store(to, S::template Nibble<kShift>(words));
  S::Store(to + 16, S::template Nibble<kShift + 16>(words));
}

// Writes inputs [k0, k0 + count) of a panel as floats [count][16]. k0 is a multiple of 32.
template <class S>
void DecodePanel(const PanelView& w, const std::byte* panel, int64_t k0, int64_t count, float* to) {
  if (w.format == PanelFormat::kInt4) {
    const uint32_t* words = reinterpret_cast<const uint32_t*>(panel) + k0 * 2;
    for (int64_t k = 0; k < count; k += 8, words += 16, to += 8 * 16) {
      const typename S::Words v = S::LoadWords(words);
      DecodeNibbles<S, 0>(v, to);
      DecodeNibbles<S, 4>(v, to + 32);
      DecodeNibbles<S, 8>(v, to + 64);
      DecodeNibbles<S, 12>(v, to + 96);
    }
  } else if (w.format == PanelFormat::kInt8) {
    const int8_t* bytes = reinterpret_cast<const int8_t*>(panel) + k0 * 16;
    for (int64_t k = 0; k < count; ++k) S::Store(to + k * 16, S::LoadInt8(bytes + k * 16));
  } else {
    const uint32_t* pairs = reinterpret_cast<const uint32_t*>(panel) + k0 * 8;
    for (int64_t k = 0; k < count; k += 2, pairs += 16) {
      const typename S::Words v = S::LoadWords(pairs);
      S::Store(to + k * 16, S::LowBf16(v));
      if (k + 1 < count) S::Store(to + k * 16 + 16, S::HighBf16(v));
    }
  }
}

// A block of rows x panels x inputs.
struct MatMulTile {
  const float* x = nullptr;  // first row, at the block's first input
  int64_t ldx = 0;
  int64_t inputs = 0;
  const float* w[8] = {};          // decoded panels, [inputs][16]
  const uint16_t* scales[8] = {};  // at the block's first group
  const uint16_t* minima[8] = {};
  const float* sums = nullptr;  // first row, at the block's first group
  int64_t sums_stride = 0;
  float* out = nullptr;  // first row, first panel
  int64_t ldo = 0;
  int lanes[8] = {};   // outputs of each panel
  bool first = false;  // the block begins the inputs: `out` holds nothing yet
};

template <class S>
[[gnu::always_inline]] inline typename S::V LoadLanes(const float* p, int lanes) {
  return lanes == 16 ? S::Load(p) : S::LoadN(p, lanes);
}

template <class S>
[[gnu::always_inline]] inline void StoreLanes(float* p, typename S::V v, int lanes) {
  if (lanes == 16) {
    S::Store(p, v);
  } else {
    S::StoreN(p, v, lanes);
  }
}

// t[row][panel] += x * w over `count` inputs from k on.
template <class S, int kRows, int kPanels>
[[gnu::always_inline]] inline void MultiplyAdd(const MatMulTile& a, int64_t k, int64_t count,
                                               typename S::V (&t)[kRows][kPanels]) {
  for (int64_t end = k + count; k < end; ++k) {
    typename S::V w[kPanels];
    for (int p = 0; p < kPanels; ++p) w[p] = S::Load(a.w[p] + k * 16);
    for (int r = 0; r < kRows; ++r) {
      const typename S::V x = S::Set1(a.x[r * a.ldx + k]);
      for (int p = 0; p < kPanels; ++p) t[r][p] = S::Fma(x, w[p], t[r][p]);
    }
  }
}

template <class S, int kRows, int kPanels>
void MultiplyPlain(const MatMulTile& a) {
  typename S::V t[kRows][kPanels];
  for (int r = 0; r < kRows; ++r) {
    for (int p = 0; p < kPanels; ++p) {
      t[r][p] = a.first ? S::Zero() : LoadLanes<S>(a.out + r * a.ldo + p * 16, a.lanes[p]);
    }
  }
  MultiplyAdd<S, kRows, kPanels>(a, 0, a.inputs, t);
  for (int r = 0; r < kRows; ++r) {
    for (int p = 0; p < kPanels; ++p) {
      StoreLanes<S>(a.out + r * a.ldo + p * 16, t[r][p], a.lanes[p]);
    }
  }
}

template <class S, int kRows, int kPanels>
void MultiplyGrouped(const MatMulTile& a) {
  for (int64_t g = 0; g * kGroupInputs < a.inputs; ++g) {
    typename S::V t[kRows][kPanels];
    for (int r = 0; r < kRows; ++r) {
      for (int p = 0; p < kPanels; ++p) t[r][p] = S::Zero();
    }
    MultiplyAdd<S, kRows, kPanels>(a, g * kGroupInputs, kGroupInputs, t);
    for (int p = 0; p < kPanels; ++p) {
      const typename S::V scale = S::LoadF16(a.scales[p] + g * 16);
      for (int r = 0; r < kRows; ++r) {
        float* out = a.out + r * a.ldo + p * 16;
        typename S::V acc = a.first && g == 0 ? S::Zero() : LoadLanes<S>(out, a.lanes[p]);
        acc = S::Fma(scale, t[r][p], acc);
        if (a.minima[p] != nullptr) {
          const typename S::V sum = S::Set1(a.sums[r * a.sums_stride + g]);
          acc = S::Fma(S::LoadF16(a.minima[p] + g * 16), sum, acc);
        }
        StoreLanes<S>(out, acc, a.lanes[p]);
      }
    }
  }
}

template <class S, int kRows, int kPanels>
void Multiply(const MatMulTile& a, bool grouped) {
  if (grouped) {
    MultiplyGrouped<S, kRows, kPanels>(a);
  } else {
    MultiplyPlain<S, kRows, kPanels>(a);
  }
}

// Tiles of kRows rows, then the rest with fewer.
template <class S, int kRows, int kPanels>
void MultiplyRows(MatMulTile a, bool grouped, int64_t rows) {
  for (; rows >= kRows; rows -= kRows) {
    Multiply<S, kRows, kPanels>(a, grouped);
    a.x += kRows * a.ldx;
    a.out += kRows * a.ldo;
    if (a.sums != nullptr) a.sums += kRows * a.sums_stride;
  }
  if constexpr (kRows > 1) {
    if (rows > 0) MultiplyRows<S, kRows - 1, kPanels>(a, grouped, rows);
  }
}

template <class S>
void AddBias(const MatMulCall& call, int64_t begin, int64_t end) {
  for (int64_t r = 0; r < call.rows.rows; ++r) {
    for (int64_t n = begin * 16; n < end * 16 && n < call.weights.outputs; n += 16) {
      const int64_t left = call.weights.outputs - n;
      const int lanes = left < 16 ? static_cast<int>(left) : 16;
      float* out = call.out + r * call.ldo + n;
      StoreLanes<S>(out, S::Add(LoadLanes<S>(out, lanes), LoadLanes<S>(call.bias + n, lanes)),
                    lanes);
    }
  }
}

// One block of inputs [k0, k0 + count) of panels [panel, panel + kPanels).
template <class S, int kRows, int kPanels>
void MultiplyBlock(const MatMulCall& call, int64_t panel, int64_t k0, int64_t count,
                   float* scratch) {
  const PanelView& w = call.weights;
  const int64_t group = k0 / kGroupInputs;
  MatMulTile a;
  a.x = call.rows.x + k0;
  a.ldx = call.rows.ldx;
  a.inputs = count;
  a.out = call.out + panel * 16;
  a.ldo = call.ldo;
  a.first = k0 == 0;
  if (call.rows.sums != nullptr) a.sums = call.rows.sums + group;
  a.sums_stride = call.rows.groups;
  for (int p = 0; p < kPanels; ++p) {
    const std::byte* data = w.data + (panel + p) * w.stride;
    const int64_t left = w.outputs - (panel + p) * 16;
    a.lanes[p] = left < 16 ? static_cast<int>(left) : 16;
    if (w.format == PanelFormat::kF32) {
      a.w[p] = reinterpret_cast<const float*>(data) + k0 * 16;
      continue;
    }
    float* decoded = scratch + p * count * 16;
    DecodePanel<S>(w, data, k0, count, decoded);
    a.w[p] = decoded;
    if (!w.grouped()) continue;
    a.scales[p] = reinterpret_cast<const uint16_t*>(data + w.scales_begin) + group * 16;
    if (w.format == PanelFormat::kInt4) {
      a.minima[p] = reinterpret_cast<const uint16_t*>(data + w.minima_begin) + group * 16;
    }
  }
  MultiplyRows<S, kRows, kPanels>(a, w.grouped(), call.rows.rows);
}

// All inputs of panels [begin, end), kPanels at a time; returns the first panel not done.
template <class S, int kRows, int kPanels>
int64_t MultiplyPanels(const MatMulCall& call, int64_t begin, int64_t end, float* scratch) {
  constexpr int64_t kInputs = 512 / kPanels;  // 32 KiB decoded
  for (; begin + kPanels <= end; begin += kPanels) {
    for (int64_t k = 0; k < call.weights.inputs; k += kInputs) {
      const int64_t left = call.weights.inputs - k;
      MultiplyBlock<S, kRows, kPanels>(call, begin, k, left < kInputs ? left : kInputs, scratch);
    }
  }
  return begin;
}

// KernelTable::matmul.
template <class S>
void MatMul(const MatMulCall& call, int64_t begin, int64_t end, std::byte* scratch) {
  float* decoded = reinterpret_cast<float*>(scratch);
  int64_t panel = begin;
  if (call.rows.rows <= 2) {  // few rows: more panels hide the latency of a chain of adds
    panel = MultiplyPanels<S, 1, S::kWidePanels>(call, panel, end, decoded);
  }
  if (call.rows.rows > 1) {
    panel = MultiplyPanels<S, S::kTallRows, S::kTallPanels>(call, panel, end, decoded);
  }
  MultiplyPanels<S, S::kTallRows, 1>(call, panel, end, decoded);
  if (call.bias != nullptr) AddBias<S>(call, begin, end);
}

// KernelTable::prepare: the sums of groups, for int4 weights.
template <class S>
void SumGroups(const PreparedRows& rows, int64_t begin, int64_t end) {
  if (rows.sums == nullptr) return;
  for (int64_t r = begin; r < end; ++r) {
    const float* x = rows.x + r * rows.ldx;
    for (int64_t g = 0; g < rows.groups; ++g) {
      rows.sums[r * rows.groups + g] =
          S::ReduceAdd(S::Add(S::Load(x + g * 32), S::Load(x + g * 32 + 16)));
    }
  }
}

}  // namespace
}  // namespace headgate
