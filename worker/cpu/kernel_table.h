// The kernels of one instruction-set level, as function pointers over plain data. Every kernel may
// run on any thread of the pool; each call writes only its own outputs and scratch.
//
// Rule for all: the bits of an output depend on the inputs of that output alone, never on how many
// rows a call has, which of them it is, or how work is cut into calls.
#pragma once

#include <cstddef>
#include <cstdint>

#include "worker/cpu/isa.h"
#include "worker/cpu/panel.h"

namespace headgate {

// Activations as MatMul kernels want them; made by `prepare` from x.
struct PreparedRows {
  const float* x = nullptr;  // [rows, ldx]
  int64_t ldx = 0;
  int64_t rows = 0;
  int64_t groups = 0;
  float* sums = nullptr;  // [rows, groups]: sum of x over each group of 32; kInt4
  // AMX only: bf16 [row tile of <= 16][groups][high, low][rows of the tile][32]; high + low = x to
  // 16 bits. Null at other levels and for fp32 weights.
  // Quantised weights: a tile of few rows is laid out in another way (amx_matmul.h).
  uint16_t* split = nullptr;
  bool grouped = false;  // the weights are quantised
};

struct MatMulCall {
  PreparedRows rows;
  PanelView weights;
  const float* bias = nullptr;  // [outputs] or null
  float* out = nullptr;         // [rows, ldo]
  int64_t ldo = 0;
};

// Bytes of scratch that one thread needs for `matmul`, 64-byte aligned.
inline constexpr int64_t kMatMulScratchBytes = 64 * 1024;

// Keys and values are read in blocks of 64 positions that begin at multiples of 64, so the
// arithmetic of a query depends on its own position only.
inline constexpr int kBlockKeys = 64;

// Where each key and value of a block lies. A null key is absent: read as 0.
struct KeyBlock {
  const void* key[kBlockKeys];  // D values each
  const void* value[kBlockKeys];
  uint64_t in_pages = 0;  // bit j: key[j] is in page format; else fp32, rounded to page format
  int count = 0;          // keys from `count` on are absent
};

// The running state of some query rows (one kv head). All arrays are scratch, 64-byte aligned.
struct AttendState {
  int64_t head_dim = 0;
  int64_t padded_dim = 0;  // head_dim rounded up to 32
  int64_t rows = 0;
  bool bf16_pages = false;
  float* q = nullptr;           // [rows, padded_dim], scaled by 1 / sqrt(head_dim), padded with 0
  float* top = nullptr;         // [rows] largest score so far
  float* weight = nullptr;      // [rows] sum of exp(score - top)
  float* sum = nullptr;         // [rows, padded_dim] sum of exp(score - top) * value
  float* scores = nullptr;      // [rows, 64]
  std::byte* keys = nullptr;    // the block, in the kernel's own layout: padded_dim * 64 * 4 bytes
  std::byte* values = nullptr;  // the same
  std::byte* split = nullptr;   // rows rounded up to 16, times padded_dim + 64, times 4 bytes
};

struct KernelTable {
  // Fills rows [begin, end) of sums and split; begin is a multiple of 16.
  void (*prepare)(const PreparedRows& rows, int64_t begin, int64_t end);
  // out[:, panels begin..end - 1]
  void (*matmul)(const MatMulCall& call, int64_t begin, int64_t end, std::byte* scratch);

  // One row each. `delta` null: x is only read. `cols` values.
  void (*rms_norm)(float* x, const float* delta, const float* weight, float eps, float* out,
                   int64_t cols);
  void (*rope)(float* head, const float* cosine, const float* sine, int64_t half);
  void (*silu_mul)(const float* gate, const float* up, float* out, int64_t cols);
  void (*add)(float* x, const float* delta, int64_t cols);
  void (*to_bf16)(const float* x, uint16_t* out, int64_t cols);

  // Once per state, after q is written; then for every block in order: load_block, attend_block.
  void (*begin_rows)(AttendState& state);
  void (*load_block)(AttendState& state, const KeyBlock& block);
  // visible[r]: bit j set when row r sees key j. Rows without a visible key are left alone.
  void (*attend_block)(AttendState& state, const uint64_t* visible, int count);
  // out[r] = sum / weight, head_dim values.
  void (*end_row)(const AttendState& state, int64_t row, float* out);
};

// REQUIRES: the machine runs `level`. kAmx multiplies with tiles; the rest of it is kAvx512.
KernelTable KernelsFor(IsaLevel level);

// One per level; KernelsFor picks.
KernelTable ScalarKernels();
#if defined(__x86_64__)
KernelTable Avx2Kernels();
KernelTable Avx512Kernels();
KernelTable AmxKernels();
#endif

}  // namespace headgate
